import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  confLimits,
  placeText,
  problemText,
  readConf,
  writeValue,
  type ConfEntry,
} from '../../src/runtime/config-reader.js';
import { expandReferences } from '../../src/runtime/config-values.js';

const keysOf = (text: string | Uint8Array): Record<string, string> =>
  Object.fromEntries(
    readConf('a.conf', text)
      .entries.filter((e) => e.kind === 'key')
      .map((e) => [e.key, e.text]),
  );
const problemsOf = (text: string | Uint8Array): string[] =>
  readConf('a.conf', text).problems.map(problemText);
const syntaxHint = '(write `key = value`, `[section]` or `[section name]`; # starts a comment)';

describe('the conf reader', () => {
  it('reads sections and keys with their lines', () => {
    const { entries, problems } = readConf(
      'conf/x.conf',
      '# top\n\n[log]\nlevel = debug\n[ listener  packet ] # here\n port=1\n',
    );
    expect(problems).toEqual([]);
    expect(
      entries.map((e) => [placeText(e.place), e.kind === 'key' ? e.key : `${e.section}/${e.name}`]),
    ).toEqual([
      ['conf/x.conf:3', 'log/'],
      ['conf/x.conf:4', 'level'],
      ['conf/x.conf:5', 'listener/packet'],
      ['conf/x.conf:6', 'port'],
    ]);
  });

  it('takes trailing comments away, but only after a blank', () => {
    expect(keysOf('a = 1 # one\nb = x#y\nc = #nothing\nd = x;y ; z\n; e = 5')).toEqual({
      a: '1', b: 'x#y', c: '', d: 'x;y ; z',
    }); // prettier-ignore
  });

  it('keeps what is quoted', () => {
    expect(keysOf(`a = " x # y "\nb = 'it is \\n "so"' # c\nc = "tab\\t\\"q\\" \\\\ line\\n"`)).toEqual({
      a: ' x # y ', b: 'it is \\n "so"', c: 'tab\t"q" \\ line\n',
    }); // prettier-ignore
  });

  it('accepts a byte order mark and every kind of line end', () => {
    expect(keysOf('\ufeffa = 1\r\nb = 2\rc = 3\nd = 气象')).toEqual({ a: '1', b: '2', c: '3', d: '气象' });
    expect(readConf('a', '\ufeff[x]\r\na = 1').entries.map((e) => e.place.line)).toEqual([1, 2]);
  });

  it.each([
    ['nonsense', 'a.conf:1: the line is neither a section nor key = value'],
    ['a = 1\n9x = 2', 'a.conf:2: the line is neither a section nor key = value'],
    ['[a', 'a.conf:1: a section is written [section] or [section name]'],
    ['[a b c]', 'a.conf:1: a section is written [section] or [section name]'],
    ['[a b:c]', 'a.conf:1: section name b:c may hold at most 64 letters, digits and . _ @ / -'],
    ['a = "x', 'a.conf:1: the quote " is not closed'],
    ["a = 'x' y", 'a.conf:1: text follows the closing quote; quote the whole value'],
    ['a = "\\q"', 'a.conf:1: inside double quotes only \\" \\\\ \\n \\r \\t are known escapes'],
    ['a = x\u0000y', 'a.conf:1: the line holds a control character'],
  ])('refuses %j', (text, problem) => {
    expect(problemsOf(text)).toEqual([`${problem} ${syntaxHint}`]);
  });

  it('never repeats a line it does not understand, it may be part of a secret', () => {
    expect(problemsOf('hunter2 and more').join()).not.toContain('hunter2');
  });

  it('names the line that is not UTF-8', () => {
    const bytes = Buffer.concat([
      Buffer.from('a = 1\nb = '),
      Buffer.from([0xc6, 0xf8]),
      Buffer.from('\nc = 3'),
    ]);
    expect(problemsOf(bytes)).toEqual(['a.conf:2: not valid UTF-8 (save the file as UTF-8)']);
  });

  it('bounds the size of a line and of the file, and goes on after a long line', () => {
    const long = `a = ${'x'.repeat(confLimits.lineChars)}\nb = 2`;
    expect(problemsOf(long)).toEqual([
      'a.conf:1: a line of 65540 characters exceeds the limit of 65536 characters (split the file, or check that it is a conf file)',
    ]);
    expect(keysOf(long)).toEqual({ b: '2' });
    expect(problemsOf(Buffer.alloc(confLimits.fileBytes + 1, 10))).toEqual([
      'a.conf: a size of 4194305 bytes exceeds the limit of 4194304 bytes (split the file, or check that it is a conf file)',
    ]);
  });

  it('stops after a bounded number of problems', () => {
    expect(problemsOf('?\n'.repeat(10_000))).toHaveLength(confLimits.problems);
  });

  it('gives back every value that was written', () => {
    // Other control characters cannot be written, on purpose.
    const writable = fc
      .string({ unit: 'grapheme' })
      .map((s) => s.replace(/\p{Cc}/gu, (c) => ('\n\r\t'.includes(c) ? c : '')));
    const tricky = fc.string({
      unit: fc.constantFrom(
        ' ',
        '#',
        '"',
        "'",
        '\\',
        '$',
        '{',
        '}',
        '\n',
        '\t',
        '\r',
        ';',
        '=',
        'file:',
        'a',
      ),
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(writable, tricky), { maxLength: 20 }), (values) => {
        const text = values.map((value, i) => `[s n${i}]\nkey = ${writeValue(value)}`).join('\n');
        const { entries, problems } = readConf('f', text);
        expect(problems).toEqual([]);
        const keys = entries.filter((e): e is Extract<ConfEntry, { kind: 'key' }> => e.kind === 'key');
        const read = keys.map((e) => expandReferences(e.text, e.quoting, {}, 'f'));
        expect(read).toEqual(values.map((text) => ({ value: { text, referenced: false } })));
      }),
      { numRuns: 500 },
    );
  });

  it('never throws, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const { entries, problems } = readConf('f', bytes);
        expect(entries.length + problems.length).toBeLessThanOrEqual(bytes.length + 1);
      }),
    );
  });
});
