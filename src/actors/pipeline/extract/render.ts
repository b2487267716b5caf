/** Rows as the bytes of a file (spec data-centre 7.3). Pure; any thread. */
import iconv from 'iconv-lite';
import { escapeXml } from '../../../protocol/rowxml.js';
import type { SqlRow } from '../../../store/driver.js';

export interface RenderSpec {
  readonly fields: readonly string[];
  /** Longest value of each field in characters; undefined: not cut. */
  readonly lengths: readonly (number | undefined)[];
  /** Fields written as yyyymmddhh24miss. */
  readonly timeFields: ReadonlySet<string>;
  readonly escape: boolean;
}

/** The lines of the rows [from, to). */
export type Renderer = (rows: readonly SqlRow[], from: number, to: number) => string;

/** NULL is an empty value, raw bytes are hexadecimal digits. */
export function rowRenderer(spec: RenderSpec): Renderer {
  const { fields, lengths, escape } = spec;
  const before = fields.map((name, i) => (i === 0 ? '' : `</${fields[i - 1]}>`) + `<${name}>`);
  const end = `</${fields[fields.length - 1]}><endl/>\n`;
  const times = fields.map((name) => spec.timeFields.has(name));
  const width = fields.length;
  // Most extractions neither cut nor rewrite anything: then a number is just appended.
  const plain = fields.map((_, i) => lengths[i] === undefined && !times[i]);
  return (rows, from, to) => {
    let text = '';
    for (let r = from; r < to; r++) {
      const row = rows[r] ?? [];
      for (let i = 0; i < width; i++) {
        const value = row[i];
        text += before[i];
        if (value === null || value === undefined) continue;
        if (plain[i] && typeof value !== 'object') {
          text += typeof value === 'string' && escape ? escapeXml(value) : value;
          continue;
        }
        let shaped = typeof value === 'object' ? Buffer.from(value).toString('hex') : String(value);
        if (times[i]) shaped = timeText(shaped);
        const length = lengths[i];
        if (length !== undefined && shaped.length > length) shaped = cut(shaped, length);
        text += escape && typeof value === 'string' ? escapeXml(shaped) : shaped;
      }
      text += end;
    }
    return text;
  };
}

/** Never half a character (spec data-centre D17). */
function cut(text: string, length: number): string {
  let units = 0;
  for (let n = 0; n < length && units < text.length; n++) {
    const code = text.charCodeAt(units);
    units += code >= 0xd800 && code < 0xdc00 && units + 1 < text.length ? 2 : 1;
  }
  return text.slice(0, units);
}

/** The digits of a time to the second; text that holds fewer than a day's eight stays as it is. */
function timeText(text: string): string {
  const digits = text.replace(/[.,].*$|(?<=:\d\d)\s*(?:Z|[+-]\d\d:?\d\d)$/g, '').replace(/\D/g, '');
  return digits.length < 8 ? text : digits.slice(0, 14).padEnd(14, '0');
}

/** What the reference systems call encodings (spec data-centre 1.8). */
const NAMES: Readonly<Record<string, string>> = {
  al32utf8: 'utf-8',
  utf8mb4: 'utf-8',
  utf8mb3: 'utf-8',
  utf8: 'utf-8',
  'utf-8': 'utf-8',
  zhs16gbk: 'gbk',
  zhs32gb18030: 'gb18030',
};

/**
 * Text to bytes. A character that the encoding lacks becomes a numeric entity, or `?` when nothing is to be escaped.
 * @param name also in Oracle's form `Simplified Chinese_China.ZHS16GBK`
 * @throws RangeError for an encoding that is unknown, or in which markup is not ASCII
 */
export function encoderOf(
  name: string,
  escape: boolean,
): { readonly encode: (text: string) => Buffer; readonly utf8: boolean } {
  const short = name
    .slice(name.lastIndexOf('.') + 1)
    .trim()
    .toLowerCase();
  const charset = NAMES[short] ?? short;
  if (charset === 'utf-8') return { encode: (text) => Buffer.from(text, 'utf8'), utf8: true };
  if (!iconv.encodingExists(charset)) throw new RangeError(`charset: "${name}" is no encoding known here`);
  if (iconv.encode('<a>', charset).toString('latin1') !== '<a>') {
    throw new RangeError(`charset: the files cannot be written in "${name}", its markup is not ASCII`);
  }
  const has = (char: string): boolean => iconv.decode(iconv.encode(char, charset), charset) === char;
  const encode = (text: string): Buffer => {
    const bytes = iconv.encode(text, charset);
    if (!escape || iconv.decode(bytes, charset) === text) return bytes;
    const entities = text.replace(/[^\0-\x7f]/gu, (char) => (has(char) ? char : `&#${char.codePointAt(0)};`));
    return iconv.encode(entities, charset);
  };
  return { encode, utf8: false };
}
