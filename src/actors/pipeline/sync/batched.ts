/**
 * The batched refresh: a walk along the keys of both sides that brings what differs, a transaction for each batch. The next
 * batch is read while the last is written. Worker thread.
 */
import type { SqlRow } from '../../../store/driver.js';
import { apply, stillGone, type ApplyOptions } from './apply.js';
import type { SyncPlan } from './plan.js';
import { inOrder, Position } from './pair.js';
import { walk, type Step } from './read.js';
import { whereText } from './sql.js';
import { beating, beatingEach } from '../stage/beating.js';
import type { StageRun } from '../stage/run.js';

export interface BatchedOptions extends ApplyOptions {
  readonly batchRows: number;
  /** Remove rows that the source does not have. */
  readonly detect: boolean;
  /** Batches written at once, each in a transaction of its own. */
  readonly writers: number;
  /** Of the conf, so that a position is not used for another table. */
  readonly print: string;
}

interface Found {
  missing: number;
  changed: number;
  removed: number;
}

/**
 * Interrupted, the next call goes on behind the last batch, and then looks at what lies before it once more: when a call
 * ends well, all of both tables was looked at. @throws StoreError, StageError
 */
export async function refreshBatched(plan: SyncPlan, run: StageRun, options: BatchedOptions): Promise<void> {
  const position = new Position(run, options.print);
  const start = await position.load();
  const { source } = plan;
  const count = `SELECT COUNT(*) FROM ${source.table}${whereText({ sql: source.where, binds: [] })}`;
  const total = await beating(run, source.store.query(count, [], options));
  run.expect({ rows: Number(total.rows[0]?.[0]) });
  if (start !== undefined) {
    const after = start.map(String).join(', ');
    run.log.notice('sync-refresh.goes-on', { table: plan.targetTable, after });
  }
  const found: Found = { missing: 0, changed: 0, removed: 0 };
  await inOrder(run, options.print, async (byBytes, anew) => {
    const from = anew ? undefined : start;
    const pass = (range: { after?: SqlRow | undefined; upTo?: SqlRow }, keep: boolean): Promise<void> =>
      inTurns(
        beatingEach(run, walk(plan, { ...options, ...range, byBytes, stepRows: options.batchRows })),
        (step) => bring(plan, step, run, options, found),
        options.writers,
        async (step) => {
          if (keep && step.position !== undefined)
            await position.save(step.position.slice(0, plan.key.length));
        },
      );
    await pass({ after: from }, !run.dryRun);
    if (run.signal.aborted) return;
    if (!run.dryRun) await position.clear();
    if (from !== undefined) await pass({ upTo: from }, false);
  });
  if (run.signal.aborted) return;
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
  const written = run.dryRun ? 0 : await apply(plan, change, run, options);
  run.counts.rowsOut += written;
  run.counts.rowsIn += step.sourceRows;
  found.missing += step.missing.length;
  found.changed += step.changed.length;
  found.removed += remove.length;
  run.progress();
}

/**
 * Works on items while the next is being made, on `width` of them at once. @param done called for each in their order, when it
 * and all before it are through. @throws the first failure, when nothing is under way any more
 */
export async function inTurns<T>(
  items: AsyncIterable<T>,
  work: (item: T) => Promise<void>,
  width = 1,
  done: (item: T) => Promise<void> = async () => undefined,
): Promise<void> {
  const pending: { readonly item: T; readonly working: Promise<void> }[] = [];
  const settle = async (): Promise<void> => {
    const first = pending[0];
    if (first === undefined) return;
    await first.working;
    pending.shift();
    await done(first.item);
  };
  try {
    for await (const item of items) {
      if (pending.length >= width) await settle();
      const working = work(item);
      working.catch(() => undefined);
      pending.push({ item, working });
    }
    while (pending.length > 0) await settle();
  } finally {
    await Promise.allSettled(pending.map(({ working }) => working));
  }
}
