/**
 * Stage `sync-trigger`: follows a table by triggers. They note the key of every inserted, updated or deleted row in a change log
 * beside the table; a run takes entries, reads the rows as they are now, brings them to the target and removes the
 * entries. Entries are removed last and one by one, so nothing is missed, whatever is killed and however late a transaction commits;
 * an entry that is worked on twice does no harm. Worker thread.
 */
import { StoreError, type SqlRow, type SqlRunner } from '../../store/driver.js';
import { reasonOf } from '../../runtime/errors.js';
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';
import { pastConflicts } from './stage/conflicts.js';
import { applyIn, KeySet, lookUp, type ApplyOptions } from './sync/apply.js';
import { refreshBatched } from './sync/batched.js';
import { batchKeys, pairKeys } from './sync/keys.js';
import { fingerprint, StorePair } from './sync/pair.js';
import type { SyncPlan } from './sync/plan.js';
import { chunksOf, maxKeys } from './sync/sql.js';
import { changeLogSql, type LogSql } from './sync/trigger-sql.js';
import { stageActor } from './stage.js';
import { stageKeys } from './stage/keys.js';
import { StageError, type Stage, type StageEnv, type StageRun } from './stage/run.js';

export const keys = defineKeys({
  ...pairKeys,
  every: { ...stageKeys.every, default: '5s' },
  batch_rows: { ...batchKeys.batch_rows, default: '2000', help: 'Entries of the change log taken at once' },
  log_table: {
    type: 'string',
    default: '',
    help: 'Change log in the source; empty: the source table with _sync_log behind it',
    reload: 'child',
  },
  install: {
    type: 'enum',
    values: ['no', 'yes', 'remove'],
    default: 'no',
    help: 'yes: make the change log and the triggers where they are missing; remove: drop them and do nothing else',
    reload: 'child',
  },
  initial: {
    type: 'bool',
    default: 'yes',
    help: 'Compare and refresh the whole table once, before the first entry is taken',
    reload: 'child',
  },
});

/** What databases say when a step of the installation was done before. */
const THERE_ALREADY =
  /already exists|already an object|must be unique|ORA-(00955|01430|02260|04081)|only have one primary key/i;

export function createStage(env: StageEnv): Stage {
  return new SyncTrigger(env);
}

export const factory = stageActor(createStage);

class SyncTrigger implements Stage {
  private readonly params: ValuesOf<typeof keys>;
  private readonly pair: StorePair;
  private readonly log: string;
  private readonly print: string;
  private installed = false;

  constructor(env: StageEnv) {
    this.params = env.params as ValuesOf<typeof keys>;
    this.pair = new StorePair(this.params);
    const { source_table: source, target_table: target, log_table: log } = this.params;
    this.log = log === '' ? `${source === '' ? target : source}_sync_log` : log;
    this.print = `${fingerprint(this.params)}/${this.log}`;
  }

  async run(run: StageRun): Promise<void> {
    await this.pair.use(async () => {
      const { statement_timeout: timeoutMs, batch_rows: batchRows, install } = this.params;
      const options = { timeoutMs, signal: run.signal };
      const plan = await this.pair.plan({ needKey: true });
      const sql = await this.sql(plan);
      if (install === 'remove') {
        await this.execute(plan, sql.remove, run, options);
        await run.state.set('initial', '');
        return;
      }
      if (install === 'yes' && !this.installed) {
        await this.execute(plan, sql.install, run, options);
        this.installed = !run.dryRun;
      }
      if (run.dryRun) return await this.look(plan, run);
      if (this.params.initial && (await run.state.get('initial')) !== this.print) {
        await refreshBatched(plan, run, {
          ...options,
          batchRows,
          detect: true,
          writers: 1,
          print: this.print,
        });
        if (run.signal.aborted) return;
        await run.state.set('initial', this.print);
      }
      while (!run.signal.aborted && (await this.drain(plan, run, options)) > 0);
    });
  }

  preview(limit: number): ReturnType<NonNullable<Stage['preview']>> {
    return this.pair.preview(limit, { needKey: true });
  }

