/** Checks of bound values, before they leave the caller's thread. Pure; any thread. */
import { StoreError, type SqlRow } from './driver.js';

/**
 * @returns the row as it may be sent to another thread (bytes copied out of shared pools), or the complaint as text.
 */
export function cleanRow(row: SqlRow): SqlRow | string {
  let clean: SqlRow = row;
  for (let i = 0; i < row.length; i += 1) {
    // Callers may hold values that the types did not see: a parsed body, a column that was not selected.
    const value: unknown = row[i];
    if (typeof value === 'string' || typeof value === 'bigint' || value === null) continue;
    if (typeof value === 'number') {
      // Databases turn NaN into NULL without a word.
      if (Number.isNaN(value)) return `value ${i + 1} is not a number (NaN)`;
    } else if (value instanceof Uint8Array) {
      // A small Buffer is a view into a pool of 8 KB that holds other people's data: cloning would copy it all.
      clean = clean.with(i, new Uint8Array(value));
    } else {
      return `value ${i + 1} is ${value === undefined ? 'undefined' : `of type ${typeof value}`}; use null, number, bigint, text or bytes`;
    }
  }
  return clean;
}

/** @throws StoreError BIND */
export function cleanBinds(row: SqlRow): SqlRow {
  const clean = cleanRow(row);
  if (typeof clean === 'string') throw new StoreError('BIND', clean);
  return clean;
}
