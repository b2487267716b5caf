/** What a connection has to know about a table before it writes many rows into it. */
import { StoreError, type TableInfo } from '../driver.js';
import { queryRows, withBinds, type Call } from './call.js';
import { describeTable } from './dictionary.js';

const KNOWN_LIMIT = 1_000;

/**
 * @param table name or schema.name, without quotes
 * @returns undefined for what the dictionary does not tell: views, temporary tables. Remembered by the connection
 */
export async function isTransactional(call: Call, table: string): Promise<boolean | undefined> {
  const { transactional, address } = call.link;
  if (transactional.has(table)) return transactional.get(table);
  const at = table.indexOf('.');
  const { rows } = await queryRows(
    call,
    withBinds(
      `SELECT e.TRANSACTIONS FROM information_schema.TABLES t JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
       WHERE t.TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND t.TABLE_NAME = ?`,
      [at < 0 ? address.database : table.slice(0, at), table.slice(at + 1)],
    ),
    10,
  );
  const said = rows[0]?.[0];
  const known = typeof said === 'string' ? said.toUpperCase() === 'YES' : undefined;
  if (transactional.size >= KNOWN_LIMIT) transactional.clear();
  transactional.set(table, known);
  return known;
}

/** @throws StoreError DATABASE for a table where a bulk could not be undone */
export async function mustBeTransactional(call: Call, table: string): Promise<void> {
  if ((await isTransactional(call, table)) !== false) return;
  throw new StoreError(
    'DATABASE',
    `${table} is of an engine without transactions, where half a load could not be undone: ALTER TABLE ${table} ENGINE=InnoDB`,
  );
}

export interface KnownTable {
  readonly info: TableInfo | undefined;
  /** On the clock of `performance.now()`. */
  readonly at: number;
}

/** Many small bulks go into one table: its columns are asked for again after so many ms. */
const STALE = 10_000;

/** @returns undefined for what is not in the dictionary: a temporary table, or none at all */
export async function knownColumns(call: Call, table: string): Promise<TableInfo | undefined> {
  const { tables, address } = call.link;
  const known = tables.get(table);
  if (known !== undefined && performance.now() - known.at < STALE) return known.info;
  const query = (sql: string, binds: Parameters<typeof withBinds>[1] = []): ReturnType<typeof queryRows> =>
    queryRows(call, withBinds(sql, binds), 10_000);
  const info = await describeTable({ query }, address.database, table).catch((error: unknown) => {
    if (error instanceof StoreError && error.code === 'NO_TABLE') return undefined;
    throw error;
  });
  if (tables.size >= KNOWN_LIMIT) tables.clear();
  tables.set(table, { info, at: performance.now() });
  return info;
}
