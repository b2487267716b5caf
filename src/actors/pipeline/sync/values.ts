/**
 * Values of two databases side by side: when they are the same, which key comes first, and what one database's value has to
 * look like for the other. A decimal is text here and a number there, a time has a T here and a blank there. Pure.
 */
import type { ColumnInfo, ColumnKind, SqlRow, SqlValue } from '../../../store/driver.js';

const DECIMAL = /^\s*([+-]?)(\d*)\.?(\d*)(?:e([+-]?\d{1,4}))?\s*$/i;
const TIME =
  /^\s*(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?\s*$/i;
/** Types that fill up with blanks, which are no part of the value. */
const PADDED = new Set(['char', 'bpchar', 'character', 'nchar']);

/** How the values of one column are looked at: by both columns, because each says something about what is in it. */
export interface Comparison {
  readonly kind: ColumnKind;
  readonly padded: boolean;
  /** Oracle cannot tell '' from NULL. */
  readonly emptyIsNull: boolean;
}

/** @param source undefined when the value is an expression */
export function comparisonOf(
  source: ColumnInfo | undefined,
  target: ColumnInfo,
  dialects: readonly string[],
): Comparison {
  const kinds = [target.kind, ...(source === undefined ? [] : [source.kind])];
  const first = (...wanted: ColumnKind[]): ColumnKind | undefined =>
    wanted.find((kind) => kinds.includes(kind));
  return {
    kind: first('bytes', 'date', 'float', 'decimal', 'integer', 'text') ?? 'other',
    padded: PADDED.has(target.type) || (source !== undefined && PADDED.has(source.type)),
    emptyIsNull: dialects.includes('oracle'),
  };
}

/** The one form in which equal values are equal texts. */
export function canonical(value: SqlValue, how: Comparison): string | null {
  if (value === null) return null;
  switch (how.kind) {
    case 'integer':
    case 'decimal':
      return value instanceof Uint8Array ? hex(value) : decimalText(String(value));
    case 'float':
      return value instanceof Uint8Array ? hex(value) : floatText(String(value));
    case 'date':
      return timeText(String(value));
    case 'bytes':
      return value instanceof Uint8Array ? hex(value) : Buffer.from(String(value)).toString('hex');
    case 'text':
    case 'other': {
      let text = value instanceof Uint8Array ? Buffer.from(value).toString() : String(value);
      if (how.padded) text = text.replace(/ +$/, '');
      return text === '' && how.emptyIsNull ? null : text;
    }
  }
}

export function sameValue(a: SqlValue, b: SqlValue, how: Comparison): boolean {
  return a === b || canonical(a, how) === canonical(b, how);
}

/** Order of two key values, neither of them NULL: numbers by value, times by their text, text by code points. */
export function compareValue(a: SqlValue, b: SqlValue, how: Comparison): number {
  if (a === b) return 0;
  if (isNumber(a) && isNumber(b)) return a < b ? -1 : a > b ? 1 : 0;
  if (how.kind === 'date' && isPlainTime(a) && isPlainTime(b)) return a < b ? -1 : 1;
  const left = canonical(a, how) ?? '';
  const right = canonical(b, how) ?? '';
  if (left === right) return 0;
  if (how.kind === 'float') return Number(left) - Number(right);
  if (how.kind === 'integer' || how.kind === 'decimal') return compareDecimals(left, right);
  return compareText(left, right);
}

export function compareKeys(how: readonly Comparison[]): (a: SqlRow, b: SqlRow) => number {
  return (a, b) => {
    for (let i = 0; i < how.length; i++) {
      const order = compareValue(a[i] ?? null, b[i] ?? null, how[i] as Comparison);
      if (order !== 0) return order;
    }
    return 0;
  };
}

/** One text for the first `count` values, the same for equal keys. */
export function keyText(row: SqlRow, how: readonly Comparison[], count: number): string {
  let text = '';
  for (let i = 0; i < count; i++) {
    const value = canonical(row[i] ?? null, how[i] as Comparison);
    text += value === null ? '-' : `${value.length}:${value}`;
  }
  return text;
}

/**
 * A value of the source as the target takes it. Databases read `2026-01-02 03:04:05.6` the same everywhere, but a T or a zone
 * not; a time with a zone becomes UTC where the target's column has none.
 */
export function converter(how: Comparison, target: ColumnInfo): (value: SqlValue) => SqlValue {
  const keepsZone = /zone|timestamptz|offset/.test(target.type);
  switch (how.kind) {
    case 'date':
      return (value) => {
        if (typeof value !== 'string' || !TIME.test(value)) return value;
        if (target.type === 'date' && /^\s*\d{4}-\d\d-\d\d\s*$/.test(value)) return value.trim();
        return keepsZone ? value : timeText(value);
      };
    case 'bytes':
      return (value) => (typeof value === 'string' ? Buffer.from(value) : value);
    case 'integer':
    case 'decimal':
    case 'float':
    case 'text':
    case 'other':
      return (value) =>
        value instanceof Uint8Array && target.kind !== 'bytes' ? Buffer.from(value).toString() : value;
  }
}

function isNumber(value: SqlValue): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint';
}

