/**
 * One observation file into T_ZHOBTMIND (spec data-centre 4.5), inside a transaction of the caller. Worker thread.
 */
import { open } from 'node:fs/promises';
import { extname } from 'node:path';
import { OBSERVATION_FIELDS, observationReader } from '../../../protocol/observations.js';
import type { ScaledObservation } from '../../../protocol/observations.js';
import type { BadRecord } from '../../../protocol/rowxml.js';
import { reasonOf } from '../../../runtime/errors.js';
import type { SqlRow, SqlRunner } from '../../../store/driver.js';

/** The file itself is the trouble: trying again cannot help, it has to be put aside. */
export class BadFileError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'BadFileError';
  }
}

export interface FileLimits {
  /** Rows per statement batch. */
  readonly batchRows: number;
  /** More bad rows than this make the whole file bad. */
  readonly maxRejects: number;
  /** Encoding name of the WHATWG list: utf-8, gb18030 ... */
  readonly charset: string;
}

export interface FileOutcome {
  readonly total: number;
  readonly inserted: number;
  readonly duplicates: number;
  readonly rejects: readonly BadRecord[];
}

const READ_BYTES = 256 << 10;
/** Errors of the machine, not of the file. */
const PASSING = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'ESTALE']);

/**
 * Reads and inserts; rows that are there already are skipped. @param name its ending tells the format
 * @param insert statement with one `?` for each of OBSERVATION_FIELDS; without a `tx` rows are only counted
 * @param progress called after every piece of the file
 * @throws BadFileError, StoreError: the caller's transaction must be rolled back.
 */
export async function loadFile(
  file: { readonly name: string; readonly path: string },
  tx: { readonly runner: SqlRunner; readonly insert: string } | undefined,
  limits: FileLimits,
  progress: () => Promise<void>,
): Promise<FileOutcome> {
  let rows: ScaledObservation[] = [];
  let lines: number[] = [];
  const rejects: BadRecord[] = [];
  const counts = { total: 0, inserted: 0, duplicates: 0 };
  const reject = (record: BadRecord): void => {
    rejects.push(record);
    if (rejects.length > limits.maxRejects) throw new BadFileError(`more than ${limits.maxRejects} bad rows`);
  };
  const reader = observationReader(extname(file.name).toLowerCase() === '.csv' ? 'csv' : 'xml', {
    row(row, line) {
      counts.total++;
      rows.push(row);
      lines.push(line);
    },
    bad(record) {
      counts.total++;
      reject(record);
    },
  });
  const flush = async (): Promise<void> => {
    const [batch, where] = [rows, lines];
    rows = [];
    lines = [];
    if (tx === undefined || batch.length === 0) return;
    const result = await tx.runner.batch(tx.insert, batch.map(bindsOf), { onDuplicate: 'skip' });
    counts.inserted += result.done;
    counts.duplicates += result.duplicates.length;
    for (const error of result.errors) {
      const row = batch[error.row];
      const text = row === undefined ? '' : OBSERVATION_FIELDS.map((field) => row[field] ?? '').join(',');
      reject({
        line: where[error.row] ?? 0,
        reason: `the database refused the scaled row: ${error.message}`,
        text,
      });
    }
  };
  for await (const text of textOf(file.path, limits.charset)) {
    reader.push(text);
    while (rows.length >= limits.batchRows) await flush();
    await progress();
  }
  reader.end();
  await flush();
  if (rejects.length > 0 && rejects.length === counts.total) {
    throw new BadFileError(
      `none of its ${counts.total} rows is good; the first: line ${rejects[0]?.line}: ${rejects[0]?.reason}`,
    );
  }
  return { ...counts, rejects };
}

/** What the rows of a file that were refused look like in the reject file. */
export function rejectText(name: string, rejects: readonly BadRecord[]): string {
  return rejects.map(({ line, reason, text }) => `# ${name}:${line}: ${reason}\n${text}\n`).join('');
}

/** Pieces of text. @throws BadFileError when the file cannot be read or is not in that encoding */
async function* textOf(path: string, charset: string): AsyncGenerator<string> {
  const decoder = new TextDecoder(charset, { fatal: true });
  const decode = (bytes?: Uint8Array): string => {
    try {
      return decoder.decode(bytes, { stream: bytes !== undefined });
    } catch (error) {
      throw new BadFileError(`it is not ${charset} text`, { cause: error });
    }
  };
  const handle = await open(path, 'r').catch(unreadable);
  try {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, READ_BYTES).catch(unreadable);
      if (bytesRead === 0) break;
      yield decode(buffer.subarray(0, bytesRead));
    }
    yield decode();
  } finally {
    await handle.close();
  }
}

function unreadable(error: unknown): never {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (PASSING.has(code)) throw error;
  throw new BadFileError(`it cannot be read: ${reasonOf(error)}`, { cause: error });
}

function bindsOf(row: ScaledObservation): SqlRow {
  const { obtid, ddatetime: d, t, p, u, wd, wf, r, vis } = row;
  const time = `${d.slice(0, 4)}-${d.slice(4, 6)}-${d.slice(6, 8)} ${d.slice(8, 10)}:${d.slice(10, 12)}:${d.slice(12)}`;
  return [obtid, time, t, p, u, wd, wf, r, vis];
}
