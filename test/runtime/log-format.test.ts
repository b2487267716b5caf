import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cleanFields, localTime, textLine } from '../../src/runtime/log-format.js';

const at = new Date(2026, 10, 21, 10, 0, 0, 123).getTime();

describe('a text line', () => {
  it('is aligned and flat', () => {
    const fields = { listener: 'packet', count: 3, remote: '::1', text: 'a b', list: [1, 'x'], none: null };
    expect(textLine(at, 'info', 'packet', 'conn.flood', fields, false)).toBe(
      '2026-11-21 10:00:00.123 info   packet       conn.flood listener=packet count=3 remote=::1 text="a b" list=[1,"x"] none=null\n',
    );
  });

  it('shows an error as code and message, its calls below', () => {
    const err = Object.assign(new TypeError('no such thing'), { code: 'ENOENT' });
    const lines = textLine(at, 'error', 'main', 'x', cleanFields({ err }), false).split('\n');
    expect(lines[0]).toBe(
      '2026-11-21 10:00:00.123 error  main         x err.type=TypeError err.code=ENOENT err.message="no such thing"',
    );
    expect(lines[1]).toMatch(/^ {4}at /);
  });

  it('cannot be forged from inside a value, nor drive a terminal', () => {
    const evil = 'x\n2026-11-21 10:00:00.123 fatal \u001b[2J\u2028\u202e';
    const line = textLine(at, 'info', evil, evil, { [evil]: evil, err: { type: 'E', message: evil } }, false);
    expect(line.slice(0, -1)).not.toMatch(/\p{C}|\u2028/u);
    expect(line.endsWith('\n')).toBe(true);
  });

  it('colours the level for a terminal only', () => {
    expect(textLine(at, 'warn', 'a', 'b', {}, true)).toContain('\u001b[33mwarn  \u001b[0m');
  });
});

describe('the time of a line', () => {
  it('is ISO with the local offset and the milliseconds', () => {
    expect(localTime(at)).toMatch(/^2026-11-21T10:00:00\.123[+-]\d\d:\d\d$/);
    fc.assert(
      fc.property(fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }), (date) => {
        expect(new Date(localTime(date.getTime())).getTime()).toBe(date.getTime());
      }),
    );
  });
});

describe('the fields of a line', () => {
  it('hide what is named like a secret, at every depth, and passwords in URLs', () => {
    const fields = {
      password: 'hunter2', userPwd: 'hunter2', admin_token: 'hunter2', Authorization: 'hunter2', client_secret: 'hunter2',
      inner: { deep: [{ api_key: 'hunter2' }] }, url: 'mysql://me:hunter2@db/x', err: new Error('at ftp://me:hunter2@h'),
      user: 'bob', compass: 'north', no_password: undefined,
    }; // prettier-ignore
    const clean = JSON.stringify(cleanFields(fields));
    expect(clean).not.toContain('hunter2');
    expect(clean).toContain('"user":"bob"');
    expect(clean).toContain('"compass":"north"');
    expect(clean).toContain('"password":"***"');
  });

  it('are bounded in number, length and depth', () => {
    const deep: Record<string, unknown> = {};
    deep['self'] = deep;
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`k${i}`, i]));
    expect(Object.keys(cleanFields(many))).toHaveLength(64);
    expect(JSON.stringify(cleanFields({ deep }))).toContain('(...)');
    expect(String(cleanFields({ long: 'x'.repeat(1e6) })['long'])).toHaveLength(
      2048 + '...(2048 more)'.length,
    );
    expect(cleanFields({ body: Buffer.alloc(9), map: new Map([[1, 2]]) })).toEqual({
      body: '(9 bytes)',
      map: '(1 entries)',
    });
  });

  it('do not replace what the line itself says', () => {
    expect(cleanFields({ ts: 1, level: 2, event: 3, actor: 'x' })).toEqual({ ts_: 1, level_: 2, event_: 3 });
  });

  it('never throw and always give one JSON object and one line of text', () => {
    const hostile = {
      get boom(): string {
        throw new Error('no');
      },
    };
    expect(cleanFields(hostile)).toEqual({ boom: '(unreadable)' });
    const anything = fc.dictionary(
      fc.string(),
      fc.anything({ withBigInt: true, withDate: true, withTypedArray: true, withMap: true }),
    );
    fc.assert(
      fc.property(anything, (fields) => {
        const clean = cleanFields(fields);
        expect(JSON.parse(JSON.stringify(clean))).toBeTypeOf('object');
        const line = textLine(at, 'info', 'a', 'e', clean, false);
        expect(line.indexOf('\n')).toBe(line.length - 1);
      }),
    );
  });
});
