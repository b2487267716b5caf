/**
 * The caller's side of the SQLite thread: a bounded queue of calls, their deadlines, exclusive transactions, and a new
 * thread when one dies. One per file and caller thread; see sqlite.ts for what a statement that never ends means.
 */
import { Worker } from 'node:worker_threads';
import { StoreError } from '../driver.js';
import { DECIDED, GIVEN_UP, OPEN, RUNNING, SLOTS } from './messages.js';
import type { SqliteHello, SqliteOp, SqliteReply, SqliteRequest, SqliteThreadData } from './messages.js';
import { threadEntry } from '../thread-entry.js';

/** A statement given up that has not come back after this time (ms) costs the thread. */
const GRACE = 1_000;
/** A thread that has not closed its file after this time (ms) is terminated. */
const CLOSE_DEADLINE = 5_000;
/** What a statement makes is short-lived and small; without a limit 48 MB of it would lie about. */
const YOUNG_MB = 12;

export interface ChannelOptions {
  readonly path: string;
  readonly sync: 'full' | 'normal';
  readonly busyTimeoutMs: number;
  readonly maxPending: number;
}

/** The transaction that owns the connection. */
export class Ownership {
  /** Set once it cannot be committed any more. */
  failed: StoreError | undefined;
}

interface Call {
  readonly op: SqliteOp;
  readonly owner: Ownership | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: StoreError) => void;
  settled: boolean;
  timer: NodeJS.Timeout | undefined;
  stopListening: () => void;
  /** -1 while it waits. */
  slot: number;
}

export interface CallLimits {
  /** 0: none. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly owner?: Ownership | undefined;
}

export class SqliteChannel {
  private worker: Worker | undefined;
  private ready = false;
  private state: Int32Array = new Int32Array();
  private freeSlots: number[] = [];
  private readonly inFlight = new Map<number, Call>();
  /** Calls of anyone, calls of the transaction that owns the connection, and cursors, which have handles of their own. */
  private queue: Call[] = [];
  private owned: Call[] = [];
  private cursors: Call[] = [];
  private owner: Ownership | undefined;
  private nextId = 1;
  private nextCursor = 1;
  private pumpQueued = false;
  private closing = false;
  private whenIdle: (() => void) | undefined;

  constructor(private readonly options: ChannelOptions) {}

  newCursor(): number {
    this.nextCursor += 1;
    return this.nextCursor;
  }

  /** @throws StoreError QUEUE_FULL, TIMEOUT, CANCELLED, LOST, OPEN or what the database said. */
  call(op: SqliteOp, { timeoutMs, signal, owner }: CallLimits): Promise<unknown> {
    return new Promise((resolve, reject: (error: StoreError) => void) => {
      const refusal = this.refusal(op, owner);
      if (refusal !== undefined) return reject(refusal);
      if (signal?.aborted === true) return reject(new StoreError('CANCELLED', 'cancelled before the call'));
      const ending = op.op === 'commit' || op.op === 'rollback' || op.op === 'close';
      if (!ending && this.pending() >= this.options.maxPending) {
        return reject(
          new StoreError('QUEUE_FULL', `${this.options.maxPending} calls wait for ${this.options.path}`),
        );
      }
      const call: Call = {
        op,
        owner,
        resolve,
        reject,
        settled: false,
        timer: undefined,
        stopListening() {},
        slot: -1,
      };
      if (timeoutMs > 0) {
        const late = (): void =>
          this.giveUp(call, new StoreError('TIMEOUT', `no answer of the database within ${timeoutMs} ms`));
        call.timer = setTimeout(late, timeoutMs);
      }
      if (signal !== undefined) {
        const abort = (): void => this.giveUp(call, new StoreError('CANCELLED', 'cancelled by the caller'));
        signal.addEventListener('abort', abort, { once: true });
        call.stopListening = () => signal.removeEventListener('abort', abort);
      }
      this.laneOf(call).push(call);
      this.schedulePump();
    });
  }

