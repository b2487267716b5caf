/**
 * The contract of every database: what stages and servers see, whatever stands behind the URL. Promise based,
 * usable from any thread; the driver never blocks it. SQL text uses `?` for every value and nothing else, the
 * driver rewrites that to its own form. Values are bound, never written into the text.
 */

import { fromConnectionString } from './connection-string.js';
import type { MemoryPool } from './memory-pool.js';

/**
 * Values travel unchanged: NULL is null and never '', an integer beyond 2^53 is a bigint, a decimal is the text the
 * database prints, a date is ISO text with its fraction and zone, raw bytes are a Uint8Array.
 */
export type SqlValue = null | number | bigint | string | Uint8Array;

/** One row in the order of `columns`. Arrays, because two columns may share a name and extraction moves millions. */
export type SqlRow = readonly SqlValue[];

export interface RowSet {
  readonly columns: readonly string[];
  /** What the columns are, where the database says so with the rows. */
  readonly kinds?: readonly ColumnKind[];
  readonly rows: readonly SqlRow[];
}

export interface CallOptions {
  /** Deadline in ms, waiting included; the store's `timeoutMs` if absent. */
  readonly timeoutMs?: number;
  /** Gives the call up as the deadline does, with the code CANCELLED. */
  readonly signal?: AbortSignal;
}

export interface QueryOptions extends CallOptions {
  /** More rows than this is the error TOO_MANY_ROWS: use `stream`. Default 100,000. */
  readonly maxRows?: number;
}

export interface StreamOptions extends CallOptions {
  /** Rows per batch, default 1,000. The deadline counts for each batch. */
  readonly batchRows?: number;
}

export interface XmlOptions {
  /** Element names, one for each column. */
  readonly tags: readonly string[];
  /** Longest value of each column in characters; undefined: any. */
  readonly lengths: readonly (number | undefined)[];
  /** As `escapeXml` does it; otherwise values stand as they are. */
  readonly escape: boolean;
  /** Columns that are wanted as values too. */
  readonly values: readonly number[];
  /** Batches are written into memory from there; who is done with one may give it back. */
  readonly memory?: MemoryPool;
}

/** Rows as row XML (protocol/rowxml.ts) in UTF-8; raw bytes as hexadecimal digits. */
export interface XmlBatch {
  /** How many columns the select has; when that is not the number of tags, the rest means nothing. */
  readonly columns: number;
  readonly bytes: Buffer;
  /** Where each row ends in `bytes`. */
  readonly ends: ArrayLike<number>;
  /** The columns asked for, of each row; empty when none are. */
  readonly values: readonly SqlRow[];
}

export interface BatchOptions extends CallOptions {
  /** What a row that breaks a primary or unique key is: listed in `duplicates`, or in `errors` (the default). */
  readonly onDuplicate?: 'error' | 'skip';
}

export interface RowError {
  /** Index in the rows given to `batch`. */
  readonly row: number;
  readonly code: StoreErrorCode;
  readonly message: string;
}

/** The fate of each row of a batch: a row in neither list was executed. */
export interface BatchResult {
  readonly done: number;
  readonly duplicates: readonly number[];
  readonly errors: readonly RowError[];
}

export interface BulkOptions extends CallOptions {
  /** What a row that breaks a key is: the end of the bulk (the default), left out, or an update of the row that is there. */
  readonly onDuplicate?: 'error' | 'skip' | 'update';
  /** For `skip` and `update`: the columns of the key by which a row is found. */
  readonly keys?: readonly string[];
  /** For `update`: columns beside those given that get `dialect.now`, such as upttime. */
  readonly touch?: readonly string[];
  /** Columns of raw bytes, given as hexadecimal digits. */
  readonly hex?: readonly string[];
  /**
   * What a bulk that fails inside `transaction` takes back: itself (the default), or perhaps everything: then the transaction
   * may not be committable any more. To be able to undo the bulk alone costs SQLite half its speed.
   */
  readonly onFailure?: 'undo' | 'rollback';
}

