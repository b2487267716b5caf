/** The files of the stage `statistics`: CSV, and a page with charts and rows that needs nothing else. Worker thread. */
import { csvField } from '../../../protocol/csv.js';
import { escapeXml } from '../../../protocol/rowxml.js';
import type { SqlRow, SqlValue } from '../../../store/driver.js';
import { chartSvg, type Chart } from './chart.js';
import type { StatisticsValues } from './keys.js';
import { movePeriod, type ResultColumn } from './sql.js';
import { REPORT_STYLE } from './style.js';

export interface ReportInput {
  readonly title: string;
  /** Local time of the run. */
  readonly now: string;
  readonly columns: readonly ResultColumn[];
  readonly rows: readonly SqlRow[];
}

/** A spreadsheet would run what begins like this as a formula; numbers are left as they are. */
const FORMULA = /^[=+\-@\t\r](?![\d.]+$)/;
const MAX_CHARTS = 6;
/** A chart has no more points than that between its first and last period; with more, empty ones are left out. */
const MAX_POINTS = 5_000;
const PERIOD = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/;

/** RFC 4180, with a header and CRLF. Text that a spreadsheet would take for a formula gets a `'` in front. */
export function csvText({ columns, rows }: Pick<ReportInput, 'columns' | 'rows'>): string {
  const line = (values: readonly SqlValue[]): string =>
    values
      .map((value) => csvField(typeof value === 'string' && FORMULA.test(value) ? `'${value}` : shown(value)))
      .join(',') + '\r\n';
  return line(columns.map(({ name }) => name)) + rows.map(line).join('');
}

