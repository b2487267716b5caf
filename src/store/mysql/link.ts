/**
 * One connection: opened with the session this program wants, runs one statement after the other, can be cancelled from a second
 * connection. Thread of the caller.
 */
import { isIP, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import mysql from 'mysql2';
import type { Connection, ConnectionOptions } from 'mysql2';
import type { PooledConnection } from '../connection-pool.js';
import { StoreError } from '../driver.js';
import { runPrepared, runText, type Done, type RowSink, type StatementRunner } from './command.js';
import type { KnownTable } from './engine.js';
import { errorNumber, storeError } from './errors.js';
import { MAX_STAGE_BYTES, type StagePlan } from './stage.js';
import type { MysqlAddress } from './url.js';

/** How long opening may take at most, in ms; a call's own deadline may be shorter. */
const CONNECT_TIMEOUT = 10_000;
/** A server that does not answer to KILL within this many ms is given up. */
const KILL_TIMEOUT = 2_000;

const SQL_MODE = [
  'STRICT_TRANS_TABLES',
  'STRICT_ALL_TABLES',
  'ERROR_FOR_DIVISION_BY_ZERO',
  'NO_ZERO_DATE',
  'NO_ZERO_IN_DATE',
  'NO_ENGINE_SUBSTITUTION',
  'PIPES_AS_CONCAT',
].join();

/** Reads of a stream may pause for a minute, a bulk may wait for its source: the server must not hang up before we do. */
const WIRE_TIMEOUT_SECONDS = 600;

export class MysqlLink implements PooledConnection {
  private failure: StoreError | undefined;
  /** When it was last used, on the clock of `performance.now()`. */
  usedAt = performance.now();
  /** The server does not take LOAD DATA LOCAL. */
  localRefused = false;
  /** What engine.ts found out about tables. */
  readonly transactional = new Map<string, boolean | undefined>();
  readonly tables = new Map<string, KnownTable>();
  /** What stage.ts found out about tables. */
  readonly stagePlans = new Map<string, StagePlan>();

  private constructor(
    private readonly connection: Connection,
    readonly address: MysqlAddress,
  ) {
    connection.on('error', (error: Error) => {
      this.failure ??= storeError(error);
    });
    connection.on('end', () => {
      this.failure ??= new StoreError('LOST', 'the server closed the connection');
    });
  }

  /** @throws StoreError OPEN when the server refuses us, LOST when it may work later */
  static async open(address: MysqlAddress, timeoutMs: number): Promise<MysqlLink> {
    const connectTimeout = Math.max(1, Math.min(CONNECT_TIMEOUT, Math.ceil(timeoutMs)));
    const connection = connect(address, {
      connectTimeout,
      // The values are in the text already.
      queryFormat: (sql: string) => sql,
      keepAliveInitialDelay: 30_000,
    });
    try {
      // The library's time limit covers the whole greeting.
      await new Promise<void>((resolve, reject) => {
        connection.once('connect', () => resolve());
        connection.once('error', reject);
      });
      const link = new MysqlLink(connection, address);
      const wait = address.lockWaitSeconds;
      const give = setTimeout(() => link.destroy(), connectTimeout);
      try {
        await link.run(
          `SET SESSION sql_mode = '${SQL_MODE}', autocommit = 1, sql_notes = 1, max_error_count = 65535, ` +
            `max_heap_table_size = ${MAX_STAGE_BYTES}, innodb_lock_wait_timeout = ${wait}, lock_wait_timeout = ${wait}, ` +
            `net_write_timeout = ${WIRE_TIMEOUT_SECONDS}, net_read_timeout = ${WIRE_TIMEOUT_SECONDS}`,
        );
        await link.run('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
      } finally {
        clearTimeout(give);
      }
      return link;
    } catch (error) {
      drop(connection);
      // Errors of the socket after the first one have nobody left to tell.
      connection.on('error', () => undefined);
      const known = storeError(error);
      throw new StoreError(
        known.code === 'OPEN' ? 'OPEN' : 'LOST',
        `cannot open ${address.label}: ${known.message}`,
      );
    }
  }

  /** Set when the connection is of no use any more. */
  get lost(): StoreError | undefined {
    return this.failure;
  }

  /**
   * Runs one statement to its end. @param sink gets the rows of the first result. @param infile what LOAD DATA LOCAL reads
   * @throws StoreError
   */
  async run(sql: string, sink?: RowSink, infile?: Readable): Promise<Done> {
    if (this.failure !== undefined) throw new StoreError('LOST', this.failure.message);
    const { connection } = this;
    try {
      const runner: StatementRunner = { connection, destroy: () => this.destroy() };
      const done = sink?.binary === undefined ? undefined : await runPrepared(runner, sql, sink, sink.binary);
      return done ?? (await runText(runner, sql, sink, infile));
    } catch (error) {
      const known = storeError(error);
      // The server says goodbye: whatever comes next would only find a closed socket.
      if (known.code === 'LOST') this.failure ??= known;
      throw known;
    } finally {
      this.usedAt = performance.now();
    }
  }

  /**
   * Stops reading from the socket; the server waits then. What has been read already still arrives. The library's own pause would
   * copy each of those rows.
   */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Asked for each time: it is another one once TLS has begun. */
  private get socket(): Socket {
    return socketOf(this.connection);
  }

  /**
   * Ends the statement that is running, by KILL QUERY on a connection of its own. Resolves when the server has taken the order; the
   * statement itself then fails with CANCELLED, or has just ended. @returns false when the server did not answer
   */
  async kill(): Promise<boolean> {
    const id = this.connection.threadId;
    if (id === undefined || id === null) return false;
    const other = connect(this.address, { connectTimeout: KILL_TIMEOUT });
    other.on('error', () => undefined);
    try {
      return await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(false), KILL_TIMEOUT);
        other.query(`KILL QUERY ${id}`, (error) => {
          clearTimeout(timer);
          // 1094: no such thread, so nothing runs any more.
          resolve(error === null || errorNumber(error) === 1094);
        });
      });
    } finally {
      drop(other);
    }
  }

  /** At once, whatever runs. The server undoes what was not committed. */
  destroy(): void {
    this.failure ??= new StoreError('LOST', 'the connection was given up');
    drop(this.connection);
    this.connection.emit('end');
  }

  /** @returns false when the server did not answer in time, and the connection is given up. */
  async alive(timeoutMs: number): Promise<boolean> {
    const timer = setTimeout(() => this.destroy(), timeoutMs);
    try {
      await this.run('DO 0');
      return true;
    } catch {
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Says goodbye, or cuts the connection when it is lost. */
  end(): void {
    if (this.failure !== undefined) return this.destroy();
    this.failure ??= new StoreError('CLOSED', 'closed');
    this.connection.end(() => undefined);
  }
}

function connect({ connection: given }: MysqlAddress, options: ConnectionOptions): Connection {
  const connection = mysql.createConnection({ ...given, ...options, trace: false });
  // The library does not tell TLS whom it talks to when that is an address, and Node would look for "localhost" in the certificate. It
  // looks here first.
  if (isIP(given.host ?? '') !== 0)
    (socketOf(connection) as { _host?: string | undefined })._host = given.host;
  return connection;
}

function socketOf(connection: Connection): Socket {
  return (connection as unknown as { stream: Socket }).stream;
}

/** The library alone would only say goodbye politely, and a hung server never answers. */
function drop(connection: Connection): void {
  connection.destroy();
  socketOf(connection).destroy();
}
