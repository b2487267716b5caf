/**
 * A single-producer single-consumer queue of records in a SharedArrayBuffer: the only way by which messages
 * cross threads. One side writes, the other reads; nothing is copied by the kernel or the garbage collector, and
 * the memory outlives a killed worker, so the surviving side can go on where the dead one stopped.
 *
 * Positions are byte counters modulo 2^32; the offset in the data is the position modulo the capacity.
 * Wake-ups are not this file's business (bridge.ts).
 */
import { A, B, C, COUNT, D, HEADER_BYTES, KIND, Kind, PAYLOAD, SIZE } from './record.js';

/** Control words, int32 each. Producer's and consumer's words are on cache lines of their own. */
export const Word = {
  WRITE: 0,
  /** Bytes and messages of the record that the producer has open, for recovery after its death. */
  OPEN_BYTES: 1,
  OPEN_COUNT: 2,
  /** The producer was refused and wants to hear of room. */
  WANT_ROOM: 3,
  READ: 16,
  /** Messages whose handler was started / has finished. Unequal: one is being handled. */
  STARTED: 17,
  HANDLED: 18,
  /** Finished messages within the record at READ. */
  IN_RECORD: 19,
  /** Grows with each sign of progress during a long message. */
  BEAT: 20,
  /** Message code or kind of the message being handled. */
  CURRENT: 21,
} as const;

const CONTROL_BYTES = 128;
const SMALL_COPY = 64;

/** @param capacity bytes of data; a power of two up to 2^30. */
export function createRing(capacity: number): SharedArrayBuffer {
  if (capacity < 1024 || capacity > 2 ** 30 || (capacity & (capacity - 1)) !== 0) {
    throw new RangeError(`ring capacity ${capacity} is not a power of two from 1 KiB to 1 GiB`);
  }
  return new SharedArrayBuffer(CONTROL_BYTES + capacity);
}

/** The smallest valid ring capacity of at least `bytes`. */
export function ringCapacity(bytes: number): number {
  return 2 ** Math.min(30, Math.max(10, Math.ceil(Math.log2(bytes))));
}

/** What both ends share. */
export class Ring {
  readonly words: Int32Array;
  readonly data: Buffer;
  readonly int32: Int32Array;
  readonly capacity: number;

  constructor(readonly memory: SharedArrayBuffer) {
    this.capacity = memory.byteLength - CONTROL_BYTES;
    this.words = new Int32Array(memory, 0, CONTROL_BYTES / 4);
    this.int32 = new Int32Array(memory, CONTROL_BYTES);
    this.data = Buffer.from(memory, CONTROL_BYTES);
  }

  /** Bytes between the consumer's and the producer's position. */
  get used(): number {
    return (Atomics.load(this.words, Word.WRITE) - Atomics.load(this.words, Word.READ)) >>> 0;
  }

  get empty(): boolean {
    return Atomics.load(this.words, Word.WRITE) === Atomics.load(this.words, Word.READ);
  }
}

/** The producing end. Owned by one thread. */
export class RingWriter extends Ring {
  /** Position after the last closed record. */
  private write: number;
  private mask: number;
  /** Cached consumer position; refreshed only when the ring looks full. */
  private seenRead: number;
  /** Index (in int32) of the open record's header, or -1. */
  private open = -1;
  private openPayload = 0;

  constructor(memory: SharedArrayBuffer) {
    super(memory);
    this.mask = this.capacity - 1;
    this.write = Atomics.load(this.words, Word.WRITE);
    this.seenRead = Atomics.load(this.words, Word.READ);
  }

  /** Largest payload in bytes that can ever be appended. */
  get maxPayload(): number {
    return (this.capacity >> 1) - HEADER_BYTES;
  }

  private free(): number {
    return this.capacity - ((this.write - this.seenRead) >>> 0);
  }

  /** Makes `size` contiguous bytes available at `write`, padding at the end of the ring. */
  private reserve(size: number, keepFree: number): boolean {
    const offset = this.write & this.mask;
    const tail = this.capacity - offset;
    const need = (tail < size ? tail + size : size) + keepFree;
    if (this.free() < need) {
      this.seenRead = Atomics.load(this.words, Word.READ);
      if (this.free() < need) return false;
    }
    if (tail < size) {
      const at = offset >> 2;
      this.int32[at + SIZE] = tail;
      this.int32[at + KIND] = Kind.PAD;
      this.write = (this.write + tail) | 0;
    }
    return true;
  }

  /**
   * Appends one record, visible to the consumer at once.
   * @param keepFree bytes that must stay free behind it (room reserved for others)
   * @returns false when there is no room
   */
  append(
    kind: number,
    count: number,
    a: number,
    b: number,
    c: number,
    d: number,
    bytes: Uint8Array | undefined,
    start = 0,
    end = bytes?.length ?? 0,
    keepFree = 0,
  ): boolean {
    if (this.open >= 0) this.close();
    const length = end - start;
    const size = (HEADER_BYTES + length + 7) & ~7;
    if (!this.reserve(size, keepFree)) return false;
    const at = this.header(kind, count, a, b, c, d);
    this.int32[at + SIZE] = size;
    this.int32[at + PAYLOAD] = length;
    if (length > 0) this.copy((this.write & this.mask) + HEADER_BYTES, bytes!, start, end);
    this.write = (this.write + size) | 0;
    Atomics.store(this.words, Word.WRITE, this.write);
    return true;
  }

