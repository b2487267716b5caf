/**
 * What the server would do to bulk values without a warning, and the contract forbids: 1.5 becomes 2 in a column of integers, and a
 * fraction of a second is cut or rounded to the digits of its column. Looks at tab text (protocol/tab-text.ts) as it passes; text
 * without a point or an exponent costs next to nothing. Any thread.
 */
import { StoreError, type ColumnInfo } from '../driver.js';

const TAB = 9;
const LF = 10;
const POINT = 46;
const UPPER_E = 69;
const LOWER_E = 101;
const MAX_LINE = 64 << 20;

/** @returns the complaint about a value that holds a point or an exponent */
type Rule = (value: string) => string | undefined;

function ruleOf({ type, kind, scale }: ColumnInfo): Rule | undefined {
  if (kind === 'integer')
    // What is no number at all is left to the server to refuse.
    return (value) =>
      Number.isNaN(Number(value)) || Number.isInteger(Number(value)) ? undefined : 'it is no whole number';
  if ((kind === 'date' || type === 'time') && scale !== undefined)
    return (value) =>
      (/\.(\d*)/.exec(value)?.[1] ?? '').replace(/0+$/, '').length > scale
        ? `it has more than ${scale} digits of a second`
        : undefined;
  return undefined;
}

/**
 * @param columns of each value of a row; undefined: not known or not to be looked at
 * @returns the same chunks; ends with StoreError CONSTRAINT with `row`, BIND for a line without end
 */
export async function* watched(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  columns: readonly (ColumnInfo | undefined)[],
): AsyncGenerator<Uint8Array> {
  const rules = columns.map((info) => (info === undefined ? undefined : ruleOf(info)));
  let rest: Buffer = Buffer.alloc(0);
  let row = 0;
  const look = (view: Buffer): void => {
    if (!view.includes(POINT) && !view.includes(LOWER_E) && !view.includes(UPPER_E)) {
      for (let at = view.indexOf(LF); at >= 0; at = view.indexOf(LF, at + 1)) row++;
      return;
    }
    let start = 0;
    let column = 0;
    let marked = false;
    for (let at = 0; at <= view.length; at++) {
      const byte = view[at];
      if (byte === POINT || byte === LOWER_E || byte === UPPER_E) marked = true;
      if (byte !== TAB && byte !== LF && at < view.length) continue;
      if (marked) {
        const complaint = rules[column]?.(view.toString('latin1', start, at));
        if (complaint !== undefined) {
          const name = columns[column]?.name ?? '';
          throw new StoreError('CONSTRAINT', `row ${row + 1}, ${name}: ${complaint}`, { row });
        }
        marked = false;
      }
      start = at + 1;
      column++;
      if (byte === LF) {
        row++;
        column = 0;
      }
    }
  };
  for await (const chunk of chunks) {
    const view = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const end = view.lastIndexOf(LF) + 1;
    if (end > 0) {
      look(rest.length === 0 ? view.subarray(0, end) : Buffer.concat([rest, view.subarray(0, end)]));
      rest = Buffer.from(view.subarray(end));
    } else if (view.length > 0) {
      rest = Buffer.concat([rest, view]);
      if (rest.length > MAX_LINE)
        throw new StoreError('BIND', `row ${row + 1}: it is longer than ${MAX_LINE} bytes`, { row });
    }
    yield chunk;
  }
  look(rest);
}
