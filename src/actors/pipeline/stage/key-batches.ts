/**
 * Work on the rows of a condition in small batches, in the order of a key: never one big select, never one big
 * transaction. A batch is a range of the key, so it is found by the key's index and locks nothing outside of it. Its
 * size follows the time the last ones took. Worker thread.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError, type Dialect, type SqlRow, type Store, type TableInfo } from '../../../store/driver.js';
import { all, condition, keyRange, whereText, type Piece } from '../sync/sql.js';
import { StageError, type StageRun } from './run.js';
import { beating } from '../sync/apply.js';

export interface BatchSource {
  readonly store: Store;
  /** As the conf has it. */
  readonly table: string;
  readonly info: TableInfo;
  /** Names of the key's columns as the dictionary has them. */
  readonly keys: readonly string[];
  /** The operator's condition, rewritten; never empty. */
  readonly where: string;
}

export interface BatchLimits {
  /** Time (ms) a batch should stay under: as long as it holds its locks. */
  readonly batch_time: number;
  /** Most rows of the table looked at in one batch. */
  readonly batch_rows: number;
  /** Longest time (ms) for one statement or transaction. */
  readonly statement_timeout: number;
}

export interface Batch {
  /** The range and the operator's condition. */
  readonly where: Piece;
  /** Rows of the table in the range, matching or not, at most. */
  readonly size: number;
}

export interface BatchTotals {
  readonly batches: number;
  readonly longestMs: number;
}

/** Thrown by the work when it wants a smaller batch from the same place; not a failure. */
export class SmallerBatch extends Error {
  constructor(readonly rows: number) {
    super(`a batch of ${rows} rows at most is wanted`);
  }
}

const FIRST_ROWS = 1_000;
/** Of `batch_time`: what is left is for batches that turn out slower than the ones before. */
const AIM = 0.6;
const MAX_GROWTH = 2;
const MAX_SHRINK = 0.25;
/** A batch that meets a lock this often in a row ends the run, which is tried again later. */
const MAX_CONFLICTS = 10;
const CONFLICT_WAIT = 20;
const MAX_CONFLICT_WAIT = 1_000;
/** Pseudo columns that find a row, but stand in no dictionary. */
const ROW_IDS: Readonly<Record<string, readonly string[]>> = { oracle: ['rowid'], sqlite: ['rowid'] };

/** Reads the dictionary and checks the conf against it. @throws StageError, StoreError */
export async function openSource(
  store: Store,
  given: { readonly table: string; readonly key: readonly string[]; readonly where: string },
): Promise<BatchSource> {
  const { table } = given;
  const where = condition(given.where, store.dialect, 'where');
  if (where === '') throw new StageError('where is empty; "where 1=1" takes all rows', false);
  const info = await store.columns(table);
  return { store, table, info, where, keys: keysOf(store.dialect, table, info, given.key) };
}

function keysOf(
  dialect: Dialect,
  table: string,
  info: TableInfo,
  wanted: readonly string[],
): readonly string[] {
  const column = (name: string) => info.columns.find((one) => one.name.toLowerCase() === name.toLowerCase());
  if (wanted.length === 0) {
    const found = [info.primaryKey, ...info.uniqueKeys].find(
      (key) => key.length > 0 && key.every((name) => column(name)?.nullable === false),
    );
    if (found !== undefined) return found;
    throw new StageError(`${table} has neither a primary key nor a unique one without NULL; set key`, false);
  }
  return wanted.map((name) => {
    if (ROW_IDS[dialect.name]?.includes(name.toLowerCase()) === true) return name.toLowerCase();
    const found = column(name);
    if (found === undefined) throw new StageError(`key: ${table} has no column ${name}`, false);
    // No range finds a row without a key.
    if (found.nullable) throw new StageError(`key: ${table}.${found.name} may be NULL`, false);
    return found.name;
  });
}

export function quotedKeys({ store, keys, info }: BatchSource): string[] {
  const known = new Set(info.columns.map(({ name }) => name));
  return keys.map((name) => (known.has(name) ? store.dialect.quoteIdentifier(name) : name));
}

export class KeyBatches {
  private readonly quoted: readonly string[];
  private readonly table: string;
  private size: number;

  constructor(
    private readonly source: BatchSource,
    private readonly limits: BatchLimits,
  ) {
    this.quoted = quotedKeys(source);
    this.table = source.store.dialect.quoteIdentifier(source.table);
    this.size = Math.min(FIRST_ROWS, limits.batch_rows);
  }

