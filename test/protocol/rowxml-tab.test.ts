import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RowXmlReader, rowXmlWriter } from '../../src/protocol/rowxml.js';
import { RowXmlTab, type BadBytes, type RowXmlTabOptions } from '../../src/protocol/rowxml-tab.js';
import { readTabLine } from '../../src/protocol/tab-text.js';
import type { TabColumn, TabKind } from '../../src/protocol/tab-writer.js';

function column(tag: string, kind: TabKind = 'text', more: Partial<TabColumn> = {}): TabColumn {
  return { tag, kind, length: undefined, scale: undefined, nullable: true, ...more };
}

interface Outcome {
  readonly rows: readonly (readonly (string | null)[])[];
  readonly bad: readonly BadBytes[];
  readonly parser: RowXmlTab;
}

/** @param cut bytes of each push */
function read(
  columns: readonly TabColumn[],
  input: string | Buffer,
  options: RowXmlTabOptions = {},
  cut = Infinity,
): Outcome {
  const bytes = Buffer.from(input);
  const bad: BadBytes[] = [];
  const parser = new RowXmlTab(columns, (record) => bad.push(record), options);
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += cut) {
    const given = Buffer.from(bytes.subarray(at, Math.min(bytes.length, at + cut)));
    pieces.push(...parser.push(given));
    // The reader of the file uses its memory again.
    given.fill('?');
  }
  pieces.push(...parser.end());
  const lines = Buffer.concat(pieces).toString().split('\n');
  expect(lines.pop()).toBe('');
  expect(lines).toHaveLength(parser.rows);
  return { rows: lines.map(readTabLine), bad, parser };
}

const three = [column('a'), column('b'), column('c')];
const reasons = ({ bad }: Outcome): string[] => bad.map(({ line, reason }) => `${line}: ${reason}`);
/** The one value of a column of this kind, or why it is refused. */
function one(
  value: string | Buffer,
  kind: TabKind,
  more: Partial<TabColumn> = {},
  options: RowXmlTabOptions = {},
): string | null | undefined {
  const bytes = Buffer.concat([Buffer.from('<v>'), Buffer.from(value), Buffer.from('</v><endl/>\n')]);
  const { rows, bad } = read([column('v', kind, more)], bytes, options);
  return bad[0]?.reason ?? rows[0]?.[0];
}

