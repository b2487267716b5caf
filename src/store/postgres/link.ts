/**
 * One connection: opened with the session this program wants, one exchange after the other, cancelled from a second connection.
 * Thread of the caller.
 */
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import copyStreams from 'pg-copy-streams';
import type { PooledConnection } from '../connection-pool.js';
import { StoreError } from '../driver.js';
import { guard, type Deadline } from '../give-up.js';
import { storeError } from './errors.js';
import { Exchange, ExchangeError, type Outcome, type Script } from './exchange.js';
import type { PostgresAddress } from './url.js';
import type { RowReader } from './values.js';
import { quoteExactly } from './dialect.js';

/** How long opening may take at most (ms); a call's own deadline may be shorter. */
const CONNECT_TIMEOUT = 10_000;
/** The server's own limits come this much later (ms) than ours: they are for when this process is gone or cut off. */
const SERVER_GRACE = 15_000;
/** A cursor may rest for a minute; see `Store.stream`. */
const LEAST_IDLE = 90_000;
const CANCEL_TIMEOUT = 2_000;
const UNDO_TIMEOUT = 5_000;
/** The largest number of ms the server takes. */
const MOST = 2 ** 31 - 1;

/** A failed exchange, and which of its statements failed. */
export class LinkError extends StoreError {
  constructor(
    { code, message, row }: StoreError,
    readonly done: number,
  ) {
    super(code, message, { row });
  }
}

export class PostgresLink implements PooledConnection {
  lost: StoreError | undefined;
  usedAt = performance.now();
  /** Temporary tables made in this session, see bulk.ts. */
  readonly staging = new Set<string>();
  private serverTimeout = 0;
  private dead = false;

  private constructor(
    private readonly client: pg.Client,
    private readonly address: PostgresAddress,
  ) {
    const gone = (error: StoreError): void => {
      this.dead = true;
      this.lost ??= error;
    };
    client.on('error', (error) => gone(storeError(error)));
    client.on('end', () => gone(new StoreError('LOST', 'the server closed the connection')));
  }

  /** @throws StoreError LOST when it may work later, OPEN when not */
  static async open(address: PostgresAddress, timeoutMs: number): Promise<PostgresLink> {
    const connectionTimeoutMillis = Math.max(1, Math.min(CONNECT_TIMEOUT, Math.ceil(timeoutMs)));
    const client = new pg.Client({ ...address.client, connectionTimeoutMillis });
    const link = new PostgresLink(client, address);
    const timer = setTimeout(() => link.cut(), connectionTimeoutMillis + 1_000);
    try {
      await client.connect();
      const path = address.schemas.map((name) => quoteExactly(name)).join(', ');
      await client.query(
        `SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 1; ` +
          `SET standard_conforming_strings = on; SET lock_timeout = ${address.lockWaitSeconds * 1000}` +
          (path === '' ? '' : `; SET search_path = ${path}`),
      );
      return link;
    } catch (error) {
      link.cut();
      const { code, message } = storeError(error);
      throw new StoreError(code, `cannot open ${address.label}: ${message}`);
    } finally {
      clearTimeout(timer);
    }
  }

