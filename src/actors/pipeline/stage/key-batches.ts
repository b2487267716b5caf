/**
 * Work on the rows of a condition in small batches, in the order of a key: never one big select, never one big
 * transaction. A batch is a range of the key, so it is found by the key's index and locks nothing outside of it. Its
 * size follows the time the last ones took. While one is worked on, the end of the next is looked up. Worker thread.
 */
import { StoreError, type Dialect, type SqlRow, type Store, type TableInfo } from '../../../store/driver.js';
import { all, condition, keyRange, whereText, type Piece } from '../sync/sql.js';
import { BatchSize } from './batch-size.js';
import { beating } from './beating.js';
import { MAX_CONFLICTS, pauseAfterConflict } from './conflicts.js';
import { StageError, type StageRun } from './run.js';

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

/** What became of a batch. */
export interface Taken {
  readonly rows: number;
  /** How long (ms) it held its locks; undefined: to its end. */
  readonly heldMs?: number | undefined;
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

/** A range looked up ahead is dropped when it has this many times the rows that the batch before has shown to be right. */
const TOO_LARGE = 1.5;
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

interface Bound {
  readonly op: '>' | '>=';
  readonly key: SqlRow;
}

/** Where a batch begins and ends; without `upTo` it is the last one. */
interface Span {
  readonly from: Bound;
  readonly upTo: SqlRow | undefined;
  readonly size: number;
}

interface Ahead {
  /** What `next` found; undefined when it failed. */
  readonly found: Promise<{ readonly span: Span | undefined } | undefined>;
  /** Gives the look up and waits until it has ended. */
  drop(): Promise<void>;
}

export class KeyBatches {
  private readonly quoted: readonly string[];
  private readonly table: string;
  private readonly size: BatchSize;
  /** Nearly every row matches: the next range begins where the last one ended. */
  private dense = false;

  constructor(
    private readonly source: BatchSource,
    private readonly limits: BatchLimits,
  ) {
    this.quoted = quotedKeys(source);
    this.table = source.store.dialect.quoteIdentifier(source.table);
    this.size = new BatchSize(limits.batch_time, limits.batch_rows);
  }

  /**
   * Goes once through the rows that are there now; what is added behind the last key is for the next run. A batch that met a
   * lock or was too slow is undone and tried again, smaller.
   * @param work does one batch in one transaction, for which one statement after the other is one range. @throws what `work`
   * throws, StoreError
   */
  async run(run: StageRun, work: (batch: Batch) => Promise<Taken>): Promise<BatchTotals> {
    let batches = 0;
    let longestMs = 0;
    const end = await this.key(undefined, 'DESC');
    if (end === undefined) return { batches, longestMs };
    let after: Bound | undefined;
    let ahead: Ahead | undefined;
    let conflicts = 0;
    try {
      while (!run.signal.aborted) {
        const found = ahead && (await beating(run, ahead.found));
        const usable = found !== undefined && (found.span?.size ?? 0) <= this.size.rows * TOO_LARGE;
        const { span } = usable ? found : { span: await beating(run, this.next(after, end)) };
        if (span === undefined) break;
        const { from, upTo, size } = span;
        const started = performance.now();
        const working = work({ where: all(this.between(from, upTo ?? end), this.source.where), size });
        ahead = upTo && this.lookAhead({ op: '>', key: upTo }, end);
        try {
          const { rows, heldMs } = await beating(run, working);
          const ms = heldMs ?? performance.now() - started;
          batches++;
          conflicts = 0;
          longestMs = Math.max(longestMs, Math.round(ms));
          this.dense = rows * 2 > size;
          if (upTo === undefined) break;
          after = { op: '>', key: upTo };
          this.size.took(size, ms);
        } catch (error) {
          await ahead?.drop();
          ahead = undefined;
          conflicts = await this.smaller(error, conflicts, run);
        }
      }
    } finally {
      await ahead?.drop();
    }
    return { batches, longestMs };
  }

