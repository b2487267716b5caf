/**
 * Values between PostgreSQL's text form and the contract's. Integers are numbers, beyond 2^53 bigints; floats are numbers; bytea is
 * bytes; boolean is 1 or 0, as in databases that have none. All else is the text PostgreSQL prints (DateStyle ISO): numeric with every
 * digit, dates with fraction and zone, json, arrays. Pure; any thread.
 */
import { cleanRow } from '../binds.js';
import { StoreError, type ColumnKind, type SqlRow, type SqlValue } from '../driver.js';

/** What the server's row description says of a column. */
export interface WireField {
  readonly name: string;
  readonly dataTypeID: number;
}

type FromText = (text: string) => SqlValue;

function integer(text: string): SqlValue {
  const small = Number(text);
  return Number.isSafeInteger(small) ? small : BigInt(text);
}

/** Bytes of their own, not a view into a pool that holds other people's data. */
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.slice(2), 'hex'));

/** By the number of the type (pg_type.oid). */
const BY_TYPE: ReadonlyMap<number, FromText> = new Map<number, FromText>([
  [16, (text) => (text === 't' ? 1 : 0)],
  [17, bytes],
  [20, integer],
  [21, Number],
  [23, Number],
  [26, Number],
  [700, Number],
  [701, Number],
]);

const KINDS: ReadonlyMap<number, ColumnKind> = new Map<number, ColumnKind>([
  ...[16, 20, 21, 23, 26].map((type) => [type, 'integer'] as const),
  ...[700, 701].map((type) => [type, 'float'] as const),
  ...[18, 19, 25, 1042, 1043].map((type) => [type, 'text'] as const),
  ...[1082, 1083, 1114, 1184, 1266].map((type) => [type, 'date'] as const),
  [17, 'bytes'],
  [1700, 'decimal'],
]);

/** Rows of one result: converts in place, because extraction moves millions. */
export class RowReader {
  readonly columns: readonly string[];
  readonly kinds: readonly ColumnKind[];
  private readonly converts: readonly (readonly [index: number, convert: FromText])[];

  constructor(fields: readonly WireField[]) {
    this.columns = fields.map(({ name }) => name);
    this.kinds = fields.map(({ dataTypeID }) => KINDS.get(dataTypeID) ?? 'other');
    this.converts = fields.flatMap(({ dataTypeID }, index) => {
      const convert = BY_TYPE.get(dataTypeID);
      return convert === undefined ? [] : [[index, convert] as const];
    });
  }

  /** @param row as it came from the wire, to be kept by nobody else */
  read(row: (string | null)[]): SqlRow {
    const values: SqlValue[] = row;
    for (const [index, convert] of this.converts) {
      const text = row[index];
      if (typeof text === 'string') values[index] = convert(text);
    }
    return values;
  }
}

/** Half a character: one surrogate without the other. */
const HALF = /\p{Surrogate}/u;

/** A bound value in the form the wire takes: text, or bytes in binary form. */
export type WireValue = string | Buffer | null;

/** @returns the values, or the complaint as text */
export function wireRow(row: SqlRow, count: number): WireValue[] | string {
  if (row.length !== count)
    return `the statement has ${count} placeholders, but ${row.length} values were given`;
  const clean = cleanRow(row);
  if (typeof clean === 'string') return clean;
  const out: WireValue[] = new Array<WireValue>(count);
  for (let i = 0; i < count; i++) {
    const value = clean[i] ?? null;
    if (typeof value === 'string') {
      if (value.includes('\0'))
        return `value ${i + 1} holds a NUL character, which PostgreSQL has no room for`;
      if (HALF.test(value)) return `value ${i + 1} holds half a character (a lone surrogate)`;
      out[i] = value;
    } else if (value === null) out[i] = null;
    else if (typeof value === 'object')
      out[i] = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    else out[i] = String(value);
  }
  return out;
}

/** @throws StoreError BIND */
export function wireBinds(row: SqlRow, count: number): WireValue[] {
  const values = wireRow(row, count);
  if (typeof values === 'string') throw new StoreError('BIND', values);
  return values;
}
