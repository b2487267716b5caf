/**
 * One actor instance in its worker: takes messages out of the mailbox, one at a time, and keeps the book that
 * lets the main thread see what is being handled and a successor go on after a crash. Worker thread only.
 */
import type { Actor, ConnectionInfo } from './actor.js';
import type { ConnectionRef } from './ref.js';
import type { ActorLink } from './actor-context.js';
import type { FrameCodec } from '../protocol/frame.js';
import { HttpResponder } from './http-responder.js';
import { decodePayload, encodePayload } from './payload.js';
import { A, B, C, COUNT, HEADER_BYTES, KIND, Kind, REPLY_FAILED, REPLY_OK, SIZE } from './record.js';
import { reasonOf } from './errors.js';
import { RingReader, Word } from './ring.js';

/** A turn ends after so many messages, so that neighbours on the same worker and the event loop get theirs. */
const MESSAGES_PER_TURN = 1024;

export class HostedActor {
  private readonly mailbox: RingReader;
  /** A handler's promise has not settled. */
  private busy = false;
  private dead = false;
  /** Set by `stop`: no further message is taken. */
  private stopping: ((reason: void) => void) | undefined;
  /** Where the run that is under way goes on: after so many frames, at this offset. */
  private runDone = -1;
  private runOffset = 0;

  constructor(
    private readonly actor: Actor,
    private readonly link: ActorLink,
    memory: SharedArrayBuffer,
    private readonly codecs: readonly FrameCodec[],
    private readonly externals: Map<number, Uint8Array>,
    private readonly onCrash: (thrown: unknown) => void,
  ) {
    this.mailbox = new RingReader(memory);
  }

  /** True when a turn could get on. */
  get ready(): boolean {
    return !this.busy && !this.dead && this.stopping === undefined && !this.mailbox.empty;
  }

  /** Handles messages until there are none, one waits, or the turn is over. @returns true if it handled any */
  turn(): boolean {
    let left = MESSAGES_PER_TURN;
    while (left > 0 && !this.busy && !this.dead && this.stopping === undefined) {
      if (this.link.outbox.blocked) break;
      const at = this.mailbox.peek();
      if (at < 0) break;
      if (this.mailbox.int32[at + KIND] === Kind.FRAMES) left -= this.frames(at, left);
      else if (!this.message(at)) break;
      left--;
    }
    return left < MESSAGES_PER_TURN;
  }

  /**
   * A run of frames of one connection. Stays synchronous as long as the actor does.
   * @param most frames to handle now
   * @returns how many were
   */
  private frames(at: number, most: number): number {
    const { int32, data, words } = this.mailbox;
    const codec = this.codecs[int32[at + C]!]!;
    const count = int32[at + COUNT]!;
    const connection: ConnectionRef = { slot: int32[at + A]!, generation: int32[at + B]! };
    const before = words[Word.IN_RECORD]!;
    const stop = Math.min(count, before + most);
    let done = before;
    let offset = this.runOffset;
    if (done !== this.runDone) {
      offset = (at << 2) + HEADER_BYTES;
      for (let skip = 0; skip < done; skip++) offset += codec.frameLength(data, offset);
    }
    try {
      while (done < stop) {
        const length = codec.frameLength(data, offset);
        words[Word.CURRENT] = codec.messageCode(data, offset);
        words[Word.STARTED]!++;
        const result = this.actor.frame?.(connection, data, offset, offset + length);
        if (result !== undefined) {
          this.runDone = done + 1;
          this.runOffset = offset + length;
          this.settle(result, () => this.frameDone(at, count));
          return done - before;
        }
        words[Word.HANDLED]!++;
        words[Word.IN_RECORD] = ++done;
        offset += length;
        if (this.dead) return done - before;
      }
      this.runDone = done;
      this.runOffset = offset;
      if (done >= count) this.recordDone(at);
    } catch (thrown) {
      this.crash(thrown);
    }
    return done - before;
  }

  private frameDone(at: number, count: number): void {
    const words = this.mailbox.words;
    words[Word.HANDLED]!++;
    if (++words[Word.IN_RECORD]! >= count) this.recordDone(at);
    // Otherwise the next turn finds the same record and goes on behind the finished frames.
  }

