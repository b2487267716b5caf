/** The SQL of the stage `statistics`: periods, aggregates, result tables, as each database says it. Pure; any thread. */
import type { ColumnInfo, ColumnKind, Dialect, TableInfo } from '../../../store/driver.js';

export type Period = 'minute' | 'hour' | 'day' | 'month' | 'year';

export interface OutputValue {
  /** Column of the result. */
  readonly name: string;
  readonly aggregate: 'avg' | 'min' | 'max' | 'sum' | 'count';
  /** Undefined: count of rows. */
  readonly column: string | undefined;
  readonly divisor: number;
}

const VALUE =
  /^(avg|min|max|sum|count)(?:\s*\(\s*(\*|[\w$#]+)\s*\))?(?:\s*\/\s*(\d{1,9}))?(?:\s+as\s+([A-Za-z_]\w{0,29}))?$/i;

/** @param text as in the conf: `avg(t)/10 as temperature`. @throws RangeError that says what is wrong */
export function parseValue(text: string): OutputValue {
  const match = VALUE.exec(text.trim());
  const aggregate = match?.[1]?.toLowerCase() as OutputValue['aggregate'] | undefined;
  const column = match?.[2] === '*' ? undefined : match?.[2];
  const divisor = Number(match?.[3] ?? 1);
  if (aggregate === undefined || divisor < 1 || (column === undefined && aggregate !== 'count')) {
    throw new RangeError(`"${text}" is no value such as count, avg(t) or max(t)/10 as highest`);
  }
  const plain = column === undefined ? 'row_count' : `${aggregate}_${column.toLowerCase()}`;
  return { name: match?.[4] ?? plain, aggregate, column, divisor };
}

interface Cut {
  /** Digits of `yyyy-mm-dd hh:mm:ss` that are kept. */
  readonly length: number;
  /** What takes the place of the others. */
  readonly rest: string;
  /** The digits kept, as MySQL and as Oracle and PostgreSQL call them. */
  readonly percent: string;
  readonly letters: string;
}

const CUT: Readonly<Record<Period, Cut>> = {
  minute: { length: 16, rest: ':00', percent: '%Y-%m-%d %H:%i', letters: 'YYYY-MM-DD HH24:MI' },
  hour: { length: 13, rest: ':00:00', percent: '%Y-%m-%d %H', letters: 'YYYY-MM-DD HH24' },
  day: { length: 10, rest: ' 00:00:00', percent: '%Y-%m-%d', letters: 'YYYY-MM-DD' },
  month: { length: 7, rest: '-01 00:00:00', percent: '%Y-%m', letters: 'YYYY-MM' },
  year: { length: 4, rest: '-01-01 00:00:00', percent: '%Y', letters: 'YYYY' },
};

/** Beginning of the period of a time `yyyy-mm-dd hh:mm:ss`. */
export function periodOf(time: string, period: Period): string {
  const { length, rest } = CUT[period];
  return time.slice(0, length).replace('T', ' ') + rest;
}

/** The beginning `count` periods later, or earlier. @param start `yyyy-mm-dd hh:mm:ss`, without a zone */
export function movePeriod(start: string, period: Period, count: number): string {
  const date = new Date(`${start.replace(' ', 'T')}Z`);
  if (period === 'year') date.setUTCFullYear(date.getUTCFullYear() + count);
  else if (period === 'month') date.setUTCMonth(date.getUTCMonth() + count);
  else date.setTime(date.getTime() + count * { minute: 60_000, hour: 3_600_000, day: 86_400_000 }[period]);
  return date.toISOString().slice(0, 19).replace('T', ' ');
}

/** @param time `yyyy-mm-dd hh:mm:ss`. @param ms how much earlier */
export function earlier(time: string, ms: number): string {
  return new Date(Date.parse(`${time.replace(' ', 'T')}Z`) - ms).toISOString().slice(0, 19).replace('T', ' ');
}

/** Expression: the beginning of the period as text `yyyy-mm-dd hh:mm:ss`. @param column quoted */
export function periodExpression(dialect: string, column: string, period: Period): string {
  const { length, rest, percent, letters } = CUT[period];
  switch (dialect) {
    case 'mysql':
      return `DATE_FORMAT(${column}, '${percent}${rest}')`;
    case 'postgres':
    case 'oracle':
      return `to_char(${column}, '${letters}') || '${rest}'`;
    case 'mssql':
      return `CONVERT(char(${length}), ${column}, 120) + '${rest}'`;
    default:
      // Dates are text here, with a blank or a T in the middle.
      return `replace(substr(${column}, 1, ${length}), 'T', ' ') || '${rest}'`;
  }
}

/** @param columns of the table; undefined where they are not known. @throws RangeError for an aggregate of text */
export function aggregateExpression(
  dialect: Dialect,
  value: OutputValue,
  info: ColumnInfo | undefined,
): string {
  const column = value.column === undefined ? '*' : dialect.quoteIdentifier(info?.name ?? value.column);
  let inner = column;
  // An average of integers is cut to an integer by SQL Server.
  if (value.aggregate === 'avg' && dialect.name === 'mssql') inner = `CAST(${column} AS float)`;
  const call = `${value.aggregate}(${inner})`;
  return value.divisor === 1 ? call : `${call} / ${value.divisor}.0`;
}

export interface ResultColumn {
  readonly name: string;
  readonly kind: ColumnKind;
  /** Characters of text. */
  readonly length?: number;
  readonly key: boolean;
}

/** The kind of a value in the result. */
export function valueKind(value: OutputValue, info: ColumnInfo | undefined): ColumnKind {
  if (value.aggregate === 'count') return value.divisor === 1 ? 'integer' : 'float';
  if (value.aggregate === 'avg' || value.divisor !== 1) return 'float';
  return info?.kind ?? 'float';
}

const TYPES: Readonly<Record<string, Readonly<Record<'text' | 'integer' | 'float' | 'date', string>>>> = {
  sqlite: { text: 'VARCHAR', integer: 'INTEGER', float: 'REAL', date: 'DATETIME' },
  mysql: { text: 'VARCHAR', integer: 'BIGINT', float: 'DOUBLE', date: 'DATETIME' },
  postgres: { text: 'VARCHAR', integer: 'BIGINT', float: 'DOUBLE PRECISION', date: 'TIMESTAMP(0)' },
  oracle: { text: 'VARCHAR2', integer: 'NUMBER(19)', float: 'NUMBER', date: 'DATE' },
  mssql: { text: 'NVARCHAR', integer: 'BIGINT', float: 'FLOAT', date: 'DATETIME2(0)' },
};

/** CREATE TABLE for a result. */
export function createTable(dialect: Dialect, table: string, columns: readonly ResultColumn[]): string {
  const types = TYPES[dialect.name] ?? TYPES['sqlite'];
  const lines = columns.map(({ name, kind, length, key }) => {
    const plain =
      kind === 'integer' || kind === 'date'
        ? kind
        : kind === 'float' || kind === 'decimal'
          ? 'float'
          : 'text';
    // Index keys have a limit, 768 characters in MySQL.
    const size = plain === 'text' ? `(${Math.min(length ?? (key ? 100 : 1000), key ? 190 : 1000)})` : '';
    return `${dialect.quoteIdentifier(name)} ${types?.[plain] ?? ''}${size}${key ? ' NOT NULL' : ''}`;
  });
  const keys = columns.filter(({ key }) => key).map(({ name }) => dialect.quoteIdentifier(name));
  if (keys.length > 0) lines.push(`PRIMARY KEY (${keys.join(', ')})`);
  const end = dialect.name === 'mysql' ? ' ENGINE=InnoDB DEFAULT CHARSET=utf8mb4' : '';
  return `CREATE TABLE ${dialect.quoteIdentifier(table)} (${lines.join(', ')})${end}`;
}

/** The column of a table by its name in any letter case. @throws RangeError when there is none */
export function columnOf(info: TableInfo, table: string, name: string): ColumnInfo {
  const found = info.columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
  if (found !== undefined) return found;
  const names = info.columns.map((column) => column.name).join(', ');
  throw new RangeError(`${table} has no column ${name}; it has ${names}`);
}
