/**
 * Second step of reading conf: a written value to a typed one. Resolves `${ENV}`, `${ENV:-default}` (`$${` is a
 * plain `${`) and `file:/path`, then parses by the key's type. Reasons never repeat a secret, nor any text that
 * came out of the environment or a file. Any thread; blocks for the small files behind `file:` only.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Quoting } from './config-reader.js';
import { nearest } from './nearest.js';
import type { KeySpec } from './schema.js';

export const referenceFileLimit = 64 << 10;

export type Environment = Readonly<Record<string, string | undefined>>;

/** Either a value or the reason why there is none. */
export type Parsed<T> = { readonly value: T } | { readonly reason: string };

export interface Expanded {
  readonly text: string;
  /** True when a part came from elsewhere: then the text is not to be shown. */
  readonly referenced: boolean;
}

const reference = /\$\$\{|\$\{([^}]*)\}?/g;
const referenceBody = /^([A-Za-z_]\w*)(?::-(.*))?$/s;

/**
 * Puts in what the references stand for. The result is not expanded again.
 * @param confFile relative `file:` paths are relative to its folder
 */
export function expandReferences(
  text: string,
  quoting: Quoting,
  env: Environment,
  confFile: string,
): Parsed<Expanded> {
  if (quoting === 'single') return { value: { text, referenced: false } };
  if (quoting === 'bare' && text.startsWith('file:')) {
    const file = expandEnvironment(text.slice('file:'.length), env);
    if ('reason' in file) return file;
    return readReference(resolve(dirname(confFile), file.value.text));
  }
  return expandEnvironment(text, env);
}

function expandEnvironment(text: string, env: Environment): Parsed<Expanded> {
  let reason: string | undefined;
  let referenced = false;
  const expanded = text.replace(reference, (whole, body: string | undefined) => {
    if (body === undefined) return '${';
    const match = whole.endsWith('}') ? referenceBody.exec(body) : null;
    if (match === null) {
      reason ??= 'a reference is written ${NAME} or ${NAME:-default}, a plain ${ as $${';
      return '';
    }
    const [, name = '', fallback] = match;
    referenced = true;
    const found = env[name];
    // As in the shell, `:-` also stands in for a variable that is set to nothing.
    if (found !== undefined && (found !== '' || fallback === undefined)) return found;
    if (fallback === undefined) reason ??= `environment variable ${name} is not set`;
    return fallback ?? '';
  });
  return reason === undefined ? { value: { text: expanded, referenced } } : { reason };
}

function readReference(path: string): Parsed<Expanded> {
  const failed = (why: string): Parsed<Expanded> => ({ reason: `file ${path} ${why}` });
  let fd: number | undefined;
  try {
    // Opening a pipe would wait for its writer.
    if (!statSync(path).isFile()) return failed('is not a regular file');
    fd = openSync(path, 'r');
    const bytes = Buffer.alloc(referenceFileLimit + 1);
    const length = readSync(fd, bytes);
    if (length > referenceFileLimit) return failed(`is larger than ${referenceFileLimit} bytes`);
    const text = bytes.toString('utf8', 0, length).replace(/\r?\n$/, '');
    if (text === '') return failed('is empty');
    return { value: { text, referenced: true } };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'failed';
    return failed(`cannot be read (${code})`);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/**
 * @param showable false when the text came from a reference: reasons then do not repeat it
 * @returns number (duration: ms, size: bytes), boolean, string or string[] as the type says
 */
export function parseValue(
  spec: KeySpec,
  text: string,
  showable = true,
): Parsed<string | number | boolean | string[]> {
  const got = showable && spec.type !== 'secret' ? `, got ${JSON.stringify(text.slice(0, 80))}` : '';
  switch (spec.type) {
    case 'string':
    case 'path':
    case 'secret':
      if (text === '' && spec.required) return { reason: 'must not be empty' };
      if (spec.type === 'path' && text.includes('\0')) return { reason: 'must not hold a zero byte' };
      return { value: text };
    case 'int':
      return bounded(spec, parseInteger(text), `must be a whole number${got}`, got);
    case 'number':
      return bounded(spec, parseNumber(text), `must be a number${got}`, got);
    case 'duration':
      return bounded(
        spec,
        parseDuration(text),
        `must be a duration such as 500ms, 30s, 5m, 2h or 1d${got}`,
        got,
      );
    case 'size':
      return bounded(spec, parseSize(text), `must be a size such as 512, 64k, 4m or 1g${got}`, got);
    case 'bool': {
      const value = booleans.get(text.toLowerCase());
      return value === undefined ? { reason: `must be yes or no${got}` } : { value };
    }
    case 'enum': {
      const values = spec.values ?? [];
      const value = values.find((known) => known.toLowerCase() === text.toLowerCase());
      if (value !== undefined) return { value };
      const near = showable ? nearest(text, values) : undefined;
      const meant = near === undefined ? '' : `, did you mean ${near}?`;
      return { reason: `must be one of ${values.join(', ')}${got}${meant}` };
    }
    case 'list': {
      const items = text.split(',').map((item) => item.trim());
      return { value: items.filter((item) => item !== '') };
    }
    case 'address':
      return parseAddress(text) === undefined
        ? { reason: `must be port, host:port or [v6]:port with a port of 0 to 65535${got}` }
        : { value: text };
  }
}

const booleans: ReadonlyMap<string, boolean> = new Map([
  ...['yes', 'true', 'on', '1'].map((text) => [text, true] as const),
  ...['no', 'false', 'off', '0'].map((text) => [text, false] as const),
]);

function bounded(spec: KeySpec, value: number | undefined, wrong: string, got: string): Parsed<number> {
  if (value === undefined) return { reason: wrong };
  if (spec.min !== undefined && value < spec.min) {
    return { reason: `must be at least ${showNumber(spec, spec.min)}${got}` };
  }
  if (spec.max !== undefined && value > spec.max) {
    return { reason: `must be at most ${showNumber(spec, spec.max)}${got}` };
  }
  return { value };
}

function parseInteger(text: string): number | undefined {
  const value = Number(text);
  return /^[+-]?\d+$/.test(text) && Number.isSafeInteger(value) ? value : undefined;
}

function parseNumber(text: string): number | undefined {
  return /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text) && Number.isFinite(Number(text))
    ? Number(text)
    : undefined;
}

const durationUnits: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
];
const sizeUnits: readonly (readonly [string, number])[] = [
  ['t', 2 ** 40],
  ['g', 2 ** 30],
  ['m', 2 ** 20],
  ['k', 2 ** 10],
];

