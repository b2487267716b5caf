/**
 * SQL as the reference systems keep it in their tables (spec data-centre 1.8, 11.1) turned into this program's form:
 * `:1 :2` become `?` with a list of what to bind, `%%` becomes `%`, and Oracle's to_char, to_date, sysdate and nvl become
 * what the database at hand understands (sql-rewrite-<database>.ts). Literals, quoted names and comments stay untouched.
 * Pure; any thread.
 */
import { mssqlWords } from './sql-rewrite/mssql.js';
import { mysqlWords } from './sql-rewrite/mysql.js';
import { postgresWords } from './sql-rewrite/postgres.js';
import { sqliteWords } from './sql-rewrite/sqlite.js';
import { SqlRewriteError, timeByFormat } from './sql-rewrite/time.js';

export { SqlRewriteError };

export interface Bind {
  /** Number in the text: 1 for `:1`. */
  readonly number: number;
  /** Set when the value is a time written in this format; `bindValue` turns it into the stored form. */
  readonly format?: string;
}

export interface RewrittenSql {
  readonly sql: string;
  /** One for each `?`, in order. A number may occur several times. */
  readonly binds: readonly Bind[];
}

/** A rewritten part of the text. */
export interface Piece {
  readonly sql: string;
  readonly binds: readonly Bind[];
}

/** How one database says it. `value` and `format` come trimmed, formats in Oracle's words and without quotes. */
export interface Words {
  /** The present time, moved by so many seconds. */
  sysdate(seconds: number | undefined): string;
  /** Function that takes the place of nvl. */
  readonly nvl: string;
  /** A number or anything else as text. */
  text(value: string): string;
  /** A time as text. */
  timeText(value: string, format: string): string;
  /** A time given as `yyyy-mm-dd hh:mi:ss`: a literal with its quotes, or `?`. */
  time(value: string): string;
  /** A time read from any other text. */
  timeFrom(value: Piece, format: string): Piece;
  /** `from dual` is understood. */
  readonly dual: boolean;
  /** A backslash in a literal escapes what follows. */
  readonly backslash?: boolean;
}

/** Oracle has the words already; of a database that is not listed nothing is known. */
const WORDS: Readonly<Record<string, Words>> = {
  sqlite: sqliteWords,
  mysql: mysqlWords,
  postgres: postgresWords,
  mssql: mssqlWords,
};

const MAX_SQL_CHARS = 10_240;
const MAX_DEPTH = 20;
/** Literal, quoted name, comment, bind, name, or any one character. */
const TOKEN =
  /'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|\/\*[^]*?\*\/|:\d{1,3}(?![\w])|[A-Za-z_][\w$#.]*|\d[\w.]*|[^]/gy;
const BACKSLASH_LITERAL = /'(?:[^'\\]|\\[^]|'')*'/gy;
/**
 * @param dialect name of the database's dialect; functions are left alone for Oracle and databases not known here.
 * @throws SqlRewriteError when the text is too long or a call is never closed.
 */
export function rewriteSql(sql: string, dialect: string): RewrittenSql {
  if (sql.length > MAX_SQL_CHARS)
    throw new SqlRewriteError(`the SQL is longer than ${MAX_SQL_CHARS} characters`);
  return rewrite(sql.replaceAll('%%', '%'), WORDS[dialect], 0);
}

/**
 * The value for one bind: an empty or missing one is NULL, as Oracle has it.
 * @throws SqlRewriteError when a time does not follow its format.
 */
export function bindValue(bind: Bind, value: string | undefined): string | null {
  if (value === undefined || value === '') return null;
  if (bind.format === undefined) return value;
  const time = timeByFormat(value, bind.format);
  if (time === undefined)
    throw new SqlRewriteError(`"${value.slice(0, 40)}" is no time in the form ${bind.format}`);
  return time;
}

interface Draft {
  sql: string;
  binds: Bind[];
}

function tokenAt(text: string, pos: number, words: Words | undefined): string {
  const pattern = words?.backslash === true && text[pos] === "'" ? BACKSLASH_LITERAL : TOKEN;
  pattern.lastIndex = pos;
  return pattern.exec(text)?.[0] ?? text[pos] ?? '';
}

