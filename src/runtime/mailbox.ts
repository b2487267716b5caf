/**
 * An actor's mailbox: a bounded shared ring written by the main thread and read by the actor's worker. It belongs to
 * the main thread, so it outlives the worker: a new instance attaches to the same memory and goes on at the first
 * message whose handler had not finished. Main thread only.
 */
import type { ConnectionRef, Ref } from './ref.js';
import { A, B, C, COUNT, D, HEADER_BYTES, KIND, KIND_NAMES, Kind, PAYLOAD, SIZE } from './record.js';
import { newExternalId } from './payload.js';
import { createRing, ringCapacity, RingWriter, Word } from './ring.js';

/** What happens to a message that does not fit. */
export type MailboxPolicy = 'pause-reading' | 'reject' | 'drop-oldest';

export interface MailboxOptions {
  /** Bytes; rounded up to a power of two. */
  readonly bytes: number;
  /** Most waiting messages. */
  readonly messages: number;
  readonly policy: MailboxPolicy;
}

export interface MailboxSnapshot {
  readonly ref: Ref;
  readonly depth: number;
  readonly bytes: number;
  readonly capacity: number;
  readonly highWater: number;
  readonly oldestMs: number;
  readonly policy: MailboxPolicy;
  readonly enqueued: number;
  readonly handled: number;
  readonly refused: number;
  readonly dropped: number;
}

/** A message taken out of the mailbox because its handling failed. */
export interface FailedMessage {
  readonly kind: string;
  readonly a: number;
  readonly b: number;
  readonly bytes: Buffer;
  readonly ageMs: number;
}

type Spilled = readonly [kind: number, a: number, b: number, payload: Uint8Array];

/** Fraction of the ring kept for messages that may not be refused (lifecycle notices, tells of the system). */
const RESERVE = 8;
/** Most bytes of payloads beside the ring. */
const EXTERNAL_LIMIT = 64 * 1024 * 1024;
const NOTHING = new Uint8Array(0);

/** Milliseconds since the process started, as int32; wraps after 24 days, only differences are used. */
export const nowMs = (): number => performance.now() | 0;

const isDroppable = ([kind]: Spilled): boolean => kind !== Kind.CONNECTED && kind !== Kind.DISCONNECTED;

export class Mailbox {
  readonly memory: SharedArrayBuffer;
  private readonly ring: RingWriter;
  private readonly reserve: number;
  private enqueuedMessages = 0;
  private highWater = 0;
  private refused = 0;
  private dropped = 0;
  /** Waits in front of the ring: notices that may not be lost, or what `drop-oldest` still holds. */
  private spill: Spilled[] = [];
  private spilledBytes = 0;
  /** By connection slot, in order of refusal: at most one for each client. */
  private waiting = new Map<number, () => void>();
  /** Payloads too large for the ring, by the id in their record; kept until they are handled. */
  readonly externals = new Map<number, Uint8Array>();
  private readonly externalNumbers = new Map<number, number>();
  private externalBytes = 0;
  /** Sends such a payload to the worker; replaced at each (re)start. */
  sendExternal: (id: number, bytes: Uint8Array) => void = () => undefined;
  /** Wakes the worker that reads this mailbox; replaced at each (re)start. */
  wake: () => void = () => undefined;

  constructor(
    readonly ref: Ref,
    /** Number by which the worker addresses the actor in the outbox. */
    readonly number: number,
    readonly options: MailboxOptions,
  ) {
    this.memory = createRing(ringCapacity(options.bytes));
    this.ring = new RingWriter(this.memory);
    this.reserve = this.ring.capacity / RESERVE;
  }

  get handled(): number {
    return Atomics.load(this.ring.words, Word.HANDLED);
  }

  get started(): number {
    return Atomics.load(this.ring.words, Word.STARTED);
  }

  /** Messages ever put in; with `started` it tells whether a given message was delivered. */
  get enqueued(): number {
    return this.enqueuedMessages;
  }

  /** Number that the next message offered will have. */
  get nextNumber(): number {
    return (this.enqueuedMessages + this.spill.length + 1) | 0;
  }

  /** Messages waiting or being handled. */
  get depth(): number {
    return ((this.enqueuedMessages - this.handled) | 0) + this.spill.length;
  }

  /** Progress marks for the heartbeat: changes exactly when the actor gets on. */
  progress(): { started: number; handled: number; beat: number; current: number } {
    const words = this.ring.words;
    return {
      started: Atomics.load(words, Word.STARTED),
      handled: Atomics.load(words, Word.HANDLED),
      beat: Atomics.load(words, Word.BEAT),
      current: Atomics.load(words, Word.CURRENT),
    };
  }

