/**
 * Values written into the text of statements. The text protocol is used throughout: one round trip instead of two, several rows in
 * one statement, and results as the server prints them. Safe because the session's character set is UTF-8 and its
 * sql_mode is set at opening; and a text with a backslash goes as hexadecimal digits, so even a statement that
 * switches NO_BACKSLASH_ESCAPES on or off changes nothing. Pure; any thread.
 */
import { StoreError, type SqlRow, type SqlValue } from '../driver.js';

/** Literal, quoted name, comment, question mark, or a run of anything else. */
const TOKEN =
  /'(?:[^'\\]|\\[^]|'')*'?|"(?:[^"\\]|\\[^]|"")*"?|`[^`]*`?|--(?=[\s]|$)[^\n]*|#[^\n]*|\/\*[^]*?(?:\*\/|$)|\?|[^'"`?#/-]+|[^]/gy;

/** The texts between the question marks: one more than there are. */
export function splitAtBinds(sql: string): string[] {
  if (!sql.includes('?')) return [sql];
  const pieces: string[] = [];
  let piece = '';
  for (const [token] of sql.matchAll(TOKEN)) {
    if (token === '?') {
      pieces.push(piece);
      piece = '';
    } else piece += token;
  }
  pieces.push(piece);
  return pieces;
}

const SPECIAL = /['\\\ud800-\udfff]/;
const HALF_CHARACTER = /\p{Surrogate}/u;

const hex = (bytes: Uint8Array): string =>
  `x'${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')}'`;

/** @throws StoreError BIND */
export function literal(value: SqlValue): string {
  // Callers may hold values that the types did not see: a parsed body, a column that was not selected.
  const given: unknown = value;
  if (typeof given === 'string') return SPECIAL.test(given) ? specialText(given) : `'${given}'`;
  if (given === null) return 'NULL';
  if (typeof given === 'number') {
    if (!Number.isFinite(given)) throw new StoreError('BIND', `${given} is no number a database could keep`);
    return Object.is(given, -0) ? '-0e0' : String(given);
  }
  if (typeof given === 'bigint') return String(given);
  if (given instanceof Uint8Array) return hex(given);
  const what = given === undefined ? 'undefined' : `of type ${typeof given}`;
  throw new StoreError('BIND', `a value is ${what}; use null, number, bigint, text or bytes`);
}

function specialText(text: string): string {
  if (HALF_CHARACTER.test(text))
    throw new StoreError('BIND', 'a text holds half a character (a lone surrogate)');
  return text.includes('\\') ? `_utf8mb4 ${hex(Buffer.from(text))}` : `'${text.replaceAll("'", "''")}'`;
}

/** @throws StoreError BIND */
export function fill(pieces: readonly string[], binds: SqlRow): string {
  if (binds.length !== pieces.length - 1)
    throw new StoreError(
      'BIND',
      `the statement has ${pieces.length - 1} question marks, ${binds.length} values were given`,
    );
  let sql = pieces[0] ?? '';
  for (let i = 0; i < binds.length; i++) sql += literal(binds[i] as SqlValue) + (pieces[i + 1] ?? '');
  return sql;
}

const BLANK = /^(?:[\s(]|--[^\n]*(?:\n|$)|#[^\n]*(?:\n|$)|\/\*(?!!)[^]*?\*\/)+/;
const WITHOUT_ROWS =
  /^(?:INSERT|REPLACE|UPDATE|DELETE|TRUNCATE|CREATE|ALTER|DROP|RENAME|GRANT|REVOKE|SET|USE|LOAD|DO|LOCK|UNLOCK|START|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|FLUSH|KILL)\b/i;

/**
 * Said before anything is done: the server would have changed the rows by the time it turns out that none come back.
 * @throws StoreError SYNTAX
 */
export function mustBringRows(sql: string): void {
  const text = sql.replace(BLANK, '');
  const word = WITHOUT_ROWS.exec(text)?.[0];
  if (word !== undefined && !/\bRETURNING\b/i.test(text))
    throw new StoreError('SYNTAX', `${word.toUpperCase()} brings no rows: use execute`);
}

/** An INSERT of one row, cut so that it can carry many. */
export interface RowInsert {
  /** `INSERT INTO t (a, b) VALUES ` */
  readonly head: string;
  /** Without quotes; undefined when its name is written in a way not understood here. */
  readonly table: string | undefined;
  /** `(`, `, `, `)`: the tuple around its values. */
  readonly tuple: readonly string[];
  /** ` ON DUPLICATE KEY UPDATE ...`, or empty. */
  readonly tail: string;
}

/** @returns undefined for a statement that is no `INSERT ... VALUES (...)` with all its question marks in that bracket. */
export function asRowInsert(sql: string): RowInsert | undefined {
  if (!/^\s*(?:INSERT|REPLACE)\b/i.test(sql)) return undefined;
  let head = '';
  let tail = '';
  let piece = '';
  const tuple: string[] = [];
  let state: 'head' | 'tuple' | 'tail' = 'head';
  let depth = 0;
  for (const [run] of sql.matchAll(TOKEN)) {
    // Plain runs may hold brackets; literals, names and comments count as one.
    const parts = /^['"`#]|^\/\*|^--/.test(run) ? [run] : (run.match(/[()]|[^()]+/g) ?? []);
    for (const part of parts) {
      if (state === 'head') {
        if (part === '?') return undefined;
        if (part === '(' && depth === 0 && /\bVALUES?\s*$/i.test(head)) {
          state = 'tuple';
          piece = '(';
        } else head += part;
      } else if (state === 'tuple') {
        if (part === '?') {
          tuple.push(piece);
          piece = '';
        } else piece += part;
        if (part === ')' && depth === 1) {
          tuple.push(piece);
          state = 'tail';
        }
      } else {
        if (part === '?') return undefined;
        tail += part;
      }
      if (part === '(') depth++;
      if (part === ')') depth--;
    }
  }
  // A second tuple, a row alias or RETURNING would not survive the repetition.
  if (state !== 'tail' || tuple.length < 2 || !/^\s*(?:ON\s+DUPLICATE\s+KEY\s+UPDATE\b[^]*)?$/i.test(tail))
    return undefined;
  return { head, table: tableOf(head), tuple, tail };
}

function tableOf(head: string): string | undefined {
  const [, name] =
    /^\s*(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?(?:INTO\s+)?((?:`[^`.]+`|[\w$]+)(?:\s*\.\s*(?:`[^`.]+`|[\w$]+))?)/i.exec(
      head,
    ) ?? [];
  return name?.replace(/[`\s]/g, '');
}
