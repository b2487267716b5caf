/**
 * Temporary tables, into which rows are loaded before they meet those that are there. In memory where that is possible: measured
 * per row, loading takes 0.9 us into MEMORY, 2.2 us into InnoDB and 4 us into MyISAM with the same key.
 */
import { StoreError, type ColumnInfo } from '../driver.js';
import type { Call } from './call.js';
import { mysqlDialect } from './dialect.js';
import { knownColumns } from './engine.js';

export interface StagePlan {
  readonly engine: 'MEMORY' | 'InnoDB';
  /** Rows it may hold at a time. */
  readonly rows: number;
}

const NAME = 'switchyard_stage';
const ROWS = 10_000;
/** A table in memory takes the declared length for every value, and may not grow beyond this. */
export const MAX_STAGE_BYTES = 64 << 20;
/** Half of it is for the key and for what the estimate misses. */
const USABLE_BYTES = MAX_STAGE_BYTES / 2;
const MIN_ROWS = 1_000;
const KNOWN_LIMIT = 100;

const quote = (name: string): string => mysqlDialect.quoteIdentifier(name);

/**
 * How to stage rows of these columns. Remembered by the connection: it decides about speed only.
 * @throws StoreError NO_TABLE, BIND when `keys` are no primary or unique key
 */
export async function planStage(
  call: Call,
  table: string,
  columns: readonly string[],
  keys: readonly string[],
): Promise<StagePlan> {
  const { stagePlans } = call.link;
  const name = JSON.stringify([table, columns, keys]);
  const known = stagePlans.get(name);
  if (known !== undefined) return known;
  const info = await knownColumns(call, table);
  if (info === undefined) throw new StoreError('NO_TABLE', `no such table: ${table}`);
  const sorted = (list: readonly string[]): string =>
    list
      .map((one) => one.toLowerCase())
      .sort()
      .join('\0');
  if (![info.primaryKey, ...info.uniqueKeys].some((key) => sorted(key) === sorted(keys)))
    throw new StoreError('BIND', `(${keys.join(', ')}) is neither the primary nor a unique key of ${table}`);
  const wanted = new Set(columns.map((column) => column.toLowerCase()));
  const bytes = info.columns
    .filter((column) => wanted.has(column.name.toLowerCase()))
    .reduce((sum, column) => sum + bytesOf(column), 16);
  const rows = Math.min(ROWS, Math.floor(USABLE_BYTES / bytes));
  const plan: StagePlan = rows < MIN_ROWS ? { engine: 'InnoDB', rows: ROWS } : { engine: 'MEMORY', rows };
  if (stagePlans.size >= KNOWN_LIMIT) stagePlans.clear();
  stagePlans.set(name, plan);
  return plan;
}

/** In memory; a BLOB or TEXT cannot be there at all. */
function bytesOf({ type, kind, length }: ColumnInfo): number {
  if (/text|blob|json|geometry|point|polygon|linestring|vector/.test(type)) return Infinity;
  if (kind === 'text' || kind === 'other') return 4 * (length ?? 64);
  return kind === 'bytes' ? (length ?? 64) : 32;
}

/**
 * Makes an empty table of these columns, typed as in `table` now, with `keys` as its only key, in place of the last one. That does
 * not commit the caller's transaction. @returns its name. @throws StoreError NO_TABLE
 */
export async function makeStage(
  call: Call,
  table: string,
  columns: readonly string[],
  keys: readonly string[],
  engine: StagePlan['engine'],
): Promise<string> {
  await dropStage(call);
  const list = columns.map(quote).join(', ');
  const key = keys.map(quote).join(', ');
  await call.run(
    `CREATE TEMPORARY TABLE ${NAME} (UNIQUE KEY (${key})) ENGINE=${engine} AS SELECT ${list} FROM ${quote(table)} WHERE 1 = 0`,
  );
  return NAME;
}

export async function dropStage({ link }: Call): Promise<void> {
  if (link.lost === undefined) await link.run(`DROP TEMPORARY TABLE IF EXISTS ${NAME}`);
}
