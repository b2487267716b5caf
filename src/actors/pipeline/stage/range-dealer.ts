/**
 * Deals ranges that follow one another to several workers, so that none waits for another's locks: a database that goes through a
 * range also touches the first row behind it, and rows that are gone are no rows. Any thread.
 */

/** One range. */
export interface Dealt<T> {
  readonly range: T;
  state: 'idle' | 'active' | 'done';
}

/** So many ranges are known at once: enough for a few workers to find one each. */
export const MOST_KNOWN = 12;
/** So many that nobody works on are looked up ahead. */
const AHEAD = 2;

export class RangeDealer<T> {
  /** In their order, from the first that is not done. */
  private readonly known: Dealt<T>[] = [];
  private looking: Promise<void> | undefined;
  private exhausted = false;
  private closed = false;
  private waiting: (() => void)[] = [];

  /** @param look finds the next range; undefined when there is none. It is called once at a time, and again after it failed */
  constructor(private readonly look: () => Promise<T | undefined>) {}

  /** Waits until there is one. @returns undefined when all are dealt or it was closed. @throws what `look` throws */
  async take(): Promise<Dealt<T> | undefined> {
    while (!this.closed) {
      const found = this.known.find((range) => this.mayStart(range));
      if (found !== undefined) {
        found.state = 'active';
        this.lookAhead();
        return found;
      }
      if (!this.exhausted && this.known.length < MOST_KNOWN) await this.lookOn();
      else if (this.known.some(({ state }) => state === 'idle')) await this.change();
      else return undefined;
    }
    return undefined;
  }

  /** Nothing of it is being worked on any more. */
  done(range: Dealt<T>): void {
    range.state = 'done';
    while (this.known[0]?.state === 'done') this.known.shift();
    this.wake();
  }

  /** Deals no more. Resolves when nothing is looked up any more. */
  async close(): Promise<void> {
    this.closed = true;
    this.wake();
    await this.looking?.catch(() => undefined);
  }

  /** Its end touches no row another works on, and nobody's end touches it. */
  private mayStart(range: Dealt<T>): boolean {
    if (range.state !== 'idle') return false;
    if (this.behind(range)?.state === 'active') return false;
    return !this.known.some((other) => other.state === 'active' && this.behind(other) === range);
  }

  /** The first range behind this one that has rows left. */
  private behind(range: Dealt<T>): Dealt<T> | undefined {
    return this.known.slice(this.known.indexOf(range) + 1).find(({ state }) => state !== 'done');
  }

  private lookAhead(): void {
    const idle = this.known.filter(({ state }) => state === 'idle').length;
    // What fails is looked up again when it is needed.
    if (idle < AHEAD && this.known.length < MOST_KNOWN) this.lookOn().catch(() => undefined);
  }

  private lookOn(): Promise<void> {
    if (this.exhausted) return Promise.resolve();
    this.looking ??= this.look()
      .then((range) => {
        if (range === undefined) this.exhausted = true;
        else this.known.push({ range, state: 'idle' });
      })
      .finally(() => {
        this.looking = undefined;
        this.wake();
      });
    return this.looking;
  }

  private change(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}
