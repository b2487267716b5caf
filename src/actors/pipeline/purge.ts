/**
 * Stage `purge`: deletes the rows of a condition in small batches by key, each its own transaction (spec data-centre 9). It
 * may be stopped between any two of them; the next run goes on with what is left. Worker thread.
 */
import type { ValuesOf } from '../../runtime/schema.js';
import type { RowSet } from '../../store/driver.js';
import { batchKeys } from './stage/batch-keys.js';
import { openSource, quotedKeys, type BatchSource } from './stage/batch-source.js';
import { KeyBatches } from './stage/key-batches.js';
import { LazyStore } from './stage/lazy-store.js';
import { stageActor } from './stage.js';
import type { Stage, StageEnv, StageRun } from './stage/run.js';
import { beating } from './stage/beating.js';
import { whereText } from './sync/sql.js';

export const keys = batchKeys;

export function createStage(env: StageEnv): Stage {
  return new Purge(env.params as ValuesOf<typeof keys>);
}

export const factory = stageActor(createStage);

class Purge implements Stage {
  private readonly store: LazyStore;

  constructor(private readonly params: ValuesOf<typeof keys>) {
    this.store = new LazyStore(params.store, async () => undefined);
  }

  async run(run: StageRun): Promise<void> {
    try {
      const source = await this.open();
      if (run.dryRun) return await this.look(source, run);
      await this.purge(source, run);
    } catch (error) {
      await this.store.failed(error);
      throw this.store.explained(error);
    }
  }

  async preview(limit: number): Promise<RowSet> {
    return previewRows(await this.open(), limit);
  }

  async check(): Promise<readonly string[]> {
    const source = await this.open();
    return [`store: ${await source.store.version()}`, describeSource(source)];
  }

  async close(): Promise<void> {
    await this.store.close();
  }

  private async open(): Promise<BatchSource> {
    return openSource(await this.store.get(), this.params);
  }

  private async look(source: BatchSource, run: StageRun): Promise<void> {
    const rows = await beating(run, countRows(source, this.params.statement_timeout));
    run.counts.rowsIn += rows;
    run.log.info('purge.would-delete', { table: source.table, rows });
  }

  private async purge(source: BatchSource, run: StageRun): Promise<void> {
    const { store, table } = source;
    const name = store.dialect.quoteIdentifier(table);
    const timeoutMs = this.params.statement_timeout;
    const before = run.counts.rowsOut;
    const totals = await new KeyBatches(source, this.params, run).each(async ({ where }) => {
      const deleted = await store.execute(`DELETE FROM ${name}${whereText(where)}`, where.binds, {
        timeoutMs,
      });
      run.counts.rowsIn += deleted;
      run.counts.rowsOut += deleted;
      return { rows: deleted };
    });
    const rows = run.counts.rowsOut - before;
    if (rows > 0) run.log.info('purge.done', { table, rows, ...totals });
  }
}

export async function countRows({ store, table, where }: BatchSource, timeoutMs: number): Promise<number> {
  const name = store.dialect.quoteIdentifier(table);
  const { rows } = await store.query(`SELECT COUNT(*) FROM ${name} WHERE ${where}`, [], { timeoutMs });
  return Number(rows[0]?.[0] ?? 0);
}

export async function previewRows(source: BatchSource, limit: number): Promise<RowSet> {
  const { store, table, where } = source;
  const by = quotedKeys(source).join(', ');
  const sql = `SELECT * FROM ${store.dialect.quoteIdentifier(table)} WHERE ${where} ORDER BY ${by}`;
  return store.query(store.dialect.limit(sql, limit));
}

export function describeSource({ table, keys: by, where }: BatchSource): string {
  return `table: ${table} by ${by.join(', ')} where ${where}`;
}
