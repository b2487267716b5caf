import { gzipSync } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CsvRows } from '../../../src/actors/pipeline/transform/formats/csv-rows.js';
import { read } from '../../support/read-format.js';

describe('csv', () => {
  it('reads quotes, doubled quotes, line ends inside quotes and CRLF', async () => {
    const { fields, rows, lines } = await read('csv', 'a,b\r\n1,"x, ""y""\r\nz"\r\n\r\n"","2"\r\n3,');
    expect(fields).toEqual(['a', 'b']);
    expect(rows).toEqual([
      ['1', 'x, "y"\r\nz'],
      ['', '2'],
      ['3', ''],
    ]);
    expect(lines).toEqual([2, 5, 6]);
  });

  it('reads the form of the reference: Chinese header, no quotes, positions', async () => {
    const text = '站点代码,数据时间\n58015,"2023\n';
    expect(
      await read('csv', text, { quote: '', header: 'skip', fields: ['obtid', 'ddatetime'] }),
    ).toMatchObject({
      fields: ['obtid', 'ddatetime'],
      rows: [['58015', '"2023']],
    });
  });

  it('rejects rows of another width, junk behind quotes, and a quote that is never closed, and goes on', async () => {
    const { rows, bad } = await read('csv', 'a,b\n1\n1,2,3\n"x"y,2\n"open,2\n5,6\n');
    expect(rows).toEqual([['5', '6']]);
    expect(bad).toEqual([
      '2: 1 fields instead of 2',
      '3: 3 fields instead of 2',
      '4: there is text behind a closing quote',
      '5: a quote is never closed',
    ]);
  });

  it('tells a wrong header with what was expected and found', async () => {
    await expect(read('csv', 'a,c\n1,2\n', { fields: ['a', 'b'] })).rejects.toThrow(
      'its header lacks b; expected: a, b; found: a, c',
    );
    await expect(read('csv', 'a,a\n')).rejects.toThrow('its header has the name a twice');
    await expect(read('csv', '')).rejects.toThrow('it has no header line');
  });

  it('rejects only the lines with bytes that are no text, with their position', async () => {
    const bytes = Buffer.concat([
      Buffer.from('a,b\n1,2\n3,'),
      Buffer.from([0xff, 0x41]),
      Buffer.from('\n5,气\n'),
    ]);
    const { rows, bad } = await read('csv', bytes);
    expect(rows).toEqual([
      ['1', '2'],
      ['5', '气'],
    ]);
    expect(bad).toEqual(['3: bytes ff410a at position 10 of the file are not utf-8 text']);
  });

  it.each([
    ['gbk', 'd5beb5e32cbcd70a352cc6f80a'],
    ['gb18030', 'd5beb5e32cbcd70a352cc6f80a'],
    ['utf-16le', Buffer.from('站点,甲\n5,气\n', 'utf16le').toString('hex')],
    ['utf-16', 'feff' + Buffer.from('站点,甲\n5,气\n', 'utf16le').swap16().toString('hex')],
    ['auto', 'efbbbf' + Buffer.from('站点,甲\n5,气\n').toString('hex')],
  ])('reads %s', async (charset, hex) => {
    expect(await read('csv', Buffer.from(hex, 'hex'), { charset })).toMatchObject({
      fields: ['站点', '甲'],
      rows: [['5', '气']],
      bad: [],
    });
  });

  it('rejects a line longer than the limit without holding it', async () => {
    const long = Buffer.concat([Buffer.from('a,b\n1,'), Buffer.alloc(5 << 20, 'x'), Buffer.from('\n3,4\n')]);
    const { rows, lines, bad } = await read('csv', long, { maxRecordBytes: 10_000 });
    expect(rows).toEqual([['3', '4']]);
    expect(lines).toEqual([3]);
    expect(bad).toEqual(['2: the line is longer than max_record_bytes, 10000']);
  });

  it('unpacks .gz, and refuses one that is cut off or unpacks to too much', async () => {
    const packed = gzipSync('a,b\n1,2\n');
    expect((await read('csv', packed, {}, { name: 'x.csv.gz' })).rows).toEqual([['1', '2']]);
    await expect(read('csv', packed.subarray(0, -9), {}, { name: 'x.csv.gz' })).rejects.toThrow(
      'cannot be unpacked',
    );
    const bomb = gzipSync(Buffer.alloc(17 << 20, `${'x'.repeat(1_000)}\n`), { level: 1 });
    await expect(read('csv', bomb, { maxRatio: 50 }, { name: 'x.csv.gz' })).rejects.toThrow('max_ratio');
    await expect(read('csv', bomb, { maxUnpacked: 1 << 20 }, { name: 'x.csv.gz' })).rejects.toThrow(
      'max_unpacked',
    );
  });

  it('agrees with another parser on whatever is valid, in whatever cuts', () => {
    const field = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', 'é', ' '), maxLength: 6 });
    fc.assert(
      fc.property(fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { maxLength: 8 }), (table) => {
        const text = table
          .map(
            (row) =>
              row
                .map((value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value))
                .join(',') + '\n',
          )
          .join('');
        const theirs = parse(text, { relax_column_count: true });
        const rows: string[][] = [];
        const reader = new CsvRows(
          { row: (values) => void rows.push(values), bad: (_line, _last, reason) => expect.fail(reason) },
          { separator: ',', quote: '"', maxRowChars: 1_000 },
        );
        for (const line of text.split(/(?<=\n)/)) reader.push(line);
        reader.end();
        expect(rows).toEqual(theirs);
      }),
    );
  });

  it('never fails or loses a line whatever comes', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r'), maxLength: 60 }), (text) => {
        let seen = 0;
        const count = (first: number, last: number): void => {
          expect(first).toBeGreaterThan(seen);
          seen = last;
        };
        const reader = new CsvRows(
          { row: (_values, line, last) => count(line, last), bad: (line, last) => count(line, last) },
          { separator: ',', quote: '"', maxRowChars: 20 },
        );
        for (const line of text.split(/(?<=\n)/)) reader.push(line);
        reader.end();
        expect(seen).toBeLessThanOrEqual(text.split('\n').length);
      }),
    );
  });
});
