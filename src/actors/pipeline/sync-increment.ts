/**
 * Stage `sync-increment`: appends what the source has beyond the greatest key of the target (spec data-centre 10.2, 10.3). Rows
 * that were committed late, with a key already passed, are found in a window behind that key (weakness D12); rows
 * deleted at the source are removed when asked for. The position is the target itself, so a kill loses nothing. Worker thread.
 */
import type { SqlRow, SqlValue } from '../../store/driver.js';
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';
import { apply, type ApplyOptions } from './sync/apply.js';
import { batchKeys, linkKeys, pairKeys } from './sync/keys.js';
import { copyText, keyBatches, linkSide, type LinkJob } from './sync/link.js';
import { makePlan, sameNames, type Side, type SyncPlan } from './sync/plan.js';
import { fingerprint, inOrder, readValue, StorePair, writeValue } from './sync/pair.js';
import { ahead, FETCH_ROWS, orderedSelect, walk } from './sync/read.js';
import { inTurns } from './sync/batched.js';
import { all, keyList, maxKeys, chunksOf, whereText, type Piece } from './sync/sql.js';
import { removeVanished } from './sync/vanish.js';
import { beforeValue, canonical } from './sync/values.js';
import { stageActor } from './stage.js';
import { beating, beatingEach } from './stage/beating.js';
import { pastConflicts } from './stage/conflicts.js';
import { stageKeys } from './stage/keys.js';
import { StageError, type Stage, type StageEnv, type StageRun } from './stage/run.js';

export const keys = defineKeys({
  ...pairKeys,
  ...linkKeys,
  ...batchKeys,
  every: { ...stageKeys.every, default: '10s', aliases: ['timetvl'] },
  position: {
    type: 'enum',
    values: ['target', 'ledger'],
    default: 'target',
    help: 'Where the last key is known from: the greatest in the target, or, for a target that is emptied, the ledger',
    reload: 'child',
  },
  overlap: {
    type: 'int',
    default: '1000',
    min: 0,
    help: 'Number keys: how far behind the last key rows that were committed late are looked for',
    reload: 'child',
  },
  overlap_time: {
    type: 'duration',
    default: '5m',
    min: 0,
    help: 'The same for keys that are times',
    reload: 'child',
  },
  delete: {
    type: 'enum',
    values: ['none', 'detect'],
    default: 'none',
    help: 'Whether rows of the target that the source no longer has are looked for and removed',
    reload: 'child',
  },
  delete_every: {
    type: 'duration',
    default: '1h',
    min: 0,
    help: 'How often; it reads the keys of both tables',
    reload: 'child',
  },
});

export function createStage(env: StageEnv): Stage {
  return new SyncIncrement(env);
}

export const factory = stageActor(createStage);

class SyncIncrement implements Stage {
  private readonly params: ValuesOf<typeof keys>;
  private readonly pair: StorePair;
  private readonly print: string;

  constructor(env: StageEnv) {
    this.params = env.params as ValuesOf<typeof keys>;
    this.pair = new StorePair(this.params);
    this.print = fingerprint(this.params);
    if (this.params.keylen > 0) env.log.debug('sync.keylen-not-needed');
  }

  async run(run: StageRun): Promise<void> {
    await this.pair.use(async () => {
      const options = { timeoutMs: this.params.statement_timeout, signal: run.signal };
      await this.follow(run, options);
    });
  }

  preview(limit: number): ReturnType<NonNullable<Stage['preview']>> {
    return this.pair.preview(limit, { needKey: true });
  }

  check(): Promise<readonly string[]> {
    return this.pair.check({ needKey: true });
  }

  close(): Promise<void> {
    return this.pair.close();
  }

