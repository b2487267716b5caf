/**
 * Where an incremental extraction keeps its position, the largest key that was sent (spec data-centre 7.1, 7.2): a database, a
 * file or the ledger. Nothing kept yet is 0; anything that is no number is an error, because taking it for 0 would send every
 * row once more. Worker thread.
 */
import { readFile } from 'node:fs/promises';
import { writeFileAtomic } from '../../../runtime/atomic-file.js';
import { StoreError, type SqlRunner, type Store } from '../../../store/driver.js';
import { LazyStore } from '../stage/lazy-store.js';
import { StageError, type StageState } from '../stage/run.js';

export interface PositionKeeper {
  /** For messages: `the file var/last.txt`. */
  readonly where: string;
  /** It is there only while a run is under way. */
  readonly onlyInRuns?: boolean;
  /** @throws StageError when what is kept is no position */
  read(): Promise<bigint>;
  /** Durable when it returns. */
  write(position: bigint): Promise<void>;
  /** @returns a line for an operator. @throws what cannot be reached */
  check(): Promise<string>;
  close(): Promise<void>;
}

const TABLE = 'T_MAXINCVALUE';
const MAX_NAME = 50;
const STATE = 'position';
/** Wider than the reference's numeric(15), which does not hold every key. */
const CREATE = `CREATE TABLE ${TABLE} (pname varchar(50) NOT NULL, maxincvalue numeric(20) NOT NULL, PRIMARY KEY (pname))`;

function toPosition(text: string, where: string): bigint {
  // A numeric column may print decimals that are zero.
  const digits = /^\s*([+-]?\d{1,30})(?:\.0*)?\s*$/.exec(text)?.[1];
  if (digits !== undefined) return BigInt(digits);
  const what = text.trim() === '' ? 'nothing' : `"${text.slice(0, 40)}"`;
  throw new StageError(
    `${where} holds ${what} instead of a position; write the last key that was sent there, or 0 to send every row`,
    false,
  );
}

export function inFile(path: string): PositionKeeper {
  const where = `the position file ${path}`;
  const read = async (): Promise<bigint> => {
    const text = await readFile(path, 'latin1').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    });
    return text === undefined ? 0n : toPosition(text.split('\n', 1)[0] ?? '', where);
  };
  return {
    where,
    read,
    write: (position) => writeFileAtomic(path, String(position)),
    check: async () => `${where}: ${await read()}`,
    close: async () => undefined,
  };
}

/** @param name of the row, at most 50 characters */
export function inStore(url: string, name: string): PositionKeeper {
  if (name.length > MAX_NAME)
    throw new RangeError(`inc_name: "${name}" is longer than ${MAX_NAME} characters`);
  const lazy = new LazyStore(url, async () => undefined);
  const where = `${TABLE}, row "${name}",`;
  const find = async (runner: SqlRunner): Promise<bigint | undefined> => {
    const { rows } = await runner.query(`SELECT maxincvalue FROM ${TABLE} WHERE pname = ?`, [name]);
    const value = rows[0]?.[0];
    return value === undefined ? undefined : toPosition(String(value ?? ''), where);
  };
  const guarded = async <T>(work: (store: Store) => Promise<T>): Promise<T> => {
    try {
      return await work(await lazy.get());
    } catch (error) {
      await lazy.failed(error);
      throw error;
    }
  };
  const read = (): Promise<bigint> =>
    guarded((store) =>
      find(store).catch((error: unknown) => {
        if (error instanceof StoreError && error.code === 'NO_TABLE') return undefined;
        throw error;
      }),
    ).then((found) => found ?? 0n);
  const store = (db: Store, position: bigint): Promise<void> =>
    db.transaction(async (tx) => {
      const known = await find(tx);
      const sql =
        known === undefined
          ? `INSERT INTO ${TABLE} (maxincvalue, pname) VALUES (?, ?)`
          : `UPDATE ${TABLE} SET maxincvalue = ? WHERE pname = ?`;
      if (known !== position) await tx.execute(sql, [position, name]);
      // A column that is too narrow is cut without a word by some servers.
      const kept = await find(tx);
      if (kept !== position)
        throw new StageError(
          `${where} took ${position} for ${kept}; its column maxincvalue is too narrow`,
          false,
        );
    });
  return {
    where,
    read,
    write: (position) =>
      guarded(async (db) => {
        try {
          await store(db, position);
        } catch (error) {
          if (!(error instanceof StoreError) || error.code !== 'NO_TABLE') throw error;
          await db.execute(CREATE);
          await store(db, position);
        }
      }),
    check: () => guarded(async (db) => `${where} ${await db.version()}: ${await read()}`),
    close: () => lazy.close(),
  };
}

/** @param state of the run under way */
export function inLedger(state: () => StageState): PositionKeeper {
  const where = `the ledger's "${STATE}" of this stage`;
  return {
    where,
    onlyInRuns: true,
    read: async () => {
      const text = await state().get(STATE);
      return text === undefined ? 0n : toPosition(text, where);
    },
    write: (position) => state().set(STATE, String(position)),
    check: async () => 'the position is in the ledger',
    close: async () => undefined,
  };
}
