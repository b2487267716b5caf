import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BadInputError } from '../../../src/actors/pipeline/transform/formats/format.js';
import { formatOf, formats } from '../../../src/actors/pipeline/transform/formats/readers.js';
import type { FormatName } from '../../../src/actors/pipeline/transform/keys.js';
import { read } from '../../support/read-format.js';
import { xlsx, zip } from '../../support/zip.js';

describe('fixed width', () => {
  const fields = ['obtid:1:5', 'name:6:4', 't:10:5'];
  it('cuts by characters', async () => {
    const { rows } = await read('fixed-width', '58015砀山   30.1\n58016     9\n', { fields });
    expect(rows).toEqual([
      ['58015', '砀山', '30.1'],
      ['58016', '', '9'],
    ]);
  });

  it('cuts by bytes of the encoding, and rejects a cut through a character', async () => {
    const line = (hex: string): Buffer =>
      Buffer.concat([Buffer.from('58015'), Buffer.from(hex, 'hex'), Buffer.from(' 30.1\n')]);
    const content = Buffer.concat([line('edb8c9bd'), line('61edb862')]);
    const options = { fields, header: 'none', widthUnit: 'bytes', charset: 'gbk' } as const;
    expect((await read('fixed-width', content, options)).rows).toEqual([
      ['58015', '砀山', '30.1'],
      ['58015', 'a砀b', '30.1'],
    ]);
    const cut = await read('fixed-width', line('616161edb8'), options);
    expect(cut.bad).toEqual(['1: the columns of name cut a character of gbk apart']);
  });
});

describe('json', () => {
  it('reads an array by path, in any nesting, with every digit', async () => {
    const text =
      '{"n":[1],"data":{"items":[{"id":12345678901234567890,"pos":{"lat":34.270,"tags":[1,"a"]}},{"id":"2","ok":true,"pos":null}]}}';
    const { fields, rows, lines, unknown } = await read('json', text, { records: 'data.items' });
    expect(fields).toEqual(['id', 'pos.lat', 'pos.tags']);
    expect(rows).toEqual([
      ['12345678901234567890', '34.270', '[1,"a"]'],
      ['2', undefined, undefined],
    ]);
    expect(lines).toEqual([1, 2]);
    expect(unknown).toEqual(['ok', 'pos']);
  });

  it('reads a file that is an array, only the wanted fields', async () => {
    expect(await read('json', '[{"a":1,"b":2},5,{"b":3}]', {}, { wanted: ['b'] })).toMatchObject({
      rows: [['2'], ['3']],
      bad: ['2: it is no object'],
      unknown: [],
    });
  });

  it('refuses what is no JSON, cut off, without the array, too deep or too large', async () => {
    await expect(read('json', '[{"a":1},{"a"')).rejects.toThrow(/no JSON somewhere behind item/);
    await expect(read('json', '[{"a":1},x]')).rejects.toThrow(/no JSON somewhere behind item 0/);
    await expect(read('json', '{"rows":[]}', { records: 'data' })).rejects.toThrow(
      'it has no array data; found: rows',
    );
    await expect(read('json', '[' + '{"a":'.repeat(100_000))).rejects.toThrow(/nested deeper/);
    await expect(read('json', '['.repeat(100_000))).rejects.toThrow(/nested deeper/);
    const long = `[{"a":"${'x'.repeat(1 << 20)}"}]`;
    await expect(read('json', long, { maxRecordBytes: 100_000 })).rejects.toThrow('max_record_bytes');
    const bytes = Buffer.concat([Buffer.from('[{"a":"'), Buffer.from([0xff]), Buffer.from('"}]')]);
    await expect(read('json', bytes)).rejects.toThrow('it is not utf-8 text between its bytes 0 and 11');
  });

  it('takes a key named __proto__ for a key', async () => {
    const { fields, rows } = await read('json', '[{"__proto__":"x","a":{"constructor":1}}]');
    expect([fields, rows]).toEqual([['__proto__', 'a.constructor'], [['x', '1']]]);
  });
});

describe('ndjson', () => {
  it('reads one object a line and rejects the lines that are none', async () => {
    const { rows, bad } = await read(
      'ndjson',
      '{"a":1.50,"b":"1e5"}\n\n[1]\n{"a":\n{"a":-2e3,"b":"x\\"5"}',
      {},
    );
    expect(rows).toEqual([
      ['1.50', '1e5'],
      ['-2e3', 'x"5'],
    ]);
    expect(bad[0]).toBe('3: it is no object');
    expect(bad[1]).toMatch(/^4: .*JSON/);
  });
});

