/** SQLite's result codes in the words of the store contract. Thread of the database. */
import { StoreError, type StoreErrorCode } from '../driver.js';

/** An error of ours, thrown inside the thread. */
export function describe(code: StoreErrorCode, message: string, row?: number): StoreError {
  return new StoreError(code, message, { row });
}

const BY_CODE: Readonly<Record<string, StoreErrorCode>> = {
  SQLITE_BUSY: 'BUSY',
  SQLITE_LOCKED: 'BUSY',
  SQLITE_FULL: 'FULL',
  SQLITE_CANTOPEN: 'OPEN',
  SQLITE_NOTADB: 'OPEN',
  SQLITE_IOERR: 'OPEN',
  SQLITE_READONLY: 'OPEN',
  SQLITE_CORRUPT: 'OPEN',
  SQLITE_CONSTRAINT: 'CONSTRAINT',
  SQLITE_MISMATCH: 'BIND',
  SQLITE_TOOBIG: 'BIND',
};

const DUPLICATE = /^SQLITE_CONSTRAINT_(PRIMARYKEY|UNIQUE|ROWID)$/;

/** Code and text of anything thrown by the driver. */
export function failure(error: unknown): { code: StoreErrorCode; message: string; row?: number | undefined } {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof StoreError) return { code: error.code, message, row: error.row };
  const sqliteCode = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (sqliteCode.startsWith('SQLITE_')) {
    if (DUPLICATE.test(sqliteCode)) return { code: 'DUPLICATE', message };
    if (/^(no such table|unknown database)/.test(message)) return { code: 'NO_TABLE', message };
    // The file beside the database that its connections share cannot be made: it only says "disk I/O error".
    if (sqliteCode === 'SQLITE_IOERR_SHMSIZE') return { code: 'FULL', message: 'database or disk is full' };
    // Extended codes carry a suffix: SQLITE_BUSY_SNAPSHOT.
    const primary = sqliteCode.split('_', 2).join('_');
    return { code: BY_CODE[primary] ?? (primary === 'SQLITE_ERROR' ? 'SYNTAX' : 'DATABASE'), message };
  }
  // The driver itself complains with plain errors: too many statements, or values that do not fit.
  if (/parameter|bind|BigInt/i.test(message)) return { code: 'BIND', message };
  if (error instanceof RangeError || error instanceof TypeError) return { code: 'SYNTAX', message };
  return { code: 'DATABASE', message };
}
