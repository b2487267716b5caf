/**
 * Row XML to tab text, bytes to bytes: the way of a loaded file. Reads the same records as protocol/rowxml.ts, but learns the
 * sequence of tags of a file and then only compares bytes: millions of rows a second in one thread. Pure; any thread.
 */
import { CLASS, GROWTH, TabWriter, type TabColumn, type TabRules } from './tab-writer.js';
import { learnTags, type TagSequence } from './rowxml-tags.js';

export interface BadBytes {
  /** Line of the file on which the record ends, from 1. */
  readonly line: number;
  readonly reason: string;
  /** The whole record, `<endl/>` included, in the encoding of the file; a copy. */
  readonly record: Buffer;
}

export interface RowXmlTabOptions extends TabRules {
  /** A longer record is a `fault` of the file. Default 1 MB. */
  readonly maxRecordBytes?: number;
  /** Remembers of each good row where it came from: see `takeTrace`. */
  readonly trace?: boolean;
}

/** Where a good row came from. */
export interface TracedRow {
  readonly line: number;
  readonly record: Buffer;
}

const END = Buffer.from('<endl/>');
const OUT_BYTES = 256 << 10;
/** Memory for joining pieces that is kept from file to file. */
const MAX_JOINED = 2 << 20;
const DEFAULT_MAX_RECORD = 1 << 20;
/** What may follow the last record: blanks, closing tags, comments. */
const TRAILER = /^(?:\s|<\/[^<>]*>|<!--(?:(?!-->)[^])*-->)*$/;
/** What a file without any record may be. */
const EMPTY = /^\s*(?:<\?xml[^<>]*\?>\s*)?<\w+>\s*(?:<\/\w+>\s*)?$/;

/**
 * One file after the other. `push` its bytes in any cuts, then `end`; both return finished pieces of tab text, whole lines
 * each, one line for each good row: the columns in their order, then `tail`.
 */
export class RowXmlTab {
  /** Good rows of the present file. */
  rows = 0;
  /** Why the rest of the file cannot be read; it is to be looked at after each call. */
  fault: string | undefined;
  /** Tab text behind the columns of every row: `\t` and a value, for each. */
  tail: Buffer = Buffer.alloc(0);
  /** The file began with `<data>` or the like and that was never closed: it may have been cut off between two records. */
  unclosed = false;

  private readonly writer: TabWriter;
  private readonly index = new Map<string, number>();
  private readonly open: readonly Buffer[];
  private readonly close: readonly Buffer[];
  private readonly maxRecord: number;
  /** Where the values of the present record are: start, end; start -1 when its tag is missing. */
  private readonly spans: Int32Array;
  private readonly odd: Uint8Array;
  private pieces: Buffer[] = [];
  private trace: TracedRow[] = [];
  private pending = Buffer.alloc(0);
  /** What was pending and the bytes after it, used again and again. */
  private joined: Buffer = Buffer.alloc(0);
  private line = 1;
  private tags: TagSequence | undefined;
  private root: string | undefined;

  /** @param bad called for each bad record, in the middle of `push`. @throws RangeError for an encoding that cannot be read */
  constructor(
    private readonly columns: readonly TabColumn[],
    private readonly bad: (record: BadBytes) => void,
    private readonly options: RowXmlTabOptions = {},
  ) {
    this.writer = new TabWriter(options);
    this.open = columns.map(({ tag }) => Buffer.from(`<${tag}>`));
    this.close = columns.map(({ tag }) => Buffer.from(`</${tag}>`));
    columns.forEach(({ tag }, i) => this.index.set(tag, i));
    this.spans = new Int32Array(columns.length * 2);
    this.odd = new Uint8Array(columns.length);
    this.maxRecord = options.maxRecordBytes ?? DEFAULT_MAX_RECORD;
  }

  /** Forgets the present file, but not the sequence of its tags: the next one will be alike. */
  reset(): void {
    this.rows = 0;
    this.fault = undefined;
    this.unclosed = false;
    this.root = undefined;
    this.pieces = [];
    this.trace = [];
    this.pending = Buffer.alloc(0);
    if (this.joined.length > MAX_JOINED) this.joined = Buffer.alloc(0);
    this.line = 1;
    this.writer.base = 0;
    this.writer.at = 0;
  }

  /** @param bytes not kept, and not to be changed while the call lasts */
  push(bytes: Buffer): Buffer[] {
    if (this.fault !== undefined) return [];
    this.consume(this.pending.length === 0 ? bytes : this.join(bytes), false);
    return this.take();
  }

