/** Conditional and range requests (RFC 9110 sections 13 and 14). Pure. */
import type { RequestHeaders } from './http-exchange.js';

export interface Validators {
  /** Strong, with quotes. */
  readonly etag: string;
  /** Milliseconds. */
  readonly modified: number;
}

/** True when the client's copy is still good: answer 304. If-None-Match wins over If-Modified-Since. */
export function isUnchanged(headers: RequestHeaders, current: Validators): boolean {
  const match = headers['if-none-match'];
  if (match !== undefined) return listsTag(match, current.etag);
  const since = headers['if-modified-since'];
  if (since === undefined) return false;
  const time = Date.parse(since);
  return !Number.isNaN(time) && wholeSeconds(current.modified) <= time;
}

function listsTag(list: string, etag: string): boolean {
  if (list.trim() === '*') return true;
  return list.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
}

export type RangeResult = 'whole' | 'unsatisfiable' | { readonly start: number; readonly end: number };

/**
 * The single byte range asked for, `end` exclusive. Several ranges, other units, malformed ones and a failed
 * If-Range give the whole file, as the standard allows.
 */
export function requestedRange(headers: RequestHeaders, size: number, current: Validators): RangeResult {
  const range = headers['range'];
  if (range === undefined) return 'whole';
  const parts = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(range.trim());
  if (parts === null || !ifRangeHolds(headers['if-range'], current)) return 'whole';
  const [, first = '', last = ''] = parts;
  if (first === '' && last === '') return 'whole';
  if (first === '') {
    const suffix = Number(last);
    return suffix === 0 || size === 0 ? 'unsatisfiable' : { start: Math.max(0, size - suffix), end: size };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return 'whole';
  if (start >= size) return 'unsatisfiable';
  return { start, end: last === '' ? size : Math.min(size, Number(last) + 1) };
}

function ifRangeHolds(condition: string | undefined, current: Validators): boolean {
  if (condition === undefined) return true;
  if (condition.startsWith('"')) return condition === current.etag;
  return Date.parse(condition) === wholeSeconds(current.modified);
}

function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}