export interface BulkResult {
  /** Rows given. The others add up to it, where the database can tell them apart; an equal row counts as updated. */
  readonly rows: number;
  readonly inserted: number;
  readonly updated: number;
  readonly skipped: number;
}

/** What can be done inside a transaction and outside. */
export interface SqlRunner {
  /** @throws StoreError */
  query(sql: string, binds?: SqlRow, options?: QueryOptions): Promise<RowSet>;
  /** @returns rows inserted, changed or deleted. @throws StoreError */
  execute(sql: string, binds?: SqlRow, options?: CallOptions): Promise<number>;
  /**
   * Runs one statement for each row. A bad row is reported and does not stop the others; outside `transaction` the
   * good rows are committed together. @throws StoreError when the batch as a whole failed: then no row is applied.
   */
  batch(sql: string, rows: readonly SqlRow[], options?: BatchOptions): Promise<BatchResult>;
  /**
   * The fastest way in: tab text (protocol/tab-text.ts) through the database's own bulk load. All or nothing; inside
   * `transaction` a failed bulk is undone and the transaction goes on, but see `onFailure`. Nothing is cut or rounded to make it fit.
   * @param chunks cut anywhere; read no faster than the database takes them. @throws StoreError, with `row` where known
   */
  bulk(
    table: string,
    columns: readonly string[],
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    options?: BulkOptions,
  ): Promise<BulkResult>;
}

export interface Store extends SqlRunner {
  readonly dialect: Dialect;
  /**
   * Batches of rows, the next one read only when it is asked for; leaving the loop closes the cursor. Sees a
   * snapshot; does not hold up other calls. A reader silent for a minute loses its cursor (TIMEOUT).
   */
  stream(sql: string, binds?: SqlRow, options?: StreamOptions): AsyncIterable<RowSet>;
  /** The same, rows rendered out of what the server sent; absent where that would be no faster than `stream`. */
  streamXml?(sql: string, binds: SqlRow, xml: XmlOptions, options?: StreamOptions): AsyncIterable<XmlBatch>;
  /**
   * Runs `work` in one transaction: committed when its promise fulfils, rolled back when it rejects or the deadline
   * passes. Use only `tx` inside: a call of the store itself may have to wait for this very transaction.
   */
  transaction<T>(work: (tx: SqlRunner) => Promise<T>, options?: CallOptions): Promise<T>;
  /** @param table name or schema.name. @throws StoreError NO_TABLE */
  columns(table: string): Promise<TableInfo>;
  /** Proves that the database answers. @returns what it calls itself: `MariaDB 10.11.6`. @throws StoreError */
  version(): Promise<string>;
  /** Waits for the calls under way, then closes. Later calls are refused with CLOSED. Idempotent. */
  close(): Promise<void>;
}

export type ColumnKind = 'text' | 'integer' | 'decimal' | 'float' | 'date' | 'bytes' | 'other';

export interface ColumnInfo {
  readonly name: string;
  /** As the database says it, lower case, without length: `varchar`, `int`, `datetime`. */
  readonly type: string;
  readonly kind: ColumnKind;
  /** Characters of text, or digits of a number, if declared. */
  readonly length: number | undefined;
  /** Digits behind the point, if declared. */
  readonly scale: number | undefined;
  readonly nullable: boolean;
  /** The database makes its value: auto_increment, identity, computed. */
  readonly generated: boolean;
}

/** Everything in the order of the declaration. */
export interface TableInfo {
  readonly columns: readonly ColumnInfo[];
  readonly primaryKey: readonly string[];
  /** Unique keys beside the primary one. */
  readonly uniqueKeys: readonly (readonly string[])[];
}

/** Text that differs between databases. Pure. */
export interface Dialect {
  readonly name: string;
  /** Most `?` in one statement. */
  readonly maxBinds: number;
  /** Expression: the present time as the database's session has it, to the second (SQLite: UTC). */
  readonly now: string;
  /** Quotes one name, or the parts of `schema.name`. @throws StoreError SYNTAX for a name no database could have. */
  quoteIdentifier(name: string): string;
  /** Insert with one `?` for each column. */
  insert(table: string, columns: readonly string[]): string;
  /** The same; an existing row (by `keys`) gets the other columns, and `now` in those of `touch`. */
  upsert(
    table: string,
    columns: readonly string[],
    keys: readonly string[],
    touch?: readonly string[],
  ): string;
  /** Adds a row limit to a select. */
  limit(select: string, rows: number): string;
}