  async alive(timeoutMs: number): Promise<boolean> {
    const timer = setTimeout(() => this.cut(), timeoutMs);
    try {
      await this.send(() => undefined);
      return true;
    } catch {
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Makes the server give up by itself some time after `timeoutMs`, should nobody be there to cancel. */
  async limit(timeoutMs: number): Promise<void> {
    if (timeoutMs <= this.serverTimeout) return;
    const most = Math.min(MOST, Math.ceil(timeoutMs + SERVER_GRACE));
    const idle = Math.max(most, LEAST_IDLE);
    await this.send((script) => {
      script.say(`SET statement_timeout = ${most}`);
      script.say(`SET idle_in_transaction_session_timeout = ${idle}`);
    });
    this.serverTimeout = timeoutMs;
  }

  /** Sends and waits, or cancels. @throws LinkError; the deadline's StoreError */
  async run(write: (script: Script) => void, deadline: Deadline, reader?: RowReader): Promise<Outcome> {
    deadline.check();
    return this.watch(this.send(write, reader), deadline);
  }

  /** Waits for a call under way, or cancels it. @throws what the call throws; the deadline's StoreError */
  async watch<T>(call: Promise<T>, deadline: Deadline): Promise<T> {
    let failure: unknown;
    call.catch((error: unknown) => (failure = error));
    try {
      const { value, cancelled } = await guard(call, deadline, () => this.cancel());
      // It was faster than the cancellation, which may still come and must not hit the next call.
      if (cancelled) this.retire('a late cancellation');
      return value;
    } catch (error) {
      const { code } = (failure ?? error) as StoreError;
      if (deadline.error !== undefined && code !== 'CANCELLED') this.retire('a late cancellation');
      if (code === 'LOST') this.retire('a lost call');
      throw error;
    }
  }

  /** Sends without a deadline: for what has to be said whatever the time. @throws LinkError */
  async send(write: (script: Script) => void, reader?: RowReader): Promise<Outcome> {
    const exchange = new Exchange(write, reader);
    this.client.query(exchange);
    try {
      const outcome = await exchange.outcome;
      this.usedAt = performance.now();
      return outcome;
    } catch (error) {
      if (!(error instanceof ExchangeError)) throw error;
      throw new LinkError(storeError(error.cause), error.done);
    }
  }

  /** @throws LinkError; StoreError DATABASE when the server, asked to commit, rolled back */
  async commit(deadline: Deadline): Promise<void> {
    const { tag } = await this.run((script) => script.say('COMMIT'), deadline);
    if (tag !== 'COMMIT') throw new StoreError('DATABASE', `the server answered ${tag} to COMMIT`);
  }

  /** Undoes, whatever the time; a connection that does not answer is given up, which undoes it too. */
  async undo(...texts: readonly string[]): Promise<void> {
    if (this.dead) return;
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new StoreError('LOST', 'no answer')), UNDO_TIMEOUT);
    });
    const done = this.send((script) => {
      for (const text of texts) script.say(text);
    });
    done.catch(() => undefined);
    try {
      await Promise.race([done, silence]);
    } catch {
      this.retire('a failed rollback');
    } finally {
      clearTimeout(timer);
    }
  }

  /** The way in for COPY ... FROM STDIN. */
  copy(sql: string): copyStreams.CopyStreamQuery {
    return this.client.query(copyStreams.from(sql));
  }

  /** Asks the server to stop what this connection does, as pg_cancel_backend does; it needs no login. */
  private async cancel(): Promise<void> {
    const { processID, secretKey } = this.client as unknown as { processID: number; secretKey: number };
    const request = Buffer.alloc(16);
    for (const [i, value] of [16, 80_877_102, processID, secretKey].entries())
      request.writeInt32BE(value, i * 4);
    const { host = '', port = 5432 } = this.address.client;
    const path = host.startsWith('/') ? join(host, `.s.PGSQL.${port}`) : undefined;
    const socket = path === undefined ? connectSocket(port, host) : connectSocket(path);
    await new Promise<void>((resolve) => {
      socket.setTimeout(CANCEL_TIMEOUT, () => socket.destroy());
      socket.once('error', () => undefined).once('close', () => resolve());
      // The server hangs up when the order is given.
      socket.end(request);
    });
  }

  /** Not to be used by another call. */
  retire(after: string): void {
    this.lost ??= new StoreError('LOST', `the connection was given up after ${after}`);
  }

  /** Polite when it is sound; at once when it is not. The server undoes what was not committed. */
  end(): void {
    if (this.lost === undefined) this.client.end().catch(() => undefined);
    else this.cut();
  }

  private cut(): void {
    this.retire('no answer');
    (this.client.connection as unknown as { stream: { destroy(): void } }).stream.destroy();
  }
}
