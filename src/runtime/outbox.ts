/**
 * The worker's end of the ring to the main thread. Never refuses: when the ring is full, records wait here (bounded)
 * and the host stops taking messages until the main thread has drained. Worker thread only.
 */
import type { MessagePort } from 'node:worker_threads';
import { Kind } from './record.js';
import { RingWriter, Word } from './ring.js';
import { DOORBELL, LinkWord, type FromWorker } from './thread-messages.js';

/** Most bytes that may wait in front of a full ring before a writer gets an error. */
const SPILL_LIMIT = 64 * 1024 * 1024;
/** Replies to one connection are collected into records of up to this many bytes. */
const COLLECT_BYTES = 16 * 1024;
/** Pieces into which a long byte stream is cut. */
const PIECE_BYTES = 64 * 1024;

const EMPTY = new Uint8Array(0);

type Spilled = readonly [
  kind: number,
  count: number,
  a: number,
  b: number,
  c: number,
  d: number,
  bytes: Uint8Array,
];

export class Outbox {
  private readonly ring: RingWriter;
  private spill: Spilled[] = [];
  private spilledBytes = 0;
  private nextExternal = 1;

  constructor(
    memory: SharedArrayBuffer,
    private readonly control: Int32Array,
    private readonly port: MessagePort,
  ) {
    this.ring = new RingWriter(memory);
  }

  /** True while records wait for room; the host must not take messages. */
  get blocked(): boolean {
    return this.spill.length > 0;
  }

  /** Plain record. Payloads larger than the ring allows travel beside it. */
  write(kind: number, a: number, b: number, d: number, bytes: Uint8Array): void {
    if (bytes.length <= this.ring.maxPayload) return this.put(kind, 1, a, b, 0, d, bytes);
    const id = this.nextExternal++;
    const copy = new Uint8Array(bytes);
    this.port.postMessage({ type: 'external', id, bytes: copy } satisfies FromWorker, [copy.buffer]);
    this.put(kind, 1, a, b, id, d, EMPTY);
  }

  /** Bytes of a stream to one address; long ones are cut into pieces. */
  stream(kind: number, a: number, b: number, d: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length || at === 0; at += PIECE_BYTES) {
      this.put(kind, 1, a, b, 0, d, bytes.subarray(at, at + PIECE_BYTES));
    }
  }

  /** Reply bytes to a connection; consecutive ones to the same connection share a record. */
  reply(slot: number, generation: number, sender: number, bytes: Uint8Array): void {
    if (bytes.length > PIECE_BYTES) return this.stream(Kind.FRAMES, slot, generation, sender, bytes);
    if (
      this.spill.length === 0 &&
      this.ring.extend(Kind.FRAMES, slot, generation, sender, bytes, COLLECT_BYTES)
    )
      return;
    this.put(Kind.FRAMES, 1, slot, generation, 0, sender, bytes);
  }

  private put(
    kind: number,
    count: number,
    a: number,
    b: number,
    c: number,
    d: number,
    bytes: Uint8Array,
  ): void {
    if (this.spill.length === 0 && this.ring.append(kind, count, a, b, c, d, bytes)) return;
    if (this.spilledBytes + bytes.length > SPILL_LIMIT) {
      throw new Error(`more than ${SPILL_LIMIT} bytes wait for the main thread; write less per message`);
    }
    this.spill.push([kind, count, a, b, c, d, Uint8Array.from(bytes)]);
    this.spilledBytes += bytes.length;
    Atomics.store(this.ring.words, Word.WANT_ROOM, 1);
  }

  /** True when records wait although the ring is empty: it was emptied before our wish for room could be read. */
  get overlooked(): boolean {
    return this.spill.length > 0 && this.ring.empty;
  }

  /** Puts what waits into the ring as far as there is room. @returns true if it put anything */
  retry(): boolean {
    let moved = 0;
    for (const [kind, count, a, b, c, d, bytes] of this.spill) {
      if (!this.ring.append(kind, count, a, b, c, d, bytes)) break;
      this.spilledBytes -= bytes.length;
      moved++;
    }
    if (moved > 0) this.spill.splice(0, moved);
    if (this.spill.length > 0) Atomics.store(this.ring.words, Word.WANT_ROOM, 1);
    return moved > 0;
  }

  /** Makes everything visible and rings if the main thread sleeps and there is something to see. */
  flush(): void {
    this.ring.flush();
    if (Atomics.load(this.control, LinkWord.MAIN_ASLEEP) === 1 && !this.ring.empty) this.ringMain();
  }

  /** A mailbox or the inbox has the room again that the main thread waits for. It learns so even if it is about to sleep. */
  roomMade(): void {
    Atomics.store(this.control, LinkWord.ROOM_MADE, 1);
    this.ringMain();
  }

  private ringMain(): void {
    if (Atomics.exchange(this.control, LinkWord.MAIN_ASLEEP, 0) === 1) this.port.postMessage(DOORBELL);
  }
}
