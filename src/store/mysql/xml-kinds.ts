/** How xml-rows.as.ts takes a column, by what the server says of it. */
import type { FieldPacket } from 'mysql2';
import { columnKind } from './rows.js';

/** As xml-rows.as.ts has them. */
export const enum Kind {
  /** Digits and times: nothing in them is special. */
  Plain,
  Escaped,
  Hex,
  /** Of one byte, with a sign; then without; then those of 2, 4 and 8 bytes. */
  Integer,
  Date = 11,
  /** And so many digits of a second's fraction. */
  DateTime,
}

const UNSIGNED = 32;
const MAX_FRACTION = 6;
/** Sizes in the binary protocol, as powers of two: TINYINT, SMALLINT, INT, BIGINT, MEDIUMINT. */
const INTEGERS: ReadonlyMap<number, number> = new Map([
  [1, 0],
  [2, 1],
  [3, 2],
  [8, 3],
  [9, 2],
]);
const DATE = 10;
/** TIMESTAMP and DATETIME. */
const DATE_TIMES: ReadonlySet<number> = new Set([7, 12]);
/** The same in both protocols: DECIMAL, NULL, VARCHAR, BIT, JSON, ENUM, SET, BLOB, CHAR, GEOMETRY and their like. */
const TEXTS: ReadonlySet<number> = new Set([
  0, 6, 15, 16, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254, 255,
]);

/** @param escape text is escaped */
export function textKind(field: FieldPacket, escape: boolean): number {
  const kind = columnKind(field);
  if (kind === 'bytes') return Kind.Hex;
  return (kind === 'text' || kind === 'other') && escape ? Kind.Escaped : Kind.Plain;
}

/** @returns undefined for what the server prints in a way of its own: floats, TIME, YEAR, ZEROFILL */
export function binaryKind(field: FieldPacket, escape: boolean): number | undefined {
  const type = field.columnType ?? -1;
  const flags = Number(field.flags);
  if (columnKind(field) === 'other') return undefined;
  const size = INTEGERS.get(type);
  if (size !== undefined) return Kind.Integer + 2 * size + ((flags & UNSIGNED) === 0 ? 0 : 1);
  if (type === DATE) return Kind.Date;
  if (DATE_TIMES.has(type))
    return field.decimals <= MAX_FRACTION ? Kind.DateTime + field.decimals : undefined;
  return TEXTS.has(type) ? textKind(field, escape) : undefined;
}

/** Whether each column can be taken from the binary protocol, and one of them costs the server less there. */
export function suitsBinary(fields: readonly FieldPacket[]): boolean {
  const texts = fields.map((field) => textKind(field, true));
  const kinds = fields.map((field) => binaryKind(field, true));
  return kinds.every((kind) => kind !== undefined) && kinds.some((kind, i) => kind !== texts[i]);
}
