/** So many calls at a time, so many more waiting: in front of a pool that cannot take a waiting call back. Any thread. */
import { StoreError } from './driver.js';
import { granted, type Deadline } from './give-up.js';

export class Slots {
  private used = 0;
  private closed = false;
  private readonly waiting: ((free: () => void) => void)[] = [];
  private whenEmpty: () => void = () => undefined;

  constructor(
    private readonly limit: number,
    private readonly maxPending: number,
  ) {}

  /** @returns what gives the slot back. @throws StoreError QUEUE_FULL, or the deadline's */
  async take(deadline: Deadline): Promise<() => void> {
    deadline.check();
    if (this.used < this.limit) return this.grant();
    if (this.waiting.length >= this.maxPending) {
      throw new StoreError('QUEUE_FULL', `${this.maxPending} calls wait already`);
    }
    let mine: (free: () => void) => void = () => undefined;
    const turn = new Promise<() => void>((resolve) => this.waiting.push((mine = resolve)));
    try {
      return await granted(turn, deadline, (free) => free());
    } catch (error) {
      const at = this.waiting.indexOf(mine);
      if (at >= 0) this.waiting.splice(at, 1);
      throw error;
    }
  }

  /** Fulfils when all are free. */
  async close(): Promise<void> {
    this.closed = true;
    if (this.used > 0) await new Promise<void>((resolve) => (this.whenEmpty = resolve));
  }

  private grant(): () => void {
    this.used += 1;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.used -= 1;
      const next = this.waiting.shift();
      if (next !== undefined) next(this.grant());
      else if (this.closed && this.used === 0) this.whenEmpty();
    };
  }
}
