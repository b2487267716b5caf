/** How many rows the next batch may have, by the time the last ones took. Pure. */

const FIRST_ROWS = 1_000;
/** Of the time: what is left is for a batch slower than all before. */
const AIM = 0.9;
const MAX_GROWTH = 4;
/** Weight of the newest batch in the mean, and in the mean deviation from it. */
const WEIGHT = 0.25;
/** Mean deviations from the mean that still have to fit: even batches may be larger than uneven ones. */
const DEVIATIONS = 3;

export class BatchSize {
  private size: number;
  /** Time of a row in ms. */
  private mean: number | undefined;
  private deviation = 0;

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
    const each = Math.max(ms, 0.1) / rows;
    const mean = this.mean ?? each;
    const off = Math.abs(each - mean);
    this.deviation += (off - this.deviation) * WEIGHT;
    this.mean = mean + (each - mean) * WEIGHT;
    // The mean follows slowly; a batch that was slower than it counts as what comes next.
    const expected = Math.max(this.mean + DEVIATIONS * this.deviation, ms > this.timeMs ? each : 0);
    const fitting = (this.timeMs * AIM) / expected;
    this.size = Math.min(this.most, Math.max(1, Math.round(Math.min(fitting, rows * MAX_GROWTH))));
  }

  /** @param rows at most so many from now on, until batches prove to be fast */
  shrink(rows: number): void {
    this.size = Math.max(1, Math.min(this.size, rows));
  }
}
