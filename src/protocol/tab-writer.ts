/**
 * Values of row XML, as bytes, checked against their column and written as tab text (protocol/tab-text.ts), as bytes: no
 * string is made of a value that is as it should be. Pure; any thread.
 */
import { readDate } from './tab-date.js';
import { readNumber } from './tab-number.js';
import { unescapeXml } from './rowxml.js';

/** `day` is a date without time; `hex` is raw bytes written as hexadecimal digits. */
export type TabKind = 'text' | 'integer' | 'decimal' | 'float' | 'date' | 'day' | 'hex';

export interface TabColumn {
  /** Element name. */
  readonly tag: string;
  readonly kind: TabKind;
  /** Characters (code points) of text, bytes of `hex`, digits of a decimal; undefined: any. */
  readonly length: number | undefined;
  /** Digits behind the point of a decimal; undefined: any. */
  readonly scale: number | undefined;
  readonly nullable: boolean;
}

export interface TabRules {
  /** Encoding of the bytes, a name of the WHATWG list whose ASCII characters are single bytes. Default utf-8. */
  readonly charset?: string;
  /** Characters that belong in no number or time make the value bad; otherwise they are dropped (spec data-centre 8.3). */
  readonly strict?: boolean;
  /** What is too long is cut, decimals too many are rounded; otherwise the value is bad. */
  readonly cut?: boolean;
  /** Texts that mean NULL in a column of numbers or times. */
  readonly nulls?: readonly string[];
}

/** What a byte asks for: 0 copied as it is, 1 the end of a value, 2 some work. */
export const CLASS = new Uint8Array(256).fill(2, 128);
CLASS[60] = 1;
for (const code of [0, 9, 10, 13, 38, 92]) CLASS[code] = 2;

const ENTITY = /^&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-z]{2,4});/;
const DAYS = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/** Where the digits of `yyyy-mm-dd hh:mm:ss` and `yyyymmddhhmmss` stand. */
const SPREAD = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18];
const DENSE = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];
const LOWEST = [0, 0, 0x80, 0x800, 0x10000];
/** A value is never written longer than this times its bytes, plus 32. */
export const GROWTH = 3;

export class TabWriter {
  /** Where values go: room for `GROWTH` times the bytes given, plus 32 for each value, is the caller's duty. */
  out: Buffer = Buffer.alloc(0);
  at = 0;
  /** Position in the file of the first byte of the `bytes` given. */
  base = 0;
  /** What was wrong with the value refused last. */
  reason = '';
  private readonly decoder: InstanceType<typeof TextDecoder> | undefined;
  private readonly charset: string;
  readonly strict: boolean;
  readonly cut: boolean;
  private readonly nulls: ReadonlySet<string>;

  /** @throws RangeError when there is no such encoding, or its ASCII is not of single bytes */
  constructor(rules: TabRules) {
    const decoder = new TextDecoder(rules.charset ?? 'utf-8', { fatal: true, ignoreBOM: true });
    this.charset = decoder.encoding;
    if (/^utf-16|^iso-2022|^replacement/.test(this.charset))
      throw new RangeError(`files in ${this.charset} cannot be read here`);
    this.decoder = this.charset === 'utf-8' ? undefined : decoder;
    this.strict = rules.strict ?? false;
    this.cut = rules.cut ?? false;
    this.nulls = new Set(rules.nulls ?? []);
  }

  /**
   * Appends the value in `bytes[start, end)`. @param plain it holds nothing but bytes of class 0.
   * @returns false when it is bad: `reason` tells why, and what was appended is to be forgotten
   */
  value(column: TabColumn, bytes: Buffer, start: number, end: number, plain: boolean): boolean {
    if (start === end) return this.empty(column, 'is empty');
    switch (column.kind) {
      case 'integer':
      case 'decimal':
      case 'float':
        return this.number(column, column.kind, bytes, start, end);
      case 'date':
        return this.date(column, bytes, start, end);
      case 'day':
        return this.oddDate(column, bytes, start, end);
      case 'hex':
        return this.hex(column, bytes, start, end);
      case 'text':
        return plain ? this.plainText(column, bytes, start, end) : this.oddText(column, bytes, start, end);
    }
  }

  /** Appends NULL, if the column takes it. */
  empty(column: TabColumn, what: string): boolean {
    if (!column.nullable) return this.refuse(`${column.tag} ${what}, and the column must not be NULL`);
    this.out[this.at++] = 92;
    this.out[this.at++] = 78;
    return true;
  }

