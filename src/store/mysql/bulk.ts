/**
 * Bulk load by LOAD DATA LOCAL INFILE, which reads tab text as it is. LOCAL turns errors into warnings and leaves out duplicates
 * without a word, so every load is judged by its warnings afterwards and undone when a row is not as it was given. A server
 * that refuses LOCAL (`local_infile = 0`) gets INSERT statements of many rows instead, which is slower.
 *
 * What the server rounds without a warning is found by mysql-tab-rules.ts on the way.
 */
import { Readable } from 'node:stream';
import { StoreError } from '../driver.js';
import type { BulkOptions, BulkResult, SqlRow } from '../driver.js';
import { atomically } from './batch.js';
import { insertText } from './bulk-text.js';
import type { Call } from './call.js';
import { mysqlDialect } from './dialect.js';
import { knownColumns, mustBeTransactional } from './engine.js';
import { codeOfNumber, MysqlError, rowOf } from './errors.js';
import { updateBulk } from './bulk-update.js';
import { watched } from './tab-rules.js';
import { TabChunks } from './tab-chunks.js';

const quote = (name: string): string => mysqlDialect.quoteIdentifier(name);

/** Rows of one LOAD DATA: fewer than the warnings a session keeps, so every single one can be looked at. */
const LOAD_ROWS = 50_000;

/** "Loading local data is disabled", in the words of old and new servers. */
const LOCAL_REFUSED: ReadonlySet<number> = new Set([1148, 3948, 4166]);

/** What a load does with a row whose key is there. */
export type LoadMode = 'error' | 'skip' | 'replace';

export interface LoadTarget {
  readonly table: string;
  readonly columns: readonly string[];
  readonly mode: LoadMode;
  /** Columns given as hexadecimal digits. */
  readonly hex: readonly string[];
}

export interface Loaded {
  readonly rows: number;
  /** Rows left out. */
  readonly skipped: number;
  /** Rows in the table now, if known. */
  readonly kept: number | undefined;
}

/** @throws StoreError */
export async function runBulk(
  call: Call,
  table: string,
  columns: readonly string[],
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: BulkOptions,
): Promise<BulkResult> {
  const { onDuplicate = 'error', hex = [] } = options;
  await mustBeTransactional(call, table);
  const info = await knownColumns(call, table);
  const watch = columns.map((name) =>
    hex.includes(name)
      ? undefined
      : info?.columns.find((column) => column.name.toLowerCase() === name.toLowerCase()),
  );
  const source = new TabChunks(watched(chunks, watch));
  call.onGiveUp((why) => source.stop(why));
  try {
    if (onDuplicate === 'update') return await updateBulk(call, table, columns, source, options);
    return await atomically(call, async () => {
      let rows = 0;
      let skipped = 0;
      for (;;) {
        const part = await load(call, { table, columns, mode: onDuplicate, hex }, source, LOAD_ROWS, rows);
        if (part === undefined) return { rows, inserted: rows - skipped, updated: 0, skipped };
        rows += part.rows;
        skipped += part.skipped;
      }
    });
  } finally {
    source.close();
  }
}

/**
 * Loads the next rows of the source. @param before rows loaded already, for the row in an error
 * @returns undefined when there are none left. @throws StoreError, with the row where known
 */
export async function load(
  call: Call,
  target: LoadTarget,
  source: TabChunks,
  limit: number,
  before: number,
): Promise<Loaded | undefined> {
  const part = source.part(limit);
  const first = await part.next();
  source.check();
  if (first.done === true) return undefined;
  if (!call.link.localRefused) {
    try {
      return await loadLocal(call, target, source, prepend(first.value, part), before);
    } catch (error) {
      source.check();
      if (!(error instanceof MysqlError) || !LOCAL_REFUSED.has(error.number)) throw located(error, before);
      // The server said so before it asked for data: the first piece is still in hand.
      call.link.localRefused = true;
    }
  }
  const skipped = await insertText(call, target, prepend(first.value, part), before);
  source.check();
  return { rows: source.rowsOfPart, skipped, kept: undefined };
}

/** With REPLACE the errors stay errors, and name the row of their statement. */
function located(error: unknown, before: number): unknown {
  const row = error instanceof MysqlError ? rowOf(error.message) : undefined;
  if (!(error instanceof MysqlError) || row === undefined) return error;
  return new StoreError(error.code, error.message, { row: row + before });
}

async function* prepend(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield first;
  yield* rest;
}

async function loadLocal(
  call: Call,
  target: LoadTarget,
  source: TabChunks,
  pieces: AsyncIterable<Buffer>,
  before: number,
): Promise<Loaded> {
  const data = Readable.from(pieces, { objectMode: false, highWaterMark: 1 << 20 });
  const { info, warnings } = await call.run(loadStatement(target), undefined, data);
  // What ended early, because the source failed, looks whole to the server.
  source.check();
  const counted = /Records: (\d+) +Deleted: (\d+) +Skipped: (\d+)/.exec(info);
  const [rows, deleted, skipped] = [1, 2, 3].map((i) => Number(counted?.[i] ?? 0)) as [
    number,
    number,
    number,
  ];
  if (rows !== source.rowsOfPart)
    throw new StoreError('BIND', `the server read ${rows} rows where ${source.rowsOfPart} were sent`);
  if (warnings > 0 || skipped > 0) await judge(call, target.mode, before);
  return { rows, skipped, kept: rows - skipped - deleted };
}

function loadStatement({ table, columns, mode, hex }: LoadTarget): string {
  const targets = columns.map((column, i) => (hex.includes(column) ? `@switchyard_${i}` : quote(column)));
  // Not hexadecimal: UNHEX gives NULL, and the cast a warning, which is an error here.
  const sets = columns.flatMap((column, i) => {
    const given = `@switchyard_${i}`;
    const complaint = `CAST(CONCAT('not hexadecimal: ', LEFT(${given}, 20)) AS SIGNED)`;
    return hex.includes(column)
      ? [
          `${quote(column)} = IF(${given} IS NULL OR UNHEX(${given}) IS NOT NULL, UNHEX(${given}), ${complaint})`,
        ]
      : [];
  });
  return (
    `LOAD DATA LOCAL INFILE 'rows' ${mode === 'replace' ? 'REPLACE ' : ''}INTO TABLE ${quote(table)} CHARACTER SET utf8mb4 ` +
    `FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' (${targets.join(', ')})` +
    (sets.length > 0 ? ` SET ${sets.join(', ')}` : '')
  );
}

/** @throws StoreError for the first warning that means a row is not there as it was given */
async function judge(call: Call, mode: LoadMode, before: number): Promise<void> {
  const warnings: SqlRow[] = [];
  await call.run('SHOW WARNINGS', {
    columns: () => undefined,
    row: (row) => {
      warnings.push(row);
    },
  });
  for (const [, number, text] of warnings) {
    const message = String(text);
    if (codeOfNumber(Number(number)) === 'DUPLICATE' && mode === 'skip') continue;
    const row = rowOf(message);
    throw new MysqlError(Number(number), message, row === undefined ? undefined : row + before);
  }
}
