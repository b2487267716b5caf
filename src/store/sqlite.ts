/**
 * SQLite: `sqlite:<file>[?sync=normal]`. The file and its folder are made when missing. The handle lives in a thread of its own,
 * one for each file and calling thread, shared by all who open that file there. WAL, foreign keys on; `sync=full` (the
 * default) makes every commit durable before it is acknowledged, `sync=normal` may lose the last ones at a power cut.
 *
 * SQLite cannot be interrupted from outside. A call past its deadline is refused as not applied, and a loop over rows ends by
 * itself; a statement that computes without returning keeps its thread busy, so that thread is left behind after a
 * second and a new one takes over. The old one ends, rolled back, when the statement returns; until then its locks may make writers
 * get BUSY, and the process cannot exit.
 */
import { resolve } from 'node:path';
import { cleanBinds, cleanRow } from './binds.js';
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
} from './driver.js';
import { MemoryPool } from './memory-pool.js';
import { Ownership, SqliteChannel } from './sqlite/channel.js';
import { lineBlocks } from './sqlite/bulk-blocks.js';
import { sqliteDialect } from './sqlite/dialect.js';
import { describeTable } from './sqlite/dictionary.js';
import type { CursorRows, SqliteOp } from './sqlite/messages.js';

const DEFAULT_TIMEOUT = 30_000;
const DEFAULT_PENDING = 1_000;
const DEFAULT_MAX_ROWS = 100_000;
const BUSY_TIMEOUT = 5_000;
/** A cursor nobody reads from keeps the log file from being folded back, so it does not live long. */
const CURSOR_IDLE = 60_000;

interface Shared {
  readonly channel: SqliteChannel;
  readonly sync: string;
  users: number;
}

/** What bulk loads send to the threads of databases, and get back. */
const blocks = new MemoryPool(1 << 20);
/** Files open on this thread. */
const open = new Map<string, Shared>();

/** @throws StoreError URL, OPEN */
export async function openSqlite(url: string, options: StoreOptions): Promise<Store> {
  const { path, sync } = parseUrl(url);
  let shared = open.get(path);
  if (shared !== undefined && shared.sync !== sync) {
    throw new StoreError('URL', `${path} is already open with sync=${shared.sync}`);
  }
  if (shared === undefined) {
    const maxPending = options.maxPending ?? DEFAULT_PENDING;
    const channel = new SqliteChannel({ path, sync, busyTimeoutMs: BUSY_TIMEOUT, maxPending });
    shared = { channel, sync, users: 0 };
    open.set(path, shared);
  }
  shared.users += 1;
  const store = new SqliteStore(path, shared, options.timeoutMs ?? DEFAULT_TIMEOUT);
  try {
    await store.query('SELECT 1');
  } catch (error) {
    await store.close();
    throw error;
  }
  return store;
}

function parseUrl(url: string): { path: string; sync: 'full' | 'normal' } {
  const [file = '', query = ''] = url.slice('sqlite:'.length).split('?', 2);
  if (file === '' || file === ':memory:') {
    throw new StoreError('URL', 'sqlite: needs a file, for instance sqlite:var/data.db');
  }
  const params = new URLSearchParams(query);
  const sync = params.get('sync') ?? 'full';
  for (const key of params.keys()) {
    if (key !== 'sync') throw new StoreError('URL', `unknown option "${key}" of sqlite:${file}; known: sync`);
  }
  if (sync !== 'full' && sync !== 'normal') throw new StoreError('URL', 'sync is full or normal');
  return { path: resolve(file), sync };
}

/** @param value of a call; of `rows` it is the block */
function giveBack(value: unknown): void {
  if (value instanceof Uint8Array) blocks.give(value.buffer);
}

/** The calls of the contract, with or without a transaction around them. */
class SqliteRunner implements SqlRunner {
  constructor(
    protected readonly channel: SqliteChannel,
    protected readonly timeoutMs: number,
    private readonly owner: Ownership | undefined,
  ) {}

  async query(sql: string, binds: SqlRow = [], options: QueryOptions = {}): Promise<RowSet> {
    const maxRows = options.maxRows ?? DEFAULT_MAX_ROWS;
    const op = { op: 'query', sql, binds: cleanBinds(binds), maxRows } as const;
    return (await this.channel.call(op, this.limits(options))) as RowSet;
  }

  async execute(sql: string, binds: SqlRow = [], options: CallOptions = {}): Promise<number> {
    const op = { op: 'execute', sql, binds: cleanBinds(binds) } as const;
    return (await this.channel.call(op, this.limits(options))) as number;
  }

  async batch(sql: string, rows: readonly SqlRow[], options: BatchOptions = {}): Promise<BatchResult> {
    const skip = options.onDuplicate === 'skip';
    const op = { op: 'batch', sql, rows: rows.map((row) => cleanRow(row)), skip } as const;
    return (await this.channel.call(op, this.limits(options))) as BatchResult;
  }

  async bulk(
    table: string,
    columns: readonly string[],
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    options: BulkOptions = {},
  ): Promise<BulkResult> {
    const undo = options.onFailure !== 'rollback';
    try {
      return await this.load(table, columns, chunks, options, undo);
    } catch (error) {
      // What it did so far stays in the transaction, so that must not be committed.
      if (!undo && this.owner !== undefined)
        this.channel.fail(this.owner, new StoreError('CANCELLED', 'a bulk load of the transaction failed'));
      throw error;
    }
  }

