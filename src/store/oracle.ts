/**
 * Oracle: `oracle://user:password@host:1521/service[?options]` or the seeds' `user/password@name`. Thin by default, which needs
 * no client libraries and Oracle 12.1 or later; `?thick=yes` or `?thick=/path/to/instantclient` for 11g. Options: `config`
 * (folder of tnsnames.ora), `sid`, `tls=yes`. '' is NULL in Oracle. Any thread; the driver is loaded by the first use.
 */
import type oracledb from 'oracledb';
import {
  StoreError,
  type BatchOptions, type BatchResult, type BulkOptions, type BulkResult, type CallOptions, type QueryOptions, type RowSet,
  type SqlRow, type SqlRunner, type Store, type StoreOptions, type StreamOptions, type TableInfo,
} from './driver.js'; // prettier-ignore
import { Deadline, granted } from './give-up.js';
import { oracleBulk } from './oracle/bulk.js';
import { oracleDialect } from './oracle/dialect.js';
import { describeOracleTable } from './oracle/dictionary.js';
import { oracleError } from './oracle/errors.js';
import { OracleSession, OracleShared } from './oracle/runner.js';
import { oracleAddress, type OracleAddress } from './oracle/url.js';
import { SESSION_SQL, type OracleDriver } from './oracle/values.js';

const DEFAULT_TIMEOUT = 30_000;
const DEFAULT_PENDING = 1_000;
const DEFAULT_CONNECTIONS = 4;
const DEFAULT_MAX_ROWS = 100_000;
const DEFAULT_BATCH_ROWS = 1_000;
/** A cursor nobody reads from holds a connection. */
const CURSOR_IDLE = 60_000;
/** Unused connections are closed after so many seconds. */
const POOL_IDLE_SECONDS = 60;
/** How long `close` waits for calls under way, in seconds. */
const CLOSE_SECONDS = 30;

export type LoadOracle = () => Promise<OracleDriver>;

const loadDriver: LoadOracle = async () => (await import('oracledb')).default;

/** @param load for tests. @throws StoreError URL, OPEN */
export async function openOracle(
  url: string,
  options: StoreOptions = {},
  load: LoadOracle = loadDriver,
): Promise<Store> {
  const address = oracleAddress(url);
  const driver = await load();
  let store: OracleStore;
  try {
    if (address.thick !== undefined) initThick(driver, address);
    const pool = await driver.createPool({
      user: address.user,
      password: address.password,
      connectString: address.connectString,
      ...(address.configDir === undefined || address.thick !== undefined
        ? {}
        : { configDir: address.configDir }),
      poolMin: 0,
      poolMax: options.maxConnections ?? DEFAULT_CONNECTIONS,
      poolIncrement: 1,
      poolTimeout: POOL_IDLE_SECONDS,
      queueMax: options.maxPending ?? DEFAULT_PENDING,
      queueTimeout: options.timeoutMs ?? DEFAULT_TIMEOUT,
      stmtCacheSize: 50,
      sessionCallback: (connection, _tag, done) => {
        connection.execute(SESSION_SQL).then(
          () => done(),
          (error: unknown) => done(error as oracledb.DBError),
        );
      },
    });
    store = new OracleStore(pool, new OracleShared(driver), options.timeoutMs ?? DEFAULT_TIMEOUT);
  } catch (error) {
    throw openError(error);
  }
  try {
    await store.version();
    return store;
  } catch (error) {
    await store.close().catch(() => undefined);
    throw openError(error);
  }
}

/** Once for the whole process; the driver takes a second call with the same folder. */
function initThick(driver: OracleDriver, { thick, configDir }: OracleAddress): void {
  driver.initOracleClient({
    ...(thick === undefined || thick === '' ? {} : { libDir: thick }),
    ...(configDir === undefined ? {} : { configDir }),
  });
}

function openError(error: unknown): StoreError {
  const { code, message } = oracleError(error);
  return new StoreError(code === 'URL' ? code : 'OPEN', message, { cause: error });
}

class OracleRunner implements SqlRunner {
  /** Calls of one transaction follow each other: a cancellation would hit whichever is under way. */
  private tail: Promise<unknown> = Promise.resolve();
  ended = false;

  constructor(
    private readonly session: OracleSession,
    private readonly timeoutMs: number,
    private readonly outer: Deadline,
  ) {}

  query(sql: string, binds: SqlRow = [], options: QueryOptions = {}): Promise<RowSet> {
    const maxRows = options.maxRows ?? DEFAULT_MAX_ROWS;
    return this.run(options, (deadline) => this.session.query(sql, binds, maxRows, deadline));
  }

  execute(sql: string, binds: SqlRow = [], options: CallOptions = {}): Promise<number> {
    return this.run(options, (deadline) => this.session.execute(sql, binds, false, deadline));
  }

