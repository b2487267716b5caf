import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  beforeValue,
  canonical,
  compareKeys,
  compareText,
  comparisonOf,
  converter,
  keyText,
  sameValue,
  type Comparison,
} from '../../../src/actors/pipeline/sync/values.js';
import type { ColumnInfo, ColumnKind } from '../../../src/store/driver.js';

const as = (kind: ColumnKind, more: Partial<Comparison> = {}): Comparison => ({
  kind,
  padded: false,
  emptyIsNull: false,
  ...more,
});
const column = (kind: ColumnKind, type: string = kind): ColumnInfo => ({
  name: 'c',
  type,
  kind,
  length: undefined,
  scale: undefined,
  nullable: true,
  generated: false,
});

describe('two values', () => {
  it.each([
    ['1.50', 1.5, 'decimal'],
    ['0012', 12n, 'integer'],
    ['-0.00', 0, 'decimal'],
    ['1e3', '1000.0', 'decimal'],
    ['12345678901234567890.5', '12345678901234567890.50', 'decimal'],
    [1e21, '1000000000000000000000', 'decimal'],
    [0.1, '0.10', 'float'],
    ['2026-01-02T03:04:05', '2026-01-02 03:04:05.000', 'date'],
    ['2026-01-02T03:04:05+02:00', '2026-01-02 01:04:05', 'date'],
    ['2026-01-02 03:04:05.5Z', '2026-01-02 03:04:05.500', 'date'],
    ['2026-01-02', '2026-01-02 00:00:00', 'date'],
    [new Uint8Array([1, 255]), new Uint8Array([1, 255]), 'bytes'],
    [null, null, 'text'],
  ] as const)('%s and %s are the same %s', (a, b, kind) => {
    expect(sameValue(a, b, as(kind))).toBe(true);
  });

  it.each([
    [null, '', 'text'],
    [null, 0, 'integer'],
    ['1.5', '1.50', 'text'],
    ['a ', 'a', 'text'],
    ['9007199254740993', 9007199254740992n, 'integer'],
    ['2026-01-02 03:04:05', '2026-01-02 03:04:06', 'date'],
    [new Uint8Array([1]), new Uint8Array([1, 0]), 'bytes'],
    ['no number', '0', 'decimal'],
  ] as const)('%s and %s are different %s', (a, b, kind) => {
    expect(sameValue(a, b, as(kind))).toBe(false);
  });

  it('that fill up with blanks, or cannot be empty, are the same where the column is like that', () => {
    expect(sameValue('a  ', 'a', as('text', { padded: true }))).toBe(true);
    expect(sameValue('', null, as('text', { emptyIsNull: true }))).toBe(true);
    expect(comparisonOf(column('text', 'char'), column('text'), ['oracle', 'mysql'])).toEqual({
      kind: 'text',
      padded: true,
      emptyIsNull: true,
    });
    expect(comparisonOf(column('text'), column('date'), []).kind).toBe('date');
  });
});

describe('the order of keys', () => {
  it('is that of the numbers, however they are written', () => {
    const compare = compareKeys([as('decimal')]);
    fc.assert(
      fc.property(fc.bigInt(), fc.bigInt(), fc.nat(999), fc.nat(999), (a, b, x, y) => {
        const text = (whole: bigint, part: number): string => `${whole}.${String(part).padStart(3, '0')}`;
        const value = (whole: bigint, part: number): bigint =>
          whole * 1000n + (text(whole, part).startsWith('-') ? -1n : 1n) * BigInt(part);
        const [left, right] = [value(a, x), value(b, y)];
        const expected = left < right ? -1 : left > right ? 1 : 0;
        expect(Math.sign(compare([text(a, x)], [text(b, y)]))).toBe(expected);
      }),
    );
    expect(compare([2], ['10'])).toBeLessThan(0);
    expect(compare([2n ** 70n], [5])).toBeGreaterThan(0);
  });

  it('is that of the UTF-8 bytes of text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        expect(Math.sign(compareText(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
    );
    expect(compareText('\uffff', '\u{10000}')).toBeLessThan(0);
  });

  it('goes from the first column to the last', () => {
    const compare = compareKeys([as('text'), as('date')]);
    expect(compare(['a', '2026-01-02'], ['a', '2026-01-02T00:00:00'])).toBe(0);
    expect(compare(['a', '2026-01-03'], ['b', '2026-01-02'])).toBeLessThan(0);
    expect(compare(['b', '2026-01-03'], ['b', '2026-01-02 23:59:59'])).toBeGreaterThan(0);
  });
});

describe('the text of a key', () => {
  it('is the same for the same key only', () => {
    const how = [as('text'), as('text')];
    const value = fc.option(fc.string({ maxLength: 4, unit: fc.constantFrom('1', ':', '-', 'a') }));
    fc.assert(
      fc.property(fc.tuple(value, value), fc.tuple(value, value), (a, b) => {
        const same = a[0] === b[0] && a[1] === b[1];
        expect(keyText(a, how, 2) === keyText(b, how, 2)).toBe(same);
      }),
    );
  });
});

describe('a value on its way to the target', () => {
  it('keeps its zone only where the column has one', () => {
    const time = '2026-01-02T03:04:05.120+02:00';
    expect(converter(as('date'), column('date', 'datetime'))(time)).toBe('2026-01-02 01:04:05.12');
    expect(converter(as('date'), column('date', 'timestamp with time zone'))(time)).toBe(time);
    expect(converter(as('date'), column('date', 'date'))('2026-01-02')).toBe('2026-01-02');
  });

  it('becomes bytes for bytes, text for text, and is itself otherwise', () => {
    expect(converter(as('bytes'), column('bytes'))('é')).toEqual(Buffer.from('é'));
    expect(converter(as('text'), column('text'))(new Uint8Array([65]))).toBe('A');
    expect(converter(as('decimal'), column('decimal'))('1.50')).toBe('1.50');
    expect(converter(as('date'), column('date', 'datetime'))(null)).toBeNull();
  });
});

describe('a key some way back', () => {
  it.each([
    [1000, 'integer', 400],
    [1000n, 'integer', 400n],
    ['1000.7', 'decimal', '400'],
    ['2026-01-02 00:00:30', 'date', '2026-01-01 23:59:30'],
    ['2026-01-02T00:00:30.9', 'date', '2026-01-01 23:59:30'],
    ['text', 'text', 'text'],
  ] as const)('%s %s -> %s', (value, kind, expected) => {
    expect(beforeValue(value, as(kind), 600, 60_000)).toBe(expected);
  });

  it('is the key itself when there is no way', () => {
    for (const value of [7, '7.5', '2026-01-02 00:00:30'])
      expect(
        beforeValue(value, as(typeof value === 'number' || value.length < 5 ? 'decimal' : 'date'), 0, 0),
      ).toBe(value);
  });
});

it('what is no number or time is compared as it is', () => {
  expect(canonical('abc', as('decimal'))).toBe('abc');
  expect(canonical('0000-00-00 00:00:00', as('date'))).toBe('0000-00-00 00:00:00');
  expect(canonical('12:30:00', as('date'))).toBe('12:30:00');
});
