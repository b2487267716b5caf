/**
 * How a driver that talks to a server gives a call up: a deadline and an AbortSignal in one, and the wait for the server's
 * answer to the cancellation. Any thread.
 */
import { StoreError, type CallOptions } from './driver.js';

/** How long a server may take to answer a cancellation before its connection is given up too (ms). */
const CANCEL_GRACE = 3_000;
/** Node's timers run at once when they are to run later than this (ms). */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * What may end many waits. `Promise.race` with a promise that stays pending keeps what each of the others brought until it
 * settles: of a bulk load, all that was ever loaded. This lets go of a wait that has ended.
 */
export class Interruption {
  private why: StoreError | undefined;
  private readonly listeners = new Set<(why: StoreError) => void>();

  /** Set once it has happened. */
  get error(): StoreError | undefined {
    return this.why;
  }

  /** Ends what waits now or later. The first reason counts. */
  stop(why: StoreError): void {
    if (this.why !== undefined) return;
    this.why = why;
    for (const listener of this.listeners) listener(why);
    this.listeners.clear();
  }

  /** @param listener called once, now if it has happened already. @returns stops listening */
  listen(listener: (why: StoreError) => void): () => void {
    if (this.why === undefined) this.listeners.add(listener);
    else listener(this.why);
    return () => void this.listeners.delete(listener);
  }

  /** What the work brings, unless this happens first. @throws the reason; what the work throws */
  async race<T>(work: PromiseLike<T>): Promise<T> {
    let deaf: () => void = () => undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        work.then(resolve, reject);
        deaf = this.listen(reject);
      });
    } finally {
      deaf();
    }
  }
}

export class Deadline extends Interruption {
  /** Rejects when the time is over or the caller gave up; never fulfils. For many waits in turn use `race`. */
  readonly over: Promise<never>;
  private readonly endsBy: number;
  private readonly timer: NodeJS.Timeout;
  private readonly signal: AbortSignal | undefined;
  private readonly leaveOuter: (() => void) | undefined;
  private readonly abort = (): void => this.stop(new StoreError('CANCELLED', 'cancelled by the caller'));

  /** @param outer the transaction's, whose end ends this too */
  constructor(
    options: CallOptions,
    defaultMs: number,
    private readonly outer?: Deadline,
  ) {
    super();
    const timeoutMs = options.timeoutMs ?? defaultMs;
    this.endsBy = performance.now() + timeoutMs;
    this.over = new Promise<never>((_, reject) => this.listen(reject));
    // Whoever races for it sees the rejection; nobody else has to.
    this.over.catch(() => undefined);
    this.timer = setTimeout(
      () => this.stop(new StoreError('TIMEOUT', `it took longer than ${timeoutMs} ms`)),
      Math.min(LONGEST_TIMER, Math.max(1, timeoutMs)),
    );
    this.signal = options.signal;
    if (this.signal?.aborted === true) this.abort();
    this.signal?.addEventListener('abort', this.abort, { once: true });
    this.leaveOuter = outer?.listen((error) => this.stop(error));
  }

  /** What is left, in ms, at least 1. */
  get left(): number {
    return Math.max(1, Math.ceil(Math.min(this.endsBy - performance.now(), this.outer?.left ?? Infinity)));
  }

  /** @throws StoreError when it is over */
  check(): void {
    if (this.error !== undefined) throw this.error;
  }

  /** To be called when the call has ended, whatever its end. */
  done(): void {
    clearTimeout(this.timer);
    this.leaveOuter?.();
    this.signal?.removeEventListener('abort', this.abort);
  }
}

export interface Guarded<T> {
  readonly value: T;
  /** A cancellation was sent, which may still reach the next call: the connection is not to be used again. */
  readonly cancelled: boolean;
}

/**
 * Waits for a call of the driver, or cancels it when the deadline is over.
 * @param cancel asks the server to stop; its own failure does not matter
 * @throws the call's error; the deadline's when the server stopped; LOST when it did not even answer
 */
export async function guard<T>(
  call: Promise<T>,
  deadline: Deadline,
  cancel: () => unknown,
): Promise<Guarded<T>> {
  call.catch(() => undefined);
  try {
    return { value: await Promise.race([call, deadline.over]), cancelled: false };
  } catch (error) {
    if (deadline.error === undefined || error !== deadline.error) throw error;
  }
  try {
    await cancel();
  } catch {
    // The connection is dropped anyway.
  }
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<'silent'>(
    (resolve) => (timer = setTimeout(() => resolve('silent'), CANCEL_GRACE)),
  );
  try {
    const outcome = await Promise.race([call.then((value) => ({ value })), silence]);
    // It was faster than the cancellation, so it is applied.
    if (outcome !== 'silent') return { value: outcome.value, cancelled: true };
  } catch (error) {
    // The connection broke instead: nobody knows what became of it.
    throw error instanceof StoreError && error.code === 'LOST' ? error : deadline.error;
  } finally {
    clearTimeout(timer);
  }
  const text = `${deadline.error.message}, and the server does not answer`;
  throw new StoreError('LOST', text, { cause: deadline.error });
}

/**
 * Something that may be granted too late, such as a connection out of a pool: what comes after the deadline is given back.
 * @throws the deadline's error
 */
export async function granted<T>(
  grant: Promise<T>,
  deadline: Deadline,
  giveBack: (late: T) => unknown,
): Promise<T> {
  try {
    return await Promise.race([grant, deadline.over]);
  } catch (error) {
    if (deadline.error !== undefined && error === deadline.error) {
      grant.then(giveBack).catch(() => undefined);
    }
    throw error;
  }
}

/** The same items, but a source that brings none before the deadline is left. @throws the deadline's error */
export async function* paced<T>(items: AsyncIterable<T>, deadline: Deadline): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      const next = await deadline.race(iterator.next());
      if (next.done === true) {
        ended = true;
        return;
      }
      yield next.value;
    }
  } finally {
    // Not waited for: a source that hangs would hang here too.
    if (!ended) iterator.return?.().catch(() => undefined);
  }
}