  private number(
    column: TabColumn,
    kind: 'integer' | 'decimal' | 'float',
    bytes: Buffer,
    start: number,
    end: number,
  ): boolean {
    const { out } = this;
    let { at } = this;
    let pos = start;
    if (bytes[pos] === 45) {
      out[at++] = 45;
      pos++;
    }
    const first = pos;
    let code = 0;
    while (pos < end && (code = bytes[pos]!) >= 48 && code <= 57) {
      out[at++] = code;
      pos++;
    }
    const whole = pos - first;
    let fraction = 0;
    if (pos < end && code === 46) {
      out[at++] = 46;
      const from = ++pos;
      while (pos < end && (code = bytes[pos]!) >= 48 && code <= 57) {
        out[at++] = code;
        pos++;
      }
      fraction = pos - from;
      if (fraction === 0 || kind === 'integer') return this.oddNumber(column, kind, bytes, start, end);
    }
    const { length, scale } = column;
    if (
      pos !== end ||
      whole === 0 ||
      (kind === 'decimal' &&
        scale !== undefined &&
        (fraction > scale || (length !== undefined && whole > length - scale)))
    )
      return this.oddNumber(column, kind, bytes, start, end);
    this.at = at;
    return true;
  }

  private oddNumber(
    column: TabColumn,
    kind: 'integer' | 'decimal' | 'float',
    bytes: Buffer,
    start: number,
    end: number,
  ): boolean {
    const text = unescapeXml(bytes.toString('latin1', start, end));
    if (this.nulls.has(text.trim())) return this.empty(column, `is "${text}"`);
    const { length, scale } = column;
    const read = readNumber(text, { kind, length, scale }, this);
    if ('reason' in read) return this.refuse(`${column.tag} "${shown(text)}" ${read.reason}`);
    if (read.value === undefined) return this.empty(column, 'is empty');
    // An exponent makes more digits than there were characters: up to 999.
    if (read.value.length > GROWTH * (end - start) + 32)
      return this.refuse(`${column.tag} "${shown(text)}" is too large`);
    return this.ascii(read.value);
  }

  private date(column: TabColumn, bytes: Buffer, start: number, end: number): boolean {
    const dense = end - start === 14;
    if (!dense && (end - start !== 19 || bytes[start + 4] !== 45 || bytes[start + 13] !== 58))
      return this.oddDate(column, bytes, start, end);
    const places = dense ? DENSE : SPREAD;
    const { out, at } = this;
    for (let i = 0; i < 14; i++) {
      const digit = bytes[start + places[i]!]! - 48;
      if (digit < 0 || digit > 9) return this.oddDate(column, bytes, start, end);
      out[at + SPREAD[i]!] = digit + 48;
    }
    const two = (place: number): number => (out[at + place]! - 48) * 10 + out[at + place + 1]! - 48;
    const [month, day] = [two(5), two(8)];
    const fine =
      month >= 1 &&
      month <= 12 &&
      day >= 1 &&
      (day <= 28 || (day <= DAYS[month]! && (month !== 2 || leap(two(0) * 100 + two(2))))) &&
      two(11) < 24 &&
      two(14) < 60 &&
      two(17) < 60;
    if (!fine || (!dense && !isSpread(bytes, start))) return this.oddDate(column, bytes, start, end);
    out[at + 4] = out[at + 7] = 45;
    out[at + 10] = 32;
    out[at + 13] = out[at + 16] = 58;
    this.at = at + 19;
    return true;
  }

  private oddDate(column: TabColumn, bytes: Buffer, start: number, end: number): boolean {
    const text = unescapeXml(bytes.toString('latin1', start, end));
    if (text.trim() === '') return this.empty(column, 'is empty');
    if (this.nulls.has(text.trim())) return this.empty(column, `is "${text}"`);
    const read = readDate(text, { dayOnly: column.kind === 'day', strict: this.strict, cut: this.cut });
    if ('reason' in read) return this.refuse(`${column.tag} "${shown(text)}" ${read.reason}`);
    return this.ascii(read.value);
  }

  private hex(column: TabColumn, bytes: Buffer, start: number, end: number): boolean {
    const text = bytes.toString('latin1', start, end);
    if (text.length % 2 === 1 || !/^[0-9A-Fa-f]*$/.test(text))
      return this.refuse(`${column.tag} "${shown(text)}" is not made of pairs of hexadecimal digits`);
    if (column.length !== undefined && text.length > column.length * 2)
      return this.refuse(`${column.tag} has ${text.length / 2} bytes, the column takes ${column.length}`);
    return this.ascii(text);
  }