/** A bare number is seconds. @returns whole milliseconds */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?$/i.exec(text);
  return match === null ? undefined : scaled(match[1], match[2] ?? 's', durationUnits);
}

/** @returns whole bytes */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)b?$/i.exec(text);
  return match === null ? undefined : scaled(match[1], match[2] ?? '', sizeUnits);
}

function scaled(
  digits: string | undefined,
  unit: string,
  units: readonly (readonly [string, number])[],
): number | undefined {
  const factor = units.find(([name]) => name === unit.toLowerCase())?.[1] ?? 1;
  const value = Math.round(Number(digits) * factor);
  return Number.isSafeInteger(value) ? value : undefined;
}

export interface Address {
  /** Absent when only a port was written: all interfaces, IPv4 and IPv6. IPv6 without brackets. */
  readonly host: string | undefined;
  readonly port: number;
}

/** `port`, `host:port` or `[v6]:port`; `*:port` is the same as `port`. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:(?:\[([0-9A-Fa-f:.%\w]+)\]|([\w.*-]+)):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) return undefined;
  const host = match[1] ?? match[2];
  return { host: host === '*' ? undefined : host, port };
}

/** A number of the key's type as it would be written in the conf. */
export function showNumber(spec: KeySpec, value: number): string {
  if (spec.type === 'duration') return inUnits(value, durationUnits, '0s');
  if (spec.type === 'size') return inUnits(value, sizeUnits, '0');
  return String(value);
}

function inUnits(value: number, units: readonly (readonly [string, number])[], zero: string): string {
  if (value === 0) return zero;
  const unit = units.find(([, factor]) => value % factor === 0 && value >= factor);
  return unit === undefined ? String(value) : `${value / unit[1]}${unit[0]}`;
}

/** A typed value for people: secrets and passwords inside URLs and tag strings are masked. */
export function showValue(spec: KeySpec, value: unknown): string {
  if (value === undefined) return '(unset)';
  if (spec.type === 'secret') return value === '' ? '(empty)' : '***';
  if (typeof value === 'number') return showNumber(spec, value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value)) return maskPasswords(value.join(', '));
  return maskPasswords(typeof value === 'string' ? value : JSON.stringify(value));
}

/** Masks `scheme://user:password@host` and the connection and password tags of tag strings. */
export function maskPasswords(text: string): string {
  return text
    .replace(/(\w+:\/\/[^\s:@/]*):\S*@/g, '$1:***@')
    .replace(/<(\w*(?:connstr|passwd|password|pwd)\w*)>.*?<\/\1>/gis, '<$1>***</$1>');
}
