/**
 * What PostgreSQL would do to bulk values without a word, and the contract forbids: it rounds decimals and fractions of seconds, cuts the
 * time off a date and blanks off a text. Such a row ends the bulk. Also writes bytes as PostgreSQL reads them. Works on tab text
 * (protocol/tab-text.ts) as it passes, at about a nanosecond a byte. Any thread.
 */
import { StoreError, type ColumnInfo } from './driver.js';

const TAB = 9;
const LF = 10;
const BACKSLASH = 92;
/** `\\x`: the mark of hexadecimal digits, its backslash escaped. */
const HEX_MARK = Buffer.from('\\\\x');
const MAX_LINE = 64 << 20;

/** @returns the complaint about a value, if there is one. It is not NULL. */
type Rule = (value: string) => string | undefined;

/** Digits behind the point that are not zeros at the end, with the exponent taken in. */
function fractionDigits(value: string): number {
  const [, digits = '', exponent = '0'] = /^[^.eE]*(?:\.(\d*))?(?:[eE]([+-]?\d+))?/.exec(value) ?? [];
  return Math.max(0, digits.replace(/0+$/, '').length - Number(exponent));
}

function ruleOf({ type, kind, length, scale }: ColumnInfo): Rule | undefined {
  if (type === 'numeric' && scale !== undefined && scale >= 0)
    return (value) =>
      fractionDigits(value) > scale ? `it has more than ${scale} digits behind the point` : undefined;
  if (type === 'date')
    return (value) =>
      /^.{10}.*:/.test(value) && /[1-9]/.test(value.slice(10)) ? 'it has a time' : undefined;
  if (kind === 'date') {
    const most = scale ?? 6;
    return (value) =>
      (/\.(\d*)/.exec(value)?.[1] ?? '').replace(/0+$/, '').length > most
        ? `it has more than ${most} digits of a second`
        : undefined;
  }
  if (type === 'varchar' && length !== undefined)
    // Longer ones are refused by the server, except for blanks. An escape is one character.
    return (value) =>
      value.endsWith(' ') && [...value.replace(/\\./gs, '.')].length > length
        ? `it has more than ${length} characters`
        : undefined;
  return undefined;
}

export interface TabColumn {
  readonly info: ColumnInfo;
  /** Given as hexadecimal digits. */
  readonly hex: boolean;
}

/**
 * @returns the chunks, whole lines at a time; the same ones when there is nothing to watch
 * @throws StoreError CONSTRAINT with `row`; BIND for a line without end
 */
export function watched(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  columns: readonly TabColumn[],
): Iterable<Uint8Array> | AsyncIterable<Uint8Array> {
  const rules = columns.map(({ info, hex }) => (hex ? 'hex' : ruleOf(info)));
  return rules.every((rule) => rule === undefined) ? chunks : watch(chunks, columns, rules);
}

async function* watch(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  columns: readonly TabColumn[],
  rules: readonly (Rule | 'hex' | undefined)[],
): AsyncGenerator<Uint8Array> {
  let rest: Uint8Array[] = [];
  let held = 0;
  let row = 0;
  const lines = (bytes: Uint8Array): Uint8Array => {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const pieces: Uint8Array[] = [];
    let sent = 0;
    let start = 0;
    let column = 0;
    for (let at = 0; at <= view.length; at++) {
      const byte = view[at];
      if (byte !== TAB && byte !== LF && at < view.length) continue;
      const rule = rules[column];
      const isNull = at - start === 2 && view[start] === BACKSLASH && view[start + 1] === 78;
      if (rule === 'hex' && !isNull && (at > start || byte !== undefined)) {
        pieces.push(view.subarray(sent, start), HEX_MARK);
        sent = start;
      } else if (typeof rule === 'function' && !isNull && at > start) {
        const complaint = rule(view.toString('utf8', start, at));
        if (complaint !== undefined) {
          const name = columns[column]?.info.name ?? '';
          throw new StoreError('CONSTRAINT', `row ${row + 1}, ${name}: ${complaint}`, { row });
        }
      }
      start = at + 1;
      if (byte === LF) {
        row++;
        column = 0;
      } else column++;
    }
    return pieces.length === 0 ? view : Buffer.concat([...pieces, view.subarray(sent)]);
  };
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(LF) + 1;
    if (end > 0) {
      const whole = chunk.subarray(0, end);
      yield lines(held === 0 ? whole : Buffer.concat([...rest, whole]));
      rest = [];
      held = 0;
    }
    if (end < chunk.length) {
      rest.push(chunk.subarray(end));
      held += chunk.length - end;
      if (held > MAX_LINE)
        throw new StoreError('BIND', `row ${row + 1}: it is longer than ${MAX_LINE} bytes`, { row });
    }
  }
  if (held > 0) yield lines(Buffer.concat(rest));
}
