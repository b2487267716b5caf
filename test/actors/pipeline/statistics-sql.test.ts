import { describe, expect, it } from 'vitest';
import { createStage, keys } from '../../../src/actors/pipeline/statistics.js';
import { chartSvg } from '../../../src/actors/pipeline/statistics/chart.js';
import { chartsOf, csvText } from '../../../src/actors/pipeline/statistics/report.js';
import type { StatisticsValues } from '../../../src/actors/pipeline/statistics/keys.js';
import {
  movePeriod,
  parseValue,
  periodExpression,
  periodOf,
  type ResultColumn,
} from '../../../src/actors/pipeline/statistics/sql.js';
import { FakeLog } from '../../support/fake-context.js';
import { paramsOf } from '../../support/stage-params.js';

describe('a value', () => {
  it.each([
    ['count', { name: 'row_count', aggregate: 'count', column: undefined, divisor: 1 }],
    ['count(t)', { name: 'count_t', aggregate: 'count', column: 't', divisor: 1 }],
    ['AVG( T ) / 10 as temperature', { name: 'temperature', aggregate: 'avg', column: 'T', divisor: 10 }],
  ])('%s', (text, value) => {
    expect(parseValue(text)).toEqual(value);
  });

  it.each(['avg', 'avg(t+1)', 'max(t)/0', 'median(t)', 'sum(t); drop', 'avg(t) as 1x'])(
    '%s is refused',
    (text) => {
      expect(() => parseValue(text)).toThrow('is no value');
    },
  );
});

describe('a period', () => {
  it('begins where its time is cut', () => {
    const time = '2024-02-29T23:59:58';
    expect(
      (['minute', 'hour', 'day', 'month', 'year'] as const).map((period) => periodOf(time, period)),
    ).toEqual([
      '2024-02-29 23:59:00',
      '2024-02-29 23:00:00',
      '2024-02-29 00:00:00',
      '2024-02-01 00:00:00',
      '2024-01-01 00:00:00',
    ]);
  });

  it('moves over the ends of days, months and years', () => {
    expect(movePeriod('2023-12-31 23:00:00', 'hour', 1)).toBe('2024-01-01 00:00:00');
    expect(movePeriod('2024-03-01 00:00:00', 'day', -1)).toBe('2024-02-29 00:00:00');
    expect(movePeriod('2024-01-01 00:00:00', 'month', -1)).toBe('2023-12-01 00:00:00');
  });

  it('is cut by each database in its own words', () => {
    expect(periodExpression('mysql', '`d`', 'hour')).toBe("DATE_FORMAT(`d`, '%Y-%m-%d %H:00:00')");
    expect(periodExpression('oracle', '"D"', 'minute')).toBe(`to_char("D", 'YYYY-MM-DD HH24:MI') || ':00'`);
    expect(periodExpression('mssql', '[d]', 'month')).toBe("CONVERT(char(7), [d], 120) + '-01 00:00:00'");
  });
});

describe('a conf of statistics', () => {
  const make = (written: Record<string, string>): unknown =>
    createStage({
      name: 's',
      params: paramsOf(keys, written),
      log: new FakeLog(),
      signal: new AbortController().signal,
    });
  it.each([
    [{ kind: 'sql' }, 'kind = sql needs sql'],
    [{ values: 'count' }, 'kind = group needs source_table'],
    [{ source_table: 't' }, 'kind = group needs values'],
    [{ source_table: 't', values: 'avg(t), max(t) as avg_t' }, 'the column avg_t twice'],
    [
      { kind: 'ranking', source_table: 't', values: 'count', rank_by: 'x' },
      'rank_by = x is no value; there are row_count',
    ],
    [{ kind: 'missing', source_table: 't' }, 'needs group'],
  ])('%j is refused', (written, reason) => {
    expect(() => make(written)).toThrow(reason);
  });
});

const columns: readonly ResultColumn[] = [
  { name: 'ddatetime', kind: 'date', key: true },
  { name: 'obtid', kind: 'text', key: true },
  { name: 't', kind: 'float', key: false },
];
const params = (written: Record<string, string>): StatisticsValues =>
  paramsOf(keys, { source_table: 'x', values: 'avg(t)', group: 'obtid', ...written }) as StatisticsValues;

describe('charts', () => {
  const rows = [
    ['2024-01-01 00:00:00', 'a', 1],
    ['2024-01-01 00:00:00', 'b', 3],
    ['2024-01-01 01:00:00', 'b', 5],
  ];

  it('have a line for each group, with gaps', () => {
    expect(chartsOf({ columns, rows }, params({}))).toEqual([
      {
        title: 't',
        kind: 'line',
        labels: ['01-01 00:00', '01-01 01:00'],
        series: [
          { name: 'a', data: [1, null] },
          { name: 'b', data: [3, 5] },
        ],
      },
    ]);
  });

  it('have mean, least and largest when there are too many groups', () => {
    const [chart] = chartsOf({ columns, rows }, params({ chart_groups: '1' }));
    expect(chart?.series).toEqual([
      { name: 'largest', data: [3, 5] },
      { name: 'mean', data: [2, 5] },
      { name: 'least', data: [1, 5] },
    ]);
  });

  it('are the same SVG each time, in the colours of the page, with their names escaped', async () => {
    const [chart] = chartsOf({ columns, rows: [['2024-01-01 00:00:00', '<i>&', 1], ...rows] }, params({}));
    if (chart === undefined) throw new Error('no chart');
    const svg = await chartSvg(chart, 'c0');
    expect(await chartSvg(chart, 'c0')).toBe(svg);
    expect(svg).toContain('&lt;i&gt;&amp;');
    expect(svg).toContain('var(--s0)');
    expect(svg).not.toMatch(/<style|zr\d|ecmeta|#0a0/);
  });
});

describe('a CSV file', () => {
  it('keeps numbers, quotes what must be, and lets no text be a formula', () => {
    const rows = [
      ['x', 'a,"b"\n', -1.5],
      ['=1+1', '-12', null],
      ['@x', '+49 1', '-5.0'],
    ];
    expect(csvText({ columns, rows })).toBe(
      `ddatetime,obtid,t\r\nx,"a,""b""\n",-1.5\r\n'=1+1,-12,\r\n'@x,'+49 1,-5.0\r\n`,
    );
  });
});
