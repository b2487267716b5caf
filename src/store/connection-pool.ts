/**
 * Connections of one store: opened when needed, at most so many, handed out in the order of asking. A server that went away is tried
 * again with growing pauses (100 ms doubling to 5 s) by the calls that need it, until their deadlines, but for a minute at most: a
 * stage that may take half an hour is to say that its server is away. Thread of the caller.
 */
import { StoreError } from './driver.js';
import { granted, type Deadline } from './give-up.js';

export interface PooledConnection {
  /** Set when it is of no use any more. */
  readonly lost: StoreError | undefined;
  /** When it was last heard of, on the clock of `performance.now()`. */
  readonly usedAt: number;
  /** Asks the server. @returns false when it did not answer in time */
  alive(timeoutMs: number): Promise<boolean>;
  /** Says goodbye, or cuts it when it is lost. */
  end(): void;
}

export interface PoolOptions<C> {
  /** Whom messages name; no secret in it. */
  readonly label: string;
  readonly maxConnections: number;
  /** Calls that may wait for a connection. */
  readonly maxPending: number;
  /** @throws StoreError LOST when it is worth another try, any other code when it is not */
  connect(timeoutMs: number): Promise<C>;
}

interface Waiter<C> {
  take(connection: C | undefined): void;
}

const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5_000;
const LONGEST_TRY = 60_000;
/** A connection unused for so many ms is asked whether it still lives: firewalls drop silent ones without a word. */
const DOUBTFUL_AFTER = 30_000;
const PING_TIMEOUT = 2_000;

export class ConnectionPool<C extends PooledConnection> {
  private readonly idle: C[] = [];
  private readonly waiting = new Set<Waiter<C>>();
  private open = 0;
  private pause = 0;
  private retryAt = 0;
  private lastError = '';
  private closed = false;
  private readonly whenEmpty: (() => void)[] = [];

  constructor(private readonly options: PoolOptions<C>) {}

  /** One connection, without a second try. @throws StoreError OPEN, or what `connect` says */
  async start(timeoutMs: number): Promise<void> {
    this.open += 1;
    try {
      this.idle.push(await this.options.connect(timeoutMs));
    } catch (error) {
      this.open -= 1;
      const { code, message } = error as StoreError;
      throw new StoreError(code === 'LOST' ? 'OPEN' : code, message);
    }
  }

  /** A connection of one's own, to be given back by `release`. @throws StoreError QUEUE_FULL, TIMEOUT, CANCELLED, CLOSED, OPEN, LOST */
  async acquire(deadline: Deadline): Promise<C> {
    for (;;) {
      this.check();
      deadline.check();
      const connection = this.idle.pop();
      if (connection !== undefined) {
        if (await this.sound(connection, deadline)) return connection;
        this.forget(connection);
      } else if (this.open < this.options.maxConnections) {
        this.open += 1;
        const opening = this.connect(deadline);
        opening.catch(() => this.left());
        return await granted(opening, deadline, (late) => this.release(late)).catch((error: StoreError) => {
          if (error !== deadline.error || this.lastError === '') throw error;
          throw new StoreError(error.code, `${error.message}: ${this.lastError}`);
        });
      } else {
        const given = await this.wait(deadline);
        if (given !== undefined) return given;
      }
    }
  }

  release(connection: C): void {
    const [next] = this.waiting;
    if (connection.lost !== undefined || this.closed) this.forget(connection);
    else if (next === undefined) this.idle.push(connection);
    else next.take(connection);
  }

  /** Waits for the connections that are out. */
  async close(): Promise<void> {
    this.closed = true;
    for (const waiter of this.waiting) waiter.take(undefined);
    for (const connection of this.idle.splice(0)) this.forget(connection);
    if (this.open > 0) await new Promise<void>((resolve) => this.whenEmpty.push(resolve));
  }

  check(): void {
    if (this.closed) throw new StoreError('CLOSED', `${this.options.label} was closed`);
  }

  private forget(connection: C): void {
    connection.end();
    this.left();
  }

  /** One connection fewer: who waits may open another. */
  private left(): void {
    this.open -= 1;
    if (this.open === 0) for (const done of this.whenEmpty.splice(0)) done();
    const [next] = this.waiting;
    next?.take(undefined);
  }

  private async sound(connection: C, deadline: Deadline): Promise<boolean> {
    if (connection.lost !== undefined) return false;
    if (performance.now() - connection.usedAt < DOUBTFUL_AFTER) return true;
    return connection.alive(Math.min(PING_TIMEOUT, deadline.left));
  }

  private async connect(deadline: Deadline): Promise<C> {
    const began = performance.now();
    for (;;) {
      const pause = this.retryAt - performance.now();
      if (pause > 0) await rest(pause, deadline);
      this.check();
      deadline.check();
      try {
        const connection = await this.options.connect(deadline.left);
        this.pause = 0;
        this.retryAt = 0;
        this.lastError = '';
        return connection;
      } catch (error) {
        const { code, message } = error as StoreError;
        if (code !== 'LOST') throw error;
        this.lastError = message;
        if (performance.now() - began >= LONGEST_TRY)
          throw new StoreError('LOST', `tried for ${LONGEST_TRY / 1_000} s: ${message}`);
        // Several may have tried at once: they are one attempt.
        if (performance.now() < this.retryAt) continue;
        this.pause = Math.min(LONGEST_PAUSE, Math.max(FIRST_PAUSE, this.pause * 2));
        this.retryAt = performance.now() + this.pause;
      }
    }
  }

  /** @returns a connection given back, or undefined when it is worth looking again */
  private async wait(deadline: Deadline): Promise<C | undefined> {
    if (this.waiting.size >= this.options.maxPending) {
      throw new StoreError('QUEUE_FULL', `${this.waiting.size} calls wait for ${this.options.label} already`);
    }
    let waiter: Waiter<C> | undefined;
    const given = new Promise<C | undefined>((resolve) => {
      waiter = {
        take: (connection) => {
          if (waiter !== undefined) this.waiting.delete(waiter);
          resolve(connection);
        },
      };
      this.waiting.add(waiter);
    });
    try {
      return await Promise.race([given, deadline.over]);
    } catch (error) {
      if (waiter !== undefined) this.waiting.delete(waiter);
      // Given in the very moment of giving up.
      void given.then((late) => late !== undefined && this.release(late));
      throw error;
    }
  }
}

async function rest(ms: number, deadline: Deadline): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const rested = new Promise((resolve) => (timer = setTimeout(resolve, ms)));
  try {
    await Promise.race([rested, deadline.over]);
  } finally {
    clearTimeout(timer);
  }
}