  /** Waits until no call and no transaction is left, then closes the file. Later calls are refused. */
  async close(): Promise<void> {
    this.closing = true;
    if (this.pending() > 0 || this.owner !== undefined) {
      await new Promise<void>((resolve) => (this.whenIdle = resolve));
    }
    const worker = this.worker;
    if (worker === undefined) return;
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    worker.postMessage('close');
    const timer = setTimeout(() => void worker.terminate(), CLOSE_DEADLINE);
    worker.ref();
    await exited;
    clearTimeout(timer);
  }

  /** True while the transaction has not been committed, rolled back or lost with the thread. */
  owns(owner: Ownership): boolean {
    return this.owner === owner;
  }

  /** Ends the transaction for its own calls: they are refused with this error, and it cannot be committed. */
  fail(owner: Ownership, error: StoreError): void {
    owner.failed ??= error;
    for (const call of [...this.owned, ...this.inFlight.values()]) {
      if (call.owner === owner && call.op.op !== 'rollback') this.giveUp(call, error);
    }
  }

  private refusal({ op }: SqliteOp, owner: Ownership | undefined): StoreError | undefined {
    if (owner === undefined || op === 'begin') {
      return this.closing ? new StoreError('CLOSED', `${this.options.path} is closed`) : undefined;
    }
    if (owner !== this.owner) return owner.failed ?? new StoreError('CLOSED', 'the transaction is over');
    return op === 'rollback' ? undefined : owner.failed;
  }

  private pending(): number {
    return this.queue.length + this.owned.length + this.cursors.length + this.inFlight.size;
  }

  private laneOf({ op, owner }: Call): Call[] {
    if (op.op === 'open' || op.op === 'fetch' || op.op === 'close') return this.cursors;
    return owner === undefined || op.op === 'begin' ? this.queue : this.owned;
  }

  /** Once per tick, so that the calls of a tick share a message. */
  private schedulePump(): void {
    if (this.pumpQueued) return;
    this.pumpQueued = true;
    queueMicrotask(() => {
      this.pumpQueued = false;
      this.pump();
    });
  }

  private pump(): void {
    if (this.pending() === 0) {
      this.worker?.unref();
      if (this.owner === undefined) this.whenIdle?.();
      return;
    }
    this.worker ??= this.start();
    this.worker.ref();
    if (!this.ready) return;
    const requests: SqliteRequest[] = [];
    const given: ArrayBuffer[] = [];
    while (this.freeSlots.length > 0) {
      const call = this.takeNext();
      if (call === undefined) break;
      const id = this.nextId;
      this.nextId += 1;
      call.slot = this.freeSlots.pop() ?? 0;
      Atomics.store(this.state, call.slot, OPEN);
      this.inFlight.set(id, call);
      if (call.op.op === 'rows') given.push(call.op.block.buffer);
      requests.push({ id, slot: call.slot, op: call.op });
    }
    if (requests.length > 0) this.worker.postMessage(requests, given);
  }

  private takeNext(): Call | undefined {
    const cursor = this.cursors.shift();
    if (cursor !== undefined) return cursor;
    if (this.owner !== undefined) return this.owned.shift();
    const call = this.queue.shift();
    if (call?.op.op === 'begin') this.owner = call.owner;
    return call;
  }

  private start(): Worker {
    const { path, sync, busyTimeoutMs } = this.options;
    this.state = new Int32Array(new SharedArrayBuffer(4 * (SLOTS + 1)));
    Atomics.store(this.state, RUNNING, -1);
    this.freeSlots = Array.from({ length: SLOTS }, (_, slot) => slot);
    this.ready = false;
    const workerData: SqliteThreadData = { path, sync, busyTimeoutMs, state: this.state };
    const worker = new Worker(threadEntry('./thread.js', import.meta.url), {
      workerData,
      name: 'sqlite',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
      // Flags meant for the main program, such as --input-type, would keep the thread from starting.
      execArgv: [],
    });
    let reason = 'its thread ended';
    worker.on('message', (message: SqliteHello | SqliteReply[]) => {
      if (worker !== this.worker) return;
      if (!('ready' in message)) this.onReplies(message);
      else if (message.ready) this.onReady();
      else {
        const text = `cannot open ${path}: ${message.message}`;
        this.onGone(worker, new StoreError(message.full ? 'FULL' : 'OPEN', text), 'all');
      }
    });
    worker.on('error', (error: unknown) => (reason = error instanceof Error ? error.message : String(error)));
    worker.on('exit', () => {
      this.onGone(worker, new StoreError('LOST', `the database ${path} was lost: ${reason}`), 'all');
    });
    return worker;
  }

