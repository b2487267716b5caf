/**
 * The contract of all readers of foreign formats: a file comes in as bytes, goes out as batches of records. A reader is
 * pulled, so it reads no faster than its records are used, and keeps one batch and one record in memory. One file here per
 * format, named as in the conf; the table is in `readers.ts`. Worker thread.
 */
import type { BadRecord } from '../../../../protocol/rowxml.js';
import type { InputLimits } from './input.js';

/** The file itself is the trouble: trying again cannot help, it has to be put aside. */
export class BadInputError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'BadInputError';
  }
}

export interface SourceRecord {
  /** One value for each of the batch's fields; undefined when the record has none. */
  readonly values: readonly (string | undefined)[];
  /** Line or row of the file on which it begins, from 1. */
  readonly line: number;
}

export interface RecordBatch {
  /** Names of the values; the same list in all batches of a file. */
  readonly fields: readonly string[];
  readonly records: readonly SourceRecord[];
  /** What could not be read as a record; the others go on. */
  readonly bad: readonly BadRecord[];
}

export interface FormatOptions extends InputLimits {
  /** WHATWG name, or `auto`: the byte order mark, the XML declaration, else utf-8. */
  readonly charset: string;
  readonly separator: string;
  /** '' when quotes are ordinary text. */
  readonly quote: string;
  /** `names`: the first line names the fields; `skip`: it is dropped; `none`: there is none. */
  readonly header: 'names' | 'skip' | 'none';
  readonly skipLines: number;
  /** Names by position, `name:start:length` for fixed width; those that the header must have with `header = names`. */
  readonly fields: readonly string[];
  readonly widthUnit: 'chars' | 'bytes';
  /** Path of the array (JSON) or of the repeating element (XML). */
  readonly records: string;
  /** Name or number of the sheet, from 1; '': the first. */
  readonly sheet: string;
  /** Bytes of one record, and of anything else a reader has to hold. */
  readonly maxRecordBytes: number;
}

export interface FormatInput {
  readonly name: string;
  readonly path: string;
  /** The fields that are used, where the mapping tells; a format without a header looks only for these. */
  readonly wanted: readonly string[] | undefined;
  /** Called after every piece read, with the bytes of the file so far. */
  readonly progress: (bytes: number) => Promise<void>;
  /** A field of a record that is not among the fields, once for each name (64 at most). */
  readonly onUnknown: (name: string) => void;
}

/** @throws BadInputError for a file that is not what it should be; the system's error when reading fails for the moment */
export type ReadFormat = (input: FormatInput, options: FormatOptions) => AsyncGenerator<RecordBatch>;

/** How many records a reader puts into a batch that it fills by itself. */
export const BATCH_RECORDS = 500;
/** Deepest nesting that is flattened into names such as `a.b.c`. */
export const MAX_DEPTH = 32;
const MAX_UNKNOWN = 64;

/** Reject text is for people: no longer than this. */
export const MAX_REJECT_CHARS = 4_096;

/** Positions of the fields of formats that name every value, where no header says what comes. */
export class NamedFields {
  readonly fields: string[];
  private readonly index = new Map<string, number>();
  private readonly unknown = new Set<string>();
  private open: boolean;

  /** Without `wanted` the fields are those of the first record. */
  constructor(private readonly input: FormatInput) {
    this.fields = [...(input.wanted ?? [])];
    this.fields.forEach((name, i) => this.index.set(name, i));
    this.open = input.wanted === undefined;
  }

  position(name: string): number | undefined {
    const at = this.index.get(name);
    if (at !== undefined) return at;
    if (this.open) {
      this.index.set(name, this.fields.length);
      return this.fields.push(name) - 1;
    }
    if (this.input.wanted === undefined && this.unknown.size < MAX_UNKNOWN && !this.unknown.has(name)) {
      this.unknown.add(name);
      this.input.onUnknown(name);
    }
    return undefined;
  }

  /** The first record has ended. */
  close(): void {
    this.open = false;
  }
}
