/** The sequence of tags of a record, learned from one, by which protocol/rowxml-tab.ts expects the next. Pure; any thread. */

export interface TagSequence {
  /** What stands before the first value, between two values, and behind the last up to the next record. */
  readonly literals: readonly Buffer[];
  /** For each value its column, -1 for one that is not wanted. One less than the literals. */
  readonly columns: readonly number[];
  /** Columns that have no tag. */
  readonly missing: readonly number[];
  /** Line ends in the literals. */
  readonly lines: number;
}

const MAX_RECORD = 65_536;
const PAIR = /(\s*)<([^<>/\s]+)>([^<]*)<\/\2>/y;
const END = /\s*<endl\/>(?:[ \t]*\r?\n)?/y;

/**
 * @param bytes a good record in `[start, end)`, with what follows it up to the next
 * @param index column of each wanted tag
 * @returns undefined when it has anything but pairs of tags with plain values between them
 */
export function learnTags(
  bytes: Buffer,
  start: number,
  end: number,
  index: ReadonlyMap<string, number>,
): TagSequence | undefined {
  if (end - start > MAX_RECORD) return undefined;
  // Bytes as characters: everything else would move the positions.
  const text = bytes.toString('latin1', start, end);
  const literals: string[] = [];
  const columns: number[] = [];
  let behind = '';
  let pos = 0;
  for (;;) {
    PAIR.lastIndex = pos;
    const match = PAIR.exec(text);
    if (match === null) break;
    const [whole, blanks = '', tag = ''] = match;
    literals.push(`${behind}${blanks}<${tag}>`);
    columns.push(index.get(tag) ?? -1);
    behind = `</${tag}>`;
    pos += whole.length;
  }
  END.lastIndex = pos;
  const ending = END.exec(text);
  // A record on the same line as the next has an end that cannot be told from a value's content by its bytes alone.
  if (ending === null || columns.length === 0 || !ending[0].endsWith('\n')) return undefined;
  literals.push(behind + ending[0]);
  const wanted = columns.filter((column) => column >= 0);
  if (new Set(wanted).size !== wanted.length) return undefined;
  return {
    literals: literals.map((literal) => Buffer.from(literal, 'latin1')),
    columns,
    missing: [...index.values()].filter((column) => !wanted.includes(column)),
    lines: literals.join('').split('\n').length - 1,
  };
}
