/** The results of the stage `statistics`: rows by period and group, rankings, what is missing, any select. Worker thread. */
import type { SqlRow, SqlValue, Store, StreamOptions } from '../../../store/driver.js';
import { rewriteSql } from '../../../store/sql-rewrite.js';
import type { StatisticsValues } from './keys.js';
import {
  aggregateExpression,
  columnOf,
  earlier,
  movePeriod,
  parseValue,
  periodExpression,
  periodOf,
  valueKind,
  type OutputValue,
  type ResultColumn,
} from './sql.js';

export interface Result {
  readonly columns: readonly ResultColumn[];
  readonly rows: readonly SqlRow[];
}

export interface Span {
  /** Beginning of the first period, `yyyy-mm-dd hh:mm:ss`. */
  readonly from: string;
  /** Local time now, in the same form. */
  readonly now: string;
}

export interface ComputeContext {
  readonly store: Store;
  readonly params: StatisticsValues;
  readonly signal: AbortSignal;
  readonly progress: () => void;
}

/** A result larger than the stage may hold. */
export class TooManyRowsError extends Error {
  override readonly name = 'TooManyRowsError';
}

/** What the conf alone tells. @throws RangeError */
export function checkParams(params: StatisticsValues): void {
  const { kind } = params;
  if (kind === 'sql') {
    if (params.sql === '') throw new RangeError('kind = sql needs sql');
    return;
  }
  if (params.source_table === '') throw new RangeError(`kind = ${kind} needs source_table`);
  if (kind === 'missing') {
    if (params.group.length !== 1)
      throw new RangeError('kind = missing needs group = the column with the station');
    return;
  }
  const values = params.values.map(parseValue);
  if (values.length === 0) throw new RangeError(`kind = ${kind} needs values`);
  const names = [params.date_column, ...params.group, ...values.map(({ name }) => name)].map((name) =>
    name.toLowerCase(),
  );
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new RangeError(`the result would have the column ${twice} twice; use "as"`);
  if (kind === 'ranking') rankBy(params, values);
}

export async function compute(context: ComputeContext, span: Span): Promise<Result> {
  switch (context.params.kind) {
    case 'sql':
      return selected(context);
    case 'missing':
      return missing(context, span);
    case 'ranking':
      return ranked(context.params, await grouped(context, span));
    case 'group':
      return grouped(context, span);
  }
}

async function grouped({ store, params, signal, progress }: ComputeContext, { from }: Span): Promise<Result> {
  const { dialect } = store;
  const info = await store.columns(params.source_table);
  const date = columnOf(info, params.source_table, params.date_column);
  const groups = params.group.map((name) => columnOf(info, params.source_table, name));
  const values = params.values.map(parseValue);
  const infos = values.map(({ column }) =>
    column === undefined ? undefined : columnOf(info, params.source_table, column),
  );
  const period = periodExpression(dialect.name, dialect.quoteIdentifier(date.name), params.period);
  const by = groups.map(({ name }) => dialect.quoteIdentifier(name));
  const picked = values.map((value, i) => aggregateExpression(dialect, value, infos[i]));
  const sql =
    `SELECT ${[period, ...by, ...picked].join(', ')} FROM ${dialect.quoteIdentifier(params.source_table)} ` +
    `WHERE ${dialect.quoteIdentifier(date.name)} >= ?${condition(params, dialect.name)} ` +
    `GROUP BY ${[period, ...by].join(', ')} ORDER BY ${[period, ...by].join(', ')}`;
  const kinds = values.map((value, i) => valueKind(value, infos[i]));
  const first = 1 + groups.length;
  const rows = await collect(store, sql, [from], { params, signal, progress });
  return {
    columns: [
      { name: params.date_column, kind: 'date', key: true },
      ...groups.map(({ kind, length }, i): ResultColumn => {
        const name = params.group[i] ?? '';
        return { name, kind, key: true, ...(length === undefined ? {} : { length }) };
      }),
      ...values.map(({ name }, i): ResultColumn => ({ name, kind: kinds[i] ?? 'float', key: false })),
    ],
    rows: rows.map((row) =>
      row.map((value, i) =>
        i < first ? value : kinds[i - first] === 'integer' ? whole(value) : rounded(value, params.decimals),
      ),
    ),
  };
}

/** The first places of each period; equal values share a place, in the order of their groups. */
function ranked(params: StatisticsValues, { columns, rows }: Result): Result {
  const by = columns.findIndex(({ name }) => name === rankBy(params, params.values.map(parseValue)));
  const sign = params.order === 'asc' ? 1 : -1;
  const periods = new Map<SqlValue, SqlRow[]>();
  for (const row of rows) {
    if (row[by] === null) continue;
    const list = periods.get(row[0] ?? null) ?? [];
    list.push(row);
    periods.set(row[0] ?? null, list);
  }
  const out: SqlRow[] = [];
  for (const list of periods.values()) {
    // The sort is stable: groups with one value keep their order.
    list.sort((a, b) => sign * (Number(a[by]) - Number(b[by])));
    let place = 0;
    list.slice(0, params.top).forEach((row, i) => {
      if (i === 0 || Number(row[by]) !== Number(list[i - 1]?.[by])) place = i + 1;
      out.push([row[0] ?? null, place, ...row.slice(1)]);
    });
  }
  const [date, ...rest] = columns;
  const rank: ResultColumn = { name: 'place', kind: 'integer', key: false };
  return { columns: date === undefined ? columns : [date, rank, ...rest], rows: out };
}

