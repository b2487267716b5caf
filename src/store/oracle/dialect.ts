/**
 * Oracle's own words. Pure; any thread.
 *
 * Oracle keeps names in upper case unless they were quoted when the table was made. So a regular name is the same in any
 * case here: it is written as `"OBTID"` and told as `obtid`. A name that really has small letters or blanks is written with its
 * quotes, `"Obtid"`, and told so. `table@link` is a table behind a database link.
 */
import { StoreError, type Dialect } from '../driver.js';

const REGULAR = /^[A-Za-z][\w$#]*$/;
/** A quoted name, or anything up to the next dot or @. */
const PART = /"[^"\0]{1,128}"|[^."@\0]{1,128}/y;

/** `schema.name`, `name@link`, quoted or not, as the dictionary has them. @throws StoreError SYNTAX */
export function nameParts(name: string): {
  readonly path: readonly string[];
  readonly link: string | undefined;
} {
  const path: string[] = [];
  const wrong = (): StoreError =>
    new StoreError('SYNTAX', `"${name.slice(0, 160)}" is not a name of a table or column`);
  let at = 0;
  for (;;) {
    PART.lastIndex = at;
    const part = PART.exec(name)?.[0];
    if (part === undefined) throw wrong();
    path.push(part.startsWith('"') ? part.slice(1, -1) : REGULAR.test(part) ? part.toUpperCase() : part);
    at += part.length;
    if (at === name.length) return { path, link: undefined };
    if (name[at] === '@') {
      const link = name.slice(at + 1);
      if (!/^[A-Za-z][\w$#.]{0,127}$/.test(link)) throw wrong();
      return { path, link: link.toUpperCase() };
    }
    if (name[at] !== '.') throw wrong();
    at += 1;
  }
}

function quote(name: string): string {
  const { path, link } = nameParts(name);
  const text = path.map((part) => `"${part}"`).join('.');
  return link === undefined ? text : `${text}@${link}`;
}

/** A name of the dictionary as this program tells it. */
export function toldName(name: string): string {
  if (/^[A-Z][A-Z0-9_$#]*$/.test(name)) return name.toLowerCase();
  return REGULAR.test(name) ? `"${name}"` : name;
}

function insert(table: string, columns: readonly string[]): string {
  const names = columns.map(quote).join(', ');
  return `INSERT INTO ${quote(table)} (${names}) VALUES (${columns.map(() => '?').join(', ')})`;
}

export const oracleDialect: Dialect = {
  name: 'oracle',
  // A list behind IN may hold 1,000 values, and nothing else in one statement needs more.
  maxBinds: 1_000,
  now: 'SYSDATE',
  quoteIdentifier: quote,
  insert,
  /** One row a statement. A value longer than 4,000 bytes goes through `insert` only: MERGE reads its values in a SELECT. */
  upsert(table, columns, keys, touch = []) {
    const same = (a: string, b: string): boolean => quote(a) === quote(b);
    const others = columns.filter((column) => !keys.some((key) => same(key, column))).map(quote);
    const source = columns.map((column) => `? AS ${quote(column)}`).join(', ');
    const on = keys.map((key) => `t.${quote(key)} = s.${quote(key)}`).join(' AND ');
    const sets = [
      ...others.map((name) => `t.${name} = s.${name}`),
      ...touch.map((column) => `t.${quote(column)} = SYSDATE`),
    ];
    const update = sets.length === 0 ? '' : ` WHEN MATCHED THEN UPDATE SET ${sets.join(', ')}`;
    const names = columns.map(quote);
    return (
      `MERGE INTO ${quote(table)} t USING (SELECT ${source} FROM DUAL) s ON (${on})${update}` +
      ` WHEN NOT MATCHED THEN INSERT (${names.join(', ')}) VALUES (${names.map((name) => `s.${name}`).join(', ')})`
    );
  },
  // Unlike FETCH FIRST it is understood by every version. The select's columns need different names.
  limit: (select, rows) => `SELECT * FROM (${select}\n) WHERE ROWNUM <= ${Math.trunc(rows)}`,
};
