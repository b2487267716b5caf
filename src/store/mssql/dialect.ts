/** SQL Server's own words. Pure; any thread. */
import { StoreError, type Dialect } from '../driver.js';

/** Dots inside brackets do not part names. */
const PART = /\[(?:[^\]\0]|\]\]){1,128}\]|[^.[\]\0][^.\0]{0,127}/y;

function quote(name: string): string {
  const parts: string[] = [];
  for (let at = 0; ; at += 1) {
    PART.lastIndex = at;
    const part = PART.exec(name)?.[0];
    if (part === undefined || parts.length === 4) {
      throw new StoreError('SYNTAX', `"${name.slice(0, 160)}" is not a name of a table or column`);
    }
    parts.push(part.startsWith('[') ? part : `[${part.replaceAll(']', ']]')}]`);
    at += part.length;
    if (at === name.length) return parts.join('.');
    if (name[at] !== '.')
      throw new StoreError('SYNTAX', `"${name.slice(0, 160)}" is not a name of a table or column`);
  }
}

function insert(table: string, columns: readonly string[]): string {
  const names = columns.map(quote).join(', ');
  return `INSERT INTO ${quote(table)} (${names}) VALUES (${columns.map(() => '?').join(', ')})`;
}

export const mssqlDialect: Dialect = {
  name: 'mssql',
  // The server takes 2,100; the driver needs some for itself.
  maxBinds: 2_000,
  now: 'CAST(SYSDATETIME() AS datetime2(0))',
  quoteIdentifier: quote,
  insert,
  upsert(table, columns, keys, touch = []) {
    const names = columns.map(quote);
    const isKey = (name: string): boolean => keys.some((key) => quote(key) === name);
    const sets = [
      ...names.filter((name) => !isKey(name)).map((name) => `t.${name} = s.${name}`),
      ...touch.map((column) => `t.${quote(column)} = CAST(SYSDATETIME() AS datetime2(0))`),
    ];
    const on = keys.map((key) => `t.${quote(key)} = s.${quote(key)}`).join(' AND ');
    const update = sets.length === 0 ? '' : ` WHEN MATCHED THEN UPDATE SET ${sets.join(', ')}`;
    // Without HOLDLOCK two sessions may both find the row missing.
    return (
      `MERGE INTO ${quote(table)} WITH (HOLDLOCK) AS t USING (VALUES (${names.map(() => '?').join(', ')})) AS s` +
      ` (${names.join(', ')}) ON (${on})${update} WHEN NOT MATCHED THEN INSERT (${names.join(', ')})` +
      ` VALUES (${names.map((name) => `s.${name}`).join(', ')});`
    );
  },
  /** A derived table may not be ordered, so TOP goes into the select itself where that means the same. */
  limit(select, rows) {
    const top = `TOP (${Math.trunc(rows)})`;
    const plain = /^(\s*select\s+)(distinct\s+|all\s+)?(?!top\b)/i.exec(select);
    if (plain !== null && !/\b(union|except|intersect|offset)\b/i.test(select)) {
      return `${plain[1]}${plain[2] ?? ''}${top} ${select.slice(plain[0].length)}`;
    }
    return `SELECT ${top} * FROM (${select}\n) AS q`;
  },
};
