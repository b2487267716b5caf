import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  escapeXml,
  RowXmlReader,
  rowXmlWriter,
  unescapeXml,
  type BadRecord,
} from '../../src/protocol/rowxml.js';

const columns = ['obtid', 'name', 'v'];

interface Outcome {
  rows: { values: (string | undefined)[]; line: number }[];
  bad: BadRecord[];
}

function read(pieces: readonly string[], maxRecordChars?: number): Outcome {
  const outcome: Outcome = { rows: [], bad: [] };
  const reader = new RowXmlReader(
    columns,
    { row: (values, line) => outcome.rows.push({ values, line }), bad: (record) => outcome.bad.push(record) },
    maxRecordChars === undefined ? {} : { maxRecordChars },
  );
  for (const piece of pieces) reader.push(piece);
  reader.end();
  return outcome;
}

describe('the row XML writer', () => {
  it('writes one line per record and an empty value for null', () => {
    const write = rowXmlWriter(columns);
    expect(write(['58015', null, 12])).toBe('<obtid>58015</obtid><name></name><v>12</v><endl/>\n');
  });

  it('escapes the five characters and drops what XML 1.0 forbids', () => {
    expect(escapeXml(`a<b>&"'c`)).toBe('a&lt;b&gt;&amp;&quot;&apos;c');
    expect(escapeXml('a\u0000b\u001f\ud800c\ufffe😀\r\n\t')).toBe('abc😀&#13;\n\t');
  });

  it('leaves ampersands alone that start no known entity', () => {
    expect(unescapeXml('AT&T &nbsp; &#x41;&#0;&lt;')).toBe('AT&T &nbsp; A&#0;<');
  });
});

describe('the row XML reader', () => {
  const file =
    "<?xml version='1.0' encoding='utf-8'?>\n<data>\n<obtid>1</obtid><name>砀山</name><v>3</v><endl/>\n" +
    '<v>9</v><other>x</other><obtid>2</obtid><name></name><endl/>\r\n</data>\n';

  it('reads rows, whatever the order of the tags, and tells missing from empty', () => {
    expect(read([file])).toEqual({
      rows: [
        { values: ['1', '砀山', '3'], line: 3 },
        { values: ['2', '', '9'], line: 4 },
      ],
      bad: [],
    });
  });

  it('gives the same for every cut of the text', () => {
    const whole = read([file]);
    for (let cut = 0; cut <= file.length; cut++) {
      expect(read([file.slice(0, cut), file.slice(cut)])).toEqual(whole);
    }
    expect(read([...file])).toEqual(whole);
  });

  it('reads back every value that was written', () => {
    const text = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text, text), { maxLength: 5 }), fc.nat(500), (rows, cut) => {
        const write = rowXmlWriter(columns);
        const body = '<data>\n' + rows.map((row) => write(row)).join('') + '</data>\n';
        const outcome = read([body.slice(0, cut), body.slice(cut)]);
        expect(outcome.bad).toEqual([]);
        const legal = rows.map((row) =>
          // eslint-disable-next-line no-control-regex
          row.map((value) => value.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '')),
        );
        expect(outcome.rows.map((row) => row.values)).toEqual(legal);
      }),
    );
  });

  it('never throws and never loops on random text', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '<obtid>',
        '</obtid>',
        '<endl/>',
        '\n',
        '<data>',
        '</data>',
        '<v>',
        '</v>',
        '&lt;',
        '<',
        '>',
      ),
      fc.string({ unit: 'binary', maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const together = read([pieces.join('')]);
        expect(read(pieces)).toEqual(together);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps unescaped angle brackets of the reference inside a value', () => {
    const { rows, bad } = read(['<obtid>1</obtid><name>a<b & c</name><v>x<endl/>y</v><endl/>\n']);
    expect(bad).toEqual([]);
    expect(rows[0]?.values).toEqual(['1', 'a<b & c', 'x<endl/>y']);
  });

  it('takes several records on one line', () => {
    const { rows, bad } = read(['<data><obtid>1</obtid><endl/><obtid>2</obtid><endl/></data>']);
    expect(bad).toEqual([]);
    expect(rows.map((row) => row.values[0])).toEqual(['1', '2']);
  });

  it('reports a record that lost its end instead of mixing two rows', () => {
    const { rows, bad } = read([
      '<obtid>1</obtid><v>1</v>\n<obtid>2</obtid><v>2</v><endl/>\n<obtid>3</obtid><endl/>\n',
    ]);
    expect(rows.map((row) => row.values[0])).toEqual(['3']);
    expect(bad).toHaveLength(1);
    expect(bad[0]).toMatchObject({ line: 2, reason: '<obtid> comes twice; is an <endl/> missing?' });
    expect(bad[0]?.text).toContain('<v>1</v>\n<obtid>2</obtid>');
  });

  it('reports a value without a closing tag and goes on with the next record', () => {
    const { rows, bad } = read(['<obtid>1<v>1</v><endl/>\n<obtid>2</obtid><endl/>\n']);
    expect(rows.map((row) => row.values[0])).toEqual(['2']);
    expect(bad).toMatchObject([{ line: 1, reason: '<obtid> has no closing tag' }]);
  });

  it('reports a truncated last record', () => {
    expect(read(['<data>\n<obtid>1</obtid><v>']).bad).toMatchObject([
      { line: 1, reason: 'the last record has no <endl/>' },
    ]);
    expect(read(['<data>\n</data>\n'])).toEqual({ rows: [], bad: [] });
  });

  it('skips a record over the limit without keeping it in memory, and reads on', () => {
    const long = `<obtid>1</obtid><name>${'x\n'.repeat(5_000)}</name><endl/>\n`;
    const text = `${long}<obtid>2</obtid><endl/>\n`;
    for (const size of [1, 7, 100, text.length]) {
      const pieces: string[] = [];
      for (let at = 0; at < text.length; at += size) pieces.push(text.slice(at, at + size));
      const { rows, bad } = read(pieces, 1_000);
      expect(rows).toEqual([{ values: ['2', undefined, undefined], line: 5_002 }]);
      expect(bad).toHaveLength(1);
      expect(bad[0]?.reason).toBe('record longer than 1000 characters');
      expect(bad[0]?.text.length).toBe(1_000);
    }
  });
});
