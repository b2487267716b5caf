/**
 * The connections of one store: opened when needed, at most so many, handed out in the order of asking. A lost server is tried
 * again with growing pauses by the calls that need it, until their deadlines. Thread of the caller.
 */
import { StoreError } from './driver.js';
import { MysqlLink } from './mysql-link.js';
import type { MysqlAddress } from './mysql-url.js';

/** When a call gives up. */
export interface Limits {
  readonly timeoutMs: number;
  /** On the clock of `performance.now()`. */
  readonly endBy: number;
  readonly signal: AbortSignal | undefined;
}

interface Waiter {
  take(link: MysqlLink | undefined): void;
}

const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5_000;
/** A connection unused for so many ms is asked whether it still lives: firewalls drop silent ones without a word. */
const DOUBTFUL_AFTER = 30_000;
const PING_TIMEOUT = 2_000;

export function tooLate({ timeoutMs }: Limits, why = ''): StoreError {
  return new StoreError('TIMEOUT', `not done within ${timeoutMs} ms${why}`);
}

export function cancelled(): StoreError {
  return new StoreError('CANCELLED', 'cancelled by the caller');
}

export class MysqlPool {
  private readonly idle: MysqlLink[] = [];
  private readonly waiting = new Set<Waiter>();
  private open = 0;
  private pause = 0;
  private retryAt = 0;
  private lastError = '';
  private closed = false;
  private whenEmpty: (() => void) | undefined;

  constructor(
    private readonly address: MysqlAddress,
    private readonly maxConnections: number,
    private readonly maxPending: number,
  ) {}

  /** The first connection, without a second try. @throws StoreError OPEN */
  async start(timeoutMs: number): Promise<void> {
    this.open += 1;
    try {
      this.idle.push(await MysqlLink.open(this.address, timeoutMs));
    } catch (error) {
      this.open -= 1;
      throw new StoreError('OPEN', (error as Error).message);
    }
  }

  /** A connection of one's own, to be given back by `release`. @throws StoreError QUEUE_FULL, TIMEOUT, CANCELLED, CLOSED, OPEN */
  async acquire(limits: Limits): Promise<MysqlLink> {
    for (;;) {
      if (this.closed) throw new StoreError('CLOSED', `${this.address.label} was closed`);
      if (limits.signal?.aborted === true) throw cancelled();
      const link = this.idle.pop();
      if (link !== undefined) {
        if (await this.alive(link, limits)) return link;
        this.forget(link);
        continue;
      }
      if (this.open < this.maxConnections) {
        this.open += 1;
        try {
          return await this.connect(limits);
        } catch (error) {
          this.left();
          throw error;
        }
      }
      const given = await this.wait(limits);
      if (given !== undefined) return given;
    }
  }

  release(link: MysqlLink): void {
    if (link.lost !== undefined || this.closed) return this.forget(link);
    const [next] = this.waiting;
    if (next !== undefined) next.take(link);
    else this.idle.push(link);
  }

  /** Waits for the connections that are out. */
  async close(): Promise<void> {
    if (!this.closed) {
      this.closed = true;
      for (const waiter of this.waiting) waiter.take(undefined);
      for (const link of this.idle.splice(0)) this.forget(link);
    }
    if (this.open > 0)
      await new Promise<void>((resolve) => {
        const before = this.whenEmpty;
        this.whenEmpty = () => {
          before?.();
          resolve();
        };
      });
  }

  private forget(link: MysqlLink): void {
    if (link.lost === undefined) link.end();
    else link.destroy();
    this.left();
  }

  /** One connection fewer: who waits may open another. */
  private left(): void {
    this.open -= 1;
    if (this.open === 0) this.whenEmpty?.();
    const [next] = this.waiting;
    next?.take(undefined);
  }

  private async alive(link: MysqlLink, limits: Limits): Promise<boolean> {
    if (link.lost !== undefined) return false;
    if (performance.now() - link.usedAt < DOUBTFUL_AFTER) return true;
    const timer = setTimeout(() => link.destroy(), Math.min(PING_TIMEOUT, remaining(limits)));
    try {
      await link.run('DO 0');
      return true;
    } catch {
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  private async connect(limits: Limits): Promise<MysqlLink> {
    for (;;) {
      const pause = this.retryAt - performance.now();
      if (pause > 0) await rest(pause, limits, `: ${this.lastError}`);
      if (this.closed) throw new StoreError('CLOSED', `${this.address.label} was closed`);
      try {
        const link = await MysqlLink.open(this.address, remaining(limits), limits.signal);
        this.pause = 0;
        this.retryAt = 0;
        return link;
      } catch (error) {
        const known = error as StoreError;
        if (known.code === 'OPEN' || known.code === 'CANCELLED') throw known;
        this.lastError = known.message;
        this.pause = Math.min(LONGEST_PAUSE, this.pause === 0 ? FIRST_PAUSE : this.pause * 2);
        this.retryAt = performance.now() + this.pause;
      }
    }
  }

  /** @returns a connection given back, or undefined when it is worth looking again. */
  private wait(limits: Limits): Promise<MysqlLink | undefined> {
    if (this.waiting.size >= this.maxPending) {
      const message = `${this.waiting.size} calls wait for ${this.address.label} already`;
      return Promise.reject(new StoreError('QUEUE_FULL', message));
    }
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        limits.signal?.removeEventListener('abort', abort);
        this.waiting.delete(waiter);
      };
      const waiter: Waiter = {
        take: (link) => {
          end();
          resolve(link);
        },
      };
      const abort = (): void => {
        end();
        reject(cancelled());
      };
      const timer = setTimeout(() => {
        end();
        reject(tooLate(limits, ': all connections are in use'));
      }, remaining(limits));
      limits.signal?.addEventListener('abort', abort, { once: true });
      this.waiting.add(waiter);
    });
  }
}

/** The longest that Node's timers can wait; a longer one would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

export function remaining({ endBy }: Limits): number {
  return Math.min(LONGEST_TIMER, Math.max(1, endBy - performance.now()));
}

/** @throws StoreError TIMEOUT at the deadline, CANCELLED */
async function rest(ms: number, limits: Limits, why: string): Promise<void> {
  const late = ms >= remaining(limits);
  await new Promise<void>((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(cancelled());
    };
    const timer = setTimeout(
      () => {
        limits.signal?.removeEventListener('abort', abort);
        if (late) reject(tooLate(limits, why));
        else resolve();
      },
      late ? remaining(limits) : ms,
    );
    limits.signal?.addEventListener('abort', abort, { once: true });
  });
}
