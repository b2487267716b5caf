/**
 * Work on the rows of a condition in small batches, in the order of a key: never one big select, never one big
 * transaction. A batch is a range of the key, so it is found by the key's index and locks nothing outside of it. Its
 * size follows the time the last ones took. Some are worked on at once, while the ends of the next are looked up. Worker thread.
 */
import { StoreError, type SqlRow } from '../../../store/driver.js';
import { all, type Piece } from '../sync/sql.js';
import { BatchSize } from './batch-size.js';
import type { BatchSource } from './batch-source.js';
import { beating } from './beating.js';
import { MAX_CONFLICTS, pauseAfterConflict } from './conflicts.js';
import { KeyRanges, type Bound, type Span } from './key-ranges.js';
import { RangeDealer } from './range-dealer.js';
import type { StageRun } from './run.js';

export interface BatchLimits {
  /** Time (ms) a batch should stay under: as long as it holds its locks. */
  readonly batch_time: number;
  /** Most rows of the table looked at in one batch. */
  readonly batch_rows: number;
  /** Batches worked on at once, where the database can do that. */
  readonly writers: number;
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

/** Does one batch in one transaction, for which one statement after the other is one range. */
export type BatchWork = (batch: Batch) => Promise<Taken>;

/** Thrown by the work when it wants a smaller batch from the same place; not a failure. */
export class SmallerBatch extends Error {
  constructor(readonly rows: number) {
    super(`a batch of ${rows} rows at most is wanted`);
  }
}

/** A range that was looked up when batches were larger is cut when it has this many times the rows that are right now. */
const TOO_LARGE = 1.5;
/** SQLite has one writer; SQL Server locks the whole table for a statement that locks five thousand rows. */
const ONE_WRITER: ReadonlySet<string> = new Set(['sqlite', 'mssql']);

export class KeyBatches {
  private readonly ranges: KeyRanges;
  private readonly size: BatchSize;
  private readonly writers: number;
  private readonly totals = { batches: 0, longestMs: 0 };
  /** The greatest key when it began. */
  private end: SqlRow = [];
  /** Nearly every row matches: the next range begins where the last one ended. */
  private dense = false;
  private failed = false;

  /** For one run. */
  constructor(
    private readonly source: BatchSource,
    limits: BatchLimits,
    private readonly run: StageRun,
  ) {
    this.ranges = new KeyRanges(source, limits.statement_timeout);
    this.size = new BatchSize(limits.batch_time, limits.batch_rows);
    this.writers = ONE_WRITER.has(source.store.dialect.name) ? 1 : limits.writers;
  }

  /**
   * Goes once through the rows that are there now; what is added behind the last key is for the next run. A batch that met a
   * lock or was too slow is undone and tried again, smaller. @throws what `work` throws, StoreError: then nothing is under way
   */
  async each(work: BatchWork): Promise<BatchTotals> {
    const end = await beating(this.run, this.ranges.last());
    if (end === undefined) return this.totals;
    this.end = end;
    const looks = new AbortController();
    const dealer = new RangeDealer(this.finder(looks.signal));
    const lanes = Array.from({ length: this.writers }, () => this.lane(dealer, work));
    const ended = await Promise.allSettled(lanes);
    looks.abort();
    await dealer.close();
    for (const lane of ended) if (lane.status === 'rejected') throw lane.reason;
    return this.totals;
  }

  /** @returns a function that finds one range after the other */
  private finder(signal: AbortSignal): () => Promise<Span | undefined> {
    const { ranges } = this;
    let after: Bound | undefined;
    let over = false;
    return async () => {
      if (over) return undefined;
      const from =
        this.dense && after !== undefined ? after : await ranges.firstMatch(after, this.end, signal);
      if (from === undefined) return undefined;
      const rest = { from, upTo: undefined, size: this.size.rows };
      const span = await ranges.head(rest, this.size.rows, this.end, signal);
      over = span.upTo === undefined;
      after = span.upTo && { op: '>', key: span.upTo };
      return span;
    };
  }

  private async lane(dealer: RangeDealer<Span>, work: BatchWork): Promise<void> {
    try {
      while (!this.over) {
        const dealt = await beating(this.run, dealer.take());
        if (dealt === undefined) return;
        try {
          await this.through(dealt.range, work);
        } finally {
          dealer.done(dealt);
        }
      }
    } catch (error) {
      this.failed = true;
      throw error;
    }
  }

  private get over(): boolean {
    return this.failed || this.run.signal.aborted;
  }

  /** One range, in one batch if that goes well. */
  private async through(span: Span, work: BatchWork): Promise<void> {
    let rest = span;
    let conflicts = 0;
    let cut = false;
    while (!this.over) {
      const { rows: most } = this.size;
      const part =
        cut || rest.size > most * TOO_LARGE
          ? await beating(this.run, this.ranges.head(rest, most, this.end))
          : rest;
      const { from, upTo, size } = part;
      const where = all(this.ranges.between(from, upTo ?? this.end), this.source.where);
      const started = performance.now();
      try {
        const { rows, heldMs } = await beating(this.run, work({ where, size }));
        this.took(part, rows, heldMs ?? performance.now() - started);
      } catch (error) {
        conflicts = await this.smaller(error, conflicts);
        cut = true;
        continue;
      }
      if (upTo === undefined || upTo === rest.upTo) return;
      rest = { from: { op: '>', key: upTo }, upTo: rest.upTo, size: Math.max(1, rest.size - size) };
      conflicts = 0;
    }
  }

  private took({ size, upTo }: Span, rows: number, ms: number): void {
    const { totals } = this;
    totals.batches++;
    totals.longestMs = Math.max(totals.longestMs, Math.round(ms));
    this.dense = rows * 2 > size;
    // The last one may be much smaller.
    if (upTo !== undefined) this.size.took(size, ms);
  }

  /** @returns the conflicts in a row. @throws the error if it cannot be helped by a smaller batch */
  private async smaller(error: unknown, conflicts: number): Promise<number> {
    const { run, size } = this;
    if (error instanceof SmallerBatch) {
      size.shrink(error.rows);
      return conflicts;
    }
    const helps = error instanceof StoreError && (error.code === 'BUSY' || error.code === 'TIMEOUT');
    if (!helps || conflicts >= MAX_CONFLICTS) throw error;
    size.shrink(size.rows >> 1);
    run.log.info('batch.conflict', { reason: error.message, nextRows: size.rows });
    await pauseAfterConflict(conflicts, run.signal);
    return conflicts + 1;
  }
}