  /**
   * Goes once through the rows that are there now; what is added behind the last key is for the next run. A batch that met a
   * lock or was too slow is undone and tried again, smaller.
   * @param work does one batch in one transaction; returns the rows it took, for which one statement after the other is one
   * range. @throws what `work` throws, StoreError
   */
  async run(run: StageRun, work: (batch: Batch) => Promise<number>): Promise<BatchTotals> {
    let batches = 0;
    let longestMs = 0;
    const end = await this.key(undefined, 'DESC');
    if (end === undefined) return { batches, longestMs };
    const toEnd = this.range('<=', end);
    let after: Piece | undefined;
    /** Nearly every row matches: the next range begins where the last one ended. */
    let dense = false;
    let conflicts = 0;
    while (!run.signal.aborted) {
      const began =
        dense && after !== undefined ? after : await beating(run, this.firstMatch(all(after, toEnd)));
      if (began === undefined) break;
      const upTo = await this.nth(all(began, toEnd));
      const where = all(began, upTo === undefined ? toEnd : this.range('<=', upTo), this.source.where);
      const started = performance.now();
      try {
        const taken = await beating(run, work({ where, size: this.size }));
        const ms = performance.now() - started;
        batches++;
        conflicts = 0;
        longestMs = Math.max(longestMs, Math.round(ms));
        dense = taken * 2 > this.size;
        if (upTo === undefined) break;
        after = this.range('>', upTo);
        this.adapt(ms);
      } catch (error) {
        conflicts = await this.smaller(error, conflicts, run);
      }
    }
    return { batches, longestMs };
  }

  /** Only some databases find a comparison of rows by the index, and only some the same written with OR. */
  private range(op: '>' | '>=' | '<=', values: SqlRow): Piece {
    const { name } = this.source.store.dialect;
    const { quoted } = this;
    if (quoted.length === 1 || (name !== 'postgres' && name !== 'sqlite'))
      return keyRange(quoted, op, values);
    const places = quoted.map(() => '?').join(', ');
    return { sql: `(${quoted.join(', ')}) ${op} (${places})`, binds: values };
  }

  /** @returns the conflicts in a row. @throws the error if it cannot be helped by a smaller batch */
  private async smaller(error: unknown, conflicts: number, run: StageRun): Promise<number> {
    if (error instanceof SmallerBatch) {
      this.size = Math.min(this.size, error.rows);
      return conflicts;
    }
    const helps = error instanceof StoreError && (error.code === 'BUSY' || error.code === 'TIMEOUT');
    if (!helps || conflicts >= MAX_CONFLICTS) throw error;
    this.size = Math.max(1, this.size >> 1);
    run.log.info('batch.conflict', { reason: error.message, nextRows: this.size });
    const wait = Math.min(CONFLICT_WAIT * 2 ** conflicts, MAX_CONFLICT_WAIT);
    await sleep(wait * (0.5 + Math.random() / 2), undefined, { signal: run.signal }).catch(() => undefined);
    return conflicts + 1;
  }

  private adapt(ms: number): void {
    const factor = (this.limits.batch_time * AIM) / Math.max(ms, 0.1);
    const next = this.size * Math.min(MAX_GROWTH, Math.max(MAX_SHRINK, factor));
    this.size = Math.min(this.limits.batch_rows, Math.max(1, Math.round(next)));
  }

  /** Where the next row that matches begins. It locks nothing, so it may look at many. */
  private async firstMatch(range: Piece): Promise<Piece | undefined> {
    const found = await this.key(all(range, this.source.where), 'ASC');
    return found && this.range('>=', found);
  }

  /** The last key of a batch; undefined when the range has fewer rows than that. */
  private async nth(range: Piece): Promise<SqlRow | undefined> {
    const { name } = this.source.store.dialect;
    const skip = this.size - 1;
    const offset =
      name === 'oracle' || name === 'mssql'
        ? `OFFSET ${skip} ROWS FETCH NEXT 1 ROWS ONLY`
        : `LIMIT 1 OFFSET ${skip}`;
    const sql = `${this.select(range)} ORDER BY ${this.quoted.join(', ')} ${offset}`;
    return this.first(sql, range);
  }

  private async key(range: Piece | undefined, order: 'ASC' | 'DESC'): Promise<SqlRow | undefined> {
    const by = this.quoted.map((name) => `${name} ${order}`).join(', ');
    const sql = `${this.select(range)} ORDER BY ${by}`;
    return this.first(this.source.store.dialect.limit(sql, 1), range);
  }

  private select(range: Piece | undefined): string {
    return `SELECT ${this.quoted.join(', ')} FROM ${this.table}${range === undefined ? '' : whereText(range)}`;
  }

  private async first(sql: string, range: Piece | undefined): Promise<SqlRow | undefined> {
    const timeoutMs = this.limits.statement_timeout;
    const { rows } = await this.source.store.query(sql, range?.binds ?? [], { timeoutMs });
    return rows[0];
  }
}