function rankBy(params: StatisticsValues, values: readonly OutputValue[]): string {
  const names = values.map(({ name }) => name);
  const wanted = params.rank_by === '' ? names[0] : params.rank_by;
  if (wanted === undefined || !names.includes(wanted)) {
    throw new RangeError(`rank_by = ${wanted ?? ''} is no value; there are ${names.join(', ')}`);
  }
  return wanted;
}

/** Stations with fewer rows in a period than they should have. */
async function missing(context: ComputeContext, { from, now }: Span): Promise<Result> {
  const { store, params, signal, progress } = context;
  const { dialect } = store;
  const table = dialect.quoteIdentifier(params.source_table);
  const info = await store.columns(params.source_table);
  const date = dialect.quoteIdentifier(columnOf(info, params.source_table, params.date_column).name);
  const [group = ''] = params.group;
  const stationColumn = columnOf(info, params.source_table, group);
  const station = dialect.quoteIdentifier(stationColumn.name);
  // Periods that have been over for the time of grace.
  const end = periodOf(earlier(now, params.grace), params.period);
  const period = periodExpression(dialect.name, date, params.period);
  const collecting = { params, signal, progress };
  const stations = await collect(store, rewriteSql(params.stations, dialect.name).sql, [], collecting);
  const present = await collect(
    store,
    `SELECT ${period}, ${station}, count(*) FROM ${table} WHERE ${date} >= ? AND ${date} < ?` +
      `${condition(params, dialect.name)} GROUP BY ${period}, ${station}`,
    [from, end],
    collecting,
  );
  const counts = new Map(
    present.map(([start, id, count]) => [`${String(start)} ${String(id)}`, Number(count)]),
  );
  const ids = stations.map(([id]) => String(id)).sort();
  const rows: SqlRow[] = [];
  for (let start = from; start < end; start = movePeriod(start, params.period, 1)) {
    for (const id of ids) {
      const there = counts.get(`${start} ${id}`) ?? 0;
      if (there >= params.expected) continue;
      rows.push([start, id, there, params.expected, params.expected - there]);
      if (rows.length > params.max_rows) throw tooMany(params.max_rows);
    }
    progress();
  }
  const number = (name: string): ResultColumn => ({ name, kind: 'integer', key: false });
  const { length } = stationColumn;
  return {
    columns: [
      { name: params.date_column, kind: 'date', key: true },
      { name: group, kind: stationColumn.kind, key: true, ...(length === undefined ? {} : { length }) },
      number('present'),
      number('expected'),
      number('missing'),
    ],
    rows,
  };
}

async function selected({ store, params, signal, progress }: ComputeContext): Promise<Result> {
  const { sql, binds } = rewriteSql(params.sql, store.dialect.name);
  if (binds.length > 0) throw new RangeError('the sql of statistics has no :1 to bind');
  const rows: SqlRow[] = [];
  let columns: ResultColumn[] | undefined;
  const options = { timeoutMs: params.query_timeout, signal };
  for await (const set of store.stream(sql, [], options)) {
    columns ??= set.columns.map((name, i) => {
      const key = params.key.some((one) => one.toLowerCase() === name.toLowerCase());
      return { name, kind: set.kinds?.[i] ?? kindOf(set.rows, i), key };
    });
    rows.push(...set.rows);
    if (rows.length > params.max_rows) throw tooMany(params.max_rows);
    progress();
  }
  const unknown = params.key.find((name) =>
    columns?.every(({ key, name: one }) => !key || one.toLowerCase() !== name.toLowerCase()),
  );
  if (columns !== undefined && unknown !== undefined) {
    throw new RangeError(
      `key: the select has no column ${unknown}; it has ${columns.map(({ name }) => name).join(', ')}`,
    );
  }
  return { columns: columns ?? [], rows };
}

/** Where the database does not say: by the values of the first rows. */
function kindOf(rows: readonly SqlRow[], column: number): ResultColumn['kind'] {
  let kind: ResultColumn['kind'] | undefined;
  for (const row of rows) {
    const value = row[column];
    if (value === null || value === undefined) continue;
    if (typeof value === 'string') return 'text';
    if (typeof value === 'number' && !Number.isInteger(value)) kind = 'float';
    else kind ??= 'integer';
  }
  return kind ?? 'text';
}

async function collect(
  store: Store,
  sql: string,
  binds: SqlRow,
  { params, signal, progress }: Pick<ComputeContext, 'params' | 'signal' | 'progress'>,
): Promise<SqlRow[]> {
  const rows: SqlRow[] = [];
  const options: StreamOptions = { timeoutMs: params.query_timeout, signal };
  for await (const set of store.stream(sql, binds, options)) {
    rows.push(...set.rows);
    if (rows.length > params.max_rows) throw tooMany(params.max_rows);
    progress();
  }
  return rows;
}

function tooMany(limit: number): TooManyRowsError {
  return new TooManyRowsError(
    `the result has more than max_rows, ${limit} rows: longer periods, fewer groups, or a where`,
  );
}

function condition(params: StatisticsValues, dialect: string): string {
  if (params.where === '') return '';
  const text = params.where.replace(/^\s*where\s/i, '');
  const { sql, binds } = rewriteSql(text, dialect);
  if (binds.length > 0) throw new RangeError('the where of statistics has no :1 to bind');
  return ` AND (${sql})`;
}

/** Some databases add integers up to a decimal, which comes as text. */
function whole(value: SqlValue): SqlValue {
  return typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
}

/** Binary dust is not shown. Text that is no number stays. */
function rounded(value: SqlValue, decimals: number): SqlValue {
  if (value === null || typeof value === 'bigint' || typeof value === 'object') return value;
  const number = Number(value);
  if (value === '' || !Number.isFinite(number)) return value;
  return Number(number.toFixed(decimals));
}
