/** Oracle's and its driver's error numbers in the words of the store contract. Pure; any thread. */
import { StoreError, type StoreErrorCode } from '../driver.js';

const BY_NUMBER: Readonly<Record<number, StoreErrorCode>> = {
  1: 'DUPLICATE',
  54: 'BUSY', 60: 'BUSY', 4021: 'BUSY', 8177: 'BUSY', 30006: 'BUSY', 12860: 'BUSY',
  942: 'NO_TABLE', 4043: 'NO_TABLE',
  // NULL, too long, not a number, no such date, foreign keys, checks.
  1400: 'CONSTRAINT', 1407: 'CONSTRAINT', 1438: 'CONSTRAINT', 1722: 'CONSTRAINT', 2290: 'CONSTRAINT', 2291: 'CONSTRAINT',
  2292: 'CONSTRAINT', 12899: 'CONSTRAINT', 1401: 'CONSTRAINT', 1426: 'CONSTRAINT', 1461: 'CONSTRAINT', 1465: 'CONSTRAINT',
  1480: 'CONSTRAINT', 6502: 'CONSTRAINT', 1489: 'CONSTRAINT', 910: 'CONSTRAINT', 26093: 'CONSTRAINT',
  1013: 'CANCELLED', 3136: 'TIMEOUT',
  1017: 'OPEN', 1031: 'DATABASE', 1034: 'OPEN', 1005: 'OPEN', 28000: 'OPEN', 28001: 'OPEN', 1033: 'OPEN', 1035: 'OPEN',
  12154: 'OPEN', 12505: 'OPEN', 12514: 'OPEN', 12541: 'OPEN', 12545: 'OPEN', 12516: 'OPEN', 12519: 'OPEN', 12520: 'OPEN',
  12543: 'OPEN', 18: 'OPEN', 20: 'OPEN',
  28: 'LOST', 1012: 'LOST', 1041: 'LOST', 1089: 'LOST', 1090: 'LOST', 1092: 'LOST', 3113: 'LOST', 3114: 'LOST', 3135: 'LOST',
  12153: 'LOST', 12170: 'LOST', 12537: 'LOST', 12547: 'LOST', 12570: 'LOST', 12571: 'LOST', 2396: 'LOST', 16014: 'LOST',
  1652: 'FULL', 1653: 'FULL', 1654: 'FULL', 1658: 'FULL', 1691: 'FULL', 1536: 'FULL', 30036: 'FULL', 257: 'FULL', 1688: 'FULL',
  1006: 'BIND', 1008: 'BIND', 1036: 'BIND', 932: 'SYNTAX', 1756: 'SYNTAX', 1747: 'SYNTAX', 32034: 'SYNTAX',
}; // prettier-ignore

/** Of the driver itself. */
const BY_CODE: Readonly<Record<string, StoreErrorCode>> = {
  'NJS-040': 'TIMEOUT', 'NJS-076': 'QUEUE_FULL', 'NJS-123': 'TIMEOUT', 'DPI-1067': 'TIMEOUT',
  'NJS-064': 'CLOSED', 'NJS-065': 'CLOSED',
  'NJS-003': 'LOST', 'NJS-018': 'LOST', 'NJS-500': 'LOST', 'NJS-501': 'LOST', 'NJS-521': 'LOST', 'DPI-1010': 'LOST', 'DPI-1080': 'LOST',
  'NJS-503': 'OPEN', 'NJS-510': 'OPEN', 'NJS-511': 'OPEN', 'NJS-512': 'OPEN', 'NJS-515': 'OPEN', 'NJS-516': 'OPEN',
  'NJS-517': 'OPEN', 'NJS-518': 'OPEN', 'NJS-530': 'OPEN', 'NJS-116': 'OPEN', 'NJS-138': 'OPEN', 'NJS-118': 'OPEN',
  'NJS-045': 'OPEN', 'NJS-101': 'OPEN', 'DPI-1047': 'OPEN',
  'NJS-011': 'BIND', 'NJS-012': 'BIND', 'NJS-055': 'BIND', 'NJS-098': 'BIND', 'NJS-105': 'BIND', 'NJS-115': 'BIND',
  'NJS-019': 'SYNTAX', 'NJS-095': 'SYNTAX',
}; // prettier-ignore

/** What is wrong with one row and leaves the others as they are. */
const OF_ROW: ReadonlySet<StoreErrorCode> = new Set(['DUPLICATE', 'CONSTRAINT', 'BIND']);

interface DriverError {
  readonly errorNum?: unknown;
  readonly code?: unknown;
}

/** The driver puts a line with a web address behind the server's message. */
function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s*\n\s*Help: https?:\S+/g, '').trim();
}

/** Code and text of anything thrown by the driver, or listed in `batchErrors`. */
export function oracleFailure(error: unknown): { code: StoreErrorCode; message: string } {
  if (error instanceof StoreError) return { code: error.code, message: error.message };
  const message = messageOf(error);
  const { errorNum, code } = (error ?? {}) as DriverError;
  const written = /\b(?:ORA|TNS)-(\d{5})\b/.exec(message)?.[1];
  const number = typeof errorNum === 'number' && errorNum > 0 ? errorNum : Number(written ?? 0);
  // "connection closed" stands before the number of the cause, which may be anything.
  const own = typeof code === 'string' ? BY_CODE[code] : undefined;
  if (own === 'LOST') return { code: own, message };
  const known = BY_NUMBER[number];
  if (known !== undefined) return { code: known, message };
  if (own !== undefined) return { code: own, message };
  // ORA-009xx are the parser's, ORA-018xx those of dates that do not exist or do not follow the format.
  if (number >= 900 && number <= 999) return { code: 'SYNTAX', message };
  if (number >= 1830 && number <= 1899) return { code: 'CONSTRAINT', message };
  return { code: 'DATABASE', message };
}

/** @returns the error of the contract for anything thrown */
export function oracleError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const { code, message } = oracleFailure(error);
  return new StoreError(code, message, { cause: error });
}

export function isOfRow(code: StoreErrorCode): boolean {
  return OF_ROW.has(code);
}
