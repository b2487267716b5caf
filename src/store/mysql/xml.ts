/**
 * Rows as row XML: what the server sent goes between the tags without ever being a value here, nor a packet of the client library. The
 * work is done by xml-rows.as.ts; here are its memory and the batches. The bytes are those of protocol/rowxml.ts, values as the server
 * prints them, whether it does so or leaves numbers and times to us.
 */
import type { FieldPacket } from 'mysql2';
import { StoreError, type SqlRow, type SqlValue, type XmlBatch, type XmlOptions } from '../driver.js';
import { cellReader, type CellReader, type WireBuffer, type WirePacket } from './rows.js';
import type { WireReader } from './row-tap.js';
import type { Collector } from './stream.js';
import { instantiate, Why, type XmlCode } from './xml-code.js';
import { binaryKind, Kind, suitsBinary, textKind } from './xml-kinds.js';

/** Wide rows end a batch early. */
const BATCH_BYTES = 4 << 20;
/** What the input has room for at first: what comes at once from a socket is a third of it. */
const FIRST_INPUT = 192 * 1024;
/** What the output has room for beside a full batch: a row that is not measured first. */
const ROW_BYTES = 6 * 0x10000;
/** Copies read and write so much too far. */
const SLACK = 16;
const PAGE = 0x10000;
/** The first addresses are the compiler's. */
const TABLES = 1024;
const COLUMN_WORDS = 5;
/** A kept cell: where it begins and ends, and room for what is printed in xml-rows.as.ts. */
const CELL_WORDS = 10;
const NO_LIMIT = 0xffffffff;
const MAX_MEMORY = 0xffff0000;

interface Kept {
  readonly column: number;
  readonly read: CellReader;
}

export class XmlCollector implements Collector<XmlBatch> {
  private readonly code: XmlCode = instantiate();
  private columns = 0;
  private heap = viewOf(this.code);
  private input = 0;
  private inputBytes = FIRST_INPUT;
  /** Bytes in the input, the beginning of a packet. */
  private waiting = 0;
  private output = 0;
  private outputBytes = 0;
  private cells = 0;
  private ends = 0;
  private kept: readonly Kept[] = [];
  private values: SqlRow[] = [];
  private full: () => void = () => undefined;

  constructor(
    private readonly options: XmlOptions,
    private readonly batchRows: number,
  ) {}

  get rows(): number {
    return this.code.rows.value;
  }

  binary(fields: readonly FieldPacket[]): boolean {
    return suitsBinary(fields);
  }

  begin(fields: readonly FieldPacket[], full: () => void, binary = false): WireReader {
    // Between the preparing and the running somebody has changed the table.
    if (binary && !suitsBinary(fields)) throw new StoreError('BUSY', 'the columns have changed meanwhile');
    this.columns = fields.length;
    this.full = full;
    this.kept = this.options.values.flatMap((column) => {
      const field = fields[column];
      return field === undefined ? [] : [{ column, read: cellReader(field) }];
    });
    this.layOut(fields, binary);
    return { packet: (packet) => this.packet(packet), chunk: (bytes) => this.chunk(bytes) };
  }

  take(): XmlBatch {
    const { code, heap, output, ends, values, columns } = this;
    const count = code.rows.value;
    const size = code.bytes.value;
    const memory = this.options.memory?.take(size);
    const bytes = memory === undefined ? Buffer.allocUnsafeSlow(size) : Buffer.from(memory, 0, size);
    heap.copy(bytes, 0, output, output + size);
    const places = new Uint32Array(code.memory.buffer, ends, count).slice();
    this.values = [];
    this.beginBatch();
    return { columns, bytes, ends: places, values };
  }

  /** @returns what begins with a packet that is no row */
  private chunk(bytes: Uint8Array): Uint8Array | undefined {
    const { code, input } = this;
    this.append(bytes);
    const end = input + this.waiting;
    let at = input;
    for (;;) {
      at = this.taken(at, end);
      this.readValues();
      switch (code.why.value as Why) {
        case Why.Full:
          this.full();
          break;
        case Why.Room:
          this.makeRoom(code.needed.value);
          break;
        case Why.Other:
          this.waiting = 0;
          return Buffer.from(this.heap.subarray(at, end));
        case Why.More:
          this.waiting = end - at;
          if (at > input) this.heap.copyWithin(input, at, end);
          return undefined;
      }
    }
  }

  private taken(from: number, to: number): number {
    try {
      return this.code.take(from, to);
    } catch (error) {
      throw new StoreError('DATABASE', 'the server sent a row that is longer than its packet', {
        cause: error,
      });
    }
  }

