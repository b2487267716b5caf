/**
 * Stage `archive`: moves the rows of a condition into a history table in small batches by key (spec data-centre 9). Copying
 * and deleting are one transaction, or, into another database, deleting waits until the copy was read back; so a kill at any
 * moment loses no row. A row that cannot be copied stays where it is and is reported. Worker thread.
 */
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';
import { StoreError, type RowSet, type Store } from '../../store/driver.js';
import { isOfRow, moveInside, moveRows, type Mover, type MoveResult } from './archive/move.js';
import { HistoryTables, type Period } from './archive/tables.js';
import { batchKeys } from './stage/batch-keys.js';
import { openSource, type BatchSource } from './stage/batch-source.js';
import { KeyBatches, SmallerBatch, type Batch, type Taken } from './stage/key-batches.js';
import { LazyStore } from './stage/lazy-store.js';
import { countRows, describeSource, previewRows } from './purge.js';
import { stageActor } from './stage.js';
import type { Stage, StageEnv, StageRun } from './stage/run.js';
import { beating } from './stage/beating.js';
import { all, whereText, type Piece } from './sync/sql.js';

export const keys = defineKeys({
  ...batchKeys,
  target: {
    type: 'secret',
    default: '',
    help: 'URL of the database the history is in; empty: in the same',
    reload: 'child',
  },
  target_table: {
    type: 'string',
    help: 'History table, {yyyy} and {mm} for the year and month; default: the table with _HIS, _{yyyy} or _{yyyy}{mm} behind it',
    reload: 'child',
    aliases: ['totname', 'dsttname'],
  },
  split: {
    type: 'enum',
    values: ['one', 'yearly', 'monthly'],
    default: 'one',
    help: 'One history table, or one for each year or month of date_column',
    reload: 'child',
  },
  date_column: { type: 'string', help: 'The date that split goes by', reload: 'child' },
  create: {
    type: 'bool',
    default: 'yes',
    help: 'Make a missing history table, like the source: columns, keys and indexes',
    reload: 'child',
  },
});

/** Rows of a batch that is looked at row by row. */
const CAREFUL_ROWS = 1_000;
/** Rows that go through this process at once, to another database. */
const AWAY_ROWS = 5_000;
const LOGGED_ROWS = 20;
const EVERYTHING: Period = { name: '', where: undefined, end: '' };

export function createStage(env: StageEnv): Stage {
  return new Archive(env.params as ValuesOf<typeof keys>);
}

export const factory = stageActor(createStage);

interface Work extends Mover {
  readonly run: StageRun;
  readonly tables: HistoryTables;
}

class Archive implements Stage {
  private readonly store: LazyStore;
  private readonly target: LazyStore | undefined;

  constructor(private readonly params: ValuesOf<typeof keys>) {
    const plain = async (): Promise<void> => undefined;
    this.store = new LazyStore(params.store, plain);
    if (params.target !== '' && params.target !== params.store)
      this.target = new LazyStore(params.target, plain);
  }

  async run(run: StageRun): Promise<void> {
    try {
      const { source, target, tables } = await this.open();
      if (run.dryRun) return await this.look(source, run);
      const { statement_timeout: timeoutMs } = this.params;
      await this.archive({ source, target, tables, run, timeoutMs });
    } catch (error) {
      await this.store.failed(error);
      await this.target?.failed(error);
      throw error;
    }
  }

  async preview(limit: number): Promise<RowSet> {
    return previewRows((await this.open()).source, limit);
  }

  async check(): Promise<readonly string[]> {
    const { source, target } = await this.open();
    return [
      `store: ${await source.store.version()}`,
      ...(target === undefined ? [] : [`target: ${await target.version()}`]),
      describeSource(source),
    ];
  }

  async close(): Promise<void> {
    await this.store.close();
    await this.target?.close();
  }

