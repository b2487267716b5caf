/**
 * Refreshing and extending a table through a link: the target's own server reads the source as a table of its own (spec
 * data-centre 10.1, 10.2), so the rows do not pass through here. Only keys do. Worker thread.
 */
import type { SqlRow, SqlRunner, Store } from '../../../store/driver.js';
import type { ApplyOptions } from './apply.js';
import { makePlan, type PairSettings, type Side, type SyncPlan } from './plan.js';
import { ahead, FETCH_ROWS, orderedSelect, UnsortedError } from './read.js';
import { all, keyList, keyRange, maxKeys, whereText, type Piece } from './sql.js';
import { removeVanished } from './vanish.js';
import { beatingEach } from '../stage/beating.js';
import { pastConflicts } from '../stage/conflicts.js';
import type { StageRun } from '../stage/run.js';

export interface LinkJob extends ApplyOptions {
  /** Its source is where the keys are read: the source itself, or the link when nothing else is known. */
  readonly plan: SyncPlan;
  readonly target: Store;
  readonly link: string;
  readonly settings: PairSettings;
  readonly batchRows: number;
  readonly print: string;
}

/** The link as the source of a plan, seen from the target's server. */
export async function linkSide({ target, settings, link }: LinkJob, needKey = true): Promise<Side> {
  return (await makePlan(target, target, settings, { link, needKey })).source;
}

/** `INSERT ... SELECT` of the link's rows that meet a condition. */
export function copyText(plan: SyncPlan, link: Side, where: Piece): string {
  const names = plan.target.columns.join(', ');
  return `INSERT INTO ${plan.target.table} (${names}) SELECT ${link.columns.join(', ')} FROM ${link.table}${whereText(where)}`;
}

export async function refreshWholeByLink(job: LinkJob, run: StageRun): Promise<void> {
  const { plan } = job;
  const link = await linkSide(job, false);
  if (run.dryRun) return;
  const rows = await pastConflicts(run, () =>
    job.target.transaction((tx) => replace(plan, link, tx, undefined, job), job),
  );
  run.counts.rowsIn += rows;
  run.counts.rowsOut += rows;
  run.log.info('sync-refresh.whole', { table: plan.targetTable, rows });
}

/** Replaces the rows of one range or list of keys, or all. @returns rows inserted */
async function replace(
  plan: SyncPlan,
  link: Side,
  tx: SqlRunner,
  rows: { readonly target: Piece; readonly link: Piece } | undefined,
  options: ApplyOptions,
): Promise<number> {
  const old = all(plan.target.where, rows?.target);
  await tx.execute(`DELETE FROM ${plan.target.table}${whereText(old)}`, old.binds, options);
  const fresh = all(link.where, rows?.link);
  return tx.execute(copyText(plan, link, fresh), fresh.binds, options);
}

/**
 * By ranges of the key where its order is the same everywhere, which removes vanished rows on the way; text keys, whose
 * order is the matter of collations, by lists of keys, and vanished rows are looked for afterwards.
 */
export async function refreshByLink(
  job: LinkJob & { readonly detect: boolean },
  run: StageRun,
): Promise<void> {
  const { plan, target } = job;
  const link = await linkSide(job);
  const ranges = hasNaturalOrder(plan) && job.detect;
  const { dialect } = target;
  const size = ranges ? job.batchRows : Math.min(job.batchRows, maxKeys(dialect, plan.key.length));
  let last: SqlRow | undefined;
  const work = async (where: { target: Piece; link: Piece }, keys: number): Promise<void> => {
    run.counts.rowsIn += keys;
    if (run.dryRun || run.signal.aborted) return;
    run.counts.rowsOut += await pastConflicts(run, () =>
      target.transaction((tx) => replace(plan, link, tx, where, job), job),
    );
  };
  const both = (make: (side: Side) => Piece): { target: Piece; link: Piece } => ({
    target: make(plan.target),
    link: make(link),
  });
  for await (const keys of beatingEach(run, keyBatches(plan, size, job, undefined))) {
    const from = last;
    const to = keys.at(-1);
    if (to === undefined) continue;
    last = to;
    const piece = (side: Side): Piece =>
      ranges
        ? all(from && keyRange(side.keys, '>', from), keyRange(side.keys, '<=', to))
        : keyList(dialect, side.keys, keys);
    await work(both(piece), keys.length);
  }
  if (ranges) {
    const from = last;
    const rest = (side: Side): Piece => all(from && keyRange(side.keys, '>', from));
    await work(both(rest), 0);
  }
  const removed = ranges || !job.detect ? undefined : await removeVanished(plan, run, job.print, job);
  run.log.info('sync-refresh.by-link', { table: plan.targetTable, rows: run.counts.rowsOut, removed });
}

/** Keys of the source in their order. */
export async function* keyBatches(
  plan: SyncPlan,
  size: number,
  options: ApplyOptions,
  and: Piece | undefined,
): AsyncGenerator<SqlRow[]> {
  const { sql, binds } = orderedSelect(plan.source, plan, { ...options, keysOnly: true, and });
  const natural = hasNaturalOrder(plan);
  let keys: SqlRow[] = [];
  let last: SqlRow | undefined;
  for await (const { rows } of ahead(
    plan.source.store.stream(sql, binds, { ...options, batchRows: FETCH_ROWS }),
  )) {
    for (const row of rows) {
      if (natural && last !== undefined && plan.compare(last, row) > 0) throw new UnsortedError(plan.source);
      last = row;
      keys.push(plan.convert(row));
      if (keys.length < size) continue;
      yield keys;
      keys = [];
    }
  }
  if (keys.length > 0) yield keys;
}

function hasNaturalOrder(plan: SyncPlan): boolean {
  return plan.comparisons
    .slice(0, plan.key.length)
    .every(({ kind }) => kind === 'integer' || kind === 'decimal' || kind === 'float' || kind === 'date');
}
