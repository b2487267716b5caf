/**
 * Bulk load by LOAD DATA LOCAL INFILE, which reads tab text as it is. LOCAL turns errors into warnings and leaves out duplicates
 * without a word, so every load is judged by its warnings afterwards and undone when something is not as it was given.
 */
import { Readable } from 'node:stream';
import { StoreError } from './driver.js';
import type { BulkOptions, BulkResult, SqlRow } from './driver.js';
import { atomically } from './mysql-batch.js';
import type { Call } from './mysql-call.js';
import { mysqlDialect } from './mysql-dialect.js';
import { codeOfNumber, MysqlError, rowOf } from './mysql-errors.js';
import { insertText } from './mysql-bulk-text.js';
import { dropStage, makeStage } from './mysql-stage.js';
import { TabChunks } from './mysql-tab-chunks.js';

type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

const quote = (name: string): string => mysqlDialect.quoteIdentifier(name);

/** Rows of one LOAD DATA: fewer than the warnings a session keeps, so every single one can be looked at. */
const LOAD_ROWS = 50_000;

/** "Loading local data is disabled", in the words of old and new servers: the rest of the program does not depend on it. */
const LOCAL_REFUSED: ReadonlySet<number> = new Set([1148, 3948, 4166]);

export interface Loaded {
  readonly rows: number;
  readonly skipped: number;
}

/** @throws StoreError */
export async function runBulk(
  call: Call,
  table: string,
  columns: readonly string[],
  chunks: Chunks,
  options: BulkOptions,
): Promise<BulkResult> {
  const source = new TabChunks(chunks);
  call.onGiveUp((why) => source.stop(why));
  try {
    const mode = options.onDuplicate ?? 'error';
    if (mode !== 'update')
      return await atomically(call, async () => {
        const { rows, skipped } = await load(call, table, columns, source, mode, options);
        return { rows, inserted: rows - skipped, updated: 0, skipped };
      });
    return await update(call, table, columns, source, options);
  } finally {
    await source.close();
  }
}

/** Loads everything the source has left into a table. @throws StoreError with the row */
export async function load(
  call: Call,
  table: string,
  columns: readonly string[],
  source: TabChunks,
  mode: 'error' | 'skip' | 'replace',
  options: BulkOptions,
): Promise<Loaded> {
  const statement = loadStatement(table, columns, mode, options.hex ?? []);
  let rows = 0;
  let skipped = 0;
  for (;;) {
    const part = source.part(LOAD_ROWS);
    const first = await part.next();
    if (first.done === true) return { rows, skipped };
    let done;
    if (call.link.localRefused) {
      skipped += await insertText(call, table, columns, first.value, part, mode, options.hex ?? [], rows);
      rows += source.rowsOfPart;
      continue;
    }
    try {
      const data = Readable.from(prepend(first.value, part), { objectMode: false, highWaterMark: 1 << 20 });
      done = await call.run(statement, undefined, data);
    } catch (error) {
      source.check();
      if (!(error instanceof MysqlError) || !LOCAL_REFUSED.has(error.number)) throw at(error, rows);
      // The server said so before it read anything; the part's first piece is still in hand.
      call.link.localRefused = true;
      skipped += await insertText(call, table, columns, first.value, part, mode, options.hex ?? [], rows);
      rows += source.rowsOfPart;
      continue;
    }
    source.check();
    const counted = /Records: (\d+) +Deleted: (\d+) +Skipped: (\d+)/.exec(done.info);
    const leftOut = Number(counted?.[3] ?? 0);
    const records = Number(counted?.[1] ?? 0);
    if (records !== source.rowsOfPart)
      throw new StoreError('BIND', `the server read ${records} rows where ${source.rowsOfPart} were sent`);
    if (done.warnings > 0 || leftOut > 0) await judge(call, mode, rows);
    rows += records;
    skipped += leftOut;
  }
}

async function* prepend(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield first;
  yield* rest;
}

function loadStatement(
  table: string,
  columns: readonly string[],
  mode: 'error' | 'skip' | 'replace',
  hex: readonly string[],
): string {
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
async function judge(call: Call, mode: 'error' | 'skip' | 'replace', before: number): Promise<void> {
  const warnings: SqlRow[] = [];
  await call.run('SHOW WARNINGS', { columns: () => undefined, row: (row) => warnings.push(row) });
  for (const [, number, text] of warnings) {
    const message = String(text);
    const code = codeOfNumber(Number(number));
    if (code === 'DUPLICATE' && mode === 'skip') continue;
    const row = rowOf(message);
    throw new MysqlError(Number(number), message, row === undefined ? undefined : row + before);
  }
}

function at(error: unknown, before: number): unknown {
  if (!(error instanceof MysqlError)) return error;
  const row = error.row ?? rowOf(error.message);
  return row === undefined ? error : new StoreError(error.code, error.message, { row: row + before });
}

/**
 * Rows that are there are updated by one join with a temporary table, the others inserted: faster than INSERT ... ON DUPLICATE KEY
 * UPDATE, which tries to insert every row first, and draws a value of auto_increment for each. A row that breaks another
 * key than the one named is DUPLICATE and not an update of a stranger.
 */
async function update(
  call: Call,
  table: string,
  columns: readonly string[],
  source: TabChunks,
  options: BulkOptions,
): Promise<BulkResult> {
  const keys = options.keys ?? [];
  if (keys.length === 0 || keys.some((key) => !columns.includes(key)))
    throw new StoreError(
      'BIND',
      'an updating bulk needs its key columns, all of them among the columns given',
    );
  const stage = await makeStage(call, table, columns, keys);
  try {
    return await atomically(call, async () => {
      const { rows } = await load(call, stage, columns, source, 'replace', options);
      if (rows === 0) return { rows: 0, inserted: 0, updated: 0, skipped: 0 };
      const t = quote(table);
      const s = quote(stage);
      const match = keys.map((key) => `t.${quote(key)} = s.${quote(key)}`).join(' AND ');
      const sets = [
        ...columns
          .filter((column) => !keys.includes(column))
          .map((column) => `t.${quote(column)} = s.${quote(column)}`),
        ...(options.touch ?? []).map((column) => `t.${quote(column)} = NOW()`),
      ];
      if (sets.length > 0)
        await call.run(`UPDATE ${s} s STRAIGHT_JOIN ${t} t ON ${match} SET ${sets.join(', ')}`);
      const names = columns.map(quote).join(', ');
      const values = columns.map((column) => `s.${quote(column)}`).join(', ');
      const { affectedRows } = await call.run(
        `INSERT INTO ${t} (${names}) SELECT ${values} FROM ${s} s LEFT JOIN ${t} t ON ${match} WHERE t.${quote(keys[0] ?? '')} IS NULL`,
      );
      return { rows, inserted: affectedRows, updated: rows - affectedRows, skipped: 0 };
    });
  } finally {
    await dropStage(call).catch(() => undefined);
  }
}
