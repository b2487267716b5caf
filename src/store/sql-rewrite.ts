/**
 * SQL as the reference systems keep it in their tables (spec data-centre 1.8, 11.1) turned into this program's form:
 * `:1 :2` become `?` with a list of what to bind, `%%` becomes `%`, and Oracle's to_char, to_date, sysdate and nvl become
 * what the database at hand understands. Literals, quoted names and comments stay untouched. Pure; any thread.
 */
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

/** Text the rewriter cannot make sense of, or a value that does not fit its format. */
export class SqlRewriteError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SqlRewriteError';
  }
}

const MAX_SQL_CHARS = 10_240;
const MAX_DEPTH = 20;
/** Literal, quoted name, comment, bind, name, or any one character. */
const TOKEN =
  /'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|\/\*[^]*?\*\/|:\d{1,3}(?![\w])|[A-Za-z_][\w$#.]*|\d[\w.]*|[^]/gy;
const PARTS: readonly (readonly [text: string, code: string, width: number])[] = [
  ['yyyy', '%Y', 4],
  ['hh24', '%H', 2],
  ['mm', '%m', 2],
  ['dd', '%d', 2],
  ['mi', '%M', 2],
  ['ss', '%S', 2],
];

/**
 * @param dialect name of the database's dialect; functions are rewritten for `sqlite` and left alone for others.
 * @throws SqlRewriteError when the text is too long or a call is never closed.
 */
export function rewriteSql(sql: string, dialect: string): RewrittenSql {
  if (sql.length > MAX_SQL_CHARS)
    throw new SqlRewriteError(`the SQL is longer than ${MAX_SQL_CHARS} characters`);
  return rewrite(sql.replaceAll('%%', '%'), dialect === 'sqlite', 0);
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

interface Piece {
  sql: string;
  binds: Bind[];
}

function rewrite(text: string, functions: boolean, depth: number): Piece {
  if (depth > MAX_DEPTH) throw new SqlRewriteError('the SQL nests function calls too deep');
  const out: Piece = { sql: '', binds: [] };
  let pos = 0;
  while (pos < text.length) {
    TOKEN.lastIndex = pos;
    const token = TOKEN.exec(text)?.[0] ?? '';
    pos += token.length;
    if (token.length > 1 && token.startsWith(':')) {
      out.binds.push({ number: Number(token.slice(1)) });
      out.sql += '?';
      continue;
    }
    const name = functions && /^[A-Za-z]/.test(token) ? token.toLowerCase() : '';
    if (name === 'sysdate') {
      const [whole, shift] = /^\s*([+-]\s*\d+(?:\.\d+)?(?:\s*\/\s*\d+)*)(?![\w.])/.exec(text.slice(pos)) ?? [
        '',
        '',
      ];
      out.sql += shift
        ? `datetime('now','localtime','${secondsOf(shift)} seconds')`
        : `datetime('now','localtime')`;
      pos += whole.length;
    } else if (
      (name === 'to_char' || name === 'to_date' || name === 'nvl') &&
      /^\s*\(/.test(text.slice(pos))
    ) {
      const call = argumentsAt(text, pos);
      add(out, functionCall(name, call.list, depth));
      pos = call.end;
    } else {
      out.sql += token;
    }
  }
  return out;
}

function functionCall(name: 'to_char' | 'to_date' | 'nvl', list: readonly string[], depth: number): Piece {
  const args = list.map((text) => rewrite(text, true, depth + 1));
  const [value, second] = args;
  if (value === undefined) throw new SqlRewriteError(`${name} without arguments`);
  if (name === 'nvl') return call('ifnull', args);
  const format = /^\s*'((?:[^']|'')*)'\s*$/.exec(second?.sql ?? '')?.[1];
  if (name === 'to_char') {
    if (second === undefined) return { sql: `cast(${value.sql} as text)`, binds: value.binds };
    if (format === undefined || !/yyyy|mm|dd|hh24|mi|ss/i.test(format)) return call('to_char', args);
    return { sql: `strftime('${strftimeFormat(format)}', ${value.sql.trim()})`, binds: value.binds };
  }
  if (format === undefined) return call('to_date', args);
  const [only] = value.binds;
  if (value.sql.trim() === '?' && only !== undefined) return { sql: '?', binds: [{ ...only, format }] };
  const literal = /^\s*'([^']*)'\s*$/.exec(value.sql)?.[1];
  if (literal !== undefined) {
    const time = timeByFormat(literal, format);
    if (time === undefined) throw new SqlRewriteError(`'${literal}' is no time in the form ${format}`);
    return { sql: `'${time}'`, binds: [] };
  }
  return timeFromText(value, format);
}

