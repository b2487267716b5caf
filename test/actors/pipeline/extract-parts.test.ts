import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keys } from '../../../src/actors/pipeline/extract/keys.js';
import { FileNames, parseStep } from '../../../src/actors/pipeline/extract/memory.js';
import { encoderOf, rowRenderer } from '../../../src/actors/pipeline/extract/render.js';
import { settingsOf, type ExtractParams } from '../../../src/actors/pipeline/extract/settings.js';
import { integerOf, SentKeys } from '../../../src/actors/pipeline/extract/window.js';
import { rowXmlWriter } from '../../../src/protocol/rowxml.js';
import { paramsOf } from '../../support/stage-params.js';

describe('names of files', () => {
  it('are never given twice and never get older, however the clock jumps', () => {
    const run = fc.record({
      files: fc.integer({ min: 0, max: 5 }),
      jumps: fc.array(fc.integer({ min: -5_000, max: 5_000 })),
    });
    fc.assert(
      fc.property(fc.array(run, { maxLength: 10 }), (runs) => {
        let now = Date.UTC(2024, 0, 1);
        let last: FileNames['given'];
        const given: string[] = [];
        for (const { files, jumps } of runs) {
          const names = new FileNames('P', 's', last, () => new Date(now));
          for (let i = 0; i < files; i++) {
            now += jumps[i % Math.max(1, jumps.length)] ?? 0;
            given.push(names.next());
          }
          last = names.given;
        }
        expect(new Set(given).size).toBe(given.length);
        const times = given.map((name) => name.slice(2, 16));
        expect([...times].sort()).toEqual(times);
      }),
    );
  });

  it('count from 1 in each run of its own second', () => {
    const at =
      (s: number): (() => Date) =>
      () =>
        new Date(2024, 1, 29, 12, 30, s);
    const first = new FileNames('ZHOBTMIND', 'togxpt', undefined, at(45));
    expect([first.next(), first.next()]).toEqual([
      'ZHOBTMIND_20240229123045_togxpt_1.xml',
      'ZHOBTMIND_20240229123045_togxpt_2.xml',
    ]);
    expect(new FileNames('P', 's', first.given, at(45)).next()).toBe('P_20240229123045_s_3.xml');
    expect(new FileNames('P', 's', first.given, at(46)).next()).toBe('P_20240229123046_s_1.xml');
    expect(new FileNames('P', 's', first.given, at(3)).next()).toBe('P_20240229123045_s_3.xml');
  });
});

