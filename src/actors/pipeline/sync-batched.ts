/**
 * The batched refresh: a walk along the keys of both sides that brings what differs, a transaction for each batch. The next
 * batch is read while the last is written. Worker thread.
 */
import { apply, beating, stillGone, type ApplyOptions } from './sync-apply.js';
import type { SyncPlan } from './sync-plan.js';
import { inOrder, Position } from './sync-pair.js';
import { walk, type Step } from './sync-read.js';
import { whereText } from './sync-sql.js';
import type { StageRun } from './stage-run.js';

export interface BatchedOptions extends ApplyOptions {
  readonly batchRows: number;
  /** Remove rows that the source does not have. */
  readonly detect: boolean;
  /** Of the conf, so that a position is not used for another table. */
  readonly print: string;
}

interface Found {
  missing: number;
  changed: number;
  removed: number;
}

/** Interrupted, the next call goes on behind the last batch. @throws StoreError, StageError */
export async function refreshBatched(plan: SyncPlan, run: StageRun, options: BatchedOptions): Promise<void> {
  const position = new Position(run, options.print);
  const start = await position.load();
  const { source } = plan;
  if (start === undefined) {
    const count = `SELECT COUNT(*) FROM ${source.table}${whereText({ sql: source.where, binds: [] })}`;
    const total = await beating(run, source.store.query(count, [], options));
    run.expect({ rows: Number(total.rows[0]?.[0]) });
  } else {
    const after = start.map(String).join(', ');
    run.log.notice('sync-refresh.goes-on', { table: plan.targetTable, after });
  }
  const found: Found = { missing: 0, changed: 0, removed: 0 };
  await inOrder(run, options.print, async (byBytes, anew) => {
    const after = anew ? undefined : start;
    const steps = walk(plan, { ...options, after, byBytes, stepRows: options.batchRows });
    await inTurns(steps, async (step) => {
      await bring(plan, step, run, options, found);
      if (step.position !== undefined && !run.dryRun)
        await position.save(step.position.slice(0, plan.key.length));
    });
  });
  if (run.signal.aborted) return;
  if (!run.dryRun) await position.clear();
  const event = run.dryRun ? 'sync-refresh.would-write' : 'sync-refresh.batched';
  run.log.info(event, { table: plan.targetTable, ...found });
}

async function bring(
  plan: SyncPlan,
  step: Step,
  run: StageRun,
  options: BatchedOptions,
  found: Found,
): Promise<void> {
  const remove = options.detect ? await stillGone(plan, step.extra, options) : [];
  const change = { insert: step.missing, update: step.changed, remove };
  if (!run.dryRun) run.counts.rowsOut += await beating(run, apply(plan, change, options));
  run.counts.rowsIn += step.sourceRows;
  found.missing += step.missing.length;
  found.changed += step.changed.length;
  found.removed += remove.length;
  run.progress();
}

/** Works on one item while the next is being made. @throws what either throws, when both have ended */
export async function inTurns<T>(items: AsyncIterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  let pending: Promise<void> = Promise.resolve();
  try {
    for await (const item of items) {
      await pending;
      pending = work(item);
      pending.catch(() => undefined);
    }
  } finally {
    await pending;
  }
}
