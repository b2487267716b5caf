/**
 * The contract's `?` as PostgreSQL's `$1`, outside literals, quoted names and comments. PostgreSQL has operators with a question mark
 * (jsonb's `?`, `?|`, `?&`): there it is doubled, `??`. Pure; any thread.
 */
import { StoreError } from '../driver.js';

export interface WireSql {
  readonly text: string;
  /** Values it needs. */
  readonly count: number;
}

/** Literal with or without backslash escapes, dollar-quoted literal, quoted name, comment, `??`, `?`, or anything else. */
const TOKEN =
  /\b[eE]'(?:[^'\\]|\\[^]|'')*'?|'(?:[^']|'')*'?|"(?:[^"]|"")*"?|(?<![\w$])\$([A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$[^]*?\$\1\$|--[^\n]*|\/\*|\?\??|[^'"?$/eE-]+|[^]/gy;
const COMMENT_MARK = /\/\*|\*\//g;
const MAX_KNOWN = 256;
const known = new Map<string, WireSql>();

/** @throws StoreError SYNTAX */
export function wireSql(sql: string): WireSql {
  const before = known.get(sql);
  if (before !== undefined) return before;
  if (sql.includes('\0')) throw new StoreError('SYNTAX', 'the statement holds a NUL character');
  const made = sql.includes('?') ? rewrite(sql) : { text: sql, count: 0 };
  // The oldest goes first; a program has few statements and uses them often.
  if (known.size >= MAX_KNOWN) for (const oldest of known.keys()) if (known.delete(oldest)) break;
  known.set(sql, made);
  return made;
}

function rewrite(sql: string): WireSql {
  let text = '';
  let count = 0;
  for (let at = 0; at < sql.length;) {
    TOKEN.lastIndex = at;
    let token = TOKEN.exec(sql)?.[0] ?? sql.slice(at);
    if (token === '/*') token = sql.slice(at, endOfComment(sql, at));
    at += token.length;
    if (token === '?') text += `$${++count}`;
    else text += token === '??' ? '?' : token;
  }
  return { text, count };
}

/** Comments nest here, other than in other databases. */
function endOfComment(sql: string, start: number): number {
  let depth = 0;
  COMMENT_MARK.lastIndex = start;
  for (let mark = COMMENT_MARK.exec(sql); mark !== null; mark = COMMENT_MARK.exec(sql)) {
    depth += mark[0] === '/*' ? 1 : -1;
    if (depth === 0) return COMMENT_MARK.lastIndex;
  }
  return sql.length;
}

const WRITES =
  /^(?:\s|--[^\n]*\n|\/\*[^]*?\*\/)*(?:insert|update|delete|create|drop|alter|truncate|grant|revoke|copy)\b/i;

/** True for a statement that certainly has no rows to give. */
export function returnsNothing(sql: string): boolean {
  return WRITES.test(sql) && !/\breturning\b/i.test(sql);
}

/** True for an INSERT of one row to which ` ON CONFLICT DO NOTHING` may be added at the end. */
export function isPlainInsert(sql: string): boolean {
  return (
    /^\s*insert\s+into\b[^;]*\bvalues\s*\([^;]*\)\s*$/i.test(sql) &&
    !/\b(?:conflict|returning|select)\b|--/i.test(sql)
  );
}
