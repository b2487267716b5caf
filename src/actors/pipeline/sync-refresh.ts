/**
 * Stage `sync-refresh`: makes the target's table equal to the source's (spec data-centre 10.1). `whole` replaces everything in
 * one transaction. `batched` walks along the keys of both sides and brings only what differs, a transaction for each batch; it
 * goes on where it was interrupted. Readers of the target never meet an empty table. Worker thread.
 */
import { tabLine } from '../../protocol/tab-text.js';
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';
import type { ApplyOptions } from './sync/apply.js';
import { refreshBatched } from './sync/batched.js';
import { batchKeys, linkKeys, pairKeys } from './sync/keys.js';
import { refreshByLink, refreshWholeByLink } from './sync/link.js';
import type { SyncPlan } from './sync/plan.js';
import { fingerprint, StorePair } from './sync/pair.js';
import { ahead, FETCH_ROWS } from './sync/read.js';
import { whereText } from './sync/sql.js';
import { stageActor } from './stage.js';
import { beating } from './stage/beating.js';
import type { Stage, StageEnv, StageRun } from './stage/run.js';

export const keys = defineKeys({
  ...pairKeys,
  ...linkKeys,
  ...batchKeys,
  mode: {
    type: 'enum',
    values: ['whole', 'batched', '1', '2'],
    default: 'batched',
    help: 'whole (1): everything anew in one transaction, for small tables; batched (2): what differs, along the key',
    reload: 'child',
    aliases: ['synctype'],
  },
  delete: {
    type: 'enum',
    values: ['detect', 'none'],
    default: 'detect',
    help: 'Whether batched removes rows of the target that the source does not have',
    reload: 'child',
  },
  writers: {
    type: 'int',
    default: '2',
    min: 1,
    max: 3,
    help: 'batched without a link: batches written at the same time',
    reload: 'child',
  },
});

const TEXT_CHARACTERS = 256 << 10;

export function createStage(env: StageEnv): Stage {
  return new SyncRefresh(env);
}

export const factory = stageActor(createStage);

class SyncRefresh implements Stage {
  private readonly params: ValuesOf<typeof keys>;
  private readonly pair: StorePair;
  private readonly print: string;
  private readonly needKey: boolean;

  constructor(env: StageEnv) {
    this.params = env.params as ValuesOf<typeof keys>;
    this.pair = new StorePair(this.params);
    this.print = fingerprint(this.params);
    this.needKey = this.params.mode === 'batched' || this.params.mode === '2';
    if (this.params.keylen > 0) env.log.debug('sync.keylen-not-needed');
  }

  async run(run: StageRun): Promise<void> {
    const { link_table: link, statement_timeout: timeoutMs, batch_rows: batchRows, writers } = this.params;
    await this.pair.use(async () => {
      const options = { timeoutMs, signal: run.signal };
      const detect = this.params.delete === 'detect';
      const plan = await this.pair.plan({ needKey: this.needKey });
      if (link === '')
        await (this.needKey
          ? refreshBatched(plan, run, { ...options, batchRows, detect, writers, print: this.print })
          : this.whole(plan, run, options));
      else {
        const { target } = await this.pair.open();
        const job = { plan, target, link, settings: this.params, batchRows, print: this.print, ...options };
        if (this.needKey) await refreshByLink({ ...job, detect }, run);
        else await refreshWholeByLink(job, run);
      }
    });
  }

  preview(limit: number): ReturnType<NonNullable<Stage['preview']>> {
    return this.pair.preview(limit, { needKey: this.needKey });
  }

  check(): Promise<readonly string[]> {
    return this.pair.check({ needKey: this.needKey });
  }

  close(): Promise<void> {
    return this.pair.close();
  }

  private async whole(plan: SyncPlan, run: StageRun, options: ApplyOptions): Promise<void> {
    const { source, target } = plan;
    const from = `FROM ${source.table}${whereText({ sql: source.where, binds: [] })}`;
    if (run.dryRun) {
      const { rows } = await source.store.query(`SELECT COUNT(*) ${from}`, [], options);
      run.counts.rowsIn += Number(rows[0]?.[0]);
      return;
    }
    const batches = source.store.stream(`SELECT ${source.columns.join(', ')} ${from}`, [], {
      ...options,
      batchRows: FETCH_ROWS,
    });
    // With a condition the target may hold other rows of the same key outside of it.
    const onDuplicate = target.where !== '' && plan.upsertKey !== undefined ? 'update' : 'error';
    const work = target.store.transaction(async (tx) => {
      const where = whereText({ sql: target.where, binds: [] });
      const removed = await tx.execute(`DELETE FROM ${target.table}${where}`, [], options);
      const { rows } = await tx.bulk(plan.targetTable, plan.columns, textOf(plan, batches, run), {
        ...options,
        onDuplicate,
        hex: plan.hex,
        ...(onDuplicate === 'update' && { keys: plan.upsertKey ?? [] }),
      });
      return { removed, rows };
    }, options);
    const { removed, rows } = await beating(run, work);
    run.counts.rowsOut += rows;
    run.log.info('sync-refresh.whole', { table: plan.targetTable, rows, removed });
  }
}

async function* textOf(
  plan: SyncPlan,
  batches: ReturnType<SyncPlan['source']['store']['stream']>,
  run: StageRun,
): AsyncGenerator<Uint8Array> {
  let text = '';
  for await (const { rows } of ahead(batches)) {
    for (const row of rows) text += tabLine(plan.convert(row));
    run.counts.rowsIn += rows.length;
    run.progress();
    if (text.length < TEXT_CHARACTERS) continue;
    yield Buffer.from(text);
    text = '';
  }
  if (text !== '') yield Buffer.from(text);
}
