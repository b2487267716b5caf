/** The contract's `?` as a database's own placeholders. Pure; any thread. */
import { StoreError } from './driver.js';

/** Oracle's q'[...]', literal, quoted name, comment, or `?`. */
const COMMON =
  String.raw`\bn?q'(?:\[[^]*?\]|\([^]*?\)|\{[^]*?\}|<[^]*?>|([^\s[({<])[^]*?\1)'` +
  String.raw`|'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[^]*?\*\/|\?`;
const TOKENS = new RegExp(COMMON, 'gi');
/** Brackets quote names in SQL Server only, which has no q''. */
const TOKENS_WITH_BRACKETS = /'(?:[^']|'')*'|"(?:[^"]|"")*"|\[(?:[^\]]|\]\])*\]|--[^\n]*|\/\*[^]*?\*\/|\?/g;

/**
 * @param place text of the n-th placeholder, n from 1
 * @param count values given. @throws StoreError BIND when the text has more or fewer `?`
 */
export function placeholders(
  sql: string,
  place: (n: number) => string,
  count: number,
  brackets = false,
): string {
  let n = 0;
  const text = sql.replace(brackets ? TOKENS_WITH_BRACKETS : TOKENS, (token) =>
    token === '?' ? place(++n) : token,
  );
  if (n !== count)
    throw new StoreError('BIND', `the statement has ${n} placeholders, but ${count} values were given`);
  return text;
}