  /** @param nested a failure is undone and the transaction goes on; otherwise the caller rolls it back */
  async load(
    table: string,
    columns: readonly string[],
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    options: BulkOptions,
    nested: boolean,
  ): Promise<BulkResult> {
    const { onDuplicate = 'error', keys = [], touch = [], hex = [] } = options;
    const { timeoutMs, signal, owner } = this.limits(options);
    const endBy = performance.now() + timeoutMs;
    const call = (op: SqliteOp): Promise<unknown> => {
      const left = timeoutMs === 0 ? 0 : Math.max(1, endBy - performance.now());
      return this.channel.call(op, { timeoutMs: left, signal, owner });
    };
    try {
      // Not waited for: what follows fails together with it, and the first failure is the one that counts.
      const calls = [call({ op: 'bulk', plan: { table, columns, onDuplicate, keys, touch, hex, nested } })];
      for (const first of calls) first.catch(() => undefined);
      for await (const block of lineBlocks(chunks, blocks)) {
        const next = call({ op: 'rows', block });
        next.catch(() => undefined);
        calls.push(next);
        // One is worked on, one waits, one is being filled.
        if (calls.length > 2) giveBack(await calls.shift());
      }
      for (const pending of calls) giveBack(await pending);
      return (await call({ op: 'bulk-end', keep: true })) as BulkResult;
    } catch (error) {
      if (nested)
        await this.channel
          .call({ op: 'bulk-end', keep: false }, { timeoutMs: 0, owner })
          .catch(() => undefined);
      throw error;
    }
  }

  protected limits({ timeoutMs, signal }: CallOptions): {
    timeoutMs: number;
    signal: AbortSignal | undefined;
    owner: Ownership | undefined;
  } {
    return { timeoutMs: timeoutMs ?? this.timeoutMs, signal, owner: this.owner };
  }
}

class SqliteStore extends SqliteRunner implements Store {
  readonly dialect = sqliteDialect;
  private closed = false;

  constructor(
    private readonly path: string,
    private readonly shared: Shared,
    timeoutMs: number,
  ) {
    super(shared.channel, timeoutMs, undefined);
  }

  async *stream(sql: string, binds: SqlRow = [], options: StreamOptions = {}): AsyncGenerator<RowSet> {
    this.check();
    const cursor = this.channel.newCursor();
    const limits = this.limits(options);
    const batchRows = options.batchRows ?? 1_000;
    const opening = { op: 'open', cursor, sql, binds: cleanBinds(binds), batchRows } as const;
    const close = (): Promise<unknown> =>
      this.channel.call({ op: 'close', cursor }, { timeoutMs: 0 }).catch(() => undefined);
    let last = false;
    try {
      let batch = (await this.channel.call(opening, limits)) as CursorRows;
      for (;;) {
        last = batch.last;
        let expired = false;
        const idle = setTimeout(() => {
          expired = true;
          void close();
        }, CURSOR_IDLE).unref();
        try {
          yield { columns: batch.columns, rows: batch.rows };
        } finally {
          clearTimeout(idle);
        }
        if (last) return;
        if (expired) throw new StoreError('TIMEOUT', `nobody read the rows for ${CURSOR_IDLE} ms`);
        batch = (await this.channel.call({ op: 'fetch', cursor }, limits)) as CursorRows;
      }
    } finally {
      if (!last) await close();
    }
  }

  async transaction<T>(work: (tx: SqlRunner) => Promise<T>, options: CallOptions = {}): Promise<T> {
    this.check();
    return this.inTransaction(work, options);
  }

  private async inTransaction<T>(work: (tx: SqliteRunner) => Promise<T>, options: CallOptions): Promise<T> {
    const { timeoutMs, signal } = this.limits(options);
    const { channel } = this;
    const owner = new Ownership();
    const endBy = performance.now() + timeoutMs;
    await channel.call({ op: 'begin' }, { timeoutMs, signal, owner });
    let stop: (error: StoreError) => void = () => undefined;
    const stopped = new Promise<never>((_, reject) => {
      stop = (error) => {
        channel.fail(owner, error);
        reject(error);
      };
    });
    stopped.catch(() => undefined);
    const timer = setTimeout(
      () => stop(new StoreError('TIMEOUT', `the transaction took longer than ${timeoutMs} ms`)),
      Math.max(1, endBy - performance.now()),
    );
    const abort = (): void => stop(new StoreError('CANCELLED', 'cancelled by the caller'));
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const result = await Promise.race([work(new SqliteRunner(channel, timeoutMs, owner)), stopped]);
      await channel.call({ op: 'commit' }, { timeoutMs, owner });
      return result;
    } catch (error) {
      if (channel.owns(owner))
        await channel.call({ op: 'rollback' }, { timeoutMs: 0, owner }).catch(() => undefined);
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  async columns(table: string): Promise<TableInfo> {
    return describeTable(this, table);
  }

  override async query(sql: string, binds?: SqlRow, options?: QueryOptions): Promise<RowSet> {
    this.check();
    return super.query(sql, binds, options);
  }

  override async execute(sql: string, binds?: SqlRow, options?: CallOptions): Promise<number> {
    this.check();
    return super.execute(sql, binds, options);
  }

  override async bulk(
    table: string,
    columns: readonly string[],
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    options: BulkOptions = {},
  ): Promise<BulkResult> {
    this.check();
    return this.inTransaction((tx) => tx.load(table, columns, chunks, options, false), options);
  }

  async version(): Promise<string> {
    const { rows } = await this.query('SELECT sqlite_version()');
    return `SQLite ${String(rows[0]?.[0])}`;
  }

  override async batch(sql: string, rows: readonly SqlRow[], options?: BatchOptions): Promise<BatchResult> {
    this.check();
    return super.batch(sql, rows, options);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.shared.users -= 1;
    if (this.shared.users > 0) return;
    open.delete(this.path);
    await this.channel.close();
  }

  private check(): void {
    if (this.closed) throw new StoreError('CLOSED', `${this.path} was closed`);
  }
}