/**
 * BUSY: lock or deadlock. LOST: the connection or thread died, a write may or may not be applied. TIMEOUT, CANCELLED:
 * given up, not applied. QUEUE_FULL: too many calls wait. FULL: no disk space. OPEN: it cannot be reached, read or written.
 * DUPLICATE, CONSTRAINT: the row. BIND: a value of the wrong type or number. SYNTAX: the statement. DATABASE: anything else it
 * said.
 */
export type StoreErrorCode =
  | 'BUSY' | 'LOST' | 'TIMEOUT' | 'CANCELLED' | 'QUEUE_FULL' | 'CLOSED' | 'OPEN' | 'FULL' | 'DUPLICATE'
  | 'CONSTRAINT' | 'BIND' | 'SYNTAX' | 'NO_TABLE' | 'TOO_MANY_ROWS' | 'URL' | 'DATABASE'; // prettier-ignore

const RETRYABLE: ReadonlySet<StoreErrorCode> = new Set(['BUSY', 'LOST', 'TIMEOUT', 'QUEUE_FULL', 'FULL']);

export class StoreError extends Error {
  /** True when the same call may succeed later. */
  readonly retryable: boolean;
  /** Index of the row of a bulk that the database complained about. */
  readonly row: number | undefined;

  constructor(
    readonly code: StoreErrorCode,
    message: string,
    options?: { cause?: unknown; row?: number | undefined },
  ) {
    super(message, options);
    this.name = 'StoreError';
    this.retryable = RETRYABLE.has(code);
    this.row = options?.row;
  }
}

export interface StoreOptions {
  /** Deadline of a call in ms. Default 30,000. */
  readonly timeoutMs?: number;
  /** Calls that may wait; more are refused with QUEUE_FULL. Default 1,000. */
  readonly maxPending?: number;
  /** Connections at most, default 4; one more call waits. Opened when needed. Not for SQLite. */
  readonly maxConnections?: number;
}

/** Scheme -> driver module, loaded when first used. A new database is one file and one line here. */
const DRIVERS: Readonly<Record<string, () => Promise<OpenDriver>>> = {
  sqlite: async () => (await import('./sqlite.js')).openSqlite,
  mysql: async () => (await import('./mysql.js')).openMysql,
  postgres: async () => (await import('./postgres.js')).openPostgres,
  oracle: async () => (await import('./oracle.js')).openOracle,
  mssql: async () => (await import('./mssql.js')).openMssql,
};

export type OpenDriver = (url: string, options: StoreOptions) => Promise<Store>;

/**
 * @param url `sqlite:var/data.db`, `mysql://user:password@host:3306/database`: the scheme chooses the driver, which documents the
 * rest. Connection strings of the seeds are taken too (spec data-centre 1.8). A lost connection is made again by the next call.
 * @throws StoreError URL for an unknown scheme, OPEN when the database cannot be reached.
 */
export async function openStore(url: string, options: StoreOptions = {}): Promise<Store> {
  url = fromConnectionString(url);
  const scheme = /^([a-z0-9+]+):/i.exec(url)?.[1]?.toLowerCase() ?? '';
  const load = DRIVERS[scheme];
  if (load === undefined) {
    const known = Object.keys(DRIVERS).map((name) => `${name}:`);
    // The URL itself may hold a password: only its scheme is told.
    throw new StoreError('URL', `no database driver for "${scheme}:"; known: ${known.join(', ')}`);
  }
  return (await load())(url, options);
}

/** The rows as objects; of two columns with one name the last wins. For small results. */
export function asObjects(set: RowSet): Record<string, SqlValue>[] {
  return set.rows.map((row) => Object.fromEntries(set.columns.map((name, i) => [name, row[i] ?? null])));
}