describe('row XML to tab text', () => {
  it('reads what the general reader reads, whatever the content and wherever it is cut', () => {
    const junk = fc.constantFrom(
      '<a>', '</a>', '<b>', '</b>', '<c>', '</c>', '<endl/>', '<endl/>\n', '\n', '\r\n', ' ', '<x>', '</x>', '<', '>', '&amp;', '&lt;',
      '&#10;', '&bogus;', '&', 'q', '7', '\\', '\t', '站', '<data>\n', '</data>\n', '<!-- c -->', '<?xml version="1.0"?>',
    ); // prettier-ignore
    const good = fc
      .array(fc.array(fc.string({ maxLength: 6 }), { minLength: 3, maxLength: 3 }), { maxLength: 6 })
      .map((records) => records.map(rowXmlWriter(['a', 'b', 'c'])).join(''));
    const texts = fc.array(fc.oneof(junk, good), { maxLength: 25 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(texts, fc.integer({ min: 1, max: 40 }), (text, cut) => {
        const rows: (string | null)[][] = [];
        const bad: [number, string][] = [];
        const reader = new RowXmlReader(['a', 'b', 'c'], {
          row: (values) =>
            values.some((value) => value?.includes('\0'))
              ? bad.push([0, 'NUL'])
              : rows.push(values.map((value) => (value === undefined || value === '' ? null : value))),
          bad: ({ line, reason }) => bad.push([line, reason]),
        });
        reader.push(text);
        reader.end();
        const outcome = read(three, text, {}, cut);
        expect(outcome.rows).toEqual(rows);
        expect(
          outcome.bad.map(({ line, reason }) => (reason.includes('NUL') ? [0, 'NUL'] : [line, reason])),
        ).toEqual(bad);
      }),
      { numRuns: 2_000 },
    );
  });

  it('brings back what the writer wrote', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.string({ unit: 'grapheme' }), { minLength: 3, maxLength: 3 }), {
          maxLength: 20,
        }),
        fc.integer({ min: 1, max: 200 }),
        (records, cut) => {
          const text = `<data>\n${records.map(rowXmlWriter(['a', 'b', 'c'])).join('')}</data>\n`;
          const { rows, bad, parser } = read(three, text, {}, cut);
          expect(bad).toEqual([]);
          expect(rows).toEqual(records.map((record) => record.map((value) => (value === '' ? null : value))));
          expect(parser.unclosed).toBe(false);
        },
      ),
    );
  });

  it('takes tags in any order, leaves out those it does not know and makes missing ones NULL', () => {
    const text =
      '<c>3</c><x>9</x><a>1</a><endl/>\n<c>4</c><x>9</x><a>2</a><endl/>\n<b>5</b><endl/>\n<c>6</c><x>9</x><a></a><endl/>\n';
    expect(read(three, text).rows).toEqual([
      ['1', null, '3'],
      ['2', null, '4'],
      [null, '5', null],
      [null, null, '6'],
    ]);
  });

  it('says line, reason and the whole record of a bad one', () => {
    const text =
      '<data>\n<a>1</a><endl/>\n<a>2<endl/>\n<a>x\ny</a><b>1</b><b>2</b><endl/>\n<a>3</a><endl/>\n<a>4';
    const outcome = read(three, text);
    expect(reasons(outcome)).toEqual([
      '3: <a> has no closing tag',
      '5: <b> comes twice; is an <endl/> missing?',
      '7: the last record has no <endl/>',
    ]);
    expect(outcome.bad.map(({ record }) => record.toString())).toEqual([
      '<a>2<endl/>',
      '<a>x\ny</a><b>1</b><b>2</b><endl/>',
      '<a>4',
    ]);
    expect(outcome.rows.map(([a]) => a)).toEqual(['1', '3']);
    expect(outcome.parser.unclosed).toBe(true);
  });

  it('knows the line of a bad value among many rows with line ends in their values', () => {
    const good = '<a>5</a><b>p\nq</b><endl/>\r\n';
    const { bad } = read(
      [column('a', 'integer'), column('b')],
      good.repeat(50) + good.replace('5', 'five'),
      {},
      33,
    );
    expect(bad.map(({ line, reason }) => [line, reason])).toEqual([[102, 'a "five" is no number']]);
  });

  it('tells where each row came from when asked, and what follows every row', () => {
    const rows: string[] = [];
    const parser = new RowXmlTab([column('a')], () => undefined, { trace: true });
    parser.tail = Buffer.from('\t7\tfile');
    const out = parser.push(Buffer.from('<data>\n<a>1</a><endl/>\n<a>2</a><endl/>\n<a>3</a><endl/>\n'));
    for (const { line, record } of parser.takeTrace()) rows.push(`${line} ${record.toString()}`);
    expect(rows).toEqual(['2 <data>\n<a>1</a><endl/>', '3 <a>2</a><endl/>', '4 <a>3</a><endl/>']);
    expect(Buffer.concat([...out, ...parser.end()]).toString()).toBe('1\t7\tfile\n2\t7\tfile\n3\t7\tfile\n');
  });

  it('gives up a file whose record does not end, with little memory and in little time', () => {
    const parser = new RowXmlTab(three, () => undefined, { maxRecordBytes: 100_000 });
    const piece = Buffer.from('<a>' + 'x'.repeat(65_000));
    let pushed = 0;
    for (; parser.fault === undefined && pushed < 1_000; pushed++) parser.push(piece);
    expect(pushed).toBe(2);
    expect(parser.fault).toBe('its record at line 1 is longer than 100000 bytes');
    const blanks = read(three, '<a>1</a><endl/>\n' + ' '.repeat(50_000) + '<!-- - -->'.repeat(2_000) + 'x');
    expect(reasons(blanks)).toEqual(['2: the last record has no <endl/>']);
  });

  it('notices that the closing tag of the file is missing', () => {
    const unclosed = (text: string): boolean => read(three, text).parser.unclosed;
    expect(unclosed('<data>\n')).toBe(true);
    expect(unclosed('<data>\n<a>1</a><endl/>\n')).toBe(true);
    expect(unclosed("<?xml version='1.0'?>\n<data>\n<a>1</a><endl/>\n</data>")).toBe(false);
    expect(unclosed('<data></data>')).toBe(false);
    expect(unclosed('<a>1</a><endl/>\n')).toBe(false);
    expect(unclosed('')).toBe(false);
  });
});

