/**
 * Rows of the text protocol as row XML, byte by byte: what the server sent goes between the tags without ever being a value here. Half
 * the cost of extraction is saved by that. The bytes are those of protocol/rowxml.ts, values as the server prints them.
 */
import type { FieldPacket } from 'mysql2';
import type { SqlRow, SqlValue, XmlBatch, XmlOptions } from '../driver.js';
import { cellReader, columnKind, type CellReader, type WirePacket } from './rows.js';
import type { Collector } from './stream.js';

const NULL_LENGTH = 0xfb;
/** The longest entity is six times its character. */
const GROWTH = 6;
const FIRST_BYTES = 64 * 1024;
/** Wide rows end a batch early. */
const BATCH_BYTES = 4 << 20;
const NOTHING: SqlValue[] = [];
/** The order of bytes in words of this machine. */
const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** Bytes that cannot be copied as they are: markup, CR, controls, and the first byte of U+FFFE and U+FFFF. */
const SPECIAL = new Uint8Array(256);
for (let code = 0; code < 32; code++) SPECIAL[code] = code === 9 || code === 10 ? 0 : 1;
for (const char of '<>&"\'') SPECIAL[char.charCodeAt(0)] = 1;
SPECIAL[0xef] = 1;
const ENTITIES = new Map(
  Object.entries({ '<': '&lt;', '>': '&gt;', '&': '&amp;', '"': '&quot;', "'": '&apos;', '\r': '&#13;' }).map(
    ([char, entity]) => [char.charCodeAt(0), Buffer.from(entity)] as const,
  ),
);

/** Text that stands in every row, in words: written four bytes at a time, which is much faster than one by one. */
interface Constant {
  readonly length: number;
  readonly words: Uint32Array;
}

function constant(text: string): Constant {
  const bytes = Buffer.from(text);
  const words = new Uint32Array(Math.ceil(bytes.length / 4));
  bytes.copy(new Uint8Array(words.buffer));
  return { length: bytes.length, words };
}

const enum Copy {
  /** Digits and times: nothing in them is special. */
  Plain,
  Escaped,
  Hex,
}

export class XmlCollector implements Collector<XmlBatch> {
  private buffer: Buffer<ArrayBuffer>;
  private view: DataView;
  private at = 0;
  private ends: number[] = [];
  private values: SqlRow[] = [];
  private columns = 0;
  private readonly before: readonly Constant[];
  private readonly tagBytes: number;

  constructor(
    private readonly options: XmlOptions,
    private readonly batchRows: number,
  ) {
    const { tags } = options;
    const texts = tags.map((tag, i) => (i === 0 ? '' : `</${tags[i - 1]}>`) + `<${tag}>`);
    this.before = [...texts, `</${tags.at(-1)}><endl/>\n`].map(constant);
    this.buffer = this.memoryOf(FIRST_BYTES);
    this.view = viewOf(this.buffer);
    // Words may reach up to three bytes beyond the text.
    this.tagBytes = this.before.reduce((sum, { length }) => sum + length, 4);
  }

  get rows(): number {
    return this.ends.length;
  }

  begin(fields: readonly FieldPacket[]): (packet: WirePacket) => boolean {
    this.columns = fields.length;
    const kinds = fields.map((field) => {
      const kind = columnKind(field);
      if (kind === 'bytes') return Copy.Hex;
      return (kind === 'text' || kind === 'other') && this.options.escape ? Copy.Escaped : Copy.Plain;
    });
    const wanted = this.options.values;
    const cells = fields.map((field, i) => (wanted.includes(i) ? cellReader(field) : undefined));
    return (packet) => {
      const values: SqlValue[] = wanted.length === 0 ? NOTHING : [];
      this.row(packet, kinds, cells, values);
      this.ends.push(this.at);
      if (wanted.length > 0) this.values.push(values);
      return this.ends.length >= this.batchRows || this.at >= BATCH_BYTES;
    };
  }