  private async follow(run: StageRun, options: ApplyOptions): Promise<void> {
    const plan = await this.pair.plan({ needKey: true });
    if (plan.key.length !== 1) {
      throw new StageError(
        `sync-increment follows one increasing column, the key has ${plan.key.length} (${plan.key.join(', ')}): set target_key`,
        false,
      );
    }
    const unique = await this.uniquePlan(plan);
    const link = await this.linkJob(plan, options);
    const start = await this.position(plan, run, options);
    let last = start;
    if (last !== null && unique !== undefined) await this.lookBack(plan, unique, last, run, options, link);
    for (;;) {
      const before = run.counts.rowsIn;
      last = await (link === undefined
        ? this.append(plan, last, run, options)
        : this.appendByLink(plan, link, last, run));
      if (run.counts.rowsIn === before || run.dryRun || run.signal.aborted) break;
    }
    if (run.counts.rowsIn > 0)
      run.log.info('sync-increment.done', {
        table: plan.targetTable,
        rows: run.counts.rowsOut,
        last: String(last),
      });
    if (unique !== undefined && !run.signal.aborted) await this.detectDeletes(unique, run, options);
  }

  /** The same pair of tables, but along a key that tells rows apart; the followed column may not. */
  private async uniquePlan(plan: SyncPlan): Promise<SyncPlan | undefined> {
    if (plan.upsertKey === undefined || sameNames(plan.upsertKey, plan.key)) {
      return plan.upsertKey === undefined ? undefined : plan;
    }
    const { link_table: link, source } = this.params;
    const settings = { ...this.params, target_key: plan.upsertKey, source_key: [] };
    const linked = source === '' ? { link } : {};
    return makePlan(plan.source.store, plan.target.store, settings, { needKey: true, ...linked });
  }

  private async linkJob(
    plan: SyncPlan,
    options: ApplyOptions,
  ): Promise<(LinkJob & { side: Side }) | undefined> {
    const { link_table: link, batch_rows: batchRows } = this.params;
    if (link === '') return undefined;
    const { target } = await this.pair.open();
    const job = { plan, target, link, settings: this.params, batchRows, print: this.print, ...options };
    return { ...job, side: await linkSide(job) };
  }

  private async position(plan: SyncPlan, run: StageRun, options: ApplyOptions): Promise<SqlValue> {
    if (this.params.position === 'ledger') {
      const kept = (await run.state.get('last-key')) ?? '';
      if (kept.startsWith(`${this.print} `)) return readValue(kept.slice(this.print.length + 1));
    }
    const { target } = plan;
    const where = whereText({ sql: target.where, binds: [] });
    const { rows } = await beating(
      run,
      target.store.query(`SELECT MAX(${target.keys[0]}) FROM ${target.table}${where}`, [], options),
    );
    const value = rows[0]?.[0] ?? null;
    const how = plan.comparisons[0];
    // Without a zone: not every database takes one.
    return how?.kind === 'date' ? canonical(value, how) : value;
  }

  private async remember(run: StageRun, key: SqlValue): Promise<void> {
    if (this.params.position === 'ledger')
      await run.state.set('last-key', `${this.print} ${writeValue(key)}`);
  }

  /** Everything after `last`, in the order of the key. @returns the new last key */
  private async append(
    plan: SyncPlan,
    last: SqlValue,
    run: StageRun,
    options: ApplyOptions,
  ): Promise<SqlValue> {
    const after = last === null ? undefined : [last];
    const { source } = plan;
    const { sql, binds } = orderedSelect(source, plan, { ...options, after });
    if (run.dryRun) {
      const counted = await source.store.query(`SELECT COUNT(*) FROM (${sql}) q`, binds, options);
      run.counts.rowsIn += Number(counted.rows[0]?.[0]);
      return last;
    }
    let reached = last;
    const batches = source.store.stream(sql, binds, { ...options, batchRows: FETCH_ROWS });
    await inTurns(regrouped(beatingEach(run, ahead(batches)), this.params.batch_rows), async (rows) => {
      run.counts.rowsOut += await apply(plan, { insert: rows, update: [], remove: [] }, run, options);
      run.counts.rowsIn += rows.length;
      reached = rows.at(-1)?.[0] ?? reached;
      await this.remember(run, reached);
    });
    return reached;
  }

