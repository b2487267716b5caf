/**
 * PostgreSQL 12 and newer, URL in postgres/url.ts, names in postgres/dialect.ts, values in postgres/values.ts. Connections are pooled;
 * streams have connections of their own, as many again. Isolation is READ COMMITTED, a stream sees a snapshot.
 *
 * In a transaction each call runs behind a savepoint, so that one that failed is undone and the transaction goes on, as in other
 * databases. The server has its own, longer time limits for the case that this process is gone.
 */
import { ConnectionPool } from './connection-pool.js';
import type { CallOptions, RowSet, SqlRow, SqlRunner, Store, StoreOptions, StreamOptions, TableInfo } from './driver.js'; // prettier-ignore
import { Deadline } from './give-up.js';
import { postgresDialect } from './postgres/dialect.js';
import { PostgresLink } from './postgres/link.js';
import { PostgresRunner, type Loan } from './postgres/runner.js';
import { streamRows } from './postgres/stream.js';
import { PostgresTransaction } from './postgres/transaction.js';
import { parsePostgresUrl } from './postgres/url.js';

const DEFAULT_TIMEOUT = 30_000;
const DEFAULT_PENDING = 1_000;
const DEFAULT_CONNECTIONS = 4;

/** @throws StoreError URL, OPEN */
export async function openPostgres(url: string, options: StoreOptions): Promise<Store> {
  const address = await parsePostgresUrl(url);
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT;
  const pool = (): ConnectionPool<PostgresLink> =>
    new ConnectionPool({
      label: address.label,
      maxConnections: options.maxConnections ?? DEFAULT_CONNECTIONS,
      maxPending: options.maxPending ?? DEFAULT_PENDING,
      connect: (ms) => PostgresLink.open(address, ms),
    });
  const calls = pool();
  await calls.start(timeoutMs);
  return new PostgresStore(calls, pool(), timeoutMs);
}

class PostgresStore extends PostgresRunner implements Store {
  readonly dialect = postgresDialect;

  constructor(
    private readonly calls: ConnectionPool<PostgresLink>,
    private readonly streams: ConnectionPool<PostgresLink>,
    private readonly timeoutMs: number,
  ) {
    super(false, new Map());
  }

  protected override async borrow(options: CallOptions): Promise<Loan> {
    return lend(this.calls, new Deadline(options, this.timeoutMs));
  }

  async *stream(sql: string, binds: SqlRow = [], options: StreamOptions = {}): AsyncGenerator<RowSet> {
    const deadlines = (): Deadline => new Deadline(options, this.timeoutMs);
    const { link, deadline, giveBack } = await lend(this.streams, deadlines());
    try {
      yield* streamRows(link, sql, binds, options, deadline, deadlines, giveBack);
    } finally {
      giveBack();
    }
  }

  async transaction<T>(work: (tx: SqlRunner) => Promise<T>, options: CallOptions = {}): Promise<T> {
    return this.use(options, (link, deadline) =>
      PostgresTransaction.run(link, deadline, work, this.descriptions),
    );
  }

  async columns(table: string): Promise<TableInfo> {
    return this.describe(table);
  }

  async version(): Promise<string> {
    const { rows } = await this.query('SHOW server_version');
    // Packagers add their own version in brackets.
    return `PostgreSQL ${String(rows[0]?.[0]).split(' ')[0] ?? ''}`;
  }

  async close(): Promise<void> {
    await Promise.all([this.calls.close(), this.streams.close()]);
  }
}

/** @throws StoreError */
async function lend(pool: ConnectionPool<PostgresLink>, deadline: Deadline): Promise<Loan> {
  let link: PostgresLink | undefined;
  try {
    link = await pool.acquire(deadline);
    await link.limit(deadline.left);
    let lent: PostgresLink | undefined = link;
    return {
      link,
      deadline,
      giveBack: () => {
        deadline.done();
        if (lent !== undefined) pool.release(lent);
        lent = undefined;
      },
    };
  } catch (error) {
    deadline.done();
    if (link !== undefined) pool.release(link);
    throw error;
  }
}
