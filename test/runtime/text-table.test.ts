import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nearest } from '../../src/runtime/nearest.js';
import { showBytes, showMs, showTime, textTable } from '../../src/runtime/text-table.js';

describe('text for people', () => {
  it.each([
    [undefined, '-'],
    [0, '0ms'],
    [999.4, '999ms'],
    [1000, '1.0s'],
    [59_949, '59.9s'],
    [59_950, '1m00s'],
    [3_599_400, '59m59s'],
    [3_600_000, '1h00m'],
    [86_400_000, '1d00h'],
    [200_000_000, '2d07h'],
  ])('shows %s ms as %s', (ms, text) => expect(showMs(ms)).toBe(text));

  it.each([
    [0, '0'],
    [1023, '1023'],
    [1536, '1.5k'],
    [1 << 20, '1.0m'],
    [5 * 2 ** 40, '5.0t'],
    [5000 * 2 ** 40, '5000.0t'],
  ])('shows %s bytes as %s', (bytes, text) => expect(showBytes(bytes)).toBe(text));

  it('shows local time', () => {
    expect(showTime(new Date(2026, 0, 2, 3, 4, 5).getTime())).toBe('2026-01-02 03:04:05');
    expect(showTime(undefined)).toBe('-');
  });

  it('makes one line per row whatever is in the cells', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.integer())), (rows) => {
        const lines = textTable([['NAME'], ['N', 'right']], rows).split('\n');
        expect(lines).toHaveLength(rows.length + 1);
        rows.forEach(([, n], i) => expect(lines[i + 1]?.endsWith(String(n))).toBe(true));
      }),
    );
  });
});

describe('the nearest word', () => {
  const words = ['reload', 'restart', 'resume', 'run', 'runs'];
  it.each([
    ['relaod', 'reload'],
    ['RESTRAT', 'restart'],
    ['rum', 'run'],
    ['xyzzy', undefined],
    ['', undefined],
  ])('to %s is %s', (word, meant) => expect(nearest(word, words)).toBe(meant));
});
