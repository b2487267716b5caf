/**
 * Statements under a deadline. Past it the running statement is killed from a second connection, so what is given up is not applied;
 * a server that answers to neither loses its connection. Thread of the caller.
 */
import type { Readable } from 'node:stream';
import { StoreError, type ColumnKind, type RowSet, type SqlRow } from '../driver.js';
import type { Deadline } from '../give-up.js';
import type { Done, RowSink } from './command.js';
import type { MysqlLink } from './link.js';
import { fill, splitAtBinds } from './text.js';

/** What an operation of several statements has at hand. */
export interface Call {
  readonly link: MysqlLink;
  /** False: the statements are not part of a transaction of the caller's. */
  readonly inTransaction: boolean;
  /** @throws StoreError; the reason of the giving up once that has begun */
  readonly run: (sql: string, sink?: RowSink, infile?: Readable) => Promise<Done>;
  /** Called at once when the call is given up, for work that waits for something else than the server. */
  onGiveUp(listener: (why: StoreError) => void): void;
}

/** How long a killed statement may take to end, in ms. */
const GRACE = 3_000;

/**
 * @param writes a lost connection leaves it open whether the work was applied
 * @throws StoreError
 */
export async function guarded<T>(
  link: MysqlLink,
  deadline: Deadline,
  { inTransaction, writes }: { readonly inTransaction: boolean; readonly writes: boolean },
  work: (call: Call) => Promise<T>,
): Promise<T> {
  deadline.check();
  let ended = false;
  let why: StoreError | undefined;
  let killing: Promise<void> | undefined;
  let grace: NodeJS.Timeout | undefined;
  let listener: (why: StoreError) => void = () => undefined;
  const kill = async (): Promise<void> => {
    grace = setTimeout(() => link.destroy(), GRACE);
    if (!(await link.kill())) link.destroy();
  };
  const giveUp = (error: StoreError): void => {
    // A transaction's deadline may well pass after this call.
    if (ended) return;
    why = error;
    listener(error);
    killing = kill();
  };
  deadline.over.catch(giveUp);
  const call: Call = {
    link,
    inTransaction,
    run: (sql, sink, infile) => (why === undefined ? link.run(sql, sink, infile) : Promise.reject(why)),
    onGiveUp: (next) => {
      listener = next;
      if (why !== undefined) next(why);
    },
  };
  try {
    return await work(call);
  } catch (error) {
    if (why === undefined) throw error;
    const { code } = error as StoreError;
    if (code === 'LOST' && writes && !inTransaction)
      throw new StoreError('LOST', `${why.message}; the server did not say what became of it`);
    throw code === 'CANCELLED' || code === 'TIMEOUT' || code === 'LOST' ? why : error;
  } finally {
    ended = true;
    await killing;
    // An order that came too late may still hit the next statement: this one takes it.
    if (killing !== undefined && link.lost === undefined) await link.run('DO 0').catch(() => undefined);
    clearTimeout(grace);
  }
}

/** Statements already cut at their question marks: stages run the same few again and again. */
const known = new Map<string, string[]>();
const KNOWN_LIMIT = 500;

/** @throws StoreError BIND */
export function withBinds(sql: string, binds: SqlRow): string {
  let pieces = known.get(sql);
  if (pieces === undefined) {
    pieces = splitAtBinds(sql);
    if (sql.length < 10_000) {
      if (known.size >= KNOWN_LIMIT) known.clear();
      known.set(sql, pieces);
    }
  }
  return fill(pieces, binds);
}

/** @param text with its values in it. @throws StoreError TOO_MANY_ROWS */
export async function queryRows(call: Call, text: string, maxRows: number): Promise<RowSet> {
  let columns: readonly string[] = [];
  let kinds: readonly ColumnKind[] = [];
  const rows: SqlRow[] = [];
  let killing: Promise<boolean> | undefined;
  const sink: RowSink = {
    columns: (names, known) => {
      columns = names;
      kinds = known;
    },
    row: (row) => {
      if (rows.length < maxRows) rows.push(row);
      else if (killing === undefined) {
        rows.length = 0;
        maxRows = 0;
        killing = call.link.kill();
      }
    },
  };
  const limit = maxRows;
  try {
    await call.run(text, sink);
  } catch (error) {
    if (killing === undefined) throw error;
  }
  if (killing !== undefined) {
    // The order may come after the last row: then it hits the next statement, which is to be this one.
    if (!(await killing)) call.link.destroy();
    else await call.run('DO 0').catch(() => undefined);
    throw new StoreError('TOO_MANY_ROWS', `more than ${limit} rows; read them with stream, or ask for fewer`);
  }
  return { columns, kinds, rows };
}
