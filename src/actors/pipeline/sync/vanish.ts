/** Rows whose key the source no longer has: found by walking along the keys of both sides, removed in batches. Worker thread. */
import { apply, stillGone, type ApplyOptions } from './apply.js';
import type { SyncPlan } from './plan.js';
import { walk } from './read.js';
import { inOrder } from './pair.js';
import { beatingEach } from '../stage/beating.js';
import type { StageRun } from '../stage/run.js';

/** @returns rows removed, or in a dry run those that would be */
export async function removeVanished(
  plan: SyncPlan,
  run: StageRun,
  print: string,
  options: ApplyOptions & { readonly batchRows: number },
): Promise<number> {
  let removed = 0;
  await inOrder(run, print, async (byBytes) => {
    removed = 0;
    const steps = walk(plan, {
      ...options,
      keysOnly: true,
      byBytes,
      stepRows: options.batchRows,
    });
    for await (const step of beatingEach(run, steps)) {
      run.progress();
      const remove = await stillGone(plan, step.extra, options);
      if (run.dryRun) removed += remove.length;
      else removed += await apply(plan, { insert: [], update: [], remove }, run, options);
    }
  });
  return removed;
}
