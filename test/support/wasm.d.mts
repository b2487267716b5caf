export const target: string;
/** @returns the text of the module. @throws what the compiler says */
export function compile(): Promise<string>;