  /**
   * Appends bytes to the open record if it has the same kind and address, else opens a new one of at most
   * `room` payload bytes. The open record becomes visible with the next `append` or `flush`; until then its
   * length stands in the control words, so that the consumer can recover it after this thread's death.
   * @returns false when there is no room
   */
  extend(kind: number, a: number, b: number, d: number, bytes: Uint8Array, room: number): boolean {
    const int32 = this.int32;
    if (this.open >= 0) {
      const at = this.open;
      if (
        int32[at + KIND] === kind &&
        int32[at + A] === a &&
        int32[at + B] === b &&
        this.openPayload + bytes.length <= int32[at + SIZE]!
      ) {
        return this.extendOpen(at, bytes);
      }
      this.close();
    }
    const most = Math.max(bytes.length, room);
    if (!this.reserve((HEADER_BYTES + most + 7) & ~7, 0)) return false;
    const at = this.header(kind, 0, a, b, 0, d);
    int32[at + SIZE] = most; // while open: the payload limit
    this.open = at;
    this.openPayload = 0;
    return this.extendOpen(at, bytes);
  }

  private extendOpen(at: number, bytes: Uint8Array): boolean {
    this.copy((at << 2) + HEADER_BYTES + this.openPayload, bytes, 0, bytes.length);
    this.openPayload += bytes.length;
    this.int32[at + COUNT]!++;
    this.words[Word.OPEN_COUNT]!++;
    this.words[Word.OPEN_BYTES] = this.openPayload;
    return true;
  }

  private header(kind: number, count: number, a: number, b: number, c: number, d: number): number {
    const at = (this.write & this.mask) >> 2;
    const int32 = this.int32;
    int32[at + KIND] = kind;
    int32[at + COUNT] = count;
    int32[at + A] = a;
    int32[at + B] = b;
    int32[at + C] = c;
    int32[at + D] = d;
    return at;
  }

  private copy(offset: number, bytes: Uint8Array, start: number, end: number): void {
    if (end - start <= SMALL_COPY) {
      const data = this.data;
      for (let from = start, to = offset; from < end; from++, to++) data[to] = bytes[from]!;
    } else {
      this.data.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), offset);
    }
  }

  private close(): void {
    const at = this.open;
    const size = (HEADER_BYTES + this.openPayload + 7) & ~7;
    this.int32[at + SIZE] = size;
    this.int32[at + PAYLOAD] = this.openPayload;
    this.write = (this.write + size) | 0;
    this.open = -1;
    this.words[Word.OPEN_BYTES] = 0;
    this.words[Word.OPEN_COUNT] = 0;
    Atomics.store(this.words, Word.WRITE, this.write);
  }

  /** Makes what `extend` collected visible. */
  flush(): void {
    if (this.open >= 0) this.close();
  }
}

/** The consuming end. Owned by one thread. */
export class RingReader extends Ring {
  private mask: number;
  /** Local position; `release` gives the space up to it back. */
  position: number;

  constructor(memory: SharedArrayBuffer) {
    super(memory);
    this.mask = this.capacity - 1;
    this.position = Atomics.load(this.words, Word.READ);
  }

  /** @returns int32 index of the header of the next record, or -1 when there is none. Skips padding. */
  peek(): number {
    const write = Atomics.load(this.words, Word.WRITE);
    while (this.position !== write) {
      const at = (this.position & this.mask) >> 2;
      if (this.int32[at + KIND] !== Kind.PAD) return at;
      this.position = (this.position + this.int32[at + SIZE]!) | 0;
    }
    return -1;
  }

  /** Steps behind the record at `at`. */
  advance(at: number): void {
    this.position = (this.position + this.int32[at + SIZE]!) | 0;
  }

  /** Gives the space of everything passed back to the producer. */
  release(): void {
    Atomics.store(this.words, Word.READ, this.position);
  }

  /** View of a record's payload; valid until `release`. */
  payload(at: number): Buffer {
    const offset = (at << 2) + HEADER_BYTES;
    return this.data.subarray(offset, offset + this.int32[at + PAYLOAD]!);
  }

  /**
   * After the producer's death only: closes the record it had open so that what it finished is not lost.
   * A record that was being copied when the thread died is left out.
   */
  recoverOpen(): void {
    const bytes = this.words[Word.OPEN_BYTES]!;
    const count = this.words[Word.OPEN_COUNT]!;
    if (bytes <= 0 || count <= 0) return;
    let write = Atomics.load(this.words, Word.WRITE);
    // Every closed record is published, so only padding can stand before the open one.
    const at = (write & this.mask) >> 2;
    if (this.int32[at + KIND] === Kind.PAD) write = (write + this.int32[at + SIZE]!) | 0;
    const open = (write & this.mask) >> 2;
    const size = (HEADER_BYTES + bytes + 7) & ~7;
    this.int32[open + SIZE] = size;
    this.int32[open + PAYLOAD] = bytes;
    this.int32[open + COUNT] = count;
    this.words[Word.OPEN_BYTES] = 0;
    this.words[Word.OPEN_COUNT] = 0;
    Atomics.store(this.words, Word.WRITE, (write + size) | 0);
  }
}
