/** What a value of tab text has to look like for a column, by its declared type. Pure. Thread of the database. */
import type { ColumnInfo, SqlValue } from '../driver.js';
import { describe } from './errors.js';
import { readTabLine } from '../../protocol/tab-text.js';

/**
 * @param raw the value as it stands in the text. @param escaped it holds a backslash
 * @throws StoreError BIND
 */
export type ColumnReader = (raw: string, escaped: boolean) => SqlValue;

const INTEGER = /^[+-]?\d{1,40}$/;
const DECIMAL = /^[+-]?(\d*)(?:\.(\d*))?$/;
const FLOAT = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const DATE = /^(\d{4})-(\d{2})-(\d{2})(?:[ T](.*))?$/;
const TIME = /^(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?(?: ?(?:Z|[+-]\d{2}(?::?\d{2})?))?$/;
const SPACE = 32;
const ZERO = 48;
const COLON = 58;
const HEX = /^(?:[\da-fA-F]{2})*$/;
const MIN_INTEGER = -(2n ** 63n);
const MAX_INTEGER = 2n ** 63n - 1n;
/** A decimal of more digits is rounded by SQLite, whatever its column is called. */
const DECIMAL_DIGITS = 15;

export function columnReader(column: ColumnInfo, hex: boolean): ColumnReader {
  const read = hex ? bytesOf : readerOf(column);
  return (raw, escaped) => {
    if (!escaped) return read(raw);
    const [plain = null] = unescape(raw);
    return plain === null ? null : read(plain);
  };
}

/** A value for a message: not all of it if it is long. */
export function shorten(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text);
}

function unescape(raw: string): (string | null)[] {
  try {
    return readTabLine(raw);
  } catch (error) {
    throw describe('BIND', error instanceof Error ? error.message : String(error));
  }
}

function readerOf(column: ColumnInfo): (text: string) => SqlValue {
  switch (column.kind) {
    case 'integer':
      return integerOf;
    case 'decimal':
      return (text) => decimalOf(text, column);
    case 'float':
      return floatOf;
    case 'date':
      return dateReader(column);
    case 'text':
      return (text) => textOf(text, column);
    case 'bytes':
      return (text) => Buffer.from(text, 'utf8');
    case 'other':
      return (text) => text;
  }
}

function integerOf(text: string): SqlValue {
  if (!INTEGER.test(text)) throw describe('BIND', `${shorten(text)} is not an integer`);
  const value = BigInt(text.startsWith('+') ? text.slice(1) : text);
  if (value < MIN_INTEGER || value > MAX_INTEGER) throw describe('BIND', `${text} does not fit into 64 bits`);
  return value;
}

function decimalOf(text: string, { length, scale = 0 }: ColumnInfo): SqlValue {
  const [, whole = '', fraction = ''] = DECIMAL.exec(text) ?? [];
  const before = whole.replace(/^0+/, '');
  const behind = fraction.replace(/0+$/, '');
  if (whole + fraction === '') throw describe('BIND', `${shorten(text)} is not a decimal`);
  if (length !== undefined && (before.length > length - scale || behind.length > scale)) {
    throw describe('BIND', `${shorten(text)} does not fit into (${length},${scale})`);
  }
  const digits = (before + behind).replace(/^0+/, '').length;
  const integral = behind === '' && before.length <= DECIMAL_DIGITS + 3;
  if (digits > DECIMAL_DIGITS && !integral) {
    throw describe('BIND', `SQLite would round ${shorten(text)}: declare the column as TEXT`);
  }
  return text;
}

function floatOf(text: string): SqlValue {
  const value = Number(text);
  if (!FLOAT.test(text) || !Number.isFinite(value))
    throw describe('BIND', `${shorten(text)} is not a number`);
  return value;
}

function textOf(text: string, { length, type }: ColumnInfo): SqlValue {
  // A character beyond the BMP is two units of the string, so this counts only when it has to.
  if (length !== undefined && text.length > length && [...text].length > length) {
    throw describe('BIND', `${shorten(text)} is longer than ${type}(${length})`);
  }
  return text;
}

/** Neighbours have the same time or at least the same day, so the last good one is remembered. */
function dateReader({ type }: ColumnInfo): (text: string) => SqlValue {
  const good = type === 'time' ? (text: string) => TIME.test(text) : isDate;
  let last = '';
  let day: string | undefined;
  return (text) => {
    if (text === last || (day !== undefined && text.startsWith(day) && isClock(text))) return text;
    if (!good(text)) throw describe('BIND', `${shorten(text)} is not a ${type} in ISO form`);
    last = text;
    if (type !== 'time') day = text.slice(0, 10);
    return text;
  };
}

/** The plain form `yyyy-mm-dd hh:mi:ss`, if its day is good; others are not bad for that. */
function isClock(text: string): boolean {
  return (
    text.length === 19 &&
    text.charCodeAt(10) === SPACE &&
    twoDigits(text, 11) < 24 &&
    text.charCodeAt(13) === COLON &&
    twoDigits(text, 14) < 60 &&
    text.charCodeAt(16) === COLON &&
    twoDigits(text, 17) < 60
  );
}

/** @returns NaN when they are none */
function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - ZERO;
  const ones = text.charCodeAt(at + 1) - ZERO;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? 10 * tens + ones : NaN;
}

function isDate(text: string): boolean {
  const [, year, month, day, time] = DATE.exec(text) ?? [];
  if (day === undefined) return false;
  const days = new Date(Date.UTC(2000 + (Number(year) % 400), Number(month), 0)).getUTCDate();
  return (
    Number(month) >= 1 &&
    Number(month) <= 12 &&
    Number(day) >= 1 &&
    Number(day) <= days &&
    (time === undefined || TIME.test(time))
  );
}

function bytesOf(text: string): SqlValue {
  if (!HEX.test(text)) throw describe('BIND', `${shorten(text)} is not made of pairs of hexadecimal digits`);
  return Buffer.from(text, 'hex');
}