  async check(): Promise<readonly string[]> {
    const lines = await this.pair.check({ needKey: true });
    const { source } = await this.pair.open();
    if (this.params.install === 'no') await source.columns(this.log);
    return [...lines, `change log: ${this.log}`];
  }

  close(): Promise<void> {
    return this.pair.close();
  }

  private async sql(plan: SyncPlan): Promise<LogSql> {
    const { source_table: source, target_table: target } = this.params;
    const table = source === '' ? target : source;
    const { store, keys: quoted } = plan.source;
    const info = await store.columns(table);
    const key = quoted.map((text) => {
      const found = info.columns.find(({ name }) => store.dialect.quoteIdentifier(name) === text);
      if (found === undefined)
        throw new StageError(`${text} is no column of ${table}: triggers can note columns alone`, false);
      return found;
    });
    return changeLogSql(store.dialect, { table, log: this.log, key });
  }

  private async execute(
    plan: SyncPlan,
    statements: readonly string[],
    run: StageRun,
    options: ApplyOptions,
  ): Promise<void> {
    for (const sql of statements) {
      run.log.info(run.dryRun ? 'sync-trigger.would-execute' : 'sync-trigger.execute', { sql });
      if (run.dryRun) continue;
      try {
        await plan.source.store.execute(sql, [], options);
      } catch (error) {
        if (!(error instanceof StoreError) || !THERE_ALREADY.test(reasonOf(error))) throw error;
        run.log.debug('sync-trigger.there-already', { reason: error.message });
      }
    }
  }

  private async look(plan: SyncPlan, run: StageRun): Promise<void> {
    const { store } = plan.source;
    try {
      const { rows } = await store.query(`SELECT COUNT(*) FROM ${store.dialect.quoteIdentifier(this.log)}`);
      run.counts.rowsIn += Number(rows[0]?.[0]);
    } catch (error) {
      if (this.params.install === 'no') throw error;
    }
  }

  /**
   * One batch of entries. They are deleted in a transaction of the source that ends after the target's: until then nobody else can
   * take an entry of the same rows, read them, and be overtaken by what was read here before.
   */
  private async drain(plan: SyncPlan, run: StageRun, options: ApplyOptions): Promise<number> {
    const { store, keys: quoted } = plan.source;
    const log = store.dialect.quoteIdentifier(this.log);
    const id = store.dialect.quoteIdentifier('sync_id');
    const select = `SELECT ${[id, ...quoted].join(', ')} FROM ${log} ORDER BY ${id}`;
    const drained = async (source: SqlRunner): Promise<{ taken: number; written: number }> => {
      const text = store.dialect.limit(select, this.params.batch_rows);
      const { rows: entries } = await source.query(text, [], options);
      if (entries.length === 0) return { taken: 0, written: 0 };
      for (const chunk of chunksOf(entries, maxKeys(store.dialect, 1))) {
        const marks = chunk.map(() => '?').join(', ');
        const ids = chunk.map(([value = null]) => value);
        await source.execute(`DELETE FROM ${log} WHERE ${id} IN (${marks})`, ids, options);
      }
      const noted = entries.map((entry) => entry.slice(1));
      return { taken: entries.length, written: await this.bring(plan, source, noted, options) };
    };
    const { taken, written } = await pastConflicts(run, () => store.transaction(drained, options));
    run.counts.rowsIn += taken;
    run.counts.rowsOut += written;
    return taken;
  }

  private async bring(
    plan: SyncPlan,
    source: SqlRunner,
    noted: readonly SqlRow[],
    options: ApplyOptions,
  ): Promise<number> {
    const seen = new KeySet(plan);
    const changed = noted.filter((key) => {
      if (key.includes(null) || seen.has(key)) return false;
      seen.add(key);
      return true;
    });
    const present = await lookUp(plan.source, changed, options, source);
    const there = new KeySet(plan);
    for (const row of present) there.add(row);
    const remove = changed.filter((key) => !there.has(key)).map((key) => plan.convert(key));
    const change = { insert: [], update: present, remove };
    // Within one SQLite file a second transaction would wait for this one for ever.
    const work = (tx: SqlRunner): Promise<number> => applyIn(plan, tx, change, options);
    return this.params.source === this.params.target
      ? work(source)
      : plan.target.store.transaction(work, options);
  }
}
