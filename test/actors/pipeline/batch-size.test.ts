import { describe, expect, it } from 'vitest';
import { BatchSize } from '../../../src/actors/pipeline/stage/batch-size.js';

/** @param ms time of a batch of so many rows. @returns the sizes of the batches */
function batches(size: BatchSize, count: number, ms: (rows: number, batch: number) => number): number[] {
  return Array.from({ length: count }, (_, batch) => {
    const { rows } = size;
    size.took(rows, ms(rows, batch));
    return rows;
  });
}

describe('the size of batches', () => {
  it('begins small and comes close to the time when all rows take the same', () => {
    const sizes = batches(new BatchSize(100, 1_000_000), 6, (rows) => rows / 200);
    expect(sizes).toEqual([1_000, 4_000, 10_000, 10_000, 10_000, 10_000]);
  });

  it('never has more rows than allowed, nor fewer than one', () => {
    expect(batches(new BatchSize(100, 50), 3, () => 0)).toEqual([50, 50, 50]);
    expect(batches(new BatchSize(100, 1_000), 60, () => 10_000).at(-1)).toBe(1);
  });

  it('leaves more room when batches are uneven, but not more and more', () => {
    const size = new BatchSize(100, 1_000_000);
    const uneven = (rows: number, batch: number): number => (rows / 200) * (batch % 2 === 0 ? 0.6 : 1.4);
    const last = batches(size, 60, uneven).slice(-10);
    expect(Math.max(...last)).toBeLessThan(8_400);
    expect(Math.min(...last)).toBeGreaterThan(5_000);
  });

  it('halves after one batch that took too long and comes back', () => {
    const size = new BatchSize(100, 1_000_000);
    batches(size, 10, (rows) => rows / 200);
    expect(size.rows).toBe(10_000);
    size.took(10_000, 2_000);
    expect(size.rows).toBeLessThanOrEqual(5_000);
    expect(size.rows).toBeGreaterThan(2_500);
    expect(batches(size, 30, (rows) => rows / 200).at(-1)).toBeGreaterThan(9_000);
  });

  it('follows rows that become slower for good', () => {
    const size = new BatchSize(100, 1_000_000);
    batches(size, 10, (rows) => rows / 200);
    batches(size, 60, (rows) => rows / 20);
    expect(size.rows).toBeGreaterThan(900);
    expect(size.rows).toBeLessThanOrEqual(1_100);
  });

  it('is made smaller at once when asked', () => {
    const size = new BatchSize(100, 1_000_000);
    size.shrink(10);
    expect(size.rows).toBe(10);
    size.shrink(0);
    expect(size.rows).toBe(1);
  });
});
