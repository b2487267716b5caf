import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { csvField, splitCsvLine } from '../../src/protocol/csv.js';
import {
  digitsOfTime,
  formatObservations,
  observationFileName,
  observationReader,
  parseStation,
  parseStations,
  scaleDecimal,
  timeDigits,
  type Observation,
  type ScaledObservation,
} from '../../src/protocol/observations.js';
import type { BadRecord } from '../../src/protocol/rowxml.js';

const first: Observation = {
  obtid: '58015',
  ddatetime: '20230706154300',
  t: '30.1',
  p: '1025.3',
  u: '80',
  wd: '189',
  wf: '7.7',
  r: '1.3',
  vis: '10459.5',
};
const second: Observation = { ...first, obtid: '58102', t: '0.0' };
const scaled: ScaledObservation = {
  obtid: '58015',
  ddatetime: '20230706154300',
  t: 301,
  p: 10253,
  u: 80,
  wd: 189,
  wf: 77,
  r: 13,
  vis: 104595,
};

function read(
  format: 'csv' | 'xml',
  text: string,
  cut = text.length,
): { rows: ScaledObservation[]; bad: BadRecord[] } {
  const rows: ScaledObservation[] = [];
  const bad: BadRecord[] = [];
  const reader = observationReader(format, {
    row: (row) => rows.push(row),
    bad: (record) => bad.push(record),
  });
  reader.push(text.slice(0, cut));
  reader.push(text.slice(cut));
  reader.end();
  return { rows, bad };
}

describe('observation files', () => {
  it('are byte for byte those of spec data-centre 4.2', () => {
    expect(formatObservations('csv', [first])).toBe(
      '站点代码,数据时间,气温,气压,相对湿度,风向,风速,降雨量,能见度\n58015,20230706154300,30.1,1025.3,80,189,7.7,1.3,10459.5\n',
    );
    expect(formatObservations('xml', [first])).toBe(
      '<data>\n<obtid>58015</obtid><ddatetime>20230706154300</ddatetime><t>30.1</t><p>1025.3</p><u>80</u><wd>189</wd>' +
        '<wf>7.7</wf><r>1.3</r><vis>10459.5</vis><endl/>\n</data>\n',
    );
    expect(formatObservations('json', [first, second])).toBe(
      '{"data":[\n' +
        '{"obtid":"58015","ddatetime":"20230706154300","t":"30.1","p":"1025.3","u":"80","wd":"189","wf":"7.7","r":"1.3","vis":"10459.5"},\n' +
        '{"obtid":"58102","ddatetime":"20230706154300","t":"0.0","p":"1025.3","u":"80","wd":"189","wf":"7.7","r":"1.3","vis":"10459.5"}\n' +
        ']}\n',
    );
    expect(observationFileName('20230706154300', 4711, 'csv')).toBe('SURF_ZH_20230706154300_4711.csv');
  });

  it.each(['csv', 'xml'] as const)('come back scaled from %s, for every cut of the text', (format) => {
    const text = formatObservations(format, [first, second]);
    for (let cut = 0; cut <= text.length; cut++) {
      expect(read(format, text, cut)).toEqual({
        rows: [scaled, { ...scaled, obtid: '58102', t: 0 }],
        bad: [],
      });
    }
  });

  it('keep the last line without a newline and read CRLF and a byte order mark', () => {
    const text = '\ufeff' + formatObservations('csv', [first, second]).replaceAll('\n', '\r\n').slice(0, -2);
    expect(read('csv', text).rows).toHaveLength(2);
    expect(read('xml', formatObservations('xml', [first]).replace('\n</data>\n', '')).rows).toEqual([scaled]);
  });

  it('keep empty values as NULL and a first data line without a header', () => {
    expect(read('csv', '58015,20230706154300,,,,,,,\n')).toEqual({
      rows: [
        {
          obtid: '58015',
          ddatetime: '20230706154300',
          t: null,
          p: null,
          u: null,
          wd: null,
          wf: null,
          r: null,
          vis: null,
        },
      ],
      bad: [],
    });
  });

  it('report bad rows with line and reason and go on with the others', () => {
    const text =
      formatObservations('csv', [first]) +
      '58016,20230230154300,1,1,1,1,1,1,1\n58017,20230706154300,1e3,1,1,1,1,1,1\n58018,1\n,20230706154300,,,,,,,\n' +
      '12345678901,20230706154300,,,,,,,\n58019,20230706154300,999999999,1,1,1,1,1,1\n' +
      formatObservations('csv', [second]);
    const { rows, bad } = read('csv', text);
    expect(rows.map((row) => row.obtid)).toEqual(['58015', '58102']);
    expect(bad.map((record) => [record.line, record.reason])).toEqual([
      [3, 'ddatetime "20230230154300" is no time of 14 digits'],
      [4, 't "1e3" is no number that fits'],
      [5, '2 fields instead of 9'],
      [6, 'obtid is empty'],
      [7, 'obtid "12345678901" is not 1 to 10 letters or digits'],
      [8, 't "999999999" is no number that fits'],
    ]);
  });

  it('survive a line without end', () => {
    const { rows, bad } = read('csv', `${'9'.repeat(50_000)}\n${formatObservations('csv', [first])}`);
    expect(rows).toEqual([scaled]);
    expect(bad).toMatchObject([{ line: 1, reason: 'line longer than 10000 characters' }]);
  });
});

