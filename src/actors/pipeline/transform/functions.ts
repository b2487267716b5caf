/** The functions of expressions in a mapping, beside those of CEL. Each costs no more than the length of its texts. Pure; any thread. */
import { RE2JS } from 're2js';

/** Longest text that an expression may make, in characters. */
export const MAX_TEXT = 1 << 20;
const MAX_PATTERNS = 200;
const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)$/;

/** Names of times as the data centre writes them (spec data-centre 1.5), with the digits each stands for. */
const PARTS: readonly (readonly [string, string])[] = [
  ['yyyy', '\\d{4}'],
  ['hh24', '\\d{2}'],
  ['mm', '\\d{2}'],
  ['dd', '\\d{2}'],
  ['mi', '\\d{2}'],
  ['ss', '\\d{2}'],
];
const NAMES = /yyyy|hh24|mm|dd|mi|ss/g;

export interface DateParts {
  readonly yyyy: string;
  readonly mm: string;
  readonly dd: string;
  readonly hh24: string;
  readonly mi: string;
  readonly ss: string;
}

const readers = new Map<string, (text: string) => DateParts | undefined>();

/** @param format such as `yyyy-mm-dd hh24:mi:ss`. @returns a function that gives undefined for text that is no such time */
export function dateReader(format: string): (text: string) => DateParts | undefined {
  const known = readers.get(format);
  if (known !== undefined) return known;
  const order: string[] = [];
  const pattern = format.toLowerCase().replace(/yyyy|hh24|mm|dd|mi|ss|[^]/g, (part) => {
    const digits = PARTS.find(([name]) => name === part)?.[1];
    if (digits === undefined) return part.replace(/[.*+?^${}()|[\]\\/-]/, '\\$&');
    order.push(part);
    return `(${digits})`;
  });
  if (!order.includes('yyyy')) throw new RangeError(`the date format "${format}" has no yyyy`);
  const expression = new RegExp(`^${pattern}$`, 'i');
  const read = (text: string): DateParts | undefined => {
    const match = expression.exec(text);
    if (match === null) return undefined;
    const parts = { yyyy: '', mm: '01', dd: '01', hh24: '00', mi: '00', ss: '00' };
    order.forEach((name, i) => (parts[name as keyof DateParts] = match[i + 1] ?? ''));
    return isTime(parts) ? parts : undefined;
  };
  if (readers.size < MAX_PATTERNS) readers.set(format, read);
  return read;
}

function isTime({ yyyy, mm, dd, hh24, mi, ss }: DateParts): boolean {
  const [month, day] = [Number(mm), Number(dd)];
  if (month < 1 || month > 12 || day < 1 || Number(hh24) > 23 || Number(mi) > 59 || Number(ss) > 59)
    return false;
  if (day <= 28) return true;
  // Day 0 of the next month is the last of this one. Years below 100 would be taken for 19xx.
  const last = new Date(Date.UTC(2000, month, 0));
  last.setUTCFullYear(Number(yyyy), month, 0);
  return day <= last.getUTCDate();
}

function date(text: string, from: string, to: string): string {
  if (text === '') return '';
  const parts = dateReader(from)(text);
  if (parts === undefined) throw new RangeError(`"${short(text)}" is no time of the form ${from}`);
  return to.toLowerCase().replace(NAMES, (name) => parts[name as keyof DateParts]);
}

/** 10 to the power of `places` times the number, exact: the point moves. `shift("30.1", 1)` is 301, `shift("2345", -2)` is 23.45. */
export function shift(text: string, places: bigint): string {
  if (text === '') return '';
  if (!DECIMAL.test(text)) throw new RangeError(`"${short(text)}" is no number`);
  if (places > 30n || places < -30n) throw new RangeError('shift moves the point by 30 places at most');
  const by = Number(places);
  const signed = text.startsWith('-') || text.startsWith('+');
  const start = signed ? 1 : 0;
  const dot = text.indexOf('.');
  let whole = dot < 0 ? text.slice(start) : text.slice(start, dot);
  let rest = dot < 0 ? '' : text.slice(dot + 1);
  if (by >= 0) {
    whole += rest.length >= by ? rest.slice(0, by) : rest.padEnd(by, '0');
    rest = rest.slice(by);
  } else {
    const padded = whole.padStart(1 - by, '0');
    rest = padded.slice(by) + rest;
    whole = padded.slice(0, by);
  }
  if (whole.startsWith('0') || whole === '') whole = whole.replace(/^0+(?=\d)/, '') || '0';
  if (rest.endsWith('0')) rest = rest.replace(/0+$/, '');
  const result = rest === '' ? whole : `${whole}.${rest}`;
  return text.startsWith('-') && /[1-9]/.test(result) ? `-${result}` : result;
}

/** Rounded to decimals, half away from zero, without the dust of binary numbers: `round(1.005, 2)` is 1.01. */
function round(value: number, decimals: bigint): string {
  if (!Number.isFinite(value)) throw new RangeError('the result is no number');
  const places = Number(decimals);
  if (places < 0 || places > 15) throw new RangeError('round takes 0 to 15 decimals');
  const text = Math.abs(value).toPrecision(15);
  const exact = /e/.test(text)
    ? Math.abs(value)
    : Number(`${Math.round(Number(`${Number(text)}e${places}`))}e${-places}`);
  const fixed = (Number.isNaN(exact) ? Math.abs(value) : exact).toFixed(places);
  return (value < 0 && /[1-9]/.test(fixed) ? '-' : '') + fixed;
}

const patterns = new Map<string, RE2JS>();

/** RE2 syntax: its time grows with the text and never explodes. @throws Error for a wrong pattern */
export function patternOf(pattern: string): RE2JS {
  let compiled = patterns.get(pattern);
  if (compiled === undefined) {
    compiled = RE2JS.compile(pattern);
    if (patterns.size >= MAX_PATTERNS) patterns.clear();
    patterns.set(pattern, compiled);
  }
  return compiled;
}

function checked(text: string): string {
  if (text.length > MAX_TEXT) throw new RangeError(`the text is longer than ${MAX_TEXT} characters`);
  return text;
}

function replace(text: string, what: string, by: string): string {
  if (what === '') return text;
  const count = text.split(what).length - 1;
  if (text.length + count * (by.length - what.length) > MAX_TEXT) checked('x'.repeat(MAX_TEXT + 1));
  return text.replaceAll(what, by);
}

function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

type Handler = (...args: never[]) => string | number | bigint | boolean;

/** CEL signature -> function. Documented in docs/stages/transform.md. */
export const functions: Readonly<Record<string, Handler>> = {
  'date(string, string, string): string': date,
  'shift(string, int): string': shift,
  'round(double, int): string': round,
  'number(string): double': (text: string) => {
    if (!/^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text))
      throw new RangeError(`"${short(text)}" is no number`);
    return Number(text);
  },
  'nvl(string, string): string': (text: string, instead: string) => (text === '' ? instead : text),
  'digits(string): string': (text: string) => text.replace(/\D/g, ''),
  'pad(string, int): string': (text: string, length: bigint) =>
    text.padStart(length > 1_000n ? 1_000 : Number(length), '0'),
  'replace(string, string, string): string': replace,
  'regex(string, string): bool': (text: string, pattern: string) => patternOf(pattern).matcher(text).find(),
};