describe('xml', () => {
  const path = { records: '/data/row' };
  it('reads attributes, children and nested children of the element', async () => {
    const text =
      '<?xml version="1.0"?><data><head>x</head><row id="1"><t unit="C">30.1</t><pos>\n <lat>34</lat></pos></row>\n' +
      '<row id="2"><t unit="C"><![CDATA[<b>]]>&amp;</t></row></data>';
    const { fields, rows, lines } = await read('xml', text, path);
    expect(fields).toEqual(['@id', 't.@unit', 't', 'pos.lat']);
    expect(rows).toEqual([
      ['1', 'C', '30.1', '34'],
      ['2', 'C', '<b>&', undefined],
    ]);
    expect(lines).toEqual([1, 3]);
  });

  it('takes the encoding from the declaration', async () => {
    const head = Buffer.from('<?xml version="1.0" encoding="GBK"?><data><row><a>');
    const bytes = Buffer.concat([head, Buffer.from('c6f8', 'hex'), Buffer.from('</a></row></data>')]);
    expect((await read('xml', bytes, path)).rows).toEqual([['气']]);
  });

  it('expands no entity, and refuses what is not well-formed, cut off, without the element or too large', async () => {
    const bomb =
      '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]><data><row><a>';
    await expect(read('xml', `${bomb}&b;</a></row></data>`, path)).rejects.toThrow(/no well-formed XML/);
    await expect(read('xml', `${bomb}&f;</a></row></data>`, path)).rejects.toThrow(/no well-formed XML/);
    await expect(read('xml', '<data><row><a>1</a></row>', path)).rejects.toThrow(/no well-formed XML/);
    await expect(read('xml', '<data><r/></data>', path)).rejects.toThrow(
      'it has no element /data/row; found: /data, /data/r',
    );
    await expect(read('xml', '<a>'.repeat(5_000), path)).rejects.toThrow(/nested deeper/);
    const long = `<data><row><a>${'x'.repeat(1 << 20)}</a></row></data>`;
    await expect(read('xml', long, { ...path, maxRecordBytes: 100_000 })).rejects.toThrow('max_record_bytes');
  });

  it('rejects a record with a value twice', async () => {
    const { rows, bad } = await read(
      'xml',
      '<data><row><a>1</a><a>2</a></row><row><a>3</a></row></data>',
      path,
    );
    expect([rows, bad]).toEqual([[['3']], ['1: a comes twice']]);
  });
});

describe('xlsx', () => {
  const cell = (value: string, type = 'n', style = 0): string =>
    `<c t="${type}" s="${style}"><v>${value}</v></c>`;
  it('reads shared and inline texts, dates, numbers and saved results of formulas', async () => {
    const rows =
      `<row r="1">${cell('0', 's')}${cell('1', 's')}${cell('2', 's')}<c r="D1" t="inlineStr"><is><t>x</t></is></c></row>` +
      `<row r="3"><c r="A3"><v>30.100000000000001</v></c><c r="B3" s="1"><v>45107</v></c><c r="C3" s="2"><v>45107.5</v></c>` +
      `<c r="D3"><f>1+1</f><v>2</v></c></row>` +
      `<row r="4"><c r="B4" t="b"><v>1</v></c><c r="D4" t="str"><v>=1+1</v></c></row>`;
    const book = xlsx({ sheets: { first: '', data: rows }, shared: ['温度', 'day', 'time'] });
    expect(await read('xlsx', book, { sheet: 'data' })).toMatchObject({
      fields: ['温度', 'day', 'time', 'x'],
      rows: [
        ['30.1', '2023-06-30', '2023-06-30 12:00:00', '2'],
        [undefined, 'true', undefined, '=1+1'],
      ],
      lines: [3, 4],
    });
  });

  it('counts days from 1904 where the workbook does', async () => {
    const book = xlsx({ sheets: { a: `<row><c s="1"><v>1</v></c></row>` }, from1904: true });
    expect((await read('xlsx', book, { header: 'none' })).rows).toEqual([['1904-01-02']]);
  });

  it('rejects rows with error values, formulas without a result and cells beyond the header', async () => {
    const rows =
      `<row>${cell('a', 'str')}</row><row>${cell('#REF!', 'e')}</row><row><c><f>1/0</f></c></row>` +
      `<row>${cell('1')}${cell('2')}</row><row>${cell('3')}</row>`;
    const { rows: good, bad } = await read('xlsx', xlsx({ sheets: { a: rows } }));
    expect(good).toEqual([['3']]);
    expect(bad).toEqual([
      '2: cell 1 of the row has the error value #REF!',
      '3: the formula in cell 1 of the row has no saved result',
      '4: 2 cells instead of 1',
    ]);
  });

  it('refuses what is no workbook, a sheet that is not there, a zip bomb', async () => {
    await expect(read('xlsx', 'PK no')).rejects.toThrow(/no XLSX file/);
    await expect(read('xlsx', zip({ 'a.txt': 'x' }))).rejects.toThrow('it lacks xl/workbook.xml');
    await expect(read('xlsx', xlsx({ sheets: { a: '' } }), { sheet: 'b' })).rejects.toThrow(
      'it has no sheet b; found: a',
    );
    const bomb = xlsx({ sheets: { a: `<row>${cell('1')}</row>`.repeat(700_000) } });
    await expect(read('xlsx', bomb, { header: 'none', maxRatio: 50 })).rejects.toThrow('max_ratio');
    const wide = xlsx({ sheets: { a: '<row><c r="ZZZZ1"><v>1</v></c></row>' } });
    await expect(read('xlsx', wide, { header: 'none' })).rejects.toThrow('has a cell at "ZZZZ1"');
  });
});

describe('every reader', () => {
  it('refuses random bytes or rejects them, and nothing else', { timeout: 60_000 }, async () => {
    const names = Object.keys(formats) as FormatName[];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...names),
        fc.uint8Array({ maxLength: 400 }),
        async (format, bytes) => {
          const options = {
            records: format === 'xml' ? '/a' : '',
            fields: format === 'fixed-width' ? ['a:1:2'] : [],
          };
          await read(format, bytes, options).catch((error: unknown) =>
            expect(error).toBeInstanceOf(BadInputError),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  it('is found by the ending of a name', () => {
    expect(['a.CSV', 'b.json.gz', 'c.jsonl', 'd.xlsx', 'e'].map(formatOf)).toEqual([
      'csv',
      'json',
      'ndjson',
      'xlsx',
      undefined,
    ]);
  });
});
