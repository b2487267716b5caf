/** What a stage does when a transaction meets the locks of others, or of another of its own: it waits a little and does it again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from '../../../store/driver.js';
import { beating } from './beating.js';
import type { StageRun } from './run.js';

/** Work that meets a lock this often in a row ends the run, which is tried again later. */
export const MAX_CONFLICTS = 10;
/** The first pause in ms; each one more is twice as long. */
const FIRST_PAUSE = 20;
const LONGEST_PAUSE = 1_000;

/** @param before conflicts in a row before this one. Ends early, without an error, when the signal comes */
export async function pauseAfterConflict(before: number, signal: AbortSignal): Promise<void> {
  const ms = Math.min(FIRST_PAUSE * 2 ** before, LONGEST_PAUSE);
  // By chance: two that met must not meet again.
  await sleep(ms * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
}

/**
 * With a heartbeat. @param work one transaction, undone when it fails; called again when it was the victim of a deadlock or
 * waited for a lock in vain. @throws what `work` throws, BUSY after ten conflicts in a row
 */
export async function pastConflicts<T>(run: StageRun, work: () => Promise<T>): Promise<T> {
  for (let conflicts = 0; ; conflicts++) {
    try {
      return await beating(run, work());
    } catch (error) {
      const busy = error instanceof StoreError && error.code === 'BUSY';
      if (!busy || conflicts >= MAX_CONFLICTS || run.signal.aborted) throw error;
      run.log.info('batch.conflict', { reason: error.message });
      await pauseAfterConflict(conflicts, run.signal);
    }
  }
}