  /**
   * Appends `count` whole frames of one connection, copied. A run of more frames than the mailbox may hold is taken
   * when nothing else waits, or its client would wait for ever.
   * @returns false when there is no room; ask `whenRoom` then
   */
  offerFrames(
    connection: ConnectionRef,
    codec: number,
    bytes: Buffer,
    start: number,
    end: number,
    count: number,
  ): boolean {
    if (
      this.spill.length > 0 ||
      !this.allows(count) ||
      !this.ring.append(
        Kind.FRAMES,
        count,
        connection.slot,
        connection.generation,
        codec,
        nowMs(),
        bytes,
        start,
        end,
        this.reserve,
      )
    ) {
      this.refused += count;
      return false;
    }
    this.enqueuedMessages = (this.enqueuedMessages + count) | 0;
    const depth = (this.enqueuedMessages - this.handled) | 0;
    if (depth > this.highWater) this.highWater = depth;
    this.wake();
    return true;
  }

  private allows(count: number): boolean {
    const depth = (this.enqueuedMessages - this.handled) | 0;
    return depth === 0 || depth + count <= this.options.messages;
  }

  /**
   * Appends one message under the mailbox's policy.
   * @returns false when it was refused (and counted)
   */
  offer(kind: number, a: number, b: number, payload: Uint8Array): boolean {
    const full = this.spill.length > 0 || this.depth >= this.options.messages;
    if (!full && this.put(kind, a, b, payload, this.reserve)) return true;
    if (this.options.policy === 'drop-oldest' && payload.length <= EXTERNAL_LIMIT)
      return this.keepNewest([kind, a, b, payload]);
    this.refused++;
    return false;
  }

  /** Appends a notice that may not be lost (bounded by the number of connections and actors). */
  notice(kind: number, a: number, b: number, payload: Uint8Array): void {
    if (this.spill.length === 0 && this.put(kind, a, b, payload, 0)) return;
    this.toSpill([kind, a, b, payload]);
    this.askForRoom();
  }

  /** The notice of a connection's end. Of a client that came and went while there was no room the actor hears nothing. */
  disconnected(slot: number, generation: number, reason: Uint8Array): void {
    this.waiting.delete(slot);
    const opened = this.spill.findLastIndex(
      ([kind, a, b]) => kind === Kind.CONNECTED && a === slot && b === generation,
    );
    if (opened >= 0) this.fromSpill(opened);
    else this.notice(Kind.DISCONNECTED, slot, generation, reason);
  }

  private toSpill(message: Spilled): void {
    this.spill.push(message);
    this.spilledBytes += message[3].length;
  }

  private fromSpill(at: number, count = 1): void {
    for (const [, , , payload] of this.spill.splice(at, count)) this.spilledBytes -= payload.length;
  }

  private put(kind: number, a: number, b: number, payload: Uint8Array, keepFree: number): boolean {
    const external = payload.length > this.ring.maxPayload - this.reserve ? this.addExternal(payload) : 0;
    if (external < 0) return false;
    const inRing = external === 0 ? payload : NOTHING;
    if (!this.ring.append(kind, 1, a, b, external, nowMs(), inRing, 0, inRing.length, keepFree)) {
      if (external > 0) this.dropExternal(external);
      return false;
    }
    this.enqueuedMessages = (this.enqueuedMessages + 1) | 0;
    if (external > 0) {
      this.externalNumbers.set(external, this.enqueuedMessages);
      this.sendExternal(external, payload);
    }
    if (this.depth > this.highWater) this.highWater = this.depth;
    this.wake();
    return true;
  }

  /** @returns id, or -1 when too many bytes wait already */
  private addExternal(payload: Uint8Array): number {
    this.dropHandledExternals();
    if (this.externalBytes + payload.length > EXTERNAL_LIMIT) return -1;
    const id = newExternalId();
    this.externals.set(id, payload);
    this.externalBytes += payload.length;
    return id;
  }

  private dropExternal(id: number): void {
    this.externalBytes -= this.externals.get(id)?.length ?? 0;
    this.externals.delete(id);
    this.externalNumbers.delete(id);
  }

  /** Forgets payloads whose message was handled; a new instance is given what is left. */
  dropHandledExternals(): void {
    for (const [id, number] of this.externalNumbers) {
      if (((this.handled - number) | 0) < 0) return; // those behind were put in later
      this.dropExternal(id);
    }
  }

  private keepNewest(message: Spilled): boolean {
    this.toSpill(message);
    const { messages, bytes } = this.options;
    while (this.spill.length > messages || this.spilledBytes > bytes) {
      const oldest = this.spill.findIndex(isDroppable);
      if (oldest < 0 || this.spill[oldest] === message) break;
      this.fromSpill(oldest);
      this.dropped++;
    }
    this.askForRoom();
    return true;
  }

  /** `resume` is called once when there is room again. @param slot of the connection that waits */
  whenRoom(slot: number, resume: () => void): void {
    this.waiting.delete(slot);
    this.waiting.set(slot, resume);
    this.askForRoom();
  }

