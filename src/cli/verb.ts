/** The contract of a verb of the command line; cli.ts holds the table. */

/** Where a verb writes and reads; tests replace it. */
export interface CliIo {
  /** One or more whole lines for standard output. */
  out(text: string): void;
  /** For standard error. */
  err(text: string): void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly input: SecretInput;
}

/** Standard input; a terminal can be read without echo. */
export interface SecretInput extends AsyncIterable<Buffer | string> {
  readonly isTTY?: boolean;
  setRawMode?(on: boolean): void;
}

export const terminal: CliIo = {
  out: (text) => void process.stdout.write(`${text}\n`),
  err: (text) => void process.stderr.write(`${text}\n`),
  env: process.env,
  input: process.stdin,
};

export interface Flags {
  readonly check: boolean;
  readonly json: boolean;
  readonly once: boolean;
  readonly dryRun: boolean;
  readonly preview: boolean;
  readonly limit: string | undefined;
  readonly daemon: boolean | undefined;
  readonly logLevel: string | undefined;
  readonly logFormat: string | undefined;
  readonly pidFile: string | undefined;
  readonly adminPort: string | undefined;
}

export interface VerbArgs {
  readonly flags: Flags;
  /** Arguments that are not conf files. */
  readonly words: readonly string[];
  /** Arguments that end in `.conf`; for `run` and `check` all arguments. */
  readonly files: readonly string[];
  /** The environment for the conf, with the flags that replace conf values in it. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface Verb {
  readonly name: string;
  readonly usage: string;
  readonly help: string;
  /** Takes its arguments as they are, flags included, in `words`. */
  readonly raw?: boolean;
  /** @returns exit code. @throws UsageFault for wrong arguments */
  run(args: VerbArgs, io: CliIo): Promise<number>;
}

/** Wrong arguments: printed with the verb's usage, exit 64. */
export class UsageFault extends Error {}

/** Exit codes, as in sysexits.h; docs/operations.md holds the table. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 64,
  unavailable: 69,
  internal: 70,
  cannotCreate: 73,
  temporary: 75,
  permission: 77,
  conf: 78,
} as const;
