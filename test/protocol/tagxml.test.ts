import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readTag, readTags, tagBool, tagInt, writeTags } from '../../src/protocol/tagxml.js';

describe('the tag parameter string', () => {
  const text =
    '</starttime><connstr>127.0.0.1,root,pw,db,3306</connstr><where>where ddatetime<sysdate-1 and a>2</where>' +
    '<starttime> 02,13 </starttime></starttime><timeout>30</timeout><timeout>99</timeout>';

  it('finds values with bare angle brackets and ignores stray closing tags', () => {
    expect(readTag(text, 'where')).toBe('where ddatetime<sysdate-1 and a>2');
    expect(readTag(text, 'starttime')).toBe('02,13');
    expect(readTag(text, 'timeout')).toBe('30');
    expect(readTag(text, 'pname')).toBeUndefined();
    expect(readTag('<a>1', 'a')).toBeUndefined();
  });

  it('lists all pairs, first occurrence first', () => {
    expect([...readTags(text)]).toEqual([
      ['connstr', '127.0.0.1,root,pw,db,3306'],
      ['where', 'where ddatetime<sysdate-1 and a>2'],
      ['starttime', '02,13'],
      ['timeout', '30'],
    ]);
  });

  it('reads back what it writes', () => {
    const value = fc.string().map((s) => s.replaceAll('<', '(').trim());
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), value), (values) => {
        expect(Object.fromEntries(readTags(writeTags(values)))).toEqual({ ...values });
      }),
    );
    expect(() => writeTags({ a: 'x</a>y' })).toThrow(RangeError);
  });

  it('reads booleans and integers as the reference does', () => {
    expect([tagBool('TRUE'), tagBool('yes'), tagBool(undefined)]).toEqual([true, false, false]);
    expect([tagInt('12abc'), tagInt(' -3'), tagInt('x'), tagInt(undefined)]).toEqual([12, -3, 0, 0]);
  });
});