  private async appendByLink(
    plan: SyncPlan,
    link: LinkJob & { side: Side },
    last: SqlValue,
    run: StageRun,
  ): Promise<SqlValue> {
    const after = last === null ? undefined : { sql: `${plan.source.keys[0]} > ?`, binds: [last] };
    const size = Math.min(this.params.batch_rows, maxKeys(link.target.dialect, 1));
    let reached = last;
    for await (const keys of beatingEach(run, keyBatches(plan, size, link, after))) {
      if (!run.dryRun) run.counts.rowsOut += await this.copyKeys(plan, link, keys, run);
      run.counts.rowsIn += keys.length;
      reached = keys.at(-1)?.[0] ?? reached;
      if (!run.dryRun) await this.remember(run, reached);
    }
    return reached;
  }

  private copyKeys(
    plan: SyncPlan,
    link: LinkJob & { side: Side },
    keyRows: readonly SqlRow[],
    run: StageRun,
  ): Promise<number> {
    const where = all(link.side.where, keyList(link.target.dialect, link.side.keys, keyRows));
    return pastConflicts(run, () => link.target.execute(copyText(plan, link.side, where), where.binds, link));
  }

  /** Rows behind the last key that came or changed since. */
  private async lookBack(
    plan: SyncPlan,
    unique: SyncPlan,
    last: SqlValue,
    run: StageRun,
    options: ApplyOptions,
    link: (LinkJob & { side: Side }) | undefined,
  ): Promise<void> {
    const from = beforeValue(last, plan.comparisons[0], this.params.overlap, this.params.overlap_time);
    // Nothing can stand beside the last key where keys are unique and no way back is asked for.
    if (from === last && unique === plan) return;
    const window = (side: Side): Piece => ({
      sql: `${side.keys[0]} >= ? AND ${side.keys[0]} <= ?`,
      binds: [from, last],
    });
    await inOrder(run, this.print, async (byBytes) => {
      const read = { ...options, and: window(plan.source), andTarget: window(plan.target), byBytes };
      const steps = walk(unique, { ...read, keysOnly: link !== undefined, stepRows: this.params.batch_rows });
      for await (const { missing, changed } of beatingEach(run, steps)) {
        const late = missing.length + changed.length;
        if (late === 0) continue;
        run.counts.rowsIn += late;
        run.log.info('sync-increment.late', {
          table: plan.targetTable,
          missing: missing.length,
          changed: changed.length,
        });
        if (run.dryRun) continue;
        if (link === undefined) {
          const change = { insert: missing, update: changed, remove: [] };
          run.counts.rowsOut += await apply(unique, change, run, options);
          continue;
        }
        const side =
          unique === plan ? link.side : await linkSide({ ...link, settings: this.settingsOf(unique) });
        const job = { ...link, side };
        for (const rows of chunksOf(missing, maxKeys(link.target.dialect, unique.key.length)))
          run.counts.rowsOut += await this.copyKeys(
            unique,
            job,
            rows.map((row) => unique.convert(row)),
            run,
          );
      }
    });
  }

  private settingsOf(plan: SyncPlan): ValuesOf<typeof keys> {
    return { ...this.params, target_key: plan.key, source_key: [] };
  }

  private async detectDeletes(plan: SyncPlan, run: StageRun, options: ApplyOptions): Promise<void> {
    const { delete: mode, delete_every: every, batch_rows: batchRows } = this.params;
    if (mode === 'none') return;
    const before = Number((await run.state.get('deletes-at')) ?? '0');
    // A clock that was set back must not put it off for long.
    if (before <= Date.now() && Date.now() - before < every) return;
    const removed = await removeVanished(plan, run, this.print, { ...options, batchRows });
    if (removed > 0) run.log.info('sync-increment.removed', { table: plan.targetTable, rows: removed });
    run.counts.rowsOut += run.dryRun ? 0 : removed;
    if (!run.dryRun) await run.state.set('deletes-at', String(Date.now()));
  }
}

/** Rows in batches of a size; the batch that is made holds `size` rows at most. */
async function* regrouped(
  batches: AsyncIterable<{ readonly rows: readonly SqlRow[] }>,
  size: number,
): AsyncGenerator<SqlRow[]> {
  let group: SqlRow[] = [];
  for await (const { rows } of batches) {
    for (const row of rows) {
      group.push(row);
      if (group.length < size) continue;
      yield group;
      group = [];
    }
  }
  if (group.length > 0) yield group;
}