  /** @returns undefined when no row is left. @throws StoreError */
  private async next(after: Bound | undefined, end: SqlRow, signal?: AbortSignal): Promise<Span | undefined> {
    const from = this.dense && after !== undefined ? after : await this.firstMatch(after, end, signal);
    if (from === undefined) return undefined;
    const size = this.size.rows;
    return { from, upTo: await this.nth(this.between(from, end), size, signal), size };
  }

  /** On another connection. It reads what no batch has locked; if it fails, the look is done again when it is needed. */
  private lookAhead(after: Bound, end: SqlRow): Ahead {
    const controller = new AbortController();
    const found = this.next(after, end, controller.signal).then(
      (span) => ({ span }),
      () => undefined,
    );
    const drop = async (): Promise<void> => {
      controller.abort();
      await found;
    };
    return { found, drop };
  }

  /** The rows of a batch. */
  private between({ op, key }: Bound, upTo: SqlRow): Piece {
    const { quoted } = this;
    const [first = ''] = quoted;
    const exact = all(this.range(op, key), this.range('<=', upTo));
    if (quoted.length === 1 || this.source.store.dialect.name !== 'mysql') return exact;
    // MySQL judges each row by the whole condition: nearly all of them pass by this first part, which it implies.
    return {
      sql: `(${first} > ? AND ${first} < ?) OR (${exact.sql})`,
      binds: [key[0] ?? null, upTo[0] ?? null, ...exact.binds],
    };
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
      this.size.shrink(error.rows);
      return conflicts;
    }
    const helps = error instanceof StoreError && (error.code === 'BUSY' || error.code === 'TIMEOUT');
    if (!helps || conflicts >= MAX_CONFLICTS) throw error;
    this.size.shrink(this.size.rows >> 1);
    run.log.info('batch.conflict', { reason: error.message, nextRows: this.size.rows });
    await pauseAfterConflict(conflicts, run.signal);
    return conflicts + 1;
  }

  /** Where the next row that matches begins. It locks nothing, so it may look at many. */
  private async firstMatch(
    after: Bound | undefined,
    end: SqlRow,
    signal: AbortSignal | undefined,
  ): Promise<Bound | undefined> {
    const range = after === undefined ? this.range('<=', end) : this.between(after, end);
    const key = await this.key(all(range, this.source.where), 'ASC', signal);
    return key && { op: '>=', key };
  }

  /** The last key of a batch; undefined when the range has fewer rows than that. */
  private async nth(
    range: Piece,
    rows: number,
    signal: AbortSignal | undefined,
  ): Promise<SqlRow | undefined> {
    const { name } = this.source.store.dialect;
    const skip = rows - 1;
    const offset =
      name === 'oracle' || name === 'mssql'
        ? `OFFSET ${skip} ROWS FETCH NEXT 1 ROWS ONLY`
        : `LIMIT 1 OFFSET ${skip}`;
    const sql = `${this.select(range)} ORDER BY ${this.quoted.join(', ')} ${offset}`;
    return this.first(sql, range, signal);
  }

  private async key(
    range: Piece | undefined,
    order: 'ASC' | 'DESC',
    signal?: AbortSignal,
  ): Promise<SqlRow | undefined> {
    const by = this.quoted.map((name) => `${name} ${order}`).join(', ');
    const sql = `${this.select(range)} ORDER BY ${by}`;
    return this.first(this.source.store.dialect.limit(sql, 1), range, signal);
  }

  private select(range: Piece | undefined): string {
    return `SELECT ${this.quoted.join(', ')} FROM ${this.table}${range === undefined ? '' : whereText(range)}`;
  }

  private async first(
    sql: string,
    range: Piece | undefined,
    signal: AbortSignal | undefined,
  ): Promise<SqlRow | undefined> {
    const options = { timeoutMs: this.limits.statement_timeout, ...(signal && { signal }) };
    const { rows } = await this.source.store.query(sql, range?.binds ?? [], options);
    return rows[0];
  }
}
