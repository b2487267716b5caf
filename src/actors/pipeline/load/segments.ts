/**
 * The careful way: rows in pieces of a few thousand, each a bulk of its own inside the file's transaction. A piece that fails
 * is halved, or cut at the row the database names, until the bad rows stand alone. Worker thread.
 */
import type { BadBytes, TracedRow } from '../../../protocol/rowxml-tab.js';
import { reasonOf } from '../../../runtime/errors.js';
import { StoreError, type BulkResult, type SqlRunner } from '../../../store/driver.js';
import type { TablePlan } from './table.js';

const ROWS = 2_000;

export class LoadSegments {
  /** Rows the database refused. */
  refused = 0;
  private readonly counts = { rows: 0, inserted: 0, updated: 0, skipped: 0 };
  private lines: Buffer[] = [];
  private traces: TracedRow[] = [];

  /** @param refuse told of each bad row; may throw to give up the file */
  constructor(
    private readonly tx: SqlRunner,
    private readonly plan: TablePlan,
    private readonly limits: { readonly timeoutMs: number },
    private readonly refuse: (record: BadBytes) => void,
    private readonly progress: () => void,
  ) {}

  get result(): BulkResult {
    return this.counts;
  }

  /** @param piece whole lines. @param traced where they came from, possibly with those of the next piece */
  async load(piece: Buffer, traced: readonly TracedRow[]): Promise<void> {
    for (let at = 0; at < piece.length;) {
      const end = piece.indexOf(10, at) + 1;
      this.lines.push(piece.subarray(at, end));
      at = end;
    }
    for (const row of traced) this.traces.push(row);
    while (this.lines.length >= ROWS) await this.flush(ROWS);
  }

  async end(): Promise<void> {
    await this.flush(this.lines.length);
  }

  private async flush(count: number): Promise<void> {
    const lines = this.lines.splice(0, count);
    await this.apply(lines, this.traces.splice(0, count), 0, lines.length);
  }

  private async apply(
    lines: readonly Buffer[],
    traces: readonly TracedRow[],
    from: number,
    to: number,
  ): Promise<void> {
    if (from >= to) return;
    this.progress();
    let error: StoreError;
    try {
      const done = await this.plan.load(this.tx, [Buffer.concat(lines.slice(from, to))], this.limits);
      this.counts.rows += done.rows;
      this.counts.inserted += done.inserted;
      this.counts.updated += done.updated;
      this.counts.skipped += done.skipped;
      return;
    } catch (failed) {
      if (!isRowFault(failed, this.counts.rows > 0)) throw failed;
      error = failed;
    }
    if (to - from === 1) {
      const { line, record } = traces[from] ?? { line: 0, record: Buffer.alloc(0) };
      this.refused++;
      this.refuse({ line, record, reason: refusal(error) });
      return;
    }
    const named =
      error.row !== undefined && error.row >= 0 && error.row < to - from ? from + error.row : undefined;
    // The row named is tried alone as well: it is refused only when it fails alone.
    const cuts = named === undefined ? [from, (from + to) >> 1, to] : [from, named, named + 1, to];
    for (let i = 1; i < cuts.length; i++) await this.apply(lines, traces, cuts[i - 1] ?? to, cuts[i] ?? to);
  }
}

/** A bad row, as against trouble with the database as a whole. @param some rows of the same file were taken */
export function isRowFault(error: unknown, some: boolean): error is StoreError {
  if (!(error instanceof StoreError)) return false;
  const { code } = error;
  if (code === 'DATABASE') return some || error.row !== undefined;
  return code === 'DUPLICATE' || code === 'CONSTRAINT' || code === 'BIND';
}

const refusal = (error: unknown): string => `the database refuses it: ${reasonOf(error)}`;