  batch(sql: string, rows: readonly SqlRow[], options: BatchOptions = {}): Promise<BatchResult> {
    const skip = options.onDuplicate === 'skip';
    return this.run(options, (deadline) =>
      this.session.atomically(false, deadline, () => this.session.batch(sql, rows, skip, deadline)),
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
      session.atomically(false, deadline, () =>
        oracleBulk(session, table, columns, chunks, options, deadline),
      ),
    );
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

class OracleStore implements Store {
  readonly dialect = oracleDialect;
  private closed = false;
  private closing: Promise<void> | undefined;

  constructor(
    private readonly pool: oracledb.Pool,
    private readonly shared: OracleShared,
    private readonly timeoutMs: number,
  ) {}

  query(sql: string, binds: SqlRow = [], options: QueryOptions = {}): Promise<RowSet> {
    const maxRows = options.maxRows ?? DEFAULT_MAX_ROWS;
    return this.borrow(options, (session, deadline) => session.query(sql, binds, maxRows, deadline));
  }

  execute(sql: string, binds: SqlRow = [], options: CallOptions = {}): Promise<number> {
    return this.borrow(options, (session, deadline) => session.execute(sql, binds, true, deadline));
  }

  batch(sql: string, rows: readonly SqlRow[], options: BatchOptions = {}): Promise<BatchResult> {
    const skip = options.onDuplicate === 'skip';
    return this.borrow(options, (session, deadline) =>
      session.atomically(true, deadline, () => session.batch(sql, rows, skip, deadline)),
    );
  }

  bulk(
    table: string,
    columns: readonly string[],
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    options: BulkOptions = {},
  ): Promise<BulkResult> {
    return this.borrow(options, (session, deadline) =>
      session.atomically(true, deadline, () =>
        oracleBulk(session, table, columns, chunks, options, deadline),
      ),
    );
  }

  async *stream(sql: string, binds: SqlRow = [], options: StreamOptions = {}): AsyncGenerator<RowSet> {
    const newDeadline = (): Deadline => new Deadline(options, this.timeoutMs);
    const opening = newDeadline();
    const session = await this.acquire(opening).finally(() => opening.done());
    let idle: NodeJS.Timeout | undefined;
    try {
      const batches = session.stream(sql, binds, options.batchRows ?? DEFAULT_BATCH_ROWS, newDeadline);
      for await (const batch of batches) {
        let silent = false;
        idle = setTimeout(() => {
          silent = true;
          session.spoiled = true;
          void this.release(session);
        }, CURSOR_IDLE).unref();
        yield batch;
        clearTimeout(idle);
        if (silent) throw new StoreError('TIMEOUT', `nobody read the rows for ${CURSOR_IDLE} ms`);
      }
    } finally {
      clearTimeout(idle);
      await this.release(session);
    }
  }

  async transaction<T>(work: (tx: SqlRunner) => Promise<T>, options: CallOptions = {}): Promise<T> {
    return this.borrow(options, async (session, deadline) => {
      const tx = new OracleRunner(session, this.timeoutMs, deadline);
      try {
        // Oracle begins a transaction with the first change, so there is nothing to send.
        const result = await Promise.race([work(tx), deadline.over]);
        tx.ended = true;
        await session.call(deadline, (connection) => connection.commit());
        return result;
      } catch (error) {
        tx.ended = true;
        // A call may still be under way; only a new connection is sure to be free.
        if (deadline.error !== undefined) session.spoiled = true;
        if (!session.spoiled) await session.connection.rollback().catch(() => (session.spoiled = true));
        throw error;
      }
    });
  }

  columns(table: string): Promise<TableInfo> {
    return describeOracleTable(this, table);
  }

  async version(): Promise<string> {
    return this.borrow({}, async (session, deadline) => {
      await session.query('SELECT 1 FROM DUAL', [], 1, deadline);
      return `Oracle ${session.connection.oracleServerVersionString}`;
    });
  }

  close(): Promise<void> {
    this.closed = true;
    this.closing ??= this.pool.close(CLOSE_SECONDS).catch((error: unknown) => {
      throw oracleError(error);
    });
    return this.closing;
  }

  private async borrow<T>(
    options: CallOptions,
    work: (session: OracleSession, deadline: Deadline) => Promise<T>,
  ): Promise<T> {
    const deadline = new Deadline(options, this.timeoutMs);
    let session: OracleSession | undefined;
    try {
      session = await this.acquire(deadline);
      return await work(session, deadline);
    } finally {
      deadline.done();
      if (session !== undefined) await this.release(session);
    }
  }

  private async acquire(deadline: Deadline): Promise<OracleSession> {
    if (this.closed) throw new StoreError('CLOSED', 'the database was closed');
    try {
      const connection = await granted(this.pool.getConnection(), deadline, (late) => late.close());
      return new OracleSession(connection, this.shared);
    } catch (error) {
      throw oracleError(error);
    }
  }

  /** Closing a connection of a pool puts it back, rolled back; a spoiled one is thrown away without waiting for it. */
  private async release(session: OracleSession): Promise<void> {
    if (session.released) return;
    session.released = true;
    if (session.spoiled) void session.connection.close({ drop: true }).catch(() => undefined);
    else await session.connection.close().catch(() => undefined);
  }
}