  /** The end of the file: what is left must be a whole record or the trailer. */
  end(): Buffer[] {
    if (this.fault !== undefined) return [];
    this.consume(this.pending, true);
    const rest = this.pending;
    const text = rest.toString('latin1');
    if (rest.length > 0 && !TRAILER.test(text) && !(this.writer.base === 0 && EMPTY.test(text)))
      this.bad({ line: this.line, reason: 'the last record has no <endl/>', record: rest });
    if (this.writer.base === 0) this.root = /<(\w+)>\s*$/.exec(text)?.[1];
    this.unclosed = this.root !== undefined && !text.includes(`</${this.root}>`);
    this.pending = Buffer.alloc(0);
    this.flush();
    return this.take();
  }

  /** Where the rows came from since the last call, in their order; with `trace` alone. */
  takeTrace(): TracedRow[] {
    const { trace } = this;
    this.trace = [];
    return trace;
  }

  private join(bytes: Buffer): Buffer {
    const { pending } = this;
    const length = pending.length + bytes.length;
    if (length > this.joined.length) this.joined = Buffer.allocUnsafeSlow(length + (length >> 3));
    pending.copy(this.joined);
    bytes.copy(this.joined, pending.length);
    return this.joined.subarray(0, length);
  }

  private take(): Buffer[] {
    const { pieces } = this;
    this.pieces = [];
    return pieces;
  }

  private consume(bytes: Buffer, last: boolean): void {
    let start = 0;
    while (start < bytes.length) {
      const after = this.fast(bytes, start);
      if (after < 0) {
        const next = this.slow(bytes, start, last);
        if (next < 0) break;
        start = next;
      } else {
        this.emit(bytes, start, after);
        start = after;
      }
    }
    this.writer.base += start;
    // A copy: the bytes are the caller's, and one record would keep all of them in memory.
    this.pending = Buffer.from(bytes.subarray(start));
    if (this.pending.length > this.maxRecord + END.length) this.overlong();
  }

  /** The record at `start` if it has the expected tags. @returns where the next one begins; -1: look more closely */
  private fast(bytes: Buffer, start: number): number {
    const { tags, spans, odd } = this;
    let lines = 0;
    if (tags === undefined) return -1;
    const { literals, columns } = tags;
    const { length } = bytes;
    let pos = start;
    for (let n = 0; ; n++) {
      const literal = literals[n]!;
      const size = literal.length;
      if (pos + size > length) return -1;
      for (let i = 0; i < size; i++) if (bytes[pos + i] !== literal[i]) return -1;
      pos += size;
      const column = columns[n];
      if (column === undefined) break;
      const from = pos;
      let found = 0;
      for (; pos < length; pos++) {
        const kind = CLASS[bytes[pos]!]!;
        if (kind === 1) break;
        found |= kind;
      }
      if (column >= 0) {
        spans[column * 2] = from;
        spans[column * 2 + 1] = pos;
        odd[column] = found;
      }
      if (found !== 0) lines += newlines(bytes, from, pos);
    }
    if (pos - start > this.maxRecord) return -1;
    for (const column of tags.missing) spans[column * 2] = -1;
    this.line += lines + tags.lines;
    return pos;
  }

  /** Any record at all. @returns where the next one begins; -1 when this one has no end yet, or there is a fault */
  private slow(bytes: Buffer, start: number, last: boolean): number {
    let end = bytes.indexOf(END, start);
    let after = -1;
    for (; end >= 0; end = bytes.indexOf(END, end + END.length)) {
      after = this.recordEnd(bytes, end + END.length, last);
      if (after !== INSIDE) break;
    }
    if (end < 0 || after === MORE) return -1;
    if (end - start > this.maxRecord) {
      this.overlong();
      return -1;
    }
    this.line += newlines(bytes, start, end);
    this.learnRoot(bytes, start, end);
    const reason = this.scan(bytes, start, end);
    if (reason !== undefined) this.refuse(bytes, start, end + END.length, reason);
    else {
      this.emit(bytes, start, end + END.length);
      this.tags = learnTags(bytes, start, after, this.index);
    }
    this.line += newlines(bytes, end, after);
    return after;
  }

  /** Where the bytes after `<endl/>` continue, or that it is inside a value, or that this is not known yet. */
  private recordEnd(bytes: Buffer, at: number, last: boolean): number {
    let pos = at;
    let code = bytes[pos];
    while (code === 13 || code === 32 || code === 9) code = bytes[++pos];
    if (code === 10) return pos + 1;
    if (code === undefined) return last ? pos : MORE;
    if (code !== 60) return INSIDE;
    if (bytes[pos + 1] !== 47) return pos + 1 < bytes.length || last ? pos : MORE;
    const close = bytes.indexOf(62, pos);
    if (close < 0) return last ? pos : MORE;
    return this.index.has(bytes.toString('latin1', pos + 2, close)) ? INSIDE : pos;
  }