  private async open(): Promise<{ source: BatchSource; target: Store | undefined; tables: HistoryTables }> {
    const source = await openSource(await this.store.get(), this.params);
    const target = await this.target?.get();
    return { source, target, tables: new HistoryTables(source, target, this.params) };
  }

  private async look(source: BatchSource, run: StageRun): Promise<void> {
    const rows = await beating(run, countRows(source, this.params.statement_timeout));
    run.counts.rowsIn += rows;
    run.log.info('archive.would-move', { table: source.table, rows });
  }

  private async archive(work: Work): Promise<void> {
    const { source, target, run, tables } = work;
    const { batch_rows: most } = this.params;
    const limits = { ...this.params, batch_rows: target === undefined ? most : Math.min(most, AWAY_ROWS) };
    const before = { ...run.counts };
    const totals = await new KeyBatches(source, limits, run).each((batch) => this.batch(batch, work));
    if (tables.date?.nullable === true) await this.undated(work);
    const rows = run.counts.rowsOut - before.rowsOut;
    const stayed = run.counts.rowsRejected - before.rowsRejected;
    const { table } = source;
    if (rows > 0 || stayed > 0) run.log.info('archive.done', { table, rows, stayed, ...totals });
  }

  /** A part for each period that the batch has rows of. */
  private async batch(batch: Batch, work: Work): Promise<Taken> {
    const { tables } = work;
    if (tables.date === undefined) return this.part(EVERYTHING, batch.where, batch.size, work);
    const column = tables.dateName();
    let rows = 0;
    let rest: Piece = batch.where;
    for (;;) {
      const first = await this.earliest(rest, work);
      if (first === null) return { rows };
      const period = tables.periodOf(first);
      rows += (await this.part(period, all(batch.where, period.where), batch.size, work)).rows;
      rest = all(batch.where, { sql: `${column} >= ?`, binds: [period.end] });
    }
  }

  private async earliest(where: Piece, { source, tables, timeoutMs }: Work) {
    const table = source.store.dialect.quoteIdentifier(source.table);
    const sql = `SELECT MIN(${tables.dateName()}) FROM ${table}${whereText(where)}`;
    const { rows } = await source.store.query(sql, where.binds, { timeoutMs });
    return rows[0]?.[0] ?? null;
  }

  private async part(period: Period, where: Piece, size: number, work: Work): Promise<Taken> {
    const { run, tables, target } = work;
    const table = await tables.get(period);
    if (target !== undefined) return this.count(await moveRows(work, table, where, size), table.name, run);
    try {
      return this.count(await moveInside(work, table, where), table.name, run);
    } catch (error) {
      if (!(error instanceof StoreError) || !isOfRow(error)) throw error;
      if (size > CAREFUL_ROWS) throw new SmallerBatch(CAREFUL_ROWS);
      return this.count(await moveRows(work, table, where, size), table.name, run);
    }
  }

  private count({ moved, stayed, heldMs }: MoveResult, history: string, run: StageRun): Taken {
    const { counts, log } = run;
    for (const { key, reason } of stayed.slice(0, Math.max(0, LOGGED_ROWS - counts.rowsRejected))) {
      log.warn('archive.row-stays', { key: key.map(String).join(','), history, reason });
    }
    counts.rowsIn += moved + stayed.length;
    counts.rowsOut += moved;
    counts.rowsRejected += stayed.length;
    return { rows: moved + stayed.length, heldMs };
  }

  /** Rows without a date belong to no period. */
  private async undated({ source, tables, run, timeoutMs }: Work): Promise<void> {
    const where = `(${source.where}) AND ${tables.dateName()} IS NULL`;
    const rows = await beating(run, countRows({ ...source, where }, timeoutMs));
    if (rows === 0) return;
    run.counts.rowsIn += rows;
    run.counts.rowsRejected += rows;
    run.log.warn('archive.no-date', { table: source.table, column: tables.date?.name ?? '', rows });
  }
}