/** An expression that cuts the parts of a time out of text; SQLite has no function that reads a format. */
function timeFromText(value: Piece, format: string): Piece {
  const at = positions(format);
  const out: Piece = { sql: '(', binds: [] };
  const part = (name: string, before: string, missing: string): void => {
    const place = at.get(name);
    if (before !== '') out.sql += `||'${before}`;
    if (place === undefined) {
      out.sql += before === '' ? `'${missing}'` : `${missing}'`;
      return;
    }
    out.sql += `${before === '' ? '' : `'||`}substr(${value.sql.trim()},${place.start + 1},${place.width})`;
    out.binds.push(...value.binds);
  };
  part('yyyy', '', '2000');
  part('mm', '-', '01');
  part('dd', '-', '01');
  part('hh24', ' ', '00');
  part('mi', ':', '00');
  part('ss', ':', '00');
  out.sql += ')';
  return out;
}

function call(name: string, args: readonly Piece[]): Piece {
  return { sql: `${name}(${args.map((arg) => arg.sql).join(',')})`, binds: args.flatMap((arg) => arg.binds) };
}

function add(out: Piece, piece: Piece): void {
  out.sql += piece.sql;
  out.binds.push(...piece.binds);
}

/** The texts between the commas of a call. @param pos where the blanks before `(` begin. */
function argumentsAt(text: string, pos: number): { list: string[]; end: number } {
  const list: string[] = [];
  let current = '';
  let depth = 0;
  for (let at = text.indexOf('(', pos) + 1; at < text.length;) {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text)?.[0] ?? '';
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

/** `-10/1440` days -> `-600` seconds. */
function secondsOf(shift: string): string {
  const [first = '0', ...divisors] = shift.replace(/\s/g, '').split('/');
  const days = divisors.reduce((value, divisor) => value / Number(divisor), Number(first));
  if (!Number.isFinite(days)) throw new SqlRewriteError(`sysdate${shift}: division by zero`);
  const seconds = Math.round(days * 86_400);
  return seconds < 0 ? String(seconds) : `+${seconds}`;
}

function strftimeFormat(format: string): string {
  let out = format.replaceAll('%', '%%');
  for (const [text, code] of PARTS) out = out.replace(new RegExp(text, 'gi'), code);
  return out;
}

/** Where each part of a time stands in text of this format. */
function positions(format: string): Map<string, { start: number; width: number }> {
  const found = new Map<string, { start: number; width: number }>();
  let start = 0;
  for (let rest = format.toLowerCase(); rest !== '';) {
    const part = PARTS.find(([text]) => rest.startsWith(text));
    if (part !== undefined) found.set(part[0], { start, width: part[2] });
    start += part?.[2] ?? 1;
    rest = rest.slice(part?.[0].length ?? 1);
  }
  return found;
}

/** `yyyy-mm-dd hh24:mi:ss` of a text in the given format, or undefined when it is no time that exists. */
function timeByFormat(text: string, format: string): string | undefined {
  const at = positions(format);
  const length = [...at.values()].reduce((max, place) => Math.max(max, place.start + place.width), 0);
  if (text.length < length) return undefined;
  const part = (name: string, missing: string): string => {
    const place = at.get(name);
    return place === undefined ? missing : text.slice(place.start, place.start + place.width);
  };
  const parts = [
    part('yyyy', '2000'),
    part('mm', '01'),
    part('dd', '01'),
    part('hh24', '00'),
    part('mi', '00'),
    part('ss', '00'),
  ];
  if (!parts.every((digits) => /^\d+$/.test(digits))) return undefined;
  const [year, month, day, hour, minute, second] = parts;
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}`;
  const time = new Date(`${iso}Z`);
  if (Number.isNaN(time.getTime()) || time.toISOString().slice(0, 19) !== iso) return undefined;
  return iso.replace('T', ' ');
}
