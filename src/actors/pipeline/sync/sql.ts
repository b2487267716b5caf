/** SQL texts of the stages between two databases: key ranges, key lists, orders, conditions. Pure. */
import type { ColumnKind, Dialect, SqlRow, SqlValue } from '../../../store/driver.js';
import { rewriteSql } from '../../../store/sql-rewrite.js';
import { StageError } from '../stage/run.js';

/** A piece of SQL with its values, in order. */
export interface Piece {
  readonly sql: string;
  readonly binds: readonly SqlValue[];
}

/** Keys in one statement at most; more make statements that take longer to parse than to run. */
const MAX_KEYS = 500;

/**
 * Rows after (`>`), from (`>=`) or up to (`<=`) a key, in the order of the key. The leading condition on the first column alone is
 * redundant, and what lets databases use the index.
 */
export function keyRange(keys: readonly string[], op: '>' | '>=' | '<=', values: SqlRow): Piece {
  const [first = ''] = keys;
  const nested = range(keys, op, values);
  if (keys.length === 1) return nested;
  return {
    sql: `${first} ${op === '<=' ? '<=' : '>='} ? AND ${nested.sql}`,
    binds: [values[0] ?? null, ...nested.binds],
  };
}

function range(keys: readonly string[], op: '>' | '>=' | '<=', values: SqlRow): Piece {
  const [first = '', ...rest] = keys;
  const value = values[0] ?? null;
  if (rest.length === 0) return { sql: `${first} ${op} ?`, binds: [value] };
  const inner = range(rest, op, values.slice(1));
  const strict = op === '<=' ? '<' : '>';
  return {
    sql: `(${first} ${strict} ? OR (${first} = ? AND ${inner.sql}))`,
    binds: [value, value, ...inner.binds],
  };
}

/** Rows whose key is one of these. @param rows at most `maxKeys` of them, each with the key's values in front */
export function keyList(dialect: Dialect, keys: readonly string[], rows: readonly SqlRow[]): Piece {
  const binds = rows.flatMap((row) => row.slice(0, keys.length));
  if (keys.length === 1) return { sql: `${keys[0]} IN (${rows.map(() => '?').join(', ')})`, binds };
  const group = `(${keys.map(() => '?').join(', ')})`;
  const groups = rows.map(() => group).join(', ');
  const columns = `(${keys.join(', ')})`;
  if (dialect.name === 'sqlite') return { sql: `${columns} IN (VALUES ${groups})`, binds };
  if (dialect.name !== 'mssql') return { sql: `${columns} IN (${groups})`, binds };
  const each = `(${keys.map((key) => `${key} = ?`).join(' AND ')})`;
  return { sql: `(${rows.map(() => each).join(' OR ')})`, binds };
}

/** Keys that fit into one statement. */
export function maxKeys(dialect: Dialect, keyColumns: number): number {
  return Math.max(1, Math.min(MAX_KEYS, Math.floor(dialect.maxBinds / keyColumns)));
}

export function* chunksOf<T>(list: readonly T[], size: number): Generator<readonly T[]> {
  for (let at = 0; at < list.length; at += size) yield list.slice(at, at + size);
}

/** Conditions joined by AND; empty ones are left out. */
export function all(...pieces: readonly (Piece | string | undefined)[]): Piece {
  const given = pieces
    .map((piece) => (typeof piece === 'string' ? { sql: piece, binds: [] } : piece))
    .filter((piece): piece is Piece => piece !== undefined && piece.sql !== '');
  return {
    sql: given.map(({ sql }) => `(${sql})`).join(' AND '),
    binds: given.flatMap(({ binds }) => binds),
  };
}

/** ` WHERE ...`, or nothing. */
export function whereText({ sql }: Piece): string {
  return sql === '' ? '' : ` WHERE ${sql}`;
}

/** An expression that orders text by its bytes, whatever the column's collation. It rarely has an index. */
export function byteOrder(dialect: Dialect, expression: string, kind: ColumnKind): string {
  if (kind !== 'text' && kind !== 'other') return expression;
  switch (dialect.name) {
    case 'mysql':
      return `CAST(CONVERT(${expression} USING utf8mb4) AS BINARY)`;
    case 'postgres':
      return `CAST(${expression} AS text) COLLATE "C"`;
    case 'sqlite':
      return `${expression} COLLATE BINARY`;
    case 'mssql':
      return `${expression} COLLATE Latin1_General_100_BIN2`;
    default:
      return expression;
  }
}

/**
 * A condition as operators write it: with or without its leading word, in the seeds' form (spec data-centre 1.8).
 * @returns '' for none. @throws StageError naming `key`
 */
export function condition(text: string, dialect: Dialect, key: string): string {
  const plain = text.trim().replace(/^(where|and)\b\s*/i, '');
  if (plain === '') return '';
  return operatorSql(plain, dialect, key);
}

/** @throws StageError when the text asks for a value */
export function operatorSql(text: string, dialect: Dialect, key: string): string {
  const { sql, binds } = rewriteSql(text, dialect.name);
  if (binds.length > 0) throw new StageError(`${key}: ":${binds[0]?.number}" has no value here`, false);
  return sql;
}

/** The items between the commas outside of brackets and quotes, without `as name` behind. */
export function splitColumns(text: string): string[] {
  const items: string[] = [];
  let current = '';
  let depth = 0;
  for (const [token] of text.matchAll(/'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|[^]/g)) {
    if (token === '(') depth++;
    if (token === ')') depth--;
    if (token === ',' && depth === 0) {
      items.push(current);
      current = '';
    } else current += token;
  }
  items.push(current);
  return items.map((item) => item.trim().replace(/\s+as\s+[\w"`]+$/i, '')).filter((item) => item !== '');
}
