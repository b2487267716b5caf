/** Errors of PostgreSQL in the words of the store contract. Any thread. */
import { StoreError, type StoreErrorCode } from '../driver.js';

/** By SQLSTATE; what is not here goes by its class, the first two characters. */
const BY_STATE: Readonly<Record<string, StoreErrorCode>> = {
  '23505': 'DUPLICATE',
  // Text too long and a number out of range are the row's fault, as a broken check is; an unreadable value is the caller's.
  '22001': 'CONSTRAINT', '22003': 'CONSTRAINT', '22P06': 'SYNTAX', '21000': 'CONSTRAINT', '44000': 'CONSTRAINT',
  // A trigger refused the row; an index cannot take it.
  P0001: 'CONSTRAINT', '54000': 'CONSTRAINT',
  '40001': 'BUSY', '40P01': 'BUSY', '55P03': 'BUSY', '55006': 'BUSY',
  '25P03': 'LOST', '57P01': 'LOST', '57P02': 'LOST', '57P03': 'LOST', '57P05': 'LOST', '53300': 'LOST',
  '57014': 'CANCELLED',
  '53100': 'FULL', '53200': 'BUSY', '53400': 'BUSY',
  '3D000': 'OPEN', '57P04': 'OPEN', '25006': 'OPEN',
  '42P01': 'NO_TABLE', '3F000': 'NO_TABLE',
  '42501': 'DATABASE',
}; // prettier-ignore
const BY_CLASS: Readonly<Record<string, StoreErrorCode>> = {
  '08': 'LOST', '22': 'BIND', '23': 'CONSTRAINT', '28': 'OPEN', '42': 'SYNTAX', '58': 'OPEN',
}; // prettier-ignore

const MAX_MESSAGE = 1_000;

/** What the client library attaches to errors of the server. */
interface ServerError extends Error {
  readonly code?: string;
  readonly severity?: string;
  readonly detail?: string;
  readonly hint?: string;
  readonly where?: string;
}

/** The client library's error is not kept as the cause: it may carry a whole row. */
export function storeError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const { message, code = '', severity, detail, hint, where } = error as ServerError;
  // Without a severity it does not come from the server: the socket broke, or the library did not get through.
  if (severity === undefined) return new StoreError('LOST', message === '' ? code : message);
  const state: StoreErrorCode = BY_STATE[code] ?? BY_CLASS[code.slice(0, 2)] ?? 'DATABASE';
  const late = code === '57014' && /timeout/.test(message);
  let text = `${message} (${code})`;
  // Of the details only those that name a key: others print the row with everything in it.
  if (code === '23505' || code === '23503') text += `: ${detail ?? ''}`;
  else if (code.startsWith('42') && hint !== undefined) text += `: ${hint}`;
  const line = /^COPY [^]*?, line (\d+)/.exec(where ?? '')?.[1];
  return new StoreError(late ? 'TIMEOUT' : state, text.slice(0, MAX_MESSAGE), {
    row: line === undefined ? undefined : Number(line) - 1,
  });
}
