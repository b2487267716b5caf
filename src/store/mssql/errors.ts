/** SQL Server's and its driver's errors in the words of the store contract. Pure; any thread. */
import { StoreError, type StoreErrorCode } from '../driver.js';

const BY_NUMBER: Readonly<Record<number, StoreErrorCode>> = {
  2627: 'DUPLICATE', 2601: 'DUPLICATE',
  1204: 'BUSY', 1205: 'BUSY', 1222: 'BUSY', 3960: 'BUSY',
  208: 'NO_TABLE', 3701: 'NO_TABLE', 4902: 'NO_TABLE',
  // NULL, foreign keys and checks, too long, overflow, text that is no number, date or uniqueidentifier.
  515: 'CONSTRAINT', 547: 'CONSTRAINT', 8152: 'CONSTRAINT', 2628: 'CONSTRAINT', 8115: 'CONSTRAINT', 220: 'CONSTRAINT',
  232: 'CONSTRAINT', 241: 'CONSTRAINT', 242: 'CONSTRAINT', 245: 'CONSTRAINT', 248: 'CONSTRAINT', 295: 'CONSTRAINT',
  8114: 'CONSTRAINT', 8169: 'CONSTRAINT', 8134: 'CONSTRAINT', 4863: 'CONSTRAINT', 4864: 'CONSTRAINT', 4815: 'CONSTRAINT',
  102: 'SYNTAX', 105: 'SYNTAX', 156: 'SYNTAX', 170: 'SYNTAX', 207: 'SYNTAX', 209: 'SYNTAX', 213: 'SYNTAX', 319: 'SYNTAX',
  257: 'BIND', 206: 'BIND', 8144: 'BIND', 8178: 'BIND', 137: 'BIND',
  1101: 'FULL', 1105: 'FULL', 9002: 'FULL',
  4060: 'OPEN', 18456: 'OPEN', 18452: 'OPEN', 233: 'LOST', 6005: 'LOST', 596: 'LOST', 10054: 'LOST', 10053: 'LOST',
}; // prettier-ignore

const BY_CODE: Readonly<Record<string, StoreErrorCode>> = {
  ETIMEOUT: 'TIMEOUT', ECANCEL: 'CANCELLED', ELOGIN: 'OPEN', EINSTLOOKUP: 'OPEN', ESOCKET: 'LOST', ECONNCLOSED: 'LOST',
  ECONNRESET: 'LOST', EABORT: 'LOST', ENOTOPEN: 'CLOSED', EPARAM: 'BIND', EARGS: 'BIND', ENOTBEGUN: 'LOST',
}; // prettier-ignore

/** What is wrong with one row and leaves the others as they are. */
export const ROW_ERRORS: readonly number[] = Object.entries(BY_NUMBER)
  .filter(([, code]) => code === 'DUPLICATE' || code === 'CONSTRAINT')
  .map(([number]) => Number(number));

interface DriverError {
  readonly number?: unknown;
  readonly code?: unknown;
  readonly precedingErrors?: unknown;
}

export function mssqlCode(number: number): StoreErrorCode | undefined {
  return BY_NUMBER[number];
}

function ownCode(error: unknown): StoreErrorCode | undefined {
  const { number, code } = (error ?? {}) as DriverError;
  const byNumber = typeof number === 'number' ? BY_NUMBER[number] : undefined;
  return byNumber ?? (typeof code === 'string' ? BY_CODE[code] : undefined);
}

/** The driver rejects with the last of several errors and hangs the others on it; the first that says something counts. */
export function allErrors(error: unknown): readonly unknown[] {
  const { precedingErrors } = (error ?? {}) as DriverError;
  return [...(Array.isArray(precedingErrors) ? (precedingErrors as unknown[]) : []), error];
}

/** @returns the error of the contract for anything thrown */
export function mssqlError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const told = allErrors(error).find((one) => ownCode(one) !== undefined) ?? error;
  const message = told instanceof Error ? told.message : String(told);
  return new StoreError(ownCode(told) ?? 'DATABASE', message, { cause: error });
}