/** @returns a whole HTML document */
export async function htmlText(input: ReportInput, params: StatisticsValues): Promise<string> {
  const { title, now, columns, rows } = input;
  const charts = chartsOf(input, params);
  const figures: string[] = [];
  for (const [i, chart] of charts.entries()) {
    const svg = await chartSvg(chart, `c${i}`);
    figures.push(
      `<figure><figcaption>${escapeXml(chart.title)}</figcaption><div class="wide">${svg}</div></figure>`,
    );
  }
  const numeric = columns.map(({ kind }) => kind === 'integer' || kind === 'float' || kind === 'decimal');
  const cell = (tag: string, text: string, i: number): string =>
    `<${tag}${numeric[i] === true ? ' class="n"' : ''}>${text}</${tag}>`;
  const head = columns.map(({ name }, i) => cell('th', escapeXml(name), i)).join('');
  const first = params.kind === 'sql' ? rows.slice(0, params.report_rows) : newest(rows, params.report_rows);
  const places = columns.map(({ kind }, i) => (kind === 'integer' ? 0 : decimalsIn(first, i)));
  const text = (value: SqlValue, i: number): string => {
    if (numeric[i] === true && typeof value === 'number') return value.toFixed(places[i] ?? 0);
    return i === 0 ? label(value, params, true) : shown(value);
  };
  const body = first
    .map((row) => `<tr>${row.map((value, i) => cell('td', escapeXml(text(value, i)), i)).join('')}</tr>`)
    .join('\n');
  const count = first.length < rows.length ? `${first.length} of ${rows.length} rows` : `${rows.length} rows`;
  const facts = [span(input, params), count, `made ${now}`].filter((text) => text !== '');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>${escapeXml(title)}</title>
<style>${REPORT_STYLE}</style>
</head>
<body>
<header><h1>${escapeXml(title)}</h1><p>${facts.map(escapeXml).join(' &middot; ')}</p></header>
<main>
${figures.join('\n')}
${rows.length === 0 ? `<p class="none">${params.kind === 'missing' ? 'Nothing is missing.' : 'There are no rows.'}</p>` : `<div class="wide"><table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${body}\n</tbody>\n</table></div>`}
</main>
</body>
</html>
`;
}

/** The newest period first, as people read; the order within a period stays. */
function newest(rows: readonly SqlRow[], limit: number): readonly SqlRow[] {
  const periods = new Map<SqlValue, SqlRow[]>();
  for (const row of rows) {
    const list = periods.get(row[0] ?? null);
    if (list === undefined) periods.set(row[0] ?? null, [row]);
    else list.push(row);
  }
  return [...periods.values()].reverse().flat().slice(0, limit);
}

/** Decimals of the column's longest value, so that the points stand below each other. */
function decimalsIn(rows: readonly SqlRow[], column: number): number {
  let most = 0;
  for (const row of rows) {
    const digits = /^-?\d+\.(\d+)$/.exec(String(row[column]))?.[1];
    if (digits !== undefined) most = Math.max(most, Math.min(digits.length, 10));
  }
  return most;
}

function span({ rows }: ReportInput, params: StatisticsValues): string {
  if (params.kind === 'sql' || rows.length === 0) return '';
  const [first, last] = [
    label(rows[0]?.[0] ?? null, params, true),
    label(rows[rows.length - 1]?.[0] ?? null, params, true),
  ];
  return first === last ? first : `${first} to ${last}`;
}

/** What the rows show best: lines over time, bars of the newest ranking, bars of what is missing. */
export function chartsOf(
  { columns, rows }: Pick<ReportInput, 'columns' | 'rows'>,
  params: StatisticsValues,
): readonly Chart[] {
  if (params.chart === 'none' || rows.length === 0) return [];
  const isNumber = ({ kind, key, name }: ResultColumn): boolean =>
    !key && name !== 'place' && (kind === 'integer' || kind === 'float' || kind === 'decimal');
  const wanted =
    params.kind === 'missing' && params.chart_values.length === 0 ? ['missing'] : params.chart_values;
  const picked = columns
    .map((column, i) => ({ column, i }))
    .filter(({ column }) => (wanted.length === 0 ? isNumber(column) : wanted.includes(column.name)))
    .slice(0, MAX_CHARTS);
  return picked.map(({ column, i }): Chart => {
    if (params.kind === 'ranking') return rankingChart(column.name, i, columns, rows, params);
    if (params.kind === 'missing') return totals(column.name, i, rows, params);
    if (params.kind === 'group' && params.group.length > 0) return byGroup(column.name, i, rows, params);
    const labels = rows.map((row) => label(row[0] ?? null, params));
    return {
      title: column.name,
      kind: kindOf(params),
      labels,
      series: [{ name: column.name, data: rows.map((row) => number(row[i])) }],
    };
  });
}

function kindOf({ chart }: StatisticsValues): Chart['kind'] {
  return chart === 'bar' ? 'bar' : 'line';
}

function rankingChart(
  title: string,
  at: number,
  columns: readonly ResultColumn[],
  rows: readonly SqlRow[],
  params: StatisticsValues,
): Chart {
  const newestPeriod = rows[rows.length - 1]?.[0] ?? null;
  const last = rows.filter((row) => row[0] === newestPeriod).slice(0, 30);
  const first = columns.findIndex(({ name }) => name === 'place') + 1;
  const names = last.map((row) =>
    row
      .slice(first, first + params.group.length)
      .map(shown)
      .join(' '),
  );
  return {
    title: `${title}, ${label(newestPeriod, params, true)}`,
    kind: 'bar',
    labels: names,
    series: [{ name: title, data: last.map((row) => number(row[at])) }],
  };
}

function totals(title: string, at: number, rows: readonly SqlRow[], params: StatisticsValues): Chart {
  const sums = new Map<SqlValue, number>(periodsOf(rows, params).map((period) => [period, 0]));
  for (const row of rows) sums.set(row[0] ?? null, (sums.get(row[0] ?? null) ?? 0) + (number(row[at]) ?? 0));
  const labels = [...sums.keys()].map((period) => label(period, params));
  return { title, kind: 'bar', labels, series: [{ name: title, data: [...sums.values()] }] };
}

function byGroup(title: string, at: number, rows: readonly SqlRow[], params: StatisticsValues): Chart {
  const periods = periodsOf(rows, params);
  const place = new Map(periods.map((period, i) => [period, i]));
  const groups = new Map<string, (number | null)[]>();
  for (const row of rows) {
    const name = row
      .slice(1, 1 + params.group.length)
      .map(shown)
      .join(' ');
    let data = groups.get(name);
    if (data === undefined) groups.set(name, (data = new Array<number | null>(periods.length).fill(null)));
    data[place.get(row[0] ?? null) ?? 0] = number(row[at]);
  }
  const labels = periods.map((period) => label(period, params));
  if (groups.size <= params.chart_groups) {
    return {
      title,
      kind: kindOf(params),
      labels,
      series: [...groups].map(([name, data]) => ({ name, data })),
    };
  }
  const all = periods.map((_, i) =>
    [...groups.values()].map((data) => data[i] ?? null).filter((value) => value !== null),
  );
  const pick = (name: string, of: (values: number[]) => number): Chart['series'][number] => ({
    name,
    data: all.map((values) => (values.length === 0 ? null : of(values))),
  });
  const mean = (values: number[]): number =>
    Number((values.reduce((sum, value) => sum + value, 0) / values.length).toPrecision(12));
  const least = (values: number[]): number => values.reduce((a, b) => Math.min(a, b));
  const largest = (values: number[]): number => values.reduce((a, b) => Math.max(a, b));
  return {
    title: `${title}, of ${groups.size} groups`,
    kind: 'line',
    labels,
    series: [pick('largest', largest), pick('mean', mean), pick('least', least)],
  };
}

/** From the first to the last, also those without rows. */
function periodsOf(rows: readonly SqlRow[], params: StatisticsValues): readonly SqlValue[] {
  const [first, last] = [shown(rows[0]?.[0] ?? null), shown(rows[rows.length - 1]?.[0] ?? null)];
  const all: string[] = [];
  if (PERIOD.test(first) && PERIOD.test(last)) {
    for (let at = first; at <= last && all.length <= MAX_POINTS; at = movePeriod(at, params.period, 1))
      all.push(at);
  }
  const known = new Set<SqlValue>(all);
  const fits = all.length <= MAX_POINTS && rows.every((row) => known.has(row[0] ?? null));
  return fits ? all : [...new Set(rows.map((row) => row[0] ?? null))];
}

function number(value: SqlValue | undefined): number | null {
  if (value === null || value === undefined || value === '' || typeof value === 'object') return null;
  const result = Number(value);
  return Number.isFinite(result) ? result : null;
}

/** As much of a period's beginning as tells it from the others. */
function label(value: SqlValue, params: StatisticsValues, whole = false): string {
  const text = shown(value);
  if (params.kind === 'sql' || !/^\d{4}-\d\d-\d\d \d\d:\d\d/.test(text)) return text;
  switch (params.period) {
    case 'year':
      return text.slice(0, 4);
    case 'month':
      return text.slice(0, 7);
    case 'day':
      return text.slice(whole ? 0 : 5, 10);
    case 'hour':
    case 'minute':
      return text.slice(whole ? 0 : 5, 16);
  }
}

function shown(value: SqlValue): string {
  if (value === null) return '';
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value);
}