describe('scaling', () => {
  it('is exact for every value with one decimal that the reference writes', () => {
    for (let tenths = 0; tenths <= 105_000; tenths++) {
      const text = `${Math.trunc(tenths / 10)}.${tenths % 10}`;
      if (scaleDecimal(text, 1, 'truncate') !== tenths) throw new Error(text);
    }
  });

  it('loses further decimals, or rounds them half up when asked', () => {
    expect(scaleDecimal('1.29', 1, 'truncate')).toBe(12);
    expect(scaleDecimal('-0.09', 1, 'truncate')).toBe(0);
    expect(scaleDecimal('34.275', 2, 'round')).toBe(3428);
    expect(scaleDecimal('-34.275', 2, 'round')).toBe(-3428);
    expect(scaleDecimal('34.2749', 2, 'round')).toBe(3427);
  });

  it('takes plain decimals only', () => {
    expect(['.5', '5.', '+5', '-7.25'].map((text) => scaleDecimal(text, 1, 'truncate'))).toEqual([
      5, 50, 50, -72,
    ]);
    for (const text of ['', '.', '-', '1e3', '0x10', '1,5', ' 1', 'NaN', '1.2.3', '99999999999']) {
      expect(scaleDecimal(text, 1, 'truncate'), text).toBeUndefined();
    }
  });
});

describe('times of 14 digits', () => {
  it('must exist', () => {
    expect(timeDigits('20240229235959')).toBe('20240229235959');
    expect(timeDigits('2023-07-06 15:43:00')).toBe('20230706154300');
    for (const text of [
      '20230229000000',
      '20231301000000',
      '20230132000000',
      '20230101240000',
      '2023010100006',
      '',
    ]) {
      expect(timeDigits(text), text).toBeUndefined();
    }
  });

  it('are written for every local time', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date(2000, 0, 1), max: new Date(2100, 0, 1), noInvalidDate: true }),
        (date) => {
          expect(timeDigits(digitsOfTime(date))).toBe(digitsOfTime(date));
        },
      ),
    );
  });
});

describe('the station list', () => {
  it('is read with its header passed over and bad lines told', () => {
    const { stations, bad } = parseStations(
      '省   站号  站名 纬度   经度  海拔高度\n安徽,58015,砀山,34.27,116.2,44.2\r\n安徽,58015,again,1,1,1\n北京,54511,北京,139.8,116.47,31.3\nx\n安徽,58102,亳州,33.88,115.77,37.7',
    );
    expect(stations.map((station) => station.id)).toEqual(['58015', '58102']);
    expect(stations[0]).toEqual({
      province: '安徽',
      id: '58015',
      name: '砀山',
      lat: '34.27',
      lon: '116.2',
      height: '44.2',
    });
    expect(bad.map((line) => [line.line, line.reason])).toEqual([
      [3, 'station 58015 is on line 2 already'],
      [4, 'latitude "139.8" is not within -90 and 90'],
      [5, '1 fields instead of 6'],
    ]);
  });

  it('passes over an English header of six fields', () => {
    expect(parseStations('province,id,name,lat,lon,height\n').bad).toEqual([]);
    expect(parseStation('a,b c,d,1,1,1')).toContain('station id');
  });
});

describe('CSV fields', () => {
  it('come back as they were written', () => {
    const field = fc.string().map((text) => text.replace(/[\r\n]/g, ''));
    fc.assert(
      fc.property(fc.array(field, { minLength: 1, maxLength: 6 }), (fields) => {
        expect(splitCsvLine(fields.map(csvField).join(','))).toEqual(fields);
      }),
    );
    expect(csvField('a\nb')).toBe('"a\nb"');
    expect(csvField(null)).toBe('');
  });
});
