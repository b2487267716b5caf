/**
 * The flat row XML of the data centre (spec data-centre 7.3, 8.3): `<f>v</f>...<endl/>` one record after the other.
 * Pure; any thread. Written by hand because a general XML parser is several times slower and refuses what the
 * reference systems write (no root, unescaped text, a header before the first record).
 */
// eslint-disable-next-line no-control-regex
const NEEDS_WORK = /[<>&"'\r\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff\ud800-\udfff]/;
const ILLEGAL =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g; // eslint-disable-line no-control-regex
const SPECIAL = /[<>&"'\r]/g;
const ESCAPES: Readonly<Record<string, string>> = {
  '<': '&lt;',
  '>': '&gt;',
  '&': '&amp;',
  '"': '&quot;',
  "'": '&apos;',
  '\r': '&#13;',
};
const NAMED: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

/** Text that is safe inside an element: five characters escaped, what XML 1.0 forbids dropped, CR kept as `&#13;`. */
export function escapeXml(value: string): string {
  if (!NEEDS_WORK.test(value)) return value;
  return value.replace(ILLEGAL, '').replace(SPECIAL, (char) => ESCAPES[char] ?? '');
}

/** Undoes `escapeXml`. An ampersand that starts no known entity stays as it is: the reference never escapes. */
export function unescapeXml(value: string): string {
  if (!value.includes('&')) return value;
  return value.replace(/&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-z]{2,4}));/g, (whole, dec, hex, name) => {
    if (name !== undefined) return NAMED[name as string] ?? whole;
    const code = dec === undefined ? parseInt(hex as string, 16) : Number(dec);
    const legal = code === 9 || code === 10 || code === 13 || (code >= 32 && code <= 0x10ffff);
    return legal && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : whole;
  });
}

/**
 * A function that writes one record line, LF included. Null and undefined become an empty value.
 * @param columns element names in output order; they must be plain identifiers.
 */
export function rowXmlWriter(
  columns: readonly string[],
): (values: readonly (string | number | bigint | null | undefined)[]) => string {
  const open = columns.map((name) => `<${name}>`);
  const close = columns.map((name) => `</${name}>`);
  return (values) => {
    let line = '';
    for (let i = 0; i < open.length; i++) {
      const value = values[i];
      const text =
        value === null || value === undefined
          ? ''
          : typeof value === 'string'
            ? escapeXml(value)
            : String(value);
      line += open[i] + text + close[i];
    }
    return line + '<endl/>\n';
  };
}

export interface BadRecord {
  /** Line of the file on which the record ends, from 1. */
  readonly line: number;
  readonly reason: string;
  /** The record as it stood, cut to `maxRecordChars`. */
  readonly text: string;
}

export interface RowXmlSink {
  /** One value for each column: undefined when its tag is missing, '' when it is empty. The array is yours. */
  row(values: (string | undefined)[], line: number): void;
  bad(record: BadRecord): void;
}

export interface RowXmlLimits {
  /** Longest record in characters; a longer one is reported bad and skipped. Default 65,536. */
  readonly maxRecordChars?: number;
}

const END = '<endl/>';
/** What may follow the last record: blanks, closing tags, comments. */
const TRAILER = /^(?:\s|<\/[^<>]*>|<!--(?:(?!-->)[^])*-->)*$/;
/** What a file without any record may be. */
const EMPTY = /^\s*(?:<\?xml[^<>]*\?>\s*)?<\w+>\s*(?:<\/\w+>\s*)?$/;

/**
 * Reads records from text that arrives in any cuts. Never throws on content. Tags that are no column are ignored,
 * a record ends at `<endl/>` that ends a line or is followed by the next tag.
 */
export class RowXmlReader {
  private readonly open: readonly string[];
  private readonly close: readonly string[];
  private readonly index = new Map<string, number>();
  private readonly maxRecordChars: number;
  private pending = '';
  private line = 1;
  private skipping = false;
  /** A record has been read. */
  private begun = false;

  constructor(
    private readonly columns: readonly string[],
    private readonly sink: RowXmlSink,
    limits: RowXmlLimits = {},
  ) {
    this.open = columns.map((name) => `<${name}>`);
    this.close = columns.map((name) => `</${name}>`);
    columns.forEach((name, i) => this.index.set(name, i));
    this.maxRecordChars = limits.maxRecordChars ?? 65_536;
  }

  push(text: string): void {
    this.consume(this.pending === '' ? text : this.pending + text, false);
  }

