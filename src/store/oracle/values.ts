/**
 * Values between this program and Oracle. The driver would hand out NUMBER as a double and every date as a JavaScript
 * Date, which has milliseconds only and no zone; so numbers are fetched as text, and the server prints the dates. '' is NULL
 * in Oracle: an empty text that was written is read as null. Any thread.
 */
import type oracledb from 'oracledb';
import { StoreError, type ColumnKind, type SqlRow, type SqlValue } from '../driver.js';

/** The part of the driver that is used here. Tests replace it. */
export type OracleDriver = Pick<
  typeof oracledb,
  | 'createPool' | 'initOracleClient' | 'DB_TYPE_NUMBER' | 'DB_TYPE_VARCHAR' | 'DB_TYPE_RAW' | 'DB_TYPE_CLOB' | 'DB_TYPE_NCLOB' | 'DB_TYPE_BLOB'
  | 'DB_TYPE_DATE' | 'DB_TYPE_TIMESTAMP' | 'DB_TYPE_TIMESTAMP_LTZ' | 'DB_TYPE_TIMESTAMP_TZ' | 'DB_TYPE_LONG' | 'DB_TYPE_LONG_RAW'
  | 'DB_TYPE_INTERVAL_DS' | 'DB_TYPE_INTERVAL_YM' | 'DB_TYPE_NCHAR' | 'DB_TYPE_NVARCHAR' | 'DB_TYPE_CHAR' | 'DB_TYPE_BINARY_DOUBLE' | 'DB_TYPE_BINARY_FLOAT'
>; // prettier-ignore
export type OracleColumn = Pick<oracledb.Metadata<unknown>, 'name' | 'dbType' | 'precision' | 'scale'>;
export type BindDef = oracledb.BindDefinition;

/** Texts that a DATE, TIMESTAMP or TIMESTAMP WITH TIME ZONE column takes from a text bind without to_date. */
export const SESSION_SQL =
  `ALTER SESSION SET NLS_DATE_FORMAT = 'YYYY-MM-DD HH24:MI:SS' NLS_TIMESTAMP_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FF'` +
  ` NLS_TIMESTAMP_TZ_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FFTZH:TZM' NLS_NUMERIC_CHARACTERS = '.,'`;

/** Sizes the server tells cursors apart by: values that differ a little in length share a parsed statement. */
const SIZES = [32, 128, 2_000, 4_000, 32_767];

/** NUMBER as printed by the driver: a number while that holds every digit, a bigint beyond, a text with digits behind the point. */
export function numberFromText(text: string, scale: number | undefined): SqlValue {
  const tidy = text.replace(/^(-?)\./, '$10.');
  if ((scale !== undefined && scale > 0) || !/^-?\d+$/.test(tidy)) return tidy;
  const number = Number(tidy);
  return Number.isSafeInteger(number) ? number : BigInt(tidy);
}

/** How each column is fetched. */
export function fetchHandler(driver: OracleDriver): FetchHandler {
  const text = { type: driver.DB_TYPE_VARCHAR };
  // The types give a converter a type parameter that no function could fill.
  const handler = (column: OracleColumn): { type?: oracledb.DbType; converter?: unknown } | undefined => {
    switch (column.dbType) {
      case driver.DB_TYPE_NUMBER:
        return {
          type: driver.DB_TYPE_VARCHAR,
          converter: (value: string | null) => (value === null ? null : numberFromText(value, column.scale)),
        };
      case driver.DB_TYPE_CLOB:
      case driver.DB_TYPE_NCLOB:
        return text;
      case driver.DB_TYPE_BLOB:
        return { type: driver.DB_TYPE_RAW };
      case driver.DB_TYPE_DATE:
      case driver.DB_TYPE_TIMESTAMP:
      case driver.DB_TYPE_TIMESTAMP_LTZ:
        return { converter: (value: Date | null) => (value === null ? null : localText(value)) };
      default:
        return undefined;
    }
  };
  return handler as FetchHandler;
}

type FetchHandler = NonNullable<oracledb.ExecuteOptions['fetchTypeHandler']>;

/** A Date as the driver makes it out of a DATE: the column's own reading of the clock, in the process's zone. */
function localText(value: Date): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  const day = `${String(value.getFullYear()).padStart(4, '0')}-${two(value.getMonth() + 1)}-${two(value.getDate())}`;
  const ms = value.getMilliseconds();
  const time = `${two(value.getHours())}:${two(value.getMinutes())}:${two(value.getSeconds())}`;
  return `${day} ${time}${ms === 0 ? '' : `.${String(ms).padStart(3, '0')}`}`;
}

/** Whatever the driver still hands out that is no value of the contract: JSON, intervals, booleans, vectors. */
export function plainRow(row: readonly unknown[]): SqlRow {
  let plain: unknown[] | undefined;
  for (let i = 0; i < row.length; i++) {
    const value = row[i];
    if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint')
      continue;
    if (value instanceof Uint8Array) continue;
    plain ??= [...row];
    plain[i] =
      value === undefined ? null : typeof value === 'boolean' ? Number(value) : JSON.stringify(value);
  }
  return (plain ?? row) as SqlRow;
}

