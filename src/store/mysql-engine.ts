/** Whether what is done to a table can be undone. */
import { StoreError } from './driver.js';
import { queryRows, withBinds, type Call } from './mysql-call.js';

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