  private askForRoom(): void {
    Atomics.store(this.ring.words, Word.WANT_ROOM, 1);
    // The worker may have made the room before it could read that it is wanted: then this side looks again itself.
    if (this.spill.length > 0 ? this.ring.empty : this.roomy) this.wake();
  }

  private get roomy(): boolean {
    return this.ring.used * 2 < this.ring.capacity && this.depth * 2 <= this.options.messages;
  }

  /** True while somebody waits; the system then calls `checkRoom` after each drain. */
  get wanted(): boolean {
    return this.waiting.size > 0 || this.spill.length > 0 || this.externals.size > 0;
  }

  /** Moves what waited in front into the ring and resumes the paused connections when the ring is half empty. */
  checkRoom(): void {
    this.dropHandledExternals();
    let moved = 0;
    for (const message of this.spill) {
      const [kind, a, b, payload] = message;
      if ((isDroppable(message) && !this.allows(1)) || !this.put(kind, a, b, payload, 0)) break;
      moved++;
    }
    this.fromSpill(0, moved);
    if (this.spill.length > 0) return this.askForRoom();
    if (this.roomy) this.releaseWaiting();
    else if (this.waiting.size > 0) this.askForRoom();
  }

  /** Resumes everybody who waits for room; also when there will be no mailbox any more. */
  releaseWaiting(): void {
    if (this.waiting.size === 0) return;
    const { waiting } = this;
    this.waiting = new Map();
    for (const resume of waiting.values()) resume();
  }

  /** Index of the record at the reading position, or -1. */
  private head(): number {
    const { words, int32, capacity } = this.ring;
    let read = Atomics.load(words, Word.READ);
    const write = Atomics.load(words, Word.WRITE);
    while (read !== write) {
      const at = (read & (capacity - 1)) >> 2;
      if (int32[at + KIND] !== Kind.PAD) return at;
      read = (read + int32[at + SIZE]!) | 0;
    }
    return -1;
  }

  /** Age in ms of the oldest message that has not been handled. */
  oldestMs(): number {
    const at = this.head();
    return at < 0 ? 0 : (nowMs() - this.ring.int32[at + D]!) | 0;
  }

  /**
   * After the instance died: takes the message it was handling out of the mailbox.
   * @param lengthOf length of the frame of a codec number at an offset, to find one frame within a run
   * @param again leave it in place, to be delivered once more
   * @returns the message, or undefined when none was being handled
   */
  takeFailed(
    lengthOf: (codec: number, bytes: Buffer, offset: number) => number,
    again: boolean,
  ): FailedMessage | undefined {
    const { words, int32, data } = this.ring;
    const at = this.head();
    if (at < 0 || words[Word.STARTED] === words[Word.HANDLED]) {
      words[Word.STARTED] = words[Word.HANDLED]!;
      return undefined;
    }
    const from = (at << 2) + HEADER_BYTES;
    let start = from;
    let end = from + int32[at + PAYLOAD]!;
    const inRecord = words[Word.IN_RECORD]!;
    const codec = int32[at + C]!;
    if (int32[at + KIND] === Kind.FRAMES) {
      for (let skip = 0; skip < inRecord; skip++) start += lengthOf(codec, data, start);
      end = Math.min(end, start + lengthOf(codec, data, start));
    }
    const failed: FailedMessage = {
      kind: KIND_NAMES[int32[at + KIND]!] ?? 'unknown',
      a: int32[at + A]!,
      b: int32[at + B]!,
      bytes: Buffer.from(data.subarray(start, end)),
      ageMs: (nowMs() - int32[at + D]!) | 0,
    };
    if (again) {
      words[Word.STARTED] = words[Word.HANDLED]!;
    } else if (inRecord + 1 < int32[at + COUNT]!) {
      words[Word.IN_RECORD] = inRecord + 1;
      words[Word.HANDLED] = words[Word.STARTED]!;
    } else {
      this.skipRecord(at);
    }
    return failed;
  }

  private skipRecord(at: number): void {
    const { words, int32, capacity } = this.ring;
    let read = words[Word.READ]!;
    while ((read & (capacity - 1)) >> 2 !== at)
      read = (read + int32[((read & (capacity - 1)) >> 2) + SIZE]!) | 0;
    words[Word.IN_RECORD] = 0;
    words[Word.HANDLED] = words[Word.STARTED]!;
    Atomics.store(words, Word.READ, (read + int32[at + SIZE]!) | 0);
  }

  snapshot(): MailboxSnapshot {
    return {
      ref: this.ref,
      depth: this.depth,
      bytes: this.ring.used,
      capacity: this.ring.capacity,
      highWater: this.highWater,
      oldestMs: this.oldestMs(),
      policy: this.options.policy,
      enqueued: this.enqueuedMessages,
      handled: this.handled,
      refused: this.refused,
      dropped: this.dropped,
    };
  }
}
