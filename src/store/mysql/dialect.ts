/** Words of MySQL 8 and MariaDB. Pure; any thread. */
import { StoreError, type Dialect } from '../driver.js';

function quote(name: string): string {
  const parts = name.split('.');
  for (const part of parts) {
    if (part === '' || part.length > 64 || part.includes('\0') || part.endsWith(' ')) {
      throw new StoreError('SYNTAX', `"${name.slice(0, 160)}" is not a name of a table or column`);
    }
  }
  return parts.map((part) => `\`${part.replaceAll('`', '``')}\``).join('.');
}

function insert(table: string, columns: readonly string[]): string {
  const names = columns.map(quote).join(', ');
  return `INSERT INTO ${quote(table)} (${names}) VALUES (${columns.map(() => '?').join(', ')})`;
}

export const mysqlDialect: Dialect = {
  name: 'mysql',
  // The server's limit for prepared statements; values are written into the text here, so it is only a sane bound.
  maxBinds: 65_535,
  // Unlike NOW(), SYSDATE() moves on within a statement; both are in the time zone of the session.
  now: 'NOW()',
  quoteIdentifier: quote,
  insert,
  /**
   * `keys` must be a primary or unique key. MySQL takes a row that breaks any other unique key for the same row too; `bulk` does
   * not. Each row draws a value of auto_increment, also when it turns out to be an update: the sequence gets gaps.
   */
  upsert(table, columns, keys, touch = []) {
    const set = [
      ...columns
        .filter((column) => !keys.includes(column))
        .map((column) => `${quote(column)} = VALUES(${quote(column)})`),
      ...touch.map((column) => `${quote(column)} = NOW()`),
    ];
    // A key's own value again: the way to say that nothing is to be changed.
    const action =
      set.length > 0
        ? set.join(', ')
        : keys
            .slice(0, 1)
            .map((key) => `${quote(key)} = ${quote(key)}`)
            .join('');
    return `${insert(table, columns)} ON DUPLICATE KEY UPDATE ${action}`;
  },
  limit: (select, rows) => `${select} LIMIT ${Math.trunc(rows)}`,
};
