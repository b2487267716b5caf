/** Transactions: one connection for their whole life, one statement at a time. Thread of the caller. */
import { StoreError, type CallOptions, type SqlRunner } from './driver.js';
import { guarded } from './mysql-call.js';
import { MysqlError } from './mysql-errors.js';
import type { MysqlLink } from './mysql-link.js';
import { cancelled, remaining, tooLate, type Limits } from './mysql-pool.js';
import { MysqlRunner, type Perform } from './mysql.js';

/** A rollback that takes longer, in ms, is left to the server: it undoes what a closed connection leaves behind. */
const ROLLBACK_TIMEOUT = 10_000;

/** @throws StoreError, or what `work` threw */
export async function runTransaction<T>(
  link: MysqlLink,
  limits: Limits,
  work: (tx: SqlRunner) => Promise<T>,
): Promise<T> {
  /** Why nothing may be run any more: given up, or undone by the server. */
  let over: StoreError | undefined;
  let last: Promise<unknown> = Promise.resolve();
  const giving = new AbortController();
  let stop: (error: StoreError) => void = () => undefined;
  const stopped = new Promise<never>((_, reject) => {
    stop = (error) => {
      over ??= error;
      reject(error);
      giving.abort();
    };
  });
  stopped.catch(() => undefined);
  const perform: Perform = async (options, writes, run) => {
    if (over !== undefined) throw over;
    const turn = last.then(async () => {
      if (over !== undefined) throw over;
      try {
        return await guarded(
          link,
          within(limits, options, giving.signal),
          { inTransaction: true, writes },
          run,
        );
      } catch (error) {
        if (link.lost !== undefined || (error instanceof MysqlError && error.endsTransaction))
          over ??= error as StoreError;
        // The call was interrupted because the whole transaction is given up: that is the reason to tell.
        throw giving.signal.aborted && over !== undefined ? over : error;
      }
    });
    last = turn.catch(() => undefined);
    return turn;
  };
  const timer = setTimeout(() => stop(tooLate(limits)), remaining(limits));
  const abort = (): void => stop(cancelled());
  limits.signal?.addEventListener('abort', abort, { once: true });
  if (limits.signal?.aborted === true) abort();
  try {
    await guarded(link, limits, { inTransaction: true, writes: false }, ({ run }) =>
      run('START TRANSACTION'),
    );
    const result = await Promise.race([work(new MysqlRunner(perform)), stopped]);
    await last;
    if (over !== undefined) throw over;
    over = new StoreError('CLOSED', 'the transaction has ended');
    await commit(link, limits);
    return result;
  } catch (error) {
    over ??= new StoreError('CLOSED', 'the transaction has ended');
    await last;
    await rollback(link);
    throw error;
  } finally {
    clearTimeout(timer);
    limits.signal?.removeEventListener('abort', abort);
  }
}

function within(limits: Limits, { timeoutMs = Infinity, signal }: CallOptions, giving: AbortSignal): Limits {
  const endBy = Math.min(limits.endBy, performance.now() + timeoutMs);
  return {
    timeoutMs: Math.min(limits.timeoutMs, timeoutMs),
    endBy,
    signal: signal === undefined ? giving : AbortSignal.any([signal, giving]),
  };
}

/** @throws StoreError LOST when the server did not say that it has committed */
async function commit(link: MysqlLink, limits: Limits): Promise<void> {
  await guarded(link, { ...limits, signal: undefined }, { inTransaction: false, writes: true }, ({ run }) =>
    run('COMMIT'),
  );
}

async function rollback(link: MysqlLink): Promise<void> {
  if (link.lost !== undefined) return;
  const timer = setTimeout(() => link.destroy(), ROLLBACK_TIMEOUT);
  await link.run('ROLLBACK').catch(() => link.destroy());
  clearTimeout(timer);
}