function rewrite(text: string, words: Words | undefined, depth: number): Draft {
  if (depth > MAX_DEPTH) throw new SqlRewriteError('the SQL nests function calls too deep');
  const out: Draft = { sql: '', binds: [] };
  let pos = 0;
  while (pos < text.length) {
    const token = tokenAt(text, pos, words);
    pos += token.length;
    if (token.length > 1 && token.startsWith(':')) {
      out.binds.push({ number: Number(token.slice(1)) });
      out.sql += '?';
      continue;
    }
    const name = words !== undefined && /^[A-Za-z]/.test(token) ? token.toLowerCase() : '';
    if (words === undefined || name === '') {
      out.sql += token;
    } else if (name === 'sysdate') {
      const rest = text.slice(pos);
      const [whole, shift] = /^(?:\s*\(\s*\))?(?:\s*([+-]\s*\d+(?:\.\d+)?(?:\s*\/\s*\d+)*)(?![\w.]))?/.exec(
        rest,
      ) ?? [''];
      out.sql += words.sysdate(shift === undefined ? undefined : secondsOf(shift));
      pos += whole.length;
    } else if (name === 'from' && !words.dual && /^\s+dual\b(?!\s*\.)/i.test(text.slice(pos))) {
      pos += /^\s+dual/i.exec(text.slice(pos))?.[0].length ?? 0;
    } else if (
      (name === 'to_char' || name === 'to_date' || name === 'nvl') &&
      /^\s*\(/.test(text.slice(pos))
    ) {
      const call = argumentsAt(text, pos, words);
      add(out, functionCall(name, call.list, words, depth));
      pos = call.end;
    } else {
      out.sql += token;
    }
  }
  return out;
}

function functionCall(
  name: 'to_char' | 'to_date' | 'nvl',
  list: readonly string[],
  words: Words,
  depth: number,
): Piece {
  const args = list.map((text) => rewrite(text, words, depth + 1));
  const [value, second] = args;
  if (value === undefined) throw new SqlRewriteError(`${name} without arguments`);
  if (name === 'nvl') return call(words.nvl, args);
  const plain = value.sql.trim();
  const format = /^\s*'((?:[^']|'')*)'\s*$/.exec(second?.sql ?? '')?.[1];
  if (name === 'to_char') {
    if (second === undefined) return { sql: words.text(plain), binds: value.binds };
    if (format === undefined || !/yyyy|mm|dd|hh24|mi|ss/i.test(format)) return call('to_char', args);
    return { sql: words.timeText(plain, format), binds: value.binds };
  }
  if (format === undefined) return call('to_date', args);
  const [only] = value.binds;
  if (plain === '?' && only !== undefined) return { sql: words.time('?'), binds: [{ ...only, format }] };
  const literal = /^'([^']*)'$/.exec(plain)?.[1];
  if (literal !== undefined) {
    const time = timeByFormat(literal, format);
    if (time === undefined) throw new SqlRewriteError(`'${literal}' is no time in the form ${format}`);
    return { sql: words.time(`'${time}'`), binds: [] };
  }
  return words.timeFrom({ sql: plain, binds: value.binds }, format);
}

function call(name: string, args: readonly Piece[]): Piece {
  return { sql: `${name}(${args.map((arg) => arg.sql).join(',')})`, binds: args.flatMap((arg) => arg.binds) };
}

function add(out: Draft, piece: Piece): void {
  out.sql += piece.sql;
  out.binds.push(...piece.binds);
}

/** The texts between the commas of a call. @param pos where the blanks before `(` begin. */
function argumentsAt(text: string, pos: number, words: Words): { list: string[]; end: number } {
  const list: string[] = [];
  let current = '';
  let depth = 0;
  for (let at = text.indexOf('(', pos) + 1; at < text.length;) {
    const token = tokenAt(text, at, words);
    at += token.length;
    if (depth === 0 && (token === ',' || token === ')')) {
      list.push(current);
      current = '';
      if (token === ')') return { list, end: at };
      continue;
    }
    if (token === '(') depth++;
    if (token === ')') depth--;
    current += token;
  }
  throw new SqlRewriteError('a bracket is not closed');
}

/** `-10/1440` days -> -600 seconds. */
function secondsOf(shift: string): number {
  const [first = '0', ...divisors] = shift.replace(/\s/g, '').split('/');
  const days = divisors.reduce((value, divisor) => value / Number(divisor), Number(first));
  if (!Number.isFinite(days)) throw new SqlRewriteError(`sysdate${shift}: division by zero`);
  return Math.round(days * 86_400);
}
