/** The result table of the stage `statistics`: made when missing, then filled in one transaction. Worker thread. */
import { StoreError, type RowSet, type SqlRow, type SqlRunner, type Store } from '../../../store/driver.js';
import type { Result } from './compute.js';
import type { StatisticsValues } from './keys.js';
import { createTable } from './sql.js';
import { StageError } from '../stage/run.js';

const BATCH = 1_000;

/**
 * What of the table the new rows take the place of. `update`: rows with the same key; `periods`: all from that time on; `all`: everything.
 * Rankings and gaps need `periods`, because a row of yesterday may have no place any more.
 */
export type Replace =
  | { readonly mode: 'update'; readonly keys: readonly string[] }
  | { readonly mode: 'periods'; readonly column: string; readonly from: string }
  | { readonly mode: 'all' };

/** @returns rows written. @throws StoreError: then nothing has changed; StageError for a row that does not fit */
export async function writeTable(
  store: Store,
  params: StatisticsValues,
  result: Result,
  replace: Replace,
): Promise<number> {
  const { table } = params;
  if (result.columns.length === 0) return 0;
  if (!(await exists(store, table))) {
    await store.execute(createTable(store.dialect, table, result.columns)).catch((error: unknown) => {
      // Another process may have been faster.
      return exists(store, table).then((there) => {
        if (!there) throw error;
      });
    });
  }
  const names = result.columns.map(({ name }) => name);
  const { dialect } = store;
  const sql =
    replace.mode === 'update' ? dialect.upsert(table, names, replace.keys) : dialect.insert(table, names);
  await store.transaction(
    async (tx) => {
      const quoted = dialect.quoteIdentifier(table);
      if (replace.mode === 'all') await tx.execute(`DELETE FROM ${quoted}`);
      if (replace.mode === 'periods') {
        await tx.execute(`DELETE FROM ${quoted} WHERE ${dialect.quoteIdentifier(replace.column)} >= ?`, [
          replace.from,
        ]);
      }
      for (let at = 0; at < result.rows.length; at += BATCH) {
        await put(tx, sql, table, result.rows.slice(at, at + BATCH));
      }
    },
    { timeoutMs: params.query_timeout },
  );
  return result.rows.length;
}

async function put(tx: SqlRunner, sql: string, table: string, rows: readonly SqlRow[]): Promise<void> {
  const { errors } = await tx.batch(sql, rows);
  const [first] = errors;
  if (first === undefined) return;
  const values = rows[first.row]?.map(String).join(', ') ?? '';
  throw new StageError(`${table} does not take the row (${values}): ${first.message}`, false);
}

/** The rows of the newest periods, for the report. */
export async function readTable(
  store: Store,
  params: StatisticsValues,
  columns: readonly string[],
  from: string,
): Promise<RowSet> {
  const { dialect } = store;
  const names = columns.map((name) => dialect.quoteIdentifier(name)).join(', ');
  const date = dialect.quoteIdentifier(params.date_column);
  const order = columns.map((_, i) => i + 1).slice(0, 1 + params.group.length);
  const sql = `SELECT ${names} FROM ${dialect.quoteIdentifier(params.table)} WHERE ${date} >= ? ORDER BY ${order.join(', ')}`;
  return store.query(sql, [from], { maxRows: params.max_rows, timeoutMs: params.query_timeout });
}

async function exists(store: Store, table: string): Promise<boolean> {
  try {
    await store.columns(table);
    return true;
  } catch (error) {
    if (error instanceof StoreError && error.code === 'NO_TABLE') return false;
    throw error;
  }
}
