/**
 * Values between this program and SQL Server. The driver would hand out decimals as doubles and forget the zone of a
 * datetimeoffset; such columns are turned into text by the server (`WITH RESULT SETS`). Any thread.
 */
import type mssql from 'mssql';
import type { SqlRow, SqlValue } from '../driver.js';

/** The part of the driver that is used here. Tests replace it. */
export type MssqlDriver = Pick<
  typeof mssql,
  'ConnectionPool' | 'Request' | 'Transaction' | 'Table' | 'MAX' | 'Int' | 'BigInt' | 'Float' | 'VarChar' | 'NVarChar' | 'VarBinary'
>; // prettier-ignore

export interface Bound {
  /** undefined: NULL, which is written into the text, because no type of a parameter fits every column. */
  readonly type: mssql.ISqlType | (() => mssql.ISqlType) | undefined;
  /** The same type in SQL. */
  readonly declared: string;
  readonly value: unknown;
}

const INT_MAX = 2 ** 31;
const BIG_MAX = 2n ** 63n;
// eslint-disable-next-line no-control-regex -- plain ASCII is what it looks for
const ASCII = /^[\x00-\x7f]*$/;

/** ASCII goes as varchar: an index over a varchar column is of no use to an nvarchar value. */
export function bound(driver: MssqlDriver, value: SqlValue): Bound {
  if (value === null) return { type: undefined, declared: '', value };
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) return { type: driver.Float, declared: 'float', value };
    if (value < INT_MAX && value >= -INT_MAX) return { type: driver.Int, declared: 'int', value };
    return { type: driver.BigInt, declared: 'bigint', value: BigInt(value) };
  }
  if (typeof value === 'bigint') {
    if (value < BIG_MAX && value >= -BIG_MAX) return { type: driver.BigInt, declared: 'bigint', value };
    return { type: driver.VarChar(8_000), declared: 'varchar(8000)', value: String(value) };
  }
  if (typeof value === 'string') {
    const [make, name, limit] = ASCII.test(value)
      ? ([driver.VarChar, 'varchar', 8_000] as const)
      : ([driver.NVarChar, 'nvarchar', 4_000] as const);
    const short = value.length <= limit;
    return { type: make(short ? limit : driver.MAX), declared: `${name}(${short ? limit : 'max'})`, value };
  }
  const short = value.length <= 8_000;
  return {
    type: driver.VarBinary(short ? 8_000 : driver.MAX),
    declared: `varbinary(${short ? 8_000 : 'max'})`,
    value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
  };
}

/** One column of `sys.dm_exec_describe_first_result_set`. */
export interface DescribedColumn {
  readonly name: string;
  /** `decimal(10,2)`, `varchar(30)`, `datetimeoffset(7)`. */
  readonly type: string;
}

/**
 * The types the result is to have, as the list behind WITH RESULT SETS; undefined when the driver's own values are exact.
 */
export function exactResult(columns: readonly DescribedColumn[]): string | undefined {
  const inexact = (type: string): boolean => /^(decimal|numeric|datetimeoffset)\b/.test(type);
  if (!columns.some(({ type }) => inexact(type))) return undefined;
  // Types of the CLR cannot be declared this way.
  if (columns.some(({ type }) => type === '' || /^(geometry|geography|hierarchyid)$/.test(type)))
    return undefined;
  return columns.map(({ type }, i) => `[c${i + 1}] ${inexact(type) ? 'varchar(48)' : type}`).join(', ');
}

/** Of a result's column. */
export interface ResultColumn {
  readonly name: string;
  /** Name of its type: `DateTime2`. */
  readonly type: string;
}

/** Values of one row as the contract has them. @param money shown with four digits */
export function plainRow(row: readonly unknown[], columns: readonly ResultColumn[]): SqlRow {
  return row.map((value, i) => plainValue(value, columns[i]?.type ?? ''));
}

function plainValue(value: unknown, type: string): SqlValue {
  if (value === null || value === undefined) return null;
  if (typeof value === 'boolean') return Number(value);
  if (value instanceof Date) return dateText(value, type);
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'string') {
    if (type !== 'BigInt') return value;
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : BigInt(value);
  }
  if (typeof value === 'number') {
    if (/^(Small)?Money$/.test(type)) return value.toFixed(4);
    return /^(Decimal|Numeric)$/.test(type) ? String(value) : value;
  }
  return JSON.stringify(value);
}

/** Fractions without their zeros at the end. The driver keeps what is finer than a millisecond beside the Date, in seconds. */
function dateText(value: Date, type: string): string {
  const iso = value.toISOString();
  const day = iso.slice(0, -14);
  if (type === 'Date') return day;
  const delta = (value as Date & { readonly nanosecondsDelta?: number }).nanosecondsDelta ?? 0;
  const ticks = value.getUTCMilliseconds() * 10_000 + Math.round(delta * 1e7);
  const fraction = ticks === 0 ? '' : `.${String(ticks).padStart(7, '0').replace(/0+$/, '')}`;
  const time = `${iso.slice(-13, -5)}${fraction}`;
  if (type === 'Time') return time;
  return `${day} ${time}${type === 'DateTimeOffset' ? '+00:00' : ''}`;
}