describe('the keys of the overlap', () => {
  it('come once each, whatever was committed when and wherever a step ended', () => {
    const round = fc.record({
      fresh: fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 25 }),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(
        fc.array(round, { maxLength: 12 }),
        fc.integer({ min: 60, max: 100 }),
        (rounds, overlap) => {
          const present = new Set<number>();
          const sentOnes: number[] = [];
          let position = 0n;
          let text = '';
          for (const { fresh, part } of [...rounds, { fresh: [], part: 1 }]) {
            for (const key of fresh) present.add(key);
            const window = new SentKeys(text, BigInt(overlap));
            const lowest = position - BigInt(overlap);
            window.begin(lowest, undefined);
            const rows = [...present].filter((key) => BigInt(key) > lowest).sort((a, b) => a - b);
            const taken = window
              .take(
                rows.map((key) => [key]),
                0,
              )
              .map(([key]) => Number(key));
            // A crash in the middle: only some of them were in a step that counts.
            const kept = taken.slice(0, Math.ceil(taken.length * part));
            sentOnes.push(...kept);
            const last = kept.at(-1);
            if (last === undefined) continue;
            if (BigInt(last) > position) position = BigInt(last);
            text = window.toText(position - BigInt(overlap), BigInt(last));
          }
          expect([...sentOnes].sort((a, b) => a - b)).toEqual([...present].sort((a, b) => a - b));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('are kept as ranges, and forgotten below the overlap', () => {
    const window = new SentKeys('', 10n);
    window.begin(0n, undefined);
    window.take(
      [1, 2, 3, 5, 9_007_199_254_740_993n].map((key) => [key]),
      0,
    );
    expect(window.toText(0n, 1n << 60n)).toBe('1:3,5,9007199254740993');
    expect(window.toText(3n, 1n << 60n)).toBe('5,9007199254740993');
    expect(window.toText(0n, 2n)).toBe('1:2');
  });

  it('do not grow without end when they are far apart', () => {
    const window = new SentKeys('', 1_000_000n);
    window.begin(0n, undefined);
    for (let from = 0; from < 900_000; from += 1_000) {
      window.take(
        Array.from({ length: 1_000 }, (_, i) => [(from + i) * 2]),
        0,
      );
    }
    const text = window.toText(0n, 1n << 60n);
    expect(window.incomplete).toBe(true);
    expect(text.split(',').length).toBe(100_000);
    expect(text.endsWith(',1799998')).toBe(true);
  });

  it('are integers in whatever form the database gives them', () => {
    expect(['12', '12.000', -5, 7n, 1n << 60n, '9007199254740993'].map(integerOf)).toEqual([
      12,
      12,
      -5,
      7,
      1n << 60n,
      9_007_199_254_740_993n,
    ]);
    expect(['', 'x', '1.5', 0.5, NaN, null, undefined].map(integerOf)).toEqual(Array(7).fill(undefined));
  });
});

describe('the renderer', () => {
  it('writes what the writer of row XML writes', () => {
    const value = fc.oneof(fc.string({ unit: 'binary' }), fc.integer(), fc.bigInt(), fc.constant(null));
    const fields = ['a', 'b', 'c'];
    const render = rowRenderer({ fields, lengths: [], timeFields: new Set(), escape: true });
    const write = rowXmlWriter(fields);
    fc.assert(
      fc.property(fc.array(fc.tuple(value, value, value)), (rows) => {
        expect(render(rows, 0, rows.length)).toBe(rows.map((row) => write(row)).join(''));
      }),
    );
  });

  it('writes times as 14 digits', () => {
    const render = rowRenderer({ fields: ['t'], lengths: [], timeFields: new Set(['t']), escape: true });
    const times = [
      '2023-05-08 11:30:00',
      '2023-05-08T11:30:00.123+08:00',
      '2023-05-08 11:30:00Z',
      '2023-05-08',
      '20230508113000',
      null,
      'none',
    ];
    expect(render(times.map((time) => [time]), 0, times.length).match(/(?<=<t>).*(?=<\/t>)/g)).toEqual([
      '20230508113000', '20230508113000', '20230508113000', '20230508000000', '20230508113000', '', 'none',
    ]); // prettier-ignore
  });

  it('refuses encodings it cannot write', () => {
    expect(() => encoderOf('klingon', true)).toThrow('charset: "klingon" is no encoding known here');
    expect(() => encoderOf('utf-16le', true)).toThrow('its markup is not ASCII');
    expect(encoderOf('utf8mb4', true).utf8).toBe(true);
    expect(encoderOf('gbk', false).encode('𠮷a').toString('latin1')).toMatch(/^\?+a$/);
  });
});

describe('the conf', () => {
  const given = { source: 'sqlite:x', sql: 'select 1', fields: 'a,b', out: 'o', prefix: 'p', suffix: 's' };
  it.each([
    [{ fields: 'a,a' }, 'fields: a stands there twice'],
    [{ fields: 'a,<b>' }, 'fields: "<b>" cannot be the name of an element'],
    [{ fields: 'a,endl' }, 'endl is the end of a record'],
    [{ lengths: '1' }, 'lengths: 1 of them for 2 fields'],
    [{ lengths: '1,x' }, 'lengths: "x" is no number of characters'],
    [{ prefix: '../p' }, 'prefix: 1 to 100 bytes of a file name'],
    [{ inc_field: 'c' }, 'inc_field: c is none of the fields'],
    [{ inc_field: 'a', key: 'b' }, 'leave key out'],
    [{ overlap: '5' }, 'overlap: needs inc_field'],
    [{ inc_field: 'a', overlap: '5', ordered: 'no' }, 'overlap: needs ordered = yes'],
    [{ time_fields: 'c' }, 'time_fields: c is none of the fields'],
    [{ lag_field: 'c' }, 'lag_field: c is none of the fields'],
  ])('%o is refused: %s', (wrong, message) => {
    expect(() => settingsOf(paramsOf(keys, { ...given, ...wrong }) as unknown as ExtractParams)).toThrow(
      message,
    );
  });

  it('records of steps are read back or refused', () => {
    const sound = { version: 1, folder: 'step-1-a-1', rows: 3, position: '-5', memory: {} };
    expect(parseStep(JSON.stringify(sound))).toEqual(sound);
    for (const wrong of [
      '',
      '{',
      'null',
      '{}',
      JSON.stringify({ ...sound, folder: '../x' }),
      JSON.stringify({ ...sound, position: 'x' }),
    ]) {
      expect(parseStep(wrong)).toBeUndefined();
    }
  });
});
