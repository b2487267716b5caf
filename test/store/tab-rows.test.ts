import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tabLine } from '../../src/protocol/tab-text.js';
import { StoreError } from '../../src/store/driver.js';
import { tabBatches, type TabRow } from '../../src/store/tab-rows.js';

async function all(
  chunks: Iterable<Uint8Array>,
  width: number,
  limits = { rows: 3, chars: 1_000 },
): Promise<TabRow[]> {
  const rows: TabRow[] = [];
  for await (const batch of tabBatches(chunks, width, limits)) {
    expect(batch.first).toBe(rows.length);
    expect(batch.rows.length).toBeLessThanOrEqual(limits.rows);
    rows.push(...batch.rows);
  }
  return rows;
}

describe('tab text', () => {
  it('gives the same rows wherever it is cut', async () => {
    const value = fc.option(fc.string({ unit: 'grapheme', maxLength: 12 }), { nil: null });
    const rows = fc.array(fc.tuple(value, value), { maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(
        rows,
        fc.array(fc.nat(400), { maxLength: 6 }),
        fc.boolean(),
        async (given, cuts, lastEnd) => {
          let bytes = Buffer.from(given.map((row) => tabLine(row)).join(''));
          // A last line may lack its end, unless it is empty: then it would be no line.
          if (!lastEnd && bytes.length > 1) bytes = bytes.subarray(0, -1);
          const at = [
            0,
            ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b),
            bytes.length,
          ];
          const chunks = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
          expect(await all(chunks, 2)).toEqual(given);
        },
      ),
    );
  });

  it('ends a batch by its size, too', async () => {
    const lines = Array.from({ length: 10 }, () => Buffer.from(`${'x'.repeat(600)}\n`));
    const sizes: number[] = [];
    for await (const batch of tabBatches(lines, 1, { rows: 100, chars: 1_000 }))
      sizes.push(batch.rows.length);
    expect(sizes).toEqual([2, 2, 2, 2, 2]);
  });

  it('names the row that is wrong', async () => {
    const error = (text: string | Buffer): Promise<unknown> =>
      all([Buffer.from(text)], 2).catch((thrown: unknown) => thrown);
    expect(await error('1\t2\n3\n')).toMatchObject({ code: 'BIND', row: 1 });
    expect(await error('1\t2\n1\t2\n1\\x\t3\n')).toMatchObject({ code: 'BIND', row: 2 });
    const broken = await error(Buffer.concat([Buffer.from('1\t'), Buffer.from([0xe4, 0xb8])]));
    expect(broken).toBeInstanceOf(StoreError);
    expect(broken).toMatchObject({ code: 'BIND', row: 0 });
  });
});
