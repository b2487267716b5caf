import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { median, ratio, spread } from '../../bench/lib/stats.js';

describe('statistics of repeated runs', () => {
  it('takes the middle run, or the mean of the two in the middle', () => {
    expect(median([30, 10, 20])).toBe(20);
    expect(median([40, 10, 20, 30])).toBe(25);
    expect(median([7])).toBe(7);
    expect(median([])).toBeNaN();
  });

  it('does not let one spoiled run move the median', () => {
    expect(spread([100, 101, 3, 99, 102])).toEqual({ median: 100, min: 3, max: 102 });
  });

  it('leaves its input as it was', () => {
    const runs = [3, 1, 2];
    median(runs);
    expect(runs).toEqual([3, 1, 2]);
  });

  it('cancels what slowed a whole round out of the ratio of pairs', () => {
    // The machine was busy in the second round: both sides fell to a half.
    const result = ratio([200, 100, 220], [100, 50, 110]);
    expect(result.ofPairs).toBe(2);
    expect(result.ofMedians).toBe(2);
    // In the rounds where only one side was disturbed the two differ.
    expect(ratio([200, 200, 40], [100, 20, 20])).toEqual({ ofMedians: 10, ofPairs: 2 });
  });

  it('refuses to pair different numbers of runs', () => {
    expect(() => ratio([1, 2], [1])).toThrow('2 runs cannot be paired with 1');
  });

  it('keeps the median between the extremes, with as many runs below it as above', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1e6, max: 1e6 }), { minLength: 1 }), (runs) => {
        const { median: middle, min, max } = spread(runs);
        expect(middle).toBeGreaterThanOrEqual(min);
        expect(middle).toBeLessThanOrEqual(max);
        const below = runs.filter((run) => run < middle).length;
        const above = runs.filter((run) => run > middle).length;
        expect(below).toBeLessThanOrEqual(runs.length / 2);
        expect(above).toBeLessThanOrEqual(runs.length / 2);
      }),
    );
  });
});
