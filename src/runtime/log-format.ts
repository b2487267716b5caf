/** What a log line looks like. Pure but for the clock's zone; any thread; never throws. */
import { maskPasswords } from './config-values.js';
import type { LogFields, LogLevel } from './log-contract.js';

const MAX_TEXT = 2048;
const MAX_STACK = 8192;
const MAX_KEYS = 64;
const MAX_ITEMS = 32;
const MAX_DEPTH = 4;

const secretName =
  /passw|passphrase|pwd|(^|_)pass$|token|secret|authori[sz]ation|api_?key|private_?key|credential|cookie/i;
/** Names the line itself uses. */
const taken = new Set(['ts', 'level', 'event', 'actor', 'time']);

/** Plain, bounded copies of the fields: secrets by name are `***`, passwords in URLs masked, errors taken apart. */
export function cleanFields(fields: LogFields): Record<string, unknown> {
  const clean: Record<string, unknown> = {};
  let count = 0;
  try {
    for (const key of Object.keys(fields)) {
      if (key === 'actor' || key === '__proto__') continue;
      if (++count > MAX_KEYS) break;
      const value = cleanMember(fields, key, 0);
      if (value !== undefined) clean[taken.has(key) ? `${key}_` : key] = value;
    }
  } catch {
    clean['log_error'] = 'the fields could not be read';
  }
  return clean;
}

function cleanMember(owner: object, key: string, depth: number): unknown {
  try {
    const value = (owner as Record<string, unknown>)[key];
    return value !== undefined && value !== null && secretName.test(key) ? '***' : cleanValue(value, depth);
  } catch {
    return '(unreadable)';
  }
}

function cleanValue(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
      return cut(maskPasswords(value.slice(0, MAX_TEXT * 2)), MAX_TEXT);
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'boolean':
    case 'undefined':
      return value;
    case 'bigint':
      return value.toString();
    case 'object':
      return value === null ? null : cleanObject(value, depth);
    default:
      return `(${typeof value})`;
  }
}

function cleanObject(value: object, depth: number): unknown {
  if (value instanceof Error) return cleanError(value, depth);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString();
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `(${value.byteLength} bytes)`;
  if (depth >= MAX_DEPTH) return '(...)';
  if (Array.isArray(value)) {
    return value.slice(0, MAX_ITEMS).map((item) => cleanValue(item, depth + 1) ?? null);
  }
  if (value instanceof Map || value instanceof Set) return `(${value.size} entries)`;
  const clean: Record<string, unknown> = {};
  for (const key of Object.keys(value).slice(0, MAX_ITEMS)) {
    if (key !== '__proto__') clean[key] = cleanMember(value, key, depth + 1);
  }
  return clean;
}

function cleanError(error: Error, depth: number): Record<string, unknown> {
  const { code, stack, cause } = error as Error & { code?: unknown };
  const message = cut(maskPasswords(error.message.slice(0, MAX_TEXT * 2)), MAX_TEXT);
  // Only the calls: the message above them stands in its own field, masked.
  const calls = /^\s+at [^]*/m.exec(stack ?? '')?.[0];
  return {
    type: error.name,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    message,
    ...(calls === undefined ? {} : { stack: cut(calls, MAX_STACK) }),
    ...(cause === undefined || depth >= MAX_DEPTH ? {} : { cause: cleanValue(cause, depth + 1) }),
  };
}

function cut(text: string, limit: number): string {
  return text.length > limit ? `${text.slice(0, limit)}...(${text.length - limit} more)` : text;
}

/** Local time as `2026-11-21T10:00:00.123+08:00`; the parts that last a second are kept. */
export function localTime(ms: number): string {
  const second = Math.floor(ms / 1000);
  if (second !== cachedSecond) {
    const date = new Date(ms);
    const offset = -date.getTimezoneOffset();
    const zone = Math.abs(offset);
    cachedDate = new Date(second * 1000 + offset * 60_000).toISOString().slice(0, 19);
    cachedZone = `${offset < 0 ? '-' : '+'}${two(Math.floor(zone / 60))}:${two(zone % 60)}`;
    cachedSecond = second;
  }
  return `${cachedDate}.${String(Math.floor(ms) % 1000).padStart(3, '0')}${cachedZone}`;
}

let cachedSecond = Number.NaN;
let cachedDate = '';
let cachedZone = '';
const two = (n: number): string => String(n).padStart(2, '0');

const colours: Readonly<Record<LogLevel, string>> = {
  debug: '\u001b[2m', info: '', notice: '\u001b[36m', warn: '\u001b[33m', error: '\u001b[31m', fatal: '\u001b[1;31m',
}; // prettier-ignore

/**
 * `2026-11-21 10:00:00.123 info   packet       conn.flood listener=packet remote=...`; a stack follows on its own lines.
 * @param fields out of `cleanFields`
 */
export function textLine(
  ms: number,
  level: LogLevel,
  actor: string,
  event: string,
  fields: Readonly<Record<string, unknown>>,
  colour: boolean,
): string {
  const time = localTime(ms).slice(0, 23).replace('T', ' ');
  const shown = level.padEnd(6);
  const stacks: string[] = [];
  let line = `${time} ${colour ? `${colours[level]}${shown}\u001b[0m` : shown} ${word(actor).padEnd(12)} ${word(event)}`;
  for (const [key, value] of Object.entries(fields)) line += member(key, value, stacks);
  return `${[line, ...stacks].join('\n')}\n`;
}

function member(key: string, value: unknown, stacks: string[]): string {
  if (typeof value === 'object' && value !== null && 'message' in value && 'type' in value) {
    return Object.entries(value)
      .map(([inner, of]) => member(`${key}.${inner}`, of, stacks))
      .join('');
  }
  if (key.endsWith('.stack') && typeof value === 'string') {
    for (const call of value.split('\n')) stacks.push(`    ${printable(call.trim())}`);
    return '';
  }
  return ` ${word(key)}=${typeof value === 'string' ? word(value) : JSON.stringify(value)}`;
}

/** As it is when it is one plain word, else as a JSON string: a line cannot be forged from inside a value. */
function word(text: string): string {
  return /^[^\s"=\p{C}]+$/u.test(text) ? text : printable(JSON.stringify(text));
}

function printable(text: string): string {
  return text.replace(/[\p{C}\u2028\u2029]/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