  /** One row alone, which the client library has put together. */
  private packet({ buffer, offset, end }: WirePacket): void {
    const { code, input } = this;
    const size = end - offset;
    if (size > this.inputBytes) this.enlarge(size);
    buffer.copy(this.heap, input, offset, end);
    while (!code.row(input, input + size)) this.makeRoom(code.needed.value);
    this.readValues();
    if (code.rows.value >= this.batchRows || code.bytes.value >= BATCH_BYTES) this.full();
  }

  private append(bytes: Uint8Array): void {
    const size = this.waiting + bytes.length;
    if (size > this.inputBytes) this.enlarge(Math.max(size, Math.min(2 * this.inputBytes, MAX_MEMORY >> 3)));
    this.heap.set(bytes, this.input + this.waiting);
    this.waiting = size;
  }

  /** The rows taken since: their input is about to go. */
  private readValues(): void {
    const { kept, code, values, heap } = this;
    if (kept.length === 0) return;
    const width = kept.length * CELL_WORDS;
    const from = values.length;
    const words = new Uint32Array(code.memory.buffer, this.cells, code.rows.value * width);
    for (let at = from * width; at < words.length; at += width) {
      const row: SqlValue[] = [];
      for (let n = 0; n < kept.length; n++) {
        const cell = at + n * CELL_WORDS;
        const start = words[cell] as number;
        row.push(start === 0 ? null : (kept[n] as Kept).read(heap, start, words[cell + 1] as number));
      }
      values.push(row);
    }
  }

  private makeRoom(bytes: number): void {
    if (this.rows > 0) this.full();
    else {
      this.outputBytes = bytes;
      this.beginBatch();
    }
  }

  /** What waits in the input stays where it is, the batch must not. */
  private enlarge(bytes: number): void {
    if (this.rows > 0) this.full();
    this.inputBytes = bytes;
    this.output = aligned(this.input + bytes + SLACK);
    this.beginBatch();
  }

  private beginBatch(): void {
    const { code, output, outputBytes } = this;
    const size = output + outputBytes + 2 * SLACK;
    const lacking = size - code.memory.buffer.byteLength;
    if (size > MAX_MEMORY)
      throw new StoreError('TOO_MANY_ROWS', `a row of the select takes ${outputBytes} bytes`);
    if (lacking > 0) code.memory.grow(Math.ceil(lacking / PAGE));
    if (this.heap.buffer !== code.memory.buffer) this.heap = viewOf(code);
    code.begin(output, output + outputBytes, BATCH_BYTES);
  }

  /** Tables of the columns, tags, cells, ends of rows, input, output: the last one grows. */
  private layOut(fields: readonly FieldPacket[], binary: boolean): void {
    const { code, batchRows, kept } = this;
    const { tags, lengths, escape } = this.options;
    const count = Math.min(fields.length, tags.length);
    const texts = tags.slice(0, count).map((tag, i) => (i === 0 ? '' : `</${tags[i - 1]}>`) + `<${tag}>`);
    const tagTexts = [...texts, `</${tags[count - 1]}><endl/>\n`].map((text) => Buffer.from(text));
    const tagBytes = tagTexts.reduce((sum, { length }) => sum + length, 0);
    const words: number[] = [];
    let free = aligned(TABLES + (count + 1) * COLUMN_WORDS * 4);
    const places = tagTexts.map(({ length }) => {
      const place = free;
      free = aligned(free + length + SLACK);
      return place;
    });
    this.cells = free;
    this.ends = aligned(free + batchRows * kept.length * CELL_WORDS * 4);
    this.input = aligned(this.ends + batchRows * 4);
    this.output = aligned(this.input + this.inputBytes + SLACK);
    this.outputBytes = BATCH_BYTES + ROW_BYTES + tagBytes;
    tagTexts.forEach((text, i) => {
      const field = fields[i];
      const kindOf = binary ? binaryKind : textKind;
      const kind = (field && kindOf(field, escape)) ?? Kind.Plain;
      const place = 1 + kept.findIndex(({ column }) => column === i);
      words.push(kind, lengths[i] ?? NO_LIMIT, place, places[i] ?? 0, text.length);
    });
    code.layOut(count, TABLES, tagBytes, this.cells, kept.length, this.ends, batchRows, binary);
    this.beginBatch();
    new Uint32Array(code.memory.buffer, TABLES, words.length).set(words);
    tagTexts.forEach((text, i) => text.copy(this.heap, places[i]));
  }
}

function aligned(address: number): number {
  return Math.ceil(address / 16) * 16;
}

function viewOf({ memory }: XmlCode): WireBuffer {
  return Buffer.from(memory.buffer) as WireBuffer;
}