  take(): XmlBatch {
    const { at, ends, values, columns } = this;
    const bytes = this.buffer.subarray(0, at);
    // The next batch is mostly as large as this one.
    this.use(this.memoryOf(Math.max(FIRST_BYTES, at + (at >> 4))));
    this.at = 0;
    this.ends = [];
    this.values = [];
    return { columns, bytes, ends, values };
  }

  private row(
    packet: WirePacket,
    kinds: readonly Copy[],
    cells: readonly (CellReader | undefined)[],
    values: SqlValue[],
  ): void {
    const { buffer: from } = packet;
    const { before } = this;
    const { lengths } = this.options;
    this.room((packet.end - packet.offset) * GROWTH + this.tagBytes);
    const to = this.buffer;
    let at = this.at;
    let pos = packet.offset;
    const count = Math.min(kinds.length, before.length - 1);
    for (let i = 0; i < count; i++) {
      at = this.put(before[i] as Constant, at);
      let length = from[pos++] as number;
      if (length >= NULL_LENGTH) {
        if (length === NULL_LENGTH) {
          if (cells[i] !== undefined) values.push(null);
          continue;
        }
        const width = length === 0xfc ? 2 : length === 0xfd ? 3 : 6;
        length = from.readUIntLE(pos, width);
        pos += width === 6 ? 8 : width;
      }
      const next = pos + length;
      const cell = cells[i];
      if (cell !== undefined) values.push(cell(from, pos, next));
      const limit = lengths[i];
      const end =
        limit === undefined || length <= limit ? next : cutAt(from, pos, next, limit, kinds[i] === Copy.Hex);
      if (kinds[i] === Copy.Plain) while (pos < end) to[at++] = from[pos++] as number;
      else if (kinds[i] === Copy.Escaped) at = escaped(from, pos, end, to, at);
      else at += to.write(hex(from, pos, end, limit), at, 'latin1');
      pos = next;
    }
    this.at = this.put(before[count] as Constant, at);
  }

  private put({ length, words }: Constant, at: number): number {
    const { view } = this;
    for (let n = 0, to = at; n < words.length; n++, to += 4) view.setUint32(to, words[n] as number, LITTLE);
    return at + length;
  }

  private use(buffer: Buffer<ArrayBuffer>): void {
    this.buffer = buffer;
    this.view = viewOf(buffer);
  }

  private room(bytes: number): void {
    const needed = this.at + bytes;
    if (needed <= this.buffer.length) return;
    const { buffer } = this;
    const larger = this.memoryOf(Math.max(needed, buffer.length * 2));
    buffer.copy(larger, 0, 0, this.at);
    this.use(larger);
    this.options.memory?.give(buffer.buffer);
  }

  private memoryOf(bytes: number): Buffer<ArrayBuffer> {
    const { memory } = this.options;
    return memory === undefined ? Buffer.allocUnsafeSlow(bytes) : Buffer.from(memory.take(bytes));
  }
}

function viewOf({ buffer, byteOffset, byteLength }: Buffer<ArrayBuffer>): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/** Behind `limit` characters: a byte 10xxxxxx goes on with the character before it. */
function cutAt(from: Buffer, start: number, end: number, limit: number, raw: boolean): number {
  if (raw) return end;
  let characters = 0;
  for (let pos = start; pos < end; pos++) {
    if (((from[pos] as number) & 0xc0) !== 0x80 && ++characters > limit) return pos;
  }
  return end;
}

function escaped(from: Buffer, start: number, end: number, to: Buffer, at: number): number {
  for (let pos = start; pos < end; pos++) {
    const code = from[pos] as number;
    if (SPECIAL[code] === 0) {
      to[at++] = code;
      continue;
    }
    if (code === 0xef) {
      // U+FFFE and U+FFFF are EF BF BE and EF BF BF; other characters begin with EF too.
      if (from[pos + 1] === 0xbf && (from[pos + 2] as number) >= 0xbe) pos += 2;
      else to[at++] = code;
      continue;
    }
    const entity = ENTITIES.get(code);
    if (entity !== undefined) at += entity.copy(to, at);
  }
  return at;
}

function hex(from: Buffer, start: number, end: number, limit: number | undefined): string {
  return from.subarray(start, end).toString('hex').slice(0, limit);
}
