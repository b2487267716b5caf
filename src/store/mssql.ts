/**
 * SQL Server: `mssql://user:password@host:1433/database?options` (mssql/url.ts), 2016 or later. Any thread; the driver is loaded by
 * the first use. Reads see what is committed while they run, not a snapshot, unless the database has READ_COMMITTED_SNAPSHOT on.
 */
import type mssql from 'mssql';
import {
  StoreError,
  type BatchOptions, type BatchResult, type BulkOptions, type BulkResult, type CallOptions, type QueryOptions, type RowError,
  type RowSet, type SqlRow, type SqlRunner, type Store, type StoreOptions, type StreamOptions, type TableInfo,
} from './driver.js'; // prettier-ignore
import { Deadline, granted, guard } from './give-up.js';
import { mssqlBatch, SpoiledByRow } from './mssql/batch.js';
import { mssqlBulk } from './mssql/bulk.js';
import { mssqlDialect } from './mssql/dialect.js';
import { describeMssqlTable } from './mssql/dictionary.js';
import { mssqlError } from './mssql/errors.js';
import { MssqlSession, MssqlShared } from './mssql/runner.js';
import { mssqlStream } from './mssql/stream.js';
import { Slots } from './slots.js';
import { mssqlConfig } from './mssql/url.js';
import type { MssqlDriver } from './mssql/values.js';

const DEFAULT_TIMEOUT = 30_000;
const DEFAULT_PENDING = 1_000;
const DEFAULT_CONNECTIONS = 4;
const DEFAULT_MAX_ROWS = 100_000;
const DEFAULT_BATCH_ROWS = 1_000;
/** A cursor nobody reads from holds a connection. */
const CURSOR_IDLE = 60_000;
/** A batch is done anew without the row that spoiled it, at most so often. */
const MAX_SPOILED = 100;

export type LoadMssql = () => Promise<MssqlDriver>;

const loadDriver: LoadMssql = async () => (await import('mssql')).default;

/** @param load for tests. @throws StoreError URL, OPEN */
export async function openMssql(
  url: string,
  options: StoreOptions = {},
  load: LoadMssql = loadDriver,
): Promise<Store> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT;
  const connections = options.maxConnections ?? DEFAULT_CONNECTIONS;
  const config = mssqlConfig(url, connections, timeoutMs);
  const driver = await load();
  const pool = new driver.ConnectionPool(config);
  // Connections that break while nobody uses them are told here; the pool replaces them.
  pool.on('error', () => undefined);
  const deadline = new Deadline({}, timeoutMs);
  const store = new MssqlStore(
    pool,
    driver,
    new Slots(connections, options.maxPending ?? DEFAULT_PENDING),
    timeoutMs,
  );
  try {
    await granted(pool.connect(), deadline, (late) => late.close());
    await store.version();
    return store;
  } catch (error) {
    await store.close().catch(() => undefined);
    const { message } = mssqlError(error);
    throw new StoreError('OPEN', message, { cause: error });
  } finally {
    deadline.done();
  }
}

/** Calls inside a transaction, one after the other: the connection takes no two at a time. */
class MssqlRunner implements SqlRunner {
  private tail: Promise<unknown> = Promise.resolve();
  ended = false;

  constructor(
    private readonly session: MssqlSession,
    private readonly timeoutMs: number,
    private readonly outer: Deadline,
  ) {}

  query(sql: string, binds: SqlRow = [], options: QueryOptions = {}): Promise<RowSet> {
    const maxRows = options.maxRows ?? DEFAULT_MAX_ROWS;
    return this.run(options, (deadline) => this.session.query(sql, binds, maxRows, deadline));
  }

  execute(sql: string, binds: SqlRow = [], options: CallOptions = {}): Promise<number> {
    return this.run(options, (deadline) => this.session.execute(sql, binds, deadline));
  }

