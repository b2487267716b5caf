/** SQLite's own words. Pure; any thread. */
import { StoreError, type Dialect } from '../driver.js';

const NOW = `datetime('now')`;

function quote(name: string): string {
  const parts = name.split('.');
  for (const part of parts) {
    if (part === '' || part.length > 128 || part.includes('\0')) {
      throw new StoreError('SYNTAX', `"${name.slice(0, 160)}" is not a name of a table or column`);
    }
  }
  return parts.map((part) => `"${part.replaceAll('"', '""')}"`).join('.');
}

function insert(table: string, columns: readonly string[]): string {
  const names = columns.map(quote).join(', ');
  return `INSERT INTO ${quote(table)} (${names}) VALUES (${columns.map(() => '?').join(', ')})`;
}

export const sqliteDialect: Dialect = {
  name: 'sqlite',
  maxBinds: 32_766,
  now: NOW,
  quoteIdentifier: quote,
  insert,
  upsert(table, columns, keys, touch = []) {
    const sets = [
      ...columns
        .filter((column) => !keys.includes(column))
        .map((name) => `${quote(name)} = excluded.${quote(name)}`),
      ...touch.map((name) => `${quote(name)} = ${NOW}`),
    ];
    const action = sets.length === 0 ? 'NOTHING' : `UPDATE SET ${sets.join(', ')}`;
    return `${insert(table, columns)} ON CONFLICT (${keys.map(quote).join(', ')}) DO ${action}`;
  },
  limit: (select, rows) => `${select} LIMIT ${Math.trunc(rows)}`,
};
