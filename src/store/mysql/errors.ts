/** Errors of MySQL and MariaDB in the words of the store contract. Any thread. */
import { StoreError, type StoreErrorCode } from '../driver.js';

const BY_NUMBER: Readonly<Record<number, StoreErrorCode>> = {
  1020: 'BUSY', 1205: 'BUSY', 1213: 'BUSY', 1412: 'BUSY', 3058: 'BUSY', 3572: 'BUSY', 1615: 'BUSY',
  1040: 'LOST', 1053: 'LOST', 1077: 'LOST', 1078: 'LOST', 1079: 'LOST', 1080: 'LOST', 1152: 'LOST', 1158: 'LOST',
  1159: 'LOST', 1160: 'LOST', 1161: 'LOST', 1184: 'LOST', 1203: 'LOST', 1226: 'LOST', 1927: 'LOST', 2006: 'LOST', 2013: 'LOST',
  3169: 'LOST', 4031: 'LOST',
  1317: 'CANCELLED', 1028: 'CANCELLED', 1969: 'TIMEOUT', 3024: 'TIMEOUT',
  1021: 'FULL', 1026: 'FULL', 1114: 'FULL', 3020: 'FULL',
  1022: 'DUPLICATE', 1062: 'DUPLICATE', 1169: 'DUPLICATE', 1557: 'DUPLICATE', 1586: 'DUPLICATE', 1761: 'DUPLICATE', 1762: 'DUPLICATE',
  1048: 'CONSTRAINT', 1216: 'CONSTRAINT', 1217: 'CONSTRAINT', 1263: 'CONSTRAINT', 1264: 'CONSTRAINT', 1265: 'CONSTRAINT', 1364: 'CONSTRAINT', 1406: 'CONSTRAINT',
  1451: 'CONSTRAINT', 1452: 'CONSTRAINT', 1526: 'CONSTRAINT', 1644: 'CONSTRAINT', 1690: 'CONSTRAINT', 3819: 'CONSTRAINT', 4025: 'CONSTRAINT',
  1136: 'BIND', 1261: 'BIND', 1262: 'BIND', 1292: 'BIND', 1300: 'BIND', 1366: 'BIND', 1367: 'BIND', 1411: 'BIND', 1416: 'BIND', 1426: 'BIND', 3140: 'BIND',
  3156: 'BIND', 3903: 'BIND', 1153: 'BIND',
  1049: 'OPEN', 1044: 'OPEN', 1045: 'OPEN', 1129: 'OPEN', 1130: 'OPEN', 1251: 'OPEN', 1275: 'OPEN', 1698: 'OPEN', 3118: 'OPEN', 3159: 'OPEN', 4151: 'OPEN',
  1290: 'OPEN', 1836: 'OPEN',
  1046: 'SYNTAX', 1052: 'SYNTAX', 1054: 'SYNTAX', 1055: 'SYNTAX', 1059: 'SYNTAX', 1060: 'SYNTAX', 1064: 'SYNTAX', 1065: 'SYNTAX', 1066: 'SYNTAX', 1103: 'SYNTAX',
  1110: 'SYNTAX', 1111: 'SYNTAX', 1140: 'SYNTAX', 1149: 'SYNTAX', 1166: 'SYNTAX', 1222: 'SYNTAX', 1248: 'SYNTAX', 1305: 'SYNTAX', 1327: 'SYNTAX', 1582: 'SYNTAX', 1583: 'SYNTAX',
  1630: 'SYNTAX', 3065: 'SYNTAX',
  1051: 'NO_TABLE', 1109: 'NO_TABLE', 1146: 'NO_TABLE', 1932: 'NO_TABLE',
}; // prettier-ignore

/** Codes of sockets and of the protocol layer: nobody knows what became of the statement. */
const LOST_NAMES =
  /^(?:E(?:CONN|PIPE|TIMEDOUT|HOST|NET|AI_AGAIN)|PROTOCOL_|ENOTFOUND|ERR_STREAM|ERR_SSL|ERR_TLS|HANDSHAKE_)/;

/** Storage engines and temporary files tell of a full disk in words, under numbers that mean anything. */
const FULL_WORDS = /No space left on device|Disk quota exceeded|\b(?:Errcode:|error|errno:) (?:28|122)\b/;

/** What the client library attaches to its errors. */
export interface ServerError extends Error {
  readonly errno?: number;
  readonly code?: string;
  readonly sqlMessage?: string;
  readonly fatal?: boolean;
}

/** Number of the server's error, or undefined when it did not come from there. */
export function errorNumber(error: unknown): number | undefined {
  const { errno, sqlMessage } = error as ServerError;
  // Sockets have an errno too, negative.
  return typeof errno === 'number' && errno >= 1000 && (sqlMessage !== undefined || errno < 5000)
    ? errno
    : undefined;
}

export function codeOfNumber(number: number): StoreErrorCode {
  return BY_NUMBER[number] ?? 'DATABASE';
}

function codeOf(number: number, message: string): StoreErrorCode {
  const code = codeOfNumber(number);
  return code === 'DATABASE' && FULL_WORDS.test(message) ? 'FULL' : code;
}

/** The row the server names, from 0. */
export function rowOf(message: string): number | undefined {
  const row = /(?:\bat|\bRow|\bin) row (\d+)|^Row (\d+) /i.exec(message);
  return row === null ? undefined : Number(row[1] ?? row[2]) - 1;
}

/** A complaint of the server, with its number. */
export class MysqlError extends StoreError {
  constructor(
    readonly number: number,
    message: string,
    row?: number,
  ) {
    super(codeOf(number, message), `${message} (error ${number})`, { row });
  }

  /** The server has undone the whole transaction, not only the statement. */
  get endsTransaction(): boolean {
    return this.number === 1213 || this.number === 1206 || this.code === 'LOST';
  }
}

/** The client library's error is not kept as the cause: it carries the statement with all its values. */
export function storeError(error: unknown, row?: number): StoreError {
  if (error instanceof StoreError) return error;
  const message =
    error instanceof Error ? ((error as ServerError).sqlMessage ?? error.message) : String(error);
  const number = errorNumber(error);
  if (number !== undefined) return new MysqlError(number, message, row);
  const name = (error as ServerError).code ?? '';
  const lost = LOST_NAMES.test(name) || /closed state|Connection lost|packets out of order/.test(message);
  return new StoreError(lost ? 'LOST' : codeOf(0, message), message === '' ? name : message, { row });
}
