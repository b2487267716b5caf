import { describe, expect, it } from 'vitest';
import type { Sample } from '../../bench/lib/compare.js';
import { parseOptions } from '../../bench/lib/options.js';
import { figure, rows, table } from '../../bench/lib/report.js';

const sample = (value: number, failed = 0): Sample => ({ value, failed, p99Us: value / 10, detail: {} });

describe('the table of a bench', () => {
  const lines = rows({
    bench: 'packets',
    unit: 'packets/s',
    lessIsBetter: false,
    cases: [
      {
        name: '1 x 1',
        series: [
          { contestant: 'subject', samples: [sample(3000), sample(1000, 2), sample(2000)] },
          { contestant: 'peer', samples: [sample(1500), sample(1000), sample(500)] },
        ],
      },
    ],
  });

  it('shows median, range, failures and the ratio of the subject to each peer', () => {
    const [head, subject, peer] = lines;
    const cell = (row: readonly string[] | undefined, column: string): string | undefined =>
      row?.[head?.indexOf(column) ?? -1];
    expect(cell(subject, 'packets/s')).toBe('2,000');
    expect([cell(subject, 'min'), cell(subject, 'max')]).toEqual(['1,000', '3,000']);
    expect(cell(subject, 'failed')).toBe('2');
    expect(cell(subject, 'p99 us')).toBe('200');
    expect(cell(subject, 'x of medians')).toBe('');
    expect(cell(peer, 'x of medians')).toBe('2.00');
    expect(cell(peer, 'x of pairs')).toBe('2.00');
  });

  it('aligns figures to the right', () => {
    const text = table([
      ['case', 'who', 'n'],
      ['a', 'b', '1,000'],
    ]);
    expect(text).toBe('case  who      n\na     b    1,000');
  });

  it('writes figures so that they can be read', () => {
    expect([0.1234, 45.67, 1234.5, 6_000_000, NaN].map(figure)).toEqual([
      '0.123',
      '45.7',
      '1,235',
      '6,000,000',
      '-',
    ]);
  });
});

describe('options of a bench', () => {
  it('are short with --quick, and each may still be set', () => {
    expect(parseOptions(['--quick', '--seconds', '2'])).toMatchObject({ rounds: 3, seconds: 2, warmup: 1 });
    expect(parseOptions(['--connections', '1,100'])).toMatchObject({ rounds: 5, connections: [1, 100] });
  });

  it('are refused by name when they make no sense', () => {
    expect(() => parseOptions(['--rounds', '0'])).toThrow('--rounds: "0"');
    expect(() => parseOptions(['--connections', '1,x'])).toThrow('--connections: "x"');
    expect(() => parseOptions(['--secnds', '1'])).toThrow('--secnds');
  });
});
