/** Transactions: one connection for their whole life, one statement at a time. Thread of the caller. */
import { StoreError, type SqlRunner } from '../driver.js';
import { Deadline } from '../give-up.js';
import { guarded } from './call.js';
import { MysqlError } from './errors.js';
import type { MysqlLink } from './link.js';
import { MysqlRunner, type Perform } from '../mysql.js';

/** A rollback that takes longer, in ms, is left to the server: it undoes what a closed connection leaves behind. */
const ROLLBACK_TIMEOUT = 10_000;

/** @throws StoreError, or what `work` threw */
export async function runTransaction<T>(
  link: MysqlLink,
  deadline: Deadline,
  work: (tx: SqlRunner) => Promise<T>,
): Promise<T> {
  /** Why nothing may be run any more: given up, or undone by the server. */
  let over: StoreError | undefined;
  let last: Promise<unknown> = Promise.resolve();
  deadline.over.catch((error: StoreError) => (over ??= error));
  const perform: Perform = async (options, writes, run) => {
    if (over !== undefined) throw over;
    const turn = last.then(async () => {
      if (over !== undefined) throw over;
      const own = new Deadline(options, Infinity, deadline);
      try {
        return await guarded(link, own, { inTransaction: true, writes }, run);
      } catch (error) {
        if (link.lost !== undefined || (error instanceof MysqlError && error.endsTransaction))
          over ??= error as StoreError;
        // The call was interrupted because the whole transaction is given up: that is the reason to tell.
        throw deadline.error ?? error;
      } finally {
        own.done();
      }
    });
    last = turn.catch(() => undefined);
    return turn;
  };
  try {
    await guarded(link, deadline, { inTransaction: true, writes: false }, ({ run }) =>
      run('START TRANSACTION'),
    );
    const result = await Promise.race([work(new MysqlRunner(perform)), deadline.over]);
    await last;
    if (over !== undefined) throw over;
    over = new StoreError('CLOSED', 'the transaction has ended');
    await commit(link, deadline.left);
    return result;
  } catch (error) {
    over ??= new StoreError('CLOSED', 'the transaction has ended');
    await last;
    await rollback(link);
    throw error;
  }
}

/** Nobody can cancel it. @throws StoreError LOST when the server did not say that it has committed */
async function commit(link: MysqlLink, timeoutMs: number): Promise<void> {
  const deadline = new Deadline({}, timeoutMs);
  try {
    await guarded(link, deadline, { inTransaction: false, writes: true }, ({ run }) => run('COMMIT'));
  } finally {
    deadline.done();
  }
}

async function rollback(link: MysqlLink): Promise<void> {
  if (link.lost !== undefined) return;
  const timer = setTimeout(() => link.destroy(), ROLLBACK_TIMEOUT);
  await link.run('ROLLBACK').catch(() => link.destroy());
  clearTimeout(timer);
}
