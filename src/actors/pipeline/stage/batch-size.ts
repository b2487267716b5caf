/** How many rows the next batch may have, by the time the last ones took. Pure. */

const FIRST_ROWS = 1_000;
/** Of the time: what is left is for a batch slower than all before. */
const AIM = 0.5;
const MAX_GROWTH = 4;
/** What the batches before still count when one more is known. */
const FADING = 0.8;
/** Mean deviations that have to fit beside the mean: even batches may be larger than uneven ones. */
const DEVIATIONS = 3;
/** Uneven ones do not become smaller and smaller: the part of a batch that does not depend on its rows would be most of it. */
const MAX_SPREAD = 0.6;
/** One batch that somebody else has held up says little about the next. */
const MAX_SLOWER = 3;

export class BatchSize {
  private size: number;
  /** Sums that fade: small batches, as the first ones are, count little. */
  private rowsSeen = 0;
  private msSeen = 0;
  private deviationSeen = 0;

  /** @param timeMs what a batch should stay under. @param most rows */
  constructor(
    private readonly timeMs: number,
    private readonly most: number,
  ) {
    this.size = Math.min(FIRST_ROWS, most);
  }

  get rows(): number {
    return this.size;
  }

  /** A full batch of so many rows took so long. */
  took(rows: number, ms: number): void {
    const expected = this.rowsSeen === 0 ? ms : (this.msSeen / this.rowsSeen) * rows;
    const counted = Math.min(Math.max(ms, 0.1), Math.max(expected, 0.1) * MAX_SLOWER);
    this.rowsSeen = this.rowsSeen * FADING + rows;
    this.msSeen = this.msSeen * FADING + counted;
    this.deviationSeen = this.deviationSeen * FADING + Math.abs(counted - expected);
    const spread = Math.min(MAX_SPREAD, (DEVIATIONS * this.deviationSeen) / this.msSeen);
    const fitting = ((this.timeMs * AIM) / (1 + spread)) * (this.rowsSeen / this.msSeen);
    const most = ms > this.timeMs ? rows / 2 : rows * MAX_GROWTH;
    this.size = Math.max(1, Math.round(Math.min(fitting, most, this.most)));
  }

  /** @param rows the next batch has at most so many */
  shrink(rows: number): void {
    this.size = Math.max(1, Math.min(this.size, rows));
  }
}
