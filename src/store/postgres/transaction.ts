/** A transaction: one connection, one call after the other, until the work has ended or the deadline is over. Thread of the caller. */
import { StoreError, type CallOptions, type SqlRunner } from '../driver.js';
import { Deadline } from '../give-up.js';
import type { PostgresLink } from './link.js';
import { PostgresRunner, type Descriptions, type Loan } from './runner.js';

const MAX_WAITING = 1_000;

export class PostgresTransaction extends PostgresRunner {
  private last: Promise<void> = Promise.resolve();
  private waiting = 0;
  private ended: StoreError | undefined;

  private constructor(
    private readonly own: PostgresLink,
    private readonly limits: Deadline,
    descriptions: Descriptions,
  ) {
    super(true, descriptions);
  }

  /** @throws StoreError; what the work throws. Then nothing is applied, but for LOST, where nobody knows. */
  static async run<T>(
    link: PostgresLink,
    deadline: Deadline,
    work: (tx: SqlRunner) => Promise<T>,
    descriptions: Descriptions,
  ): Promise<T> {
    await link.run((script) => script.say('BEGIN'), deadline);
    const tx = new PostgresTransaction(link, deadline, descriptions);
    try {
      const result = await Promise.race([work(tx), deadline.over]);
      await tx.end(new StoreError('CLOSED', 'the transaction has ended'));
      await link.commit(deadline);
      return result;
    } catch (error) {
      await tx.end(new StoreError('CLOSED', `the transaction has ended: ${(error as Error).message}`));
      await link.undo('ROLLBACK');
      throw error;
    }
  }

  protected override async borrow(options: CallOptions): Promise<Loan> {
    this.check();
    if (this.waiting >= MAX_WAITING)
      throw new StoreError('QUEUE_FULL', `${this.waiting} calls of the transaction wait already`);
    const { last, own: link, limits } = this;
    const deadline = new Deadline(options, limits.left, limits);
    let free: () => void = () => undefined;
    this.last = new Promise((resolve) => (free = resolve));
    const giveBack = (): void => {
      deadline.done();
      free();
    };
    this.waiting += 1;
    await last;
    this.waiting -= 1;
    try {
      this.check();
      deadline.check();
      return { link, deadline, giveBack };
    } catch (error) {
      giveBack();
      throw error;
    }
  }

  private check(): void {
    if (this.ended !== undefined) throw this.ended;
  }

  /** Refuses later calls and waits for the one under way. */
  private async end(why: StoreError): Promise<void> {
    this.ended ??= why;
    await this.last;
  }
}
