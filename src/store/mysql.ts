/**
 * MySQL 8 and MariaDB through mysql2; mysql/url.ts has the form of the URL. Sessions are READ COMMITTED, strict (a value that does not
 * fit is an error and never cut), in UTF-8 and in the time zone the server gives them. Times, decimals and JSON arrive as
 * the text the server prints, BIT, BLOB and geometry as bytes. `a || b` joins texts, as in every other database.
 *
 * MySQL commits a transaction behind one's back when a statement of it creates, alters, drops or truncates a table that is not temporary.
 */
import { ConnectionPool } from './connection-pool.js';
import { StoreError } from './driver.js';
import type {
  BatchOptions,
  BatchResult,
  BulkOptions,
  BulkResult,
  CallOptions,
  QueryOptions,
  RowSet,
  SqlRow,
  SqlRunner,
  Store,
  StoreOptions,
  StreamOptions,
  TableInfo,
  XmlBatch,
  XmlOptions,
} from './driver.js';
import { Deadline } from './give-up.js';
import { runBatch } from './mysql/batch.js';
import { runBulk } from './mysql/bulk.js';
import { guarded, queryRows, withBinds, type Call } from './mysql/call.js';
import { mysqlDialect } from './mysql/dialect.js';
import { describeTable } from './mysql/dictionary.js';
import { MysqlLink } from './mysql/link.js';
import { RowCollector, streamBatches, type Collector } from './mysql/stream.js';
import { mustBringRows } from './mysql/text.js';
import { runTransaction } from './mysql/transaction.js';
import { parseMysqlUrl } from './mysql/url.js';
import { XmlCollector } from './mysql/xml.js';

const DEFAULT_TIMEOUT = 30_000;
const DEFAULT_PENDING = 1_000;
const DEFAULT_CONNECTIONS = 4;
const DEFAULT_MAX_ROWS = 100_000;
const DEFAULT_BATCH_ROWS = 1_000;

/** @throws StoreError URL, OPEN */
export async function openMysql(url: string, options: StoreOptions): Promise<Store> {
  const address = await parseMysqlUrl(url);
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT;
  const pool = new ConnectionPool({
    label: address.label,
    maxConnections: options.maxConnections ?? DEFAULT_CONNECTIONS,
    maxPending: options.maxPending ?? DEFAULT_PENDING,
    connect: (ms) => MysqlLink.open(address, ms),
  });
  await pool.start(timeoutMs);
  return new MysqlStore(pool, address.database, timeoutMs);
}

/** How an operation gets its connection: one of the pool, or that of the transaction. */
export type Perform = <T>(
  options: CallOptions,
  writes: boolean,
  work: (call: Call) => Promise<T>,
) => Promise<T>;

/** The calls of the contract, with or without a transaction around them. */
export class MysqlRunner implements SqlRunner {
  constructor(protected readonly perform: Perform) {}

  async query(sql: string, binds: SqlRow = [], options: QueryOptions = {}): Promise<RowSet> {
    mustBringRows(sql);
    const text = withBinds(sql, binds);
    return this.perform(options, false, (call) => queryRows(call, text, options.maxRows ?? DEFAULT_MAX_ROWS));
  }

  async execute(sql: string, binds: SqlRow = [], options: CallOptions = {}): Promise<number> {
    const text = withBinds(sql, binds);
    return this.perform(options, true, async (call) => (await call.run(text)).affectedRows);
  }

  async batch(sql: string, rows: readonly SqlRow[], options: BatchOptions = {}): Promise<BatchResult> {
    return this.perform(options, true, (call) => runBatch(call, sql, rows, options));
  }

  async bulk(
    table: string,
    columns: readonly string[],
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    options: BulkOptions = {},
  ): Promise<BulkResult> {
    return this.perform(options, true, (call) => runBulk(call, table, columns, chunks, options));
  }
}

class MysqlStore extends MysqlRunner implements Store {
  readonly dialect = mysqlDialect;

  constructor(
    private readonly pool: ConnectionPool<MysqlLink>,
    private readonly database: string,
    private readonly timeoutMs: number,
  ) {
    super((options, writes, work) =>
      this.lend(options, (link, deadline) => guarded(link, deadline, { inTransaction: false, writes }, work)),
    );
  }

  async *stream(sql: string, binds: SqlRow = [], options: StreamOptions = {}): AsyncGenerator<RowSet> {
    mustBringRows(sql);
    const text = withBinds(sql, binds);
    yield* this.select(text, new RowCollector(options.batchRows ?? DEFAULT_BATCH_ROWS), options);
  }

  async *streamXml(
    sql: string,
    binds: SqlRow,
    xml: XmlOptions,
    options: StreamOptions = {},
  ): AsyncGenerator<XmlBatch> {
    mustBringRows(sql);
    const text = withBinds(sql, binds);
    yield* this.select(text, new XmlCollector(xml, options.batchRows ?? DEFAULT_BATCH_ROWS), options);
  }

  async transaction<T>(work: (tx: SqlRunner) => Promise<T>, options: CallOptions = {}): Promise<T> {
    return this.lend(options, (link, deadline) => runTransaction(link, deadline, work));
  }

  async columns(table: string): Promise<TableInfo> {
    if (!table.includes('.') && this.database === '')
      throw new StoreError('NO_TABLE', `the URL names no database: write schema.${table}`);
    return describeTable(this, this.database, table);
  }

  async version(): Promise<string> {
    const { rows } = await this.query('SELECT VERSION()');
    const text = String(rows[0]?.[0]);
    const number = /^[\d.]+/.exec(text)?.[0] ?? text;
    return `${/mariadb/i.test(text) ? 'MariaDB' : 'MySQL'} ${number}`;
  }

  async close(): Promise<void> {
    await this.pool.close();
  }

  private async lend<T>(
    options: CallOptions,
    work: (link: MysqlLink, deadline: Deadline) => Promise<T>,
  ): Promise<T> {
    const deadline = new Deadline(options, this.timeoutMs);
    try {
      const link = await this.pool.acquire(deadline);
      try {
        return await work(link, deadline);
      } finally {
        this.pool.release(link);
      }
    } finally {
      deadline.done();
    }
  }

  private async *select<T>(text: string, collector: Collector<T>, options: CallOptions): AsyncGenerator<T> {
    const deadlines = (): Deadline => new Deadline(options, this.timeoutMs);
    const opening = deadlines();
    const link = await this.pool.acquire(opening).finally(() => opening.done());
    try {
      yield* streamBatches(link, text, collector, deadlines);
    } finally {
      this.pool.release(link);
    }
  }
}
