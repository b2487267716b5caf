/** Tab text cut anywhere (protocol/tab-text.ts) as batches of rows, for databases that cannot read it themselves. Any thread. */
import { readTabLine } from '../protocol/tab-text.js';
import { StoreError } from './driver.js';

export type TabRow = (string | null)[];

export interface TabBatch {
  /** Index of the first row in the whole. */
  readonly first: number;
  readonly rows: readonly TabRow[];
}

export interface TabLimits {
  /** Rows in one batch at most. */
  readonly rows: number;
  /** A batch ends early at about so many characters. */
  readonly chars: number;
}

/** One line; longer ones are refused, so that a file without line ends does not fill the memory. */
const MAX_LINE_CHARS = 64 << 20;

/**
 * @param width values of each row. @throws StoreError BIND, with `row`, for a row of another width, a wrong escape, a line without end
 * or text that is not UTF-8
 */
export async function* tabBatches(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  width: number,
  limits: TabLimits,
): AsyncGenerator<TabBatch> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let rest = '';
  let rows: TabRow[] = [];
  let first = 0;
  let chars = 0;
  const bad = (text: string): StoreError =>
    new StoreError('BIND', `row ${first + rows.length + 1}: ${text}`, { row: first + rows.length });
  const decode = (chunk?: Uint8Array): string => {
    try {
      return chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
    } catch {
      throw bad('it is not valid UTF-8');
    }
  };
  const take = (line: string): void => {
    let row: TabRow;
    try {
      row = readTabLine(line);
    } catch (error) {
      throw bad((error as Error).message);
    }
    if (row.length !== width) throw bad(`it has ${row.length} values instead of ${width}`);
    rows.push(row);
    chars += line.length;
  };
  const flush = (): TabBatch => {
    const batch = { first, rows };
    first += rows.length;
    rows = [];
    chars = 0;
    return batch;
  };
  for await (const chunk of chunks) {
    const text = rest + decode(chunk);
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      take(text.slice(start, end));
      start = end + 1;
      if (rows.length >= limits.rows || chars >= limits.chars) yield flush();
    }
    rest = text.slice(start);
    if (rest.length > MAX_LINE_CHARS) throw bad(`it is longer than ${MAX_LINE_CHARS} characters`);
  }
  rest += decode();
  if (rest !== '') take(rest);
  if (rows.length > 0) yield flush();
}