describe('a value of row XML', () => {
  it.each([
    ['5', 'integer', '5'],
    ['-17', 'integer', '-17'],
    ['+5', 'integer', '5'],
    ['12.0', 'integer', '12'],
    ['12.5', 'integer', 'v "12.5" has more than 0 decimals'],
    ['1,234', 'integer', '1234'],
    ['1e3', 'integer', '1000'],
    ['25e-1', 'decimal', '2.5'],
    ['5.', 'decimal', '5'],
    ['.5', 'decimal', '0.5'],
    ['-.50', 'decimal', '-0.50'],
    ['12.3℃', 'decimal', '12.3'],
    ['123456789012345678901234567890.5', 'decimal', '123456789012345678901234567890.5'],
    ['6.02e23', 'float', '6.02e23'],
    ['--5', 'integer', 'v "--5" is no number'],
    ['abc', 'integer', 'v "abc" is no number'],
    ['<u>5</u>', 'integer', 'v "<u>5</u>" is no number'],
    ['&#53;', 'integer', '5'],
    ['  ', 'integer', null],
    ['20230508113000', 'date', '2023-05-08 11:30:00'],
    ['2023-05-08 11:30:00', 'date', '2023-05-08 11:30:00'],
    ['2023-05-08T11:30:00', 'date', '2023-05-08 11:30:00'],
    ['2023/05/08 11:30', 'date', '2023-05-08 11:30:00'],
    ['20230508', 'date', '2023-05-08 00:00:00'],
    ['20230508113000123', 'date', '2023-05-08 11:30:00.123'],
    ['2023-05-08T11:30:00.25+08:00', 'date', '2023-05-08 11:30:00.25+08:00'],
    ['20240229000000', 'date', '2024-02-29 00:00:00'],
    ['20230229000000', 'date', 'v "20230229000000" is a time that does not exist'],
    ['20230508240000', 'date', 'v "20230508240000" is a time that does not exist'],
    ['2023', 'date', 'v "2023" is no time of 14 digits'],
    ['20230508000000', 'day', '2023-05-08'],
    ['20230508113000', 'day', 'v "20230508113000" has a time of day, the column takes none'],
    ['00ff', 'hex', '00ff'],
    ['0f0', 'hex', 'v "0f0" is not made of pairs of hexadecimal digits'],
    ['a\tb\\c', 'text', 'a\tb\\c'],
    ['a<b>c</b>', 'text', 'a<b>c</b>'],
    ['a\0b', 'text', 'v has a NUL character at byte 4 of the file'],
  ] as const)('%j as %s is %j', (value, kind, expected) => {
    expect(one(value, kind)).toBe(expected);
  });

  it('is refused instead of guessed when the stage is strict', () => {
    const strict = { strict: true };
    expect(one('1,234', 'integer', {}, strict)).toBe('v "1,234" is no number');
    expect(one('2023/05/08', 'date', {}, strict)).toBe('v "2023/05/08" is no time of 14 digits');
    expect(one('2023-05-08 11:30:00', 'date', {}, strict)).toBe('2023-05-08 11:30:00');
    expect(one('20230508113000', 'date', {}, strict)).toBe('2023-05-08 11:30:00');
  });

  it('is NULL when it says so', () => {
    expect(one('///', 'decimal', {}, { nulls: ['///', '-'] })).toBe(null);
    expect(one('-', 'date', {}, { nulls: ['///', '-'] })).toBe(null);
    expect(one('-', 'text', {}, { nulls: ['///', '-'] })).toBe('-');
    expect(one('', 'text', { nullable: false })).toBe('v is empty, and the column must not be NULL');
    expect(read([column('w', 'text', { nullable: false })], '<v>1</v><endl/>\n').bad[0]?.reason).toBe(
      'w is missing, and the column must not be NULL',
    );
  });

  it('is measured in characters, and cut only when that is asked for', () => {
    expect(one('站点代码', 'text', { length: 4 })).toBe('站点代码');
    expect(one('站点代码5', 'text', { length: 4 })).toBe('v has 5 characters, the column takes 4');
    expect(one('站点代码5', 'text', { length: 4 }, { cut: true })).toBe('站点代码');
    expect(one('abcde', 'text', { length: 4 })).toBe('v has 5 characters, the column takes 4');
    expect(one('abcde', 'text', { length: 4 }, { cut: true })).toBe('abcd');
    expect(one('&lt;&lt;\\\\', 'text', { length: 4 })).toBe('<<\\\\');
    const money = { length: 5, scale: 2 };
    expect(one('123.45', 'decimal', money)).toBe('123.45');
    expect(one('123.4500', 'decimal', money)).toBe('123.45');
    expect(one('0123.45', 'decimal', money)).toBe('123.45');
    expect(one('1234.5', 'decimal', money)).toBe('v "1234.5" has more than 3 digits before the point');
    expect(one('123.456', 'decimal', money)).toBe('v "123.456" has more than 2 decimals');
    expect(one('-9.995', 'decimal', money, { cut: true })).toBe('-10.00');
    expect(one('999.995', 'decimal', money, { cut: true })).toBe(
      'v "999.995" has more than 3 digits before the point',
    );
    expect(one('2.5', 'integer', {}, { cut: true })).toBe('3');
    expect(one('20230508113000', 'day', {}, { cut: true })).toBe('2023-05-08');
  });

  it('is refused with its position when it is not in the encoding of the file', () => {
    expect(one(Buffer.from([97, 0xff, 98]), 'text')).toBe('v is no utf-8 text at byte 4 of the file (0xFF)');
    expect(one(Buffer.from([0xe7, 0xab]), 'text')).toBe('v is no utf-8 text at byte 3 of the file (0xE7)');
    expect(one(Buffer.from([0xed, 0xa0, 0x80]), 'text')).toMatch(/^v is no utf-8 text/);
    expect(one(Buffer.from([0xc0, 0x80]), 'text')).toMatch(/^v is no utf-8 text/);
    expect(one(Buffer.from([0xd5, 0xbe, 0xb5, 0xe3]), 'text', { length: 2 }, { charset: 'gbk' })).toBe(
      '站点',
    );
    expect(one(Buffer.from([97, 0xd5, 0xbe, 0xd5]), 'text', {}, { charset: 'gbk' })).toMatch(
      /^v is no gbk text at byte/,
    );
    expect(one(Buffer.from([0x97, 0x36, 0xfe, 0x30]), 'text', {}, { charset: 'gb18030' })).toMatch(
      /.|^v is no gb18030/u,
    );
    expect(() => read(three, '', { charset: 'utf-16le' })).toThrow(RangeError);
    expect(() => read(three, '', { charset: 'no-such' })).toThrow(RangeError);
  });

  it('keeps every character of utf-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const well = Buffer.from(text).toString().replaceAll('\0', '').replaceAll(/[<&]/g, '');
        expect(one(well, 'text')).toBe(well === '' ? null : well);
      }),
    );
  });
});