  /**
   * A thread is ended where a function is entered or a loop goes round, so the marks of one step are set without a call
   * between them; the successor would be given the record again otherwise.
   */
  private recordDone(at: number): void {
    const { mailbox } = this;
    const { words } = mailbox;
    this.runDone = -1;
    const next = (mailbox.position + mailbox.int32[at + SIZE]!) | 0;
    mailbox.position = next;
    words[Word.IN_RECORD] = 0;
    Atomics.store(words, Word.READ, next);
    this.link.outbox.flush();
    if (Atomics.load(words, Word.WANT_ROOM) === 1) {
      Atomics.store(words, Word.WANT_ROOM, 0);
      this.link.outbox.roomMade();
    }
  }

  /** A message that is not a frame. @returns false when its payload has not arrived yet */
  private message(at: number): boolean {
    const { int32, words } = this.mailbox;
    if (words[Word.IN_RECORD] === 1) {
      // The predecessor had finished it and died before it could step on.
      this.recordDone(at);
      return true;
    }
    const kind = int32[at + KIND]!;
    const external = int32[at + C]!;
    const payload = external === 0 ? this.mailbox.payload(at) : this.externals.get(external);
    if (payload === undefined) return false;
    if (external !== 0) this.externals.delete(external);
    words[Word.CURRENT] = -kind;
    words[Word.STARTED]!++;
    const finished = (): void => {
      words[Word.HANDLED]!++;
      words[Word.IN_RECORD] = 1;
      this.recordDone(at);
    };
    try {
      const result = this.dispatch(kind, int32[at + A]!, int32[at + B]!, payload);
      if (isThenable(result)) this.settle(result, finished);
      else finished();
    } catch (thrown) {
      this.crash(thrown);
    }
    return true;
  }

  private dispatch(kind: number, a: number, b: number, payload: Uint8Array): unknown {
    switch (kind) {
      case Kind.TELL: {
        const [body, from] = decodePayload(payload) as [unknown, string | undefined];
        return this.ignoreResult(this.actor.receive?.(body, from));
      }
      case Kind.ASK:
        return this.answer(a, decodePayload(payload) as [unknown, string | undefined]);
      case Kind.CONNECTED: {
        const [info, attachment] = decodePayload(payload) as [ConnectionInfo, unknown];
        return this.actor.connected?.({ slot: a, generation: b }, info, attachment);
      }
      case Kind.DISCONNECTED:
        return this.actor.disconnected?.({ slot: a, generation: b }, decodePayload(payload) as string);
      case Kind.REQUEST: {
        const responder = new HttpResponder(a, this.link);
        return this.actor.request?.(responder.parse(payload), responder);
      }
      default:
        throw new Error(`unknown record kind ${kind} in the mailbox`);
    }
  }

  private ignoreResult(result: unknown): void | Promise<void> {
    return isThenable(result) ? result.then(() => undefined) : undefined;
  }

  /** An exception of an ask is the asker's to know as well; then the actor crashes like with any message. */
  private answer(ask: number, [body, from]: [unknown, string | undefined]): void | Promise<void> {
    const reply = (value: unknown): void =>
      this.link.outbox.write(Kind.ASK_REPLY, ask, REPLY_OK, this.link.number, encodePayload(value));
    const fail = (thrown: unknown): never => {
      this.link.outbox.write(
        Kind.ASK_REPLY,
        ask,
        REPLY_FAILED,
        this.link.number,
        encodePayload(reasonOf(thrown)),
      );
      throw thrown;
    };
    try {
      const result = this.actor.receive?.(body, from);
      return isThenable(result) ? result.then(reply).catch(fail) : reply(result);
    } catch (thrown) {
      return fail(thrown);
    }
  }

  private settle(result: PromiseLike<unknown>, finished: () => void): void {
    this.busy = true;
    result.then(
      () => {
        this.busy = false;
        if (this.dead) return;
        finished();
        if (this.stopping !== undefined) this.stopping();
        else this.link.wake();
      },
      (thrown: unknown) => this.crash(thrown),
    );
  }

  private crash(thrown: unknown): void {
    if (this.dead) return;
    this.dead = true;
    this.link.outbox.flush();
    this.stopping?.();
    this.onCrash(thrown);
  }

  /** Takes no further message, waits for the current one, then calls the actor's `stop`. */
  async stop(reason: string): Promise<void> {
    if (this.dead) return;
    if (this.busy) await new Promise<void>((resolve) => (this.stopping = resolve));
    else this.stopping = () => undefined;
    if (this.dead) return;
    this.dead = true;
    await this.actor.stop?.(reason);
    this.link.outbox.flush();
  }

  /** Forgets the instance: whatever its stuck promise still does has no effect on the mailbox. */
  abandon(): void {
    this.dead = true;
    this.link.outbox.flush();
  }
}

function isThenable(value: unknown): value is Promise<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function'
  );
}