/** `2026-01-02 03:04:05`, as most databases print most times. */
function isPlainTime(value: SqlValue): value is string {
  return typeof value === 'string' && value.length === 19 && value[10] === ' ' && value[4] === '-';
}

function hex(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex');
}

/** `-012.50e1` -> `-125`; what is no number stays as it is. */
function decimalText(text: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = DECIMAL.exec(text) ?? [];
  if (whole === '' && fraction === '') return text;
  let digits = whole + fraction;
  let point = whole.length + Number(exponent);
  if (point < 0) {
    digits = '0'.repeat(-point) + digits;
    point = 0;
  }
  digits = digits.padEnd(point, '0');
  const left = digits.slice(0, point).replace(/^0+/, '') || '0';
  const right = digits.slice(point).replace(/0+$/, '');
  if (left === '0' && right === '') return '0';
  return `${sign === '-' ? '-' : ''}${left}${right === '' ? '' : `.${right}`}`;
}

function floatText(text: string): string {
  const value = Number(text);
  return Number.isNaN(value) ? text : String(value === 0 ? 0 : value);
}

/** `2026-01-02T03:04:05.600+01:00` -> `2026-01-02 02:04:05.6`; what is no time stays as it is. */
function timeText(text: string): string {
  const [, day, clock = '00:00:00', fraction = '', zone] = TIME.exec(text) ?? [];
  if (day === undefined) return text;
  const part = fraction.replace(/0+$/, '');
  let plain = `${day} ${clock.length === 5 ? `${clock}:00` : clock}`;
  if (zone !== undefined && !/^(z|[+-]00(:?00)?)$/i.test(zone)) {
    const full =
      zone.length === 3 ? `${zone}:00` : zone.length === 5 ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone;
    const time = new Date(`${plain.replace(' ', 'T')}${full}`);
    if (!Number.isNaN(time.getTime())) plain = time.toISOString().slice(0, 19).replace('T', ' ');
  }
  return part === '' ? plain : `${plain}.${part}`;
}

function compareDecimals(a: string, b: string): number {
  const negative = a.startsWith('-');
  if (negative !== b.startsWith('-')) return negative ? -1 : 1;
  const [left = '', leftPart = ''] = a.replace('-', '').split('.');
  const [right = '', rightPart = ''] = b.replace('-', '').split('.');
  const order =
    left.length !== right.length
      ? left.length - right.length
      : left !== right
        ? left < right ? -1 : 1
        : leftPart < rightPart ? -1 : leftPart > rightPart ? 1 : 0; // prettier-ignore
  return negative ? -order : order;
}

/** By code points, which is the order of UTF-8 bytes; JavaScript's own order differs for surrogates. */
export function compareText(a: string, b: string): number {
  const end = Math.min(a.length, b.length);
  for (let i = 0; i < end; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left === right) continue;
    const surrogates = Number(left >= 0xd800 && left <= 0xdfff) - Number(right >= 0xd800 && right <= 0xdfff);
    if (surrogates !== 0 && left >= 0xd800 && right >= 0xd800) return surrogates;
    return left - right;
  }
  return a.length - b.length;
}

/** A key some way behind this one: `by` for numbers, `ms` for times. Other keys have no distance: the key itself. */
export function beforeValue(value: SqlValue, how: Comparison | undefined, by: number, ms: number): SqlValue {
  switch (how?.kind) {
    case 'integer':
    case 'decimal':
    case 'float': {
      if (typeof value === 'number') return value - by;
      if (typeof value === 'bigint') return value - BigInt(by);
      const whole = typeof value === 'string' ? /^-?\d+/.exec(value)?.[0] : undefined;
      return whole === undefined || by === 0 ? value : String(BigInt(whole) - BigInt(by));
    }
    case 'date': {
      const plain = timeText(String(value));
      const time = new Date(`${plain.replace(' ', 'T')}Z`);
      if (ms === 0 || Number.isNaN(time.getTime())) return value;
      return new Date(time.getTime() - ms).toISOString().slice(0, 19).replace('T', ' ');
    }
    default:
      return value;
  }
}