  private onReady(): void {
    this.ready = true;
    this.pump();
  }

  private onReplies(replies: readonly SqliteReply[]): void {
    for (const reply of replies) {
      const call = this.inFlight.get(reply.id);
      if (call === undefined) continue;
      this.inFlight.delete(reply.id);
      this.freeSlots.push(call.slot);
      const failed = 'code' in reply;
      this.release(call, failed);
      if (failed) this.settle(call, new StoreError(reply.code, reply.message, { row: reply.row }));
      else this.settle(call, undefined, reply.value);
    }
    this.schedulePump();
  }

  /** The thread is done with the call, whether or not its caller still waits. */
  private release(call: Call, failed: boolean): void {
    const { op } = call.op;
    const over = op === 'commit' || op === 'rollback' || (op === 'begin' && (failed || call.settled));
    if (!over || call.owner !== this.owner) return;
    this.owner = undefined;
    // Calls made behind the commit's back must not slip into the next transaction.
    for (const late of this.owned.splice(0))
      this.settle(late, new StoreError('CLOSED', 'the transaction is over'));
  }

  private settle(call: Call, error: StoreError | undefined, value?: unknown): void {
    if (call.settled) return;
    call.settled = true;
    clearTimeout(call.timer);
    call.stopListening();
    if (error === undefined) call.resolve(value);
    else call.reject(error);
  }

  private giveUp(call: Call, error: StoreError): void {
    if (call.settled) return;
    if (call.slot < 0) {
      const lane = this.laneOf(call);
      lane.splice(lane.indexOf(call), 1);
      this.settle(call, error);
      this.schedulePump();
      return;
    }
    // Lost the race against a commit: the reply is on its way and says what happened.
    if (Atomics.compareExchange(this.state, call.slot, OPEN, GIVEN_UP) === DECIDED) return;
    this.settle(call, error);
    // What it did so far stays in the transaction, so that must not be committed.
    if (call.owner !== undefined && call.op.op !== 'begin') call.owner.failed ??= error;
    const { worker, state } = this;
    const stillRunning = (): void => {
      if (worker === undefined || worker !== this.worker || ![...this.inFlight.values()].includes(call))
        return;
      // It may only be waiting behind another one that is busy.
      if (Atomics.load(state, RUNNING) !== call.slot) return;
      this.onGone(
        worker,
        new StoreError('LOST', 'another statement of this database did not end'),
        'started',
      );
      void worker.terminate();
    };
    setTimeout(stillRunning, GRACE).unref();
  }

  /**
   * The thread is no more, or is left to itself. @param scope `started`: calls it surely has not applied go to the next
   * thread instead of failing.
   */
  private onGone(worker: Worker, error: StoreError, scope: 'all' | 'started'): void {
    if (worker !== this.worker) return;
    this.worker = undefined;
    this.ready = false;
    const again: Call[] = [];
    const lost = [...this.inFlight.values()];
    this.inFlight.clear();
    for (const call of lost) {
      const untouched =
        scope === 'started' &&
        call.owner === undefined &&
        (call.op.op === 'query' || call.op.op === 'execute' || call.op.op === 'batch') &&
        Atomics.compareExchange(this.state, call.slot, OPEN, GIVEN_UP) === OPEN;
      call.slot = -1;
      if (untouched && !call.settled) again.push(call);
      else this.settle(call, error);
    }
    const { owner } = this;
    this.owner = undefined;
    if (owner !== undefined) owner.failed ??= error;
    const refused = [
      ...this.owned.splice(0),
      ...this.cursors.splice(0),
      ...(scope === 'all' ? this.queue.splice(0) : []),
    ];
    for (const call of refused) this.settle(call, error);
    this.queue.unshift(...again);
    this.schedulePump();
  }
}