  /** A row that makes the server give the transaction up ends it here: it cannot be undone by itself. */
  batch(sql: string, rows: readonly SqlRow[], options: BatchOptions = {}): Promise<BatchResult> {
    const how = { skip: options.onDuplicate === 'skip', without: new Map<number, RowError>() };
    return this.run(options, (deadline) =>
      this.saved(deadline, () => mssqlBatch(this.session, sql, rows, how, deadline)).catch(
        (error: unknown) => {
          if (!(error instanceof SpoiledByRow)) throw error;
          const { code, message, row } = error.fault;
          throw new StoreError(code, `row ${row + 1}: ${message}; the transaction is lost`, {
            row,
            cause: error,
          });
        },
      ),
    );
  }

  bulk(
    table: string,
    columns: readonly string[],
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    options: BulkOptions = {},
  ): Promise<BulkResult> {
    const { session } = this;
    return this.run(options, (deadline) =>
      this.saved(deadline, () => mssqlBulk(session, table, columns, chunks, options, deadline)),
    );
  }

  /** When the calls under way have ended. */
  async settled(): Promise<void> {
    await this.tail;
  }

  private async saved<T>(deadline: Deadline, work: () => Promise<T>): Promise<T> {
    await this.session.execute('SAVE TRANSACTION switchyard_sp', [], deadline);
    try {
      return await work();
    } catch (error) {
      const undo = new Deadline({}, this.timeoutMs);
      const sql = 'IF XACT_STATE() = 1 ROLLBACK TRANSACTION switchyard_sp';
      await this.session.execute(sql, [], undo).catch(() => undefined);
      undo.done();
      throw error;
    }
  }

  private async run<T>(options: CallOptions, work: (deadline: Deadline) => Promise<T>): Promise<T> {
    if (this.ended) throw new StoreError('CLOSED', 'the transaction has ended');
    const deadline = new Deadline(options, this.timeoutMs, this.outer);
    const turn = this.tail.then(() => work(deadline));
    this.tail = turn.catch(() => undefined);
    try {
      return await turn;
    } finally {
      deadline.done();
    }
  }
}

class MssqlStore implements Store {
  readonly dialect = mssqlDialect;
  private readonly session: MssqlSession;
  private readonly shared: MssqlShared;
  private closing: Promise<void> | undefined;

  constructor(
    private readonly pool: mssql.ConnectionPool,
    private readonly driver: MssqlDriver,
    private readonly slots: Slots,
    private readonly timeoutMs: number,
  ) {
    this.shared = new MssqlShared(driver);
    this.session = new MssqlSession(this.shared, () => this.pool.request());
  }

  query(sql: string, binds: SqlRow = [], options: QueryOptions = {}): Promise<RowSet> {
    const maxRows = options.maxRows ?? DEFAULT_MAX_ROWS;
    return this.borrow(options, (deadline) => this.session.query(sql, binds, maxRows, deadline));
  }

  execute(sql: string, binds: SqlRow = [], options: CallOptions = {}): Promise<number> {
    return this.borrow(options, (deadline) => this.session.execute(sql, binds, deadline));
  }

  batch(sql: string, rows: readonly SqlRow[], options: BatchOptions = {}): Promise<BatchResult> {
    return this.borrow(options, async (deadline) => {
      const how = { skip: options.onDuplicate === 'skip', without: new Map<number, RowError>() };
      for (;;) {
        try {
          return await this.within(deadline, (session) => mssqlBatch(session, sql, rows, how, deadline));
        } catch (error) {
          if (!(error instanceof SpoiledByRow) || how.without.size >= MAX_SPOILED) throw mssqlError(error);
          how.without.set(error.fault.row, error.fault);
        }
      }
    });
  }

  bulk(
    table: string,
    columns: readonly string[],
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    options: BulkOptions = {},
  ): Promise<BulkResult> {
    return this.borrow(options, (deadline) =>
      this.within(deadline, (session) => mssqlBulk(session, table, columns, chunks, options, deadline)),
    );
  }

