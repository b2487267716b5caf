/**
 * What every database behind the store contract has to do. Each driver's `<name>-contract.test.ts` calls `storeContract` with
 * its own types and its own words for a few things; nothing else differs.
 */
import { afterAll, beforeAll, describe } from 'vitest';
import { StoreError, type Store, type StoreOptions } from '../../src/store/driver.js';
import type { OwnServer } from '../support/servers.js';
import { batchContract } from './contract-batch.js';
import { bulkContract } from './contract-bulk.js';
import { dictionaryContract } from './contract-dictionary.js';
import { faultContract } from './contract-faults.js';
import { limitContract } from './contract-limits.js';
import { streamContract } from './contract-stream.js';
import { transactionContract } from './contract-transaction.js';
import { valueContract } from './contract-values.js';

export interface ContractOptions {
  /** Opens the database of the suite. @param params options behind the `?` of the URL */
  readonly open: (options?: StoreOptions, params?: string) => Promise<Store>;
  /** Columns as this database declares them. */
  readonly types: {
    readonly integer: string;
    readonly bigint: string;
    /** At least 20 digits before the point and 10 behind. */
    readonly decimal: string;
    /** 5 digits, 2 of them behind the point; absent where a database does not mind digits. */
    readonly price?: string;
    readonly float: string;
    /** Text of up to n characters. */
    readonly text: (n: number) => string;
    readonly bytes: string;
    /** Date and time, as many digits of a second as it has. */
    readonly time: string;
    /** Text of a time with those digits. */
    readonly timeText: string;
    /** An integer key the database counts up. */
    readonly counter: string;
  };
  /** The empty text is NULL there (Oracle). */
  readonly emptyIsNull?: boolean;
  /** Types are only a hint there: nothing is too long or out of range (SQLite). */
  readonly looseTypes?: boolean;
  /** A select that takes a minute and more. */
  readonly slow: string;
  /** A select of `n` and a text of 1,000 characters, so many rows. */
  readonly series: (rows: number) => string;
  /** Makes a second place for tables and gives the names of both; a table of one name can be in each. */
  readonly schemas?: (store: Store) => Promise<readonly [here: string, there: string]>;
  /** Two rows can be locked by two transactions at once. */
  readonly rowLocks: boolean;
  /** A server that may be killed, and how to open it. */
  readonly own?: () => Promise<OwnServer>;
  readonly openUrl?: (url: string, options?: StoreOptions) => Promise<Store>;
}

/** What the parts of the suite work with. */
export interface Kit {
  readonly options: ContractOptions;
  readonly store: Store;
  /** Makes a table. @param columns the text between the brackets. @returns its name, in capitals as operators write it */
  table(columns: string, store?: Store): Promise<string>;
}

let tables = 0;

/** @param name for the report */
export function storeContract(name: string, options: ContractOptions): void {
  describe(`the store contract of ${name}`, { timeout: 60_000 }, () => {
    let opened: Store | undefined;
    const kit: Kit = {
      options,
      get store() {
        if (opened === undefined) throw new Error('only within a test');
        return opened;
      },
      async table(columns, store = kit.store) {
        // The process too: databases given by an environment variable are used again and again.
        const table = `SY_${process.pid.toString(36).toUpperCase()}_${(tables++).toString(36).toUpperCase()}`;
        await store.execute(`CREATE TABLE ${table} (${columns})`);
        made.push(table);
        return table;
      },
    };
    const made: string[] = [];
    beforeAll(async () => {
      opened = await options.open();
    });
    afterAll(async () => {
      for (const table of made) await opened?.execute(`DROP TABLE ${table}`).catch(() => undefined);
      await opened?.close();
    });
    valueContract(kit);
    batchContract(kit);
    bulkContract(kit);
    streamContract(kit);
    transactionContract(kit);
    dictionaryContract(kit);
    limitContract(kit);
    faultContract(kit);
  });
}

/** The code of the failure, for `expect`. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'fulfilled',
    (error: unknown) => (error instanceof StoreError ? error.code : String(error)),
  );
}

/** The failure itself. */
export async function failureOf(promise: Promise<unknown>): Promise<StoreError> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (outcome instanceof StoreError) return outcome;
  throw new Error(`expected a StoreError, got ${String(outcome)}`, { cause: outcome });
}

export async function countOf(store: Pick<Store, 'query'>, table: string): Promise<number> {
  return Number((await store.query(`SELECT count(*) FROM ${table}`)).rows[0]?.[0]);
}