  /** Finds the values of a record. @returns what is wrong with it */
  private scan(bytes: Buffer, start: number, end: number): string | undefined {
    const { spans, odd, open, close } = this;
    // A view, so that no search leaves the record.
    const record = bytes.subarray(start, end);
    for (let i = 0; i < spans.length; i += 2) spans[i] = -1;
    for (let pos = 0; ;) {
      const lt = record.indexOf(60, pos);
      if (lt < 0) return undefined;
      const gt = record.indexOf(62, lt);
      if (gt < 0) return 'a tag is not closed with ">"';
      const column = this.index.get(record.toString('latin1', lt + 1, gt));
      if (column === undefined) {
        pos = gt + 1;
        continue;
      }
      const { tag } = this.columns[column]!;
      const from = lt + open[column]!.length;
      const to = record.indexOf(close[column]!, from);
      if (to < 0) return `<${tag}> has no closing tag`;
      if (spans[column * 2] !== -1) return `<${tag}> comes twice; is an <endl/> missing?`;
      spans[column * 2] = start + from;
      spans[column * 2 + 1] = start + to;
      odd[column] = 1;
      pos = to + close[column]!.length;
    }
  }

  /** Writes the line of the record whose values were found. */
  private emit(bytes: Buffer, start: number, end: number): void {
    const { writer, columns, spans, odd, tail } = this;
    const most = (end - start) * GROWTH + columns.length * 33 + tail.length + 1;
    if (writer.at + most > writer.out.length) {
      this.flush();
      writer.out = Buffer.allocUnsafeSlow(Math.max(OUT_BYTES, most));
    }
    const before = writer.at;
    for (let i = 0; i < columns.length; i++) {
      if (i > 0) writer.out[writer.at++] = 9;
      const from = spans[i * 2]!;
      const good =
        from < 0
          ? writer.empty(columns[i]!, 'is missing')
          : writer.value(columns[i]!, bytes, from, spans[i * 2 + 1]!, odd[i] === 0);
      if (good) continue;
      writer.at = before;
      this.refuse(bytes, start, end, writer.reason);
      return;
    }
    if (tail.length > 0) {
      tail.copy(writer.out, writer.at);
      writer.at += tail.length;
    }
    writer.out[writer.at++] = 10;
    this.rows++;
    if (this.options.trace)
      this.trace.push({ line: this.recordLine(bytes, end), record: copy(bytes, start, end) });
  }

  private refuse(bytes: Buffer, start: number, end: number, reason: string): void {
    this.bad({ line: this.recordLine(bytes, end), reason, record: copy(bytes, start, end) });
  }

  /** The fast way has counted the line's own end already. */
  private recordLine(bytes: Buffer, end: number): number {
    return bytes[end - 1] === 10 ? this.line - 1 : this.line;
  }

  private learnRoot(bytes: Buffer, start: number, end: number): void {
    if (start > 0 || this.writer.base > 0) return;
    const head = bytes.toString('latin1', start, Math.min(end, start + 500));
    const name = /^\s*(?:<\?xml[^<>]*\?>\s*)?(?:<!--[^]*?-->\s*)*<(\w+)>\s*</.exec(head)?.[1];
    this.root = name === undefined || this.index.has(name) ? undefined : name;
  }

  private overlong(): void {
    this.fault = `its record at line ${this.line} is longer than ${this.maxRecord} bytes`;
  }

  /** What is written so far becomes a piece. The rest of the memory takes the next ones. */
  private flush(): void {
    const { writer } = this;
    if (writer.at === 0) return;
    this.pieces.push(writer.out.subarray(0, writer.at));
    writer.out = writer.out.subarray(writer.at);
    writer.at = 0;
  }
}

const INSIDE = -2;
const MORE = -1;

/** Without the line end, which is no part of a record. */
function copy(bytes: Buffer, start: number, end: number): Buffer {
  while (end > start && (bytes[end - 1] === 10 || bytes[end - 1] === 13)) end--;
  return Buffer.from(bytes.subarray(start, end));
}

function newlines(bytes: Buffer, start: number, end: number): number {
  let count = 0;
  for (let at = bytes.indexOf(10, start); at >= 0 && at < end; at = bytes.indexOf(10, at + 1)) count++;
  return count;
}
