/**
 * The main thread's end of one worker thread: its rings, its doorbell, its life. Frames and messages cross here
 * packed: whatever has gathered in a ring is taken in one go, and a sleeping side is woken at most once for it.
 * Main thread only.
 */
import { Worker } from 'node:worker_threads';
import { entryUrl } from './entry.js';
import { newExternalId } from './payload.js';
import { C } from './record.js';
import { createRing, RingReader, RingWriter, Word } from './ring.js';
import { SpinGauge } from './spin-gauge.js';
import { stackProbeEnd } from './stack-probe.js';
import {
  DOORBELL,
  LINK_BYTES,
  LinkWord,
  type FromWorker,
  type ToWorker,
  type WorkerSetup,
} from './thread-messages.js';

const OUTBOX_BYTES = 4 * 1024 * 1024;
const INBOX_BYTES = 1024 * 1024;
/** Replies that wait for room in a worker's inbox; beyond it the worker is considered lost. */
const PENDING_LIMIT = 64 * 1024 * 1024;
/** Records taken in one go before the sockets get their turn. */
const RECORDS_PER_DRAIN = 20_000;
const TERMINATE_MS = 5000;
const EMPTY = new Uint8Array(0);

export interface BridgeOptions {
  readonly pool: string;
  readonly index: number;
  /** 0 disables; see host.ts. */
  readonly spinUs: number;
  /** Limit of the worker's JavaScript heap in MiB. */
  readonly heapMb: number;
}

/** What a bridge tells the system. Called on the main thread, never re-entrantly. */
export interface BridgeEvents {
  /** One record of the outbox; `payload` is valid only during the call. */
  record(bridge: Bridge, ring: RingReader, at: number, payload: Buffer): void;
  /** After each batch of records. */
  drained(): void;
  control(bridge: Bridge, message: Exclude<FromWorker, number>): void;
  /** Something was thrown outside of any message; the thread is about to end. */
  failed(bridge: Bridge, stack: string): void;
  /** The thread has ended; every finished record was delivered before. */
  exited(bridge: Bridge, reason: string): void;
}

type Pending = readonly [kind: number, a: number, b: number, payload: Uint8Array];

export class Bridge {
  private readonly control: Int32Array;
  private readonly outbox: RingReader;
  private readonly inbox: RingWriter;
  private readonly worker: Worker;
  private readonly externals = new Map<number, Buffer>();
  private pending: Pending[] = [];
  private pendingBytes = 0;
  private drainScheduled = false;
  private lookScheduled = false;
  private readonly spin: SpinGauge;
  private ended = false;
  private failure: string | undefined;
  readonly online: Promise<void>;
  readonly exited: Promise<void>;

  constructor(
    readonly options: BridgeOptions,
    private readonly events: BridgeEvents,
  ) {
    const setup: WorkerSetup = {
      pool: options.pool,
      index: options.index,
      control: new SharedArrayBuffer(LINK_BYTES),
      outbox: createRing(OUTBOX_BYTES),
      inbox: createRing(INBOX_BYTES),
      spinUs: options.spinUs,
    };
    this.spin = new SpinGauge(options.spinUs > 0);
    this.control = new Int32Array(setup.control);
    this.control[LinkWord.WORKER_ASLEEP] = 1;
    this.control[LinkWord.MAIN_ASLEEP] = 1;
    this.outbox = new RingReader(setup.outbox);
    this.inbox = new RingWriter(setup.inbox);
    this.worker = new Worker(entryUrl('./worker.js', import.meta.url), {
      workerData: setup,
      name: `${options.pool}-${options.index}`,
      resourceLimits: { maxOldGenerationSizeMb: options.heapMb },
      stdout: false,
      stderr: false,
    });
    this.worker.on('message', (message: FromWorker) => this.receive(message));
    this.worker.on('error', (error) => {
      this.failure = error.message;
      this.events.failed(this, error.stack ?? error.message);
    });
    this.online = new Promise((resolve, reject) => {
      this.onlineSettled = { resolve, reject };
    });
    this.online.catch(() => undefined);
    this.exited = new Promise((resolve) => this.worker.once('exit', (code) => resolve(this.onExit(code))));
  }

  private onlineSettled!: { resolve: () => void; reject: (reason: Error) => void };

  get threadId(): number {
    return this.worker.threadId;
  }

  get alive(): boolean {
    return !this.ended;
  }

  /**
   * Something was put into a ring of this worker. The doorbell rings once, after all sockets of this turn of the event loop
   * were read; until then this side looks for answers itself and need not be rung for.
   */
  readonly wake = (): void => {
    if (this.lookScheduled) return;
    this.lookScheduled = true;
    Atomics.store(this.control, LinkWord.MAIN_ASLEEP, 0);
    setImmediate(this.look);
  };

  private readonly look = (): void => {
    this.lookScheduled = false;
    if (this.ended) return;
    if (Atomics.load(this.control, LinkWord.WORKER_ASLEEP) === 1) this.ring();
    if (this.spin.worthwhile) this.spin.record(this.spinForAnswers());
    this.drain();
  };

  /** Waits actively, because an answer that is a few microseconds away comes sooner than a doorbell. */
  private spinForAnswers(): boolean {
    const end = performance.now() + this.options.spinUs / 1000;
    while (this.outbox.empty) if (performance.now() > end) return false;
    return true;
  }