  /** The end of the file: what is left must be a whole record or the trailer. */
  end(): void {
    this.consume(this.pending, true);
    const rest = this.pending;
    this.pending = '';
    if (!this.skipping && rest !== '' && !TRAILER.test(rest) && (this.begun || !EMPTY.test(rest))) {
      this.sink.bad({ line: this.line, reason: 'the last record has no <endl/>', text: this.cut(rest) });
    }
    this.skipping = false;
    this.begun = false;
  }

  private consume(text: string, last: boolean): void {
    let start = 0;
    let from = 0;
    // Position of the next ampersand: looked up once for many records, most files have none.
    let ampersand = text.indexOf('&');
    for (;;) {
      const end = text.indexOf(END, from);
      if (end < 0) break;
      const after = this.recordEnd(text, end + END.length, last);
      if (after === 'no') {
        from = end + END.length;
        continue;
      }
      if (after === 'more') break;
      this.line += newlines(text, start, end);
      if (ampersand >= 0 && ampersand < start) ampersand = text.indexOf('&', start);
      if (this.skipping) this.skipping = false;
      else if (end - start > this.maxRecordChars)
        this.tooLong(text.slice(start, start + this.maxRecordChars));
      else this.record(text, start, end, ampersand >= 0 && ampersand < end);
      this.line += newlines(text, end, after);
      start = from = after;
      this.begun = true;
    }
    this.pending = start === 0 ? text : text.slice(start);
    if (this.pending.length > this.maxRecordChars + END.length + 2) this.overflow();
  }

  /** Where the text after `<endl/>` continues, or that this `<endl/>` is inside a value, or not known yet. */
  private recordEnd(text: string, at: number, last: boolean): number | 'no' | 'more' {
    let pos = at;
    let code = text.charCodeAt(pos);
    while (code === 13 || code === 32 || code === 9) code = text.charCodeAt(++pos);
    if (code === 10) return pos + 1;
    if (pos >= text.length) return last ? pos : 'more';
    if (code !== 60) return 'no';
    if (text.charCodeAt(pos + 1) !== 47) return pos + 1 < text.length || last ? pos : 'more';
    const close = text.indexOf('>', pos);
    if (close < 0) return last ? pos : 'more';
    return this.index.has(text.slice(pos + 2, close)) ? 'no' : pos;
  }

  private record(text: string, start: number, end: number, entities: boolean): void {
    const { open, close } = this;
    const values = new Array<string | undefined>(open.length).fill(undefined);
    let pos = start;
    let next = 0;
    while (pos < end) {
      // The expected column almost always comes next; otherwise read the tag's name and look it up.
      let column = next;
      let tag = open[column];
      if (tag === undefined || !text.startsWith(tag, pos)) {
        const lt = text.indexOf('<', pos);
        if (lt < 0 || lt >= end) break;
        const gt = text.indexOf('>', lt);
        if (gt < 0 || gt >= end) return this.reject(text, start, end, 'a tag is not closed with ">"');
        const known = this.index.get(text.slice(lt + 1, gt));
        if (known === undefined) {
          pos = gt + 1;
          continue;
        }
        column = known;
        tag = text.slice(lt, gt + 1);
        pos = lt;
      }
      const from = pos + tag.length;
      const closing = close[column] ?? '';
      const to = text.indexOf(closing, from);
      if (to < 0 || to > end)
        return this.reject(text, start, end, `<${this.columns[column]}> has no closing tag`);
      if (values[column] !== undefined) {
        return this.reject(text, start, end, `<${this.columns[column]}> comes twice; is an <endl/> missing?`);
      }
      const raw = text.slice(from, to);
      values[column] = entities ? unescapeXml(raw) : raw;
      pos = to + closing.length;
      next = column + 1;
    }
    this.sink.row(values, this.line);
  }

  private reject(text: string, start: number, end: number, reason: string): void {
    this.sink.bad({ line: this.line, reason, text: this.cut(text.slice(start, end + END.length)) });
  }

  private overflow(): void {
    const keep = END.length + 2;
    const dropped = this.pending.slice(0, -keep);
    this.line += newlines(dropped, 0, dropped.length);
    if (!this.skipping) this.tooLong(dropped.slice(0, this.maxRecordChars));
    this.skipping = true;
    this.pending = this.pending.slice(-keep);
  }

  private tooLong(text: string): void {
    this.sink.bad({ line: this.line, reason: `record longer than ${this.maxRecordChars} characters`, text });
  }

  private cut(text: string): string {
    return text.length > this.maxRecordChars ? text.slice(0, this.maxRecordChars) : text;
  }
}

function newlines(text: string, start: number, end: number): number {
  let count = 0;
  for (let at = text.indexOf('\n', start); at >= 0 && at < end; at = text.indexOf('\n', at + 1)) count++;
  return count;
}
