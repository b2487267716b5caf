/** Statistics of repeated runs. Pure; no assumption about distributions: medians and ranges only. */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Middle value; the mean of the two middle ones when their number is even. NaN when there is none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? NaN)) / 2;
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

export interface Ratio {
  /** Median of one side divided by the median of the other. */
  readonly ofMedians: number;
  /** Median of the ratios round by round: what the machine did meanwhile cancels out of it. */
  readonly ofPairs: number;
}

/**
 * Compares runs that were taken in turns: `a[i]` and `b[i]` belong to the same round.
 * @throws RangeError when the two have different numbers of runs
 */
export function ratio(a: readonly number[], b: readonly number[]): Ratio {
  if (a.length !== b.length) throw new RangeError(`${a.length} runs cannot be paired with ${b.length}`);
  return {
    ofMedians: median(a) / median(b),
    ofPairs: median(a.map((value, i) => value / (b[i] ?? NaN))),
  };
}