  private plainText(column: TabColumn, bytes: Buffer, start: number, end: number): boolean {
    if (column.length !== undefined && end - start > column.length) {
      if (!this.cut) return this.tooLong(column, end - start);
      end = start + column.length;
    }
    const { out, at } = this;
    if (end - start > 40) bytes.copy(out, at, start, end);
    else for (let i = start, to = at; i < end; i++) out[to++] = bytes[i]!;
    this.at = at + end - start;
    return true;
  }

  private oddText(column: TabColumn, given: Buffer, start: number, end: number): boolean {
    let bytes = given;
    if (this.decoder !== undefined && !isAscii(given, start, end)) {
      const text = this.decode(given.subarray(start, end));
      if (text === undefined) return this.misencoded(column, given, start, end);
      bytes = Buffer.from(text);
      start = 0;
      end = bytes.length;
    }
    const { out } = this;
    const limit = column.length ?? Infinity;
    let chars = 0;
    for (let pos = start; pos < end; chars++) {
      if (chars >= limit && this.cut) return true;
      const code = bytes[pos]!;
      if (code >= 128) {
        const size = utf8Size(bytes, pos, end);
        if (size === 0) return this.misencoded(column, bytes, pos, end);
        for (const to = pos + size; pos < to; pos++) out[this.at++] = bytes[pos]!;
      } else if (code === 38) {
        const entity = ENTITY.exec(bytes.toString('latin1', pos, Math.min(end, pos + 10)))?.[0];
        const text = entity === undefined ? '&' : unescapeXml(entity);
        // One that is unknown stands for itself: an ampersand, and then the rest of it.
        this.put(text === entity || entity === undefined ? 38 : (text.codePointAt(0) ?? 38));
        pos += text === entity || entity === undefined ? 1 : entity.length;
      } else if (code === 0) {
        return this.refuse(`${column.tag} has a NUL character at byte ${this.base + pos} of the file`);
      } else {
        this.put(code);
        pos++;
      }
    }
    return chars <= limit || this.tooLong(column, chars);
  }

  /** One code point, escaped. */
  private put(code: number): void {
    const { out } = this;
    const escaped = code === 92 ? 92 : code === 9 ? 116 : code === 10 ? 110 : code === 13 ? 114 : 0;
    if (escaped !== 0) {
      out[this.at++] = 92;
      out[this.at++] = escaped;
    } else if (code < 128) out[this.at++] = code;
    else this.at += out.write(String.fromCodePoint(code), this.at);
  }

  private ascii(text: string): true {
    this.at += this.out.write(text, this.at, 'latin1');
    return true;
  }

  private decode(bytes: Buffer): string | undefined {
    try {
      return this.decoder?.decode(bytes);
    } catch {
      return undefined;
    }
  }

  private misencoded(column: TabColumn, bytes: Buffer, start: number, end: number): boolean {
    let bad = start;
    // The shortest beginning that is wrong whatever follows: an unfinished character at its end is not.
    if (this.decoder !== undefined) {
      const stream = new TextDecoder(this.charset, { fatal: true, ignoreBOM: true });
      try {
        for (; bad < end; bad++) stream.decode(bytes.subarray(bad, bad + 1), { stream: true });
        bad = end - 1;
      } catch {
        // `bad` is the byte.
      }
    }
    const hex = (bytes[bad] ?? 0).toString(16).toUpperCase().padStart(2, '0');
    return this.refuse(
      `${column.tag} is no ${this.charset} text at byte ${this.base + bad} of the file (0x${hex})`,
    );
  }

  private tooLong(column: TabColumn, chars: number): boolean {
    return this.refuse(`${column.tag} has ${chars} characters, the column takes ${column.length}`);
  }

  private refuse(reason: string): boolean {
    this.reason = reason;
    return false;
  }
}

/** Bytes of the character that begins here; 0 when it is none (RFC 3629). */
function utf8Size(bytes: Buffer, pos: number, end: number): number {
  const first = bytes[pos]!;
  const size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || pos + size > end) return 0;
  let code = first & (0xff >> (size + 1));
  for (let i = 1; i < size; i++) {
    const next = bytes[pos + i]!;
    if ((next & 0xc0) !== 0x80) return 0;
    code = (code << 6) | (next & 0x3f);
  }
  return code < LOWEST[size]! || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? 0 : size;
}

function isAscii(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i]! >= 128) return false;
  return true;
}

function isSpread(bytes: Buffer, start: number): boolean {
  const between = bytes[start + 10];
  return bytes[start + 7] === 45 && bytes[start + 16] === 58 && (between === 32 || between === 84);
}

function leap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

function shown(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}