  post(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  /** Sends a payload that is too large for a ring; the record names the id. */
  readonly postExternal = (id: number, bytes: Uint8Array): void => this.post({ type: 'external', id, bytes });

  /** Puts a record into the worker's inbox. What does not fit waits here, bounded. */
  deliver(kind: number, a: number, b: number, payload: Uint8Array = EMPTY): void {
    if (this.ended) return;
    if (this.pending.length === 0 && this.toInbox(kind, a, b, payload)) return this.wake();
    this.pendingBytes += payload.length;
    if (this.pendingBytes > PENDING_LIMIT) {
      this.failure = `more than ${PENDING_LIMIT} bytes wait for the worker`;
      void this.terminate();
      return;
    }
    this.pending.push([kind, a, b, payload]);
    this.wantInboxRoom();
  }

  private wantInboxRoom(): void {
    Atomics.store(this.inbox.words, Word.WANT_ROOM, 1);
    // The worker may have emptied it before it could read that; then nobody else would look again.
    if (this.inbox.empty) this.wake();
  }

  private toInbox(kind: number, a: number, b: number, payload: Uint8Array): boolean {
    if (payload.length <= this.inbox.maxPayload) return this.inbox.append(kind, 1, a, b, 0, 0, payload);
    const id = newExternalId();
    if (!this.inbox.append(kind, 1, a, b, id, 0, EMPTY)) return false;
    this.postExternal(id, payload);
    return true;
  }

  private receive(message: FromWorker): void {
    if (typeof message !== 'number') {
      if (message.type === 'external') {
        this.externals.set(
          message.id,
          Buffer.from(message.bytes.buffer, message.bytes.byteOffset, message.bytes.length),
        );
      } else {
        // What the worker wrote before this message must be seen before it.
        this.drainAll();
        if (message.type === 'online') this.onlineSettled.resolve();
        this.events.control(this, message);
        return;
      }
    }
    this.drain();
  }

  /** Takes what is in the outbox. */
  drain(): void {
    if (!this.takeBatch()) {
      Atomics.store(this.control, LinkWord.MAIN_ASLEEP, 1);
      // A record written, or room made, between the last look and the announcement rings no bell.
      const roomMade = Atomics.exchange(this.control, LinkWord.ROOM_MADE, 0) === 1;
      if (this.outbox.empty && !roomMade) return;
      if (Atomics.exchange(this.control, LinkWord.MAIN_ASLEEP, 0) === 0) return;
    }
    this.scheduleDrain();
  }

  private scheduleDrain(): void {
    if (this.drainScheduled) return;
    this.drainScheduled = true;
    setImmediate(() => {
      this.drainScheduled = false;
      this.drain();
    });
  }

  /** @returns true when the batch limit ended it and more is waiting */
  private takeBatch(): boolean {
    const { outbox } = this;
    let taken = 0;
    let more = false;
    for (let at = outbox.peek(); at >= 0; at = outbox.peek()) {
      if (taken === RECORDS_PER_DRAIN) {
        more = true;
        break;
      }
      const external = outbox.int32[at + C]!;
      let payload: Buffer;
      if (external === 0) {
        payload = outbox.payload(at);
      } else {
        const bytes = this.externals.get(external);
        if (bytes === undefined) break; // on its way; its arrival drains again
        this.externals.delete(external);
        payload = bytes;
      }
      this.events.record(this, outbox, at, payload);
      outbox.advance(at);
      taken++;
    }
    outbox.release();
    if (Atomics.exchange(outbox.words, Word.WANT_ROOM, 0) === 1) this.ring();
    if (this.pending.length > 0) this.retryPending();
    this.events.drained();
    return more;
  }

  private drainAll(): void {
    while (this.takeBatch());
  }

  /** Rings, also when the worker did not announce sleep: it may be waiting for room only. */
  private ring(): void {
    Atomics.store(this.control, LinkWord.WORKER_ASLEEP, 0);
    this.worker.postMessage(DOORBELL);
  }

  private retryPending(): void {
    let moved = 0;
    for (const [kind, a, b, payload] of this.pending) {
      if (!this.toInbox(kind, a, b, payload)) break;
      this.pendingBytes -= payload.length;
      moved++;
    }
    this.pending.splice(0, moved);
    if (this.pending.length > 0) this.wantInboxRoom();
    if (moved > 0) this.wake();
  }

  private onExit(code: number): void {
    if (this.ended) return;
    this.ended = true;
    this.outbox.recoverOpen();
    this.drainAll();
    const reason = this.failure ?? (code === 0 ? 'the worker ended' : `the worker ended with code ${code}`);
    this.onlineSettled.reject(new Error(reason));
    this.events.exited(this, reason);
  }

  /** Asks the worker to end and kills it after a deadline. */
  async shutdown(): Promise<void> {
    if (this.ended) return;
    this.post({ type: 'shutdown' });
    const timer = setTimeout(() => void this.terminate(), TERMINATE_MS);
    await this.exited;
    clearTimeout(timer);
  }

  /** Kills the thread. Waits for a blocking system call if the thread is in one, and for a stack sample being read. */
  async terminate(): Promise<void> {
    await stackProbeEnd(this.threadId);
    if (!this.ended) await this.worker.terminate();
    await this.exited;
  }
}
