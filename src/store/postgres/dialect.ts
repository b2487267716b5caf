/**
 * PostgreSQL's own words. Names: PostgreSQL turns unquoted names into lower case, while operators write them as they are used to,
 * often in capitals. So a part of a name without any small letter is taken for its lower-case form (`T_ZHOBTCODE` is
 * t_zhobtcode), one with small letters as it is (`stationData`), and one in double quotes (`"T_ZHOBTCODE"`) in any case as
 * it is; the dictionary spells names the same way. Pure; any thread.
 */
import { StoreError, type Dialect } from '../driver.js';

const PART = /"(?:[^"]|"")+"|[^".]+/y;
/** Longer names are cut by the server without a word. */
const MAX_BYTES = 63;

/** @returns the parts of `schema.name` as the dictionary has them. @throws StoreError SYNTAX */
export function nameParts(name: string): string[] {
  const bad = (): StoreError =>
    new StoreError('SYNTAX', `"${name.slice(0, 160)}" is not a name of a table or column`);
  const parts: string[] = [];
  for (let at = 0; ; at++) {
    PART.lastIndex = at;
    const part = PART.exec(name)?.[0];
    if (part === undefined || part.includes('\0')) throw bad();
    const plain = part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : fold(part);
    if (Buffer.byteLength(plain) > MAX_BYTES) throw bad();
    parts.push(plain);
    at += part.length;
    if (at === name.length) return parts;
    if (name[at] !== '.') throw bad();
  }
}

const fold = (part: string): string => (/\p{Ll}/u.test(part) ? part : part.toLowerCase());

/** A name of the dictionary as `nameParts` reads it. */
export function spell(name: string): string {
  return fold(name) === name && !/[".]/.test(name) ? name : quoteExactly(name);
}

export function quoteExactly(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function quote(name: string): string {
  return nameParts(name).map(quoteExactly).join('.');
}

function insert(table: string, columns: readonly string[]): string {
  const names = columns.map(quote).join(', ');
  return `INSERT INTO ${quote(table)} (${names}) VALUES (${columns.map(() => '?').join(', ')})`;
}

/** The present to the second, in the time zone of the session; cut, because rounding may lead into the future. */
const NOW = `date_trunc('second', localtimestamp)`;

/** What follows an insert of these columns so that an existing row is changed instead. */
export function onConflict(
  columns: readonly string[],
  keys: readonly string[],
  touch: readonly string[] = [],
): string {
  const set = [
    ...columns
      .filter((column) => !keys.includes(column))
      .map((column) => `${quote(column)} = excluded.${quote(column)}`),
    ...touch.map((column) => `${quote(column)} = ${NOW}`),
  ];
  const action = set.length === 0 ? 'NOTHING' : `UPDATE SET ${set.join(', ')}`;
  return ` ON CONFLICT (${keys.map(quote).join(', ')}) DO ${action}`;
}

export const postgresDialect: Dialect = {
  name: 'postgres',
  maxBinds: 65_535,
  now: NOW,
  quoteIdentifier: quote,
  insert,
  upsert: (table, columns, keys, touch) => insert(table, columns) + onConflict(columns, keys, touch),
  limit: (select, rows) => `${select} LIMIT ${Math.trunc(rows)}`,
};