  async *stream(sql: string, binds: SqlRow = [], options: StreamOptions = {}): AsyncGenerator<RowSet> {
    const newDeadline = (): Deadline => new Deadline(options, this.timeoutMs);
    const opening = newDeadline();
    let free: (() => void) | undefined;
    let idle: NodeJS.Timeout | undefined;
    let batches: AsyncGenerator<RowSet> | undefined;
    try {
      this.check();
      free = await this.slots.take(opening);
      const prepared = await this.session.prepareSelect(sql, binds, opening);
      opening.done();
      batches = mssqlStream(this.session, prepared, options.batchRows ?? DEFAULT_BATCH_ROWS, newDeadline);
      const reading = batches;
      for await (const batch of reading) {
        let silent = false;
        idle = setTimeout(() => {
          silent = true;
          void reading.return(undefined);
        }, CURSOR_IDLE).unref();
        yield batch;
        clearTimeout(idle);
        if (silent) throw new StoreError('TIMEOUT', `nobody read the rows for ${CURSOR_IDLE} ms`);
      }
    } finally {
      opening.done();
      clearTimeout(idle);
      await batches?.return(undefined);
      free?.();
    }
  }

  transaction<T>(work: (tx: SqlRunner) => Promise<T>, options: CallOptions = {}): Promise<T> {
    return this.borrow(options, (deadline) =>
      this.within(deadline, async (session) => {
        const tx = new MssqlRunner(session, this.timeoutMs, deadline);
        try {
          return await Promise.race([work(tx), deadline.over]);
        } finally {
          tx.ended = true;
          // A call that was cancelled ends within the time the driver gives the server to acknowledge it.
          await tx.settled();
        }
      }),
    );
  }

  columns(table: string): Promise<TableInfo> {
    return describeMssqlTable(this, table);
  }

  async version(): Promise<string> {
    const sql = `SELECT CONCAT(CAST(SERVERPROPERTY('ProductVersion') AS varchar(40)), ' ', CAST(SERVERPROPERTY('Edition') AS varchar(80)))`;
    const { rows } = await this.query(sql);
    return `SQL Server ${String(rows[0]?.[0])}`;
  }

  close(): Promise<void> {
    this.closing ??= this.slots.close().then(() => this.pool.close());
    return this.closing;
  }

  private check(): void {
    if (this.closing !== undefined) throw new StoreError('CLOSED', 'the database was closed');
  }

  private async borrow<T>(options: CallOptions, work: (deadline: Deadline) => Promise<T>): Promise<T> {
    this.check();
    const deadline = new Deadline(options, this.timeoutMs);
    let free: (() => void) | undefined;
    try {
      free = await this.slots.take(deadline);
      return await work(deadline);
    } finally {
      deadline.done();
      free?.();
    }
  }

  /** Work in a transaction of its own: committed, or undone. */
  private async within<T>(deadline: Deadline, work: (session: MssqlSession) => Promise<T>): Promise<T> {
    const transaction = new this.driver.Transaction(this.pool);
    let begun = false;
    try {
      await granted(transaction.begin(), deadline, () => transaction.rollback());
      begun = true;
      const result = await work(new MssqlSession(this.shared, () => transaction.request()));
      deadline.check();
      await guard(transaction.commit(), deadline, () => undefined);
      begun = false;
      return result;
    } catch (error) {
      // The server may have undone it already; the pool then drops the connection.
      if (begun) await transaction.rollback().catch(() => undefined);
      throw error instanceof SpoiledByRow ? error : driverError(error);
    }
  }
}

/** The driver's own errors are told apart by their class; those of a caller's work pass as they are. */
function driverError(error: unknown): unknown {
  const name = error instanceof Error ? error.name : '';
  return /^(MSSQL|Request|Transaction|Connection)Error$/.test(name) ? mssqlError(error) : error;
}
