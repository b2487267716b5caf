import { describe, expect, it } from 'vitest';
import { MemoryPool } from '../../src/store/memory-pool.js';
import { lineBlocks } from '../../src/store/sqlite/bulk-blocks.js';

const KB = 1 << 10;

describe('memory that is used again', () => {
  it('is given out once, and again when it came back', () => {
    const pool = new MemoryPool(512 * KB);
    const [a, b] = [pool.take(100 * KB), pool.take(100 * KB)];
    expect(a).not.toBe(b);
    expect(a.byteLength).toBeGreaterThanOrEqual(100 * KB);
    pool.give(a);
    expect(pool.take(90 * KB)).toBe(a);
    expect(pool.take(90 * KB)).not.toBe(a);
  });

  it('is large enough, but not by far', () => {
    const pool = new MemoryPool(2048 * KB);
    const [small, large] = [pool.take(64 * KB), pool.take(1024 * KB)];
    pool.give(small);
    pool.give(large);
    expect(pool.take(65 * KB).byteLength).toBe(128 * KB);
    expect(pool.take(1000 * KB)).toBe(large);
  });

  it('is bounded: what is too much, too large or from elsewhere is let go', () => {
    const pool = new MemoryPool(256 * KB);
    const blocks = Array.from({ length: 4 }, () => pool.take(128 * KB));
    for (const block of blocks) pool.give(block);
    pool.give(new ArrayBuffer(512 * KB));
    pool.give(new ArrayBuffer(1_000));
    pool.give(new ArrayBuffer(0));
    pool.give(new SharedArrayBuffer(128 * KB));
    const taken = Array.from({ length: 3 }, () => pool.take(128 * KB));
    expect(taken.filter((block) => blocks.includes(block))).toEqual([blocks[2], blocks[3]]);
  });

  it('carries lines to a thread in the same few blocks when they come back', async () => {
    const pool = new MemoryPool(1024 * KB);
    const line = Buffer.from(`${'x'.repeat(999)}\n`);
    const source = function* (): Generator<Buffer> {
      for (let i = 0; i < 5_000; i++) yield line;
    };
    const blocks = new Set<ArrayBuffer>();
    let bytes = 0;
    for await (const block of lineBlocks(source(), pool)) {
      bytes += block.length;
      blocks.add(block.buffer);
      pool.give(block.buffer);
    }
    expect(bytes).toBe(5_000_000);
    expect(blocks.size).toBeLessThan(4);
  });
});