/**
 * The select whose dates the server prints, or the select itself when it has none.
 * @param columns as the driver describes it
 */
export function withPrintedDates(
  sql: string,
  columns: readonly OracleColumn[],
  driver: OracleDriver,
): string {
  const printed = columns.map((column) => formatOf(column, driver));
  if (printed.every((format) => format === undefined)) return sql;
  // Such a select cannot stand inside another; the driver's Dates have to do.
  if (/\bfor\s+update\b/i.test(sql)) return sql;
  const unique = new Set(columns.map((column) => column.name)).size === columns.length;
  if (!unique && /^\s*with\b/i.test(sql)) {
    throw new StoreError('SYNTAX', 'two columns have the same name: give one of them an alias');
  }
  const names = columns.map((column, i) => `"${unique ? column.name : `C${i + 1}`}"`);
  const list = names.map((name, i) => {
    const format = printed[i];
    return format === undefined ? name : `TO_CHAR(${name}${format === '' ? '' : `, '${format}'`}) AS ${name}`;
  });
  if (unique) return `SELECT ${list.join(', ')} FROM (${sql}\n)`;
  return `WITH SWITCHYARD_Q (${names.join(', ')}) AS (${sql}\n) SELECT ${list.join(', ')} FROM SWITCHYARD_Q`;
}

/** What a column of a result is. */
export function resultKind({ dbType, scale }: OracleColumn, driver: OracleDriver): ColumnKind {
  switch (dbType) {
    case driver.DB_TYPE_NUMBER:
      return scale === 0 ? 'integer' : 'decimal';
    case driver.DB_TYPE_BINARY_DOUBLE:
    case driver.DB_TYPE_BINARY_FLOAT:
      return 'float';
    case driver.DB_TYPE_DATE:
    case driver.DB_TYPE_TIMESTAMP:
    case driver.DB_TYPE_TIMESTAMP_LTZ:
    case driver.DB_TYPE_TIMESTAMP_TZ:
      return 'date';
    case driver.DB_TYPE_RAW:
    case driver.DB_TYPE_BLOB:
    case driver.DB_TYPE_LONG_RAW:
      return 'bytes';
    case driver.DB_TYPE_VARCHAR:
    case driver.DB_TYPE_NVARCHAR:
    case driver.DB_TYPE_CHAR:
    case driver.DB_TYPE_NCHAR:
    case driver.DB_TYPE_CLOB:
    case driver.DB_TYPE_NCLOB:
    case driver.DB_TYPE_LONG:
      return 'text';
    default:
      return 'other';
  }
}

/** Format of TO_CHAR; '' is none; undefined: not to be printed. */
function formatOf(column: OracleColumn, driver: OracleDriver): string | undefined {
  const time = `YYYY-MM-DD HH24:MI:SS${column.precision === 0 ? '' : '.FF'}`;
  switch (column.dbType) {
    case driver.DB_TYPE_DATE:
      return 'YYYY-MM-DD HH24:MI:SS';
    case driver.DB_TYPE_TIMESTAMP:
    case driver.DB_TYPE_TIMESTAMP_LTZ:
      return time;
    case driver.DB_TYPE_TIMESTAMP_TZ:
      return `${time}TZH:TZM`;
    case driver.DB_TYPE_INTERVAL_DS:
    case driver.DB_TYPE_INTERVAL_YM:
      return '';
    default:
      return undefined;
  }
}

type DriverValue = null | number | string | Buffer;

/** A bigint goes as text, which the server turns into a NUMBER with every digit. */
export function bindValue(value: SqlValue | undefined): DriverValue {
  if (value === null || value === undefined) return null;
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'object') return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return value;
}

/** Rows for `executeMany` with one type for each column. @throws StoreError BIND for a column with both bytes and other values */
export function bindRows(
  rows: readonly SqlRow[],
  driver: OracleDriver,
): { readonly rows: DriverValue[][]; readonly bindDefs: BindDef[] } {
  const width = rows[0]?.length ?? 0;
  const bound = rows.map((row) => row.map(bindValue));
  const bindDefs: BindDef[] = [];
  for (let column = 0; column < width; column++) {
    let kinds = 0;
    let size = 1;
    for (const row of bound) {
      const value = row[column] ?? null;
      if (value === null) continue;
      if (typeof value === 'number') kinds |= 1;
      else if (typeof value === 'string') {
        kinds |= 2;
        size = Math.max(size, Buffer.byteLength(value));
      } else {
        kinds |= 4;
        size = Math.max(size, value.length);
      }
    }
    const maxSize = SIZES.find((limit) => limit >= size) ?? size;
    if (kinds === 1) bindDefs.push({ type: driver.DB_TYPE_NUMBER });
    else if (kinds === 4) bindDefs.push({ type: driver.DB_TYPE_RAW, maxSize });
    else if (kinds > 4)
      throw new StoreError('BIND', `value ${column + 1} is bytes in some rows and not in others`);
    else {
      if (kinds === 3)
        for (const row of bound) if (typeof row[column] === 'number') row[column] = String(row[column]);
      bindDefs.push({ type: driver.DB_TYPE_VARCHAR, maxSize: Math.max(32, maxSize) });
    }
  }
  return { rows: bound, bindDefs };
}
