import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { together } from '../../../src/actors/pipeline/load/arrange.js';

const linesOf = (pieces: readonly Buffer[]): string[] => Buffer.concat(pieces).toString().split('\n').slice(0, -1); // prettier-ignore

describe('bringing rows together', () => {
  it('keeps every row, those of one value in their order and next to each other, wherever the pieces are cut', () => {
    const value = fc.constantFrom('58015', '', '\\N', '站', 'a\\tb', '9');
    const rows = fc.array(fc.tuple(value, value), { minLength: 30, maxLength: 80 });
    fc.assert(
      fc.property(rows, fc.integer({ min: 0, max: 2 }), fc.nat(), (given, column, cut) => {
        const lines = given.map(([a, b], i) => [a, b, '7'].join('\t') + `\t${i}`);
        const text = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        const at = cut % text.length;
        const found = linesOf(together([text.subarray(0, at), text.subarray(at)], column));
        const keyOf = (line: string): string => line.split('\t')[column] ?? '';
        const values = [...new Set(lines.map(keyOf))];
        expect(found.filter((line, i) => i === 0 || keyOf(line) !== keyOf(found[i - 1] ?? ''))).toHaveLength(
          values.length,
        );
        for (const one of values)
          expect(found.filter((line) => keyOf(line) === one)).toEqual(lines.filter((l) => keyOf(l) === one));
      }),
    );
  });

  it('leaves rows as they are when few have the same value', () => {
    const pieces = ['1\ta\n', '2\ta\n1\tb\n'].map((text) => Buffer.from(text));
    expect(together(pieces, 0)).toBe(pieces);
    expect(together([], 0)).toEqual([]);
  });
});
