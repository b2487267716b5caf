import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nameMatcher } from '../../src/protocol/match-name.js';

describe('file name patterns', () => {
  it('ignore letter case and accept a star anywhere', () => {
    const match = nameMatcher('SURF_ZH*.XML, surf_zh*.csv,,');
    expect(['surf_zh_1.xml', 'SURF_ZH_1.CSV', 'SURF_ZH.csv'].every(match)).toBe(true);
    expect(['surf_zh_1.xml.tmp', 'x_surf_zh.xml', 'surf_zh.json', ''].some(match)).toBe(false);
  });

  it('match everything with one star and nothing without a pattern', () => {
    expect(nameMatcher('*')('x')).toBe(true);
    expect(nameMatcher(' , ')('x')).toBe(false);
    expect(nameMatcher('abc')('abcabc')).toBe(false);
    expect(nameMatcher('a*a')('a')).toBe(false);
  });

  it('agree with a regular expression', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 });
    const name = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 10 });
    fc.assert(
      fc.property(text, name, (pattern, value) => {
        const expected = pattern !== '' && new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(value);
        expect(nameMatcher([pattern])(value)).toBe(expected);
      }),
      { numRuns: 2_000 },
    );
  });
});
