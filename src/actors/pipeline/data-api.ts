/**
 * Actor `data-api`: rows of the database over HTTP (spec data-centre 11): interfaces are rows of T_INTERCFG, users of
 * T_USERINFO, grants of T_USERANDINTER. Requests are worked on side by side, a bounded number; a slow client holds up
 * nobody else. Worker thread.
 */
import type { Actor, ActorContext, ActorHttpRequest, ActorHttpResponse } from '../../runtime/actor.js';
import { reasonOf } from '../../runtime/errors.js';
import { StoreError, type RowSet, type Store } from '../../store/driver.js';
import { HasherBusyError, PasswordHasher } from '../../store/passwords.js';
import { migrateDataApi } from '../../store/schema-data-api.js';
import { migrateWeather } from '../../store/schema-weather.js';
import { bindValue, rewriteSql, SqlRewriteError } from '../../store/sql-rewrite.js';
import {
  addressAllowed,
  FailureLimiter,
  findInterface,
  findUser,
  PasswordChecker,
  type InterfaceRow,
} from './data-api/access.js';
import { seedDemo } from './data-api/demo.js';
import {
  badRequest,
  refusalReply,
  REFUSALS,
  replyHeaders,
  rowEncoder,
  sqlError,
  type Refusal,
} from './data-api/formats.js';
import type { DataApiValues } from './data-api/keys.js';
import { CallLog } from './data-api/log.js';
import { parseApiRequest, type ApiQuery, type ReplyFormat } from './data-api/query.js';
import { LazyStore } from './stage/lazy-store.js';

/** An answer up to this size is sent whole, with its length; a longer one is streamed in pieces of about this size. */
const PIECE_CHARS = 64 << 10;
const BATCH_ROWS = 500;
const FLUSH_MS = 1_000;
/** How long `stop` waits for the requests under way. */
const STOP_MS = 3_000;

/** A request that ends with this answer. */
class Refused extends Error {
  constructor(readonly refusal: Refusal) {
    super(refusal.message);
  }
}

/** Made once per (re)start. @throws RangeError for parameters that do not go together */
export function createDataApi(ctx: ActorContext): Actor {
  return new DataApi(ctx, new PasswordHasher());
}

export class DataApi implements Actor {
  private readonly params: DataApiValues;
  private readonly store: LazyStore;
  private readonly passwords: PasswordChecker;
  private readonly failures: FailureLimiter;
  private readonly calls: CallLog;
  private readonly running = new Set<Promise<void>>();
  /** Aborted when a stop has waited long enough for the requests under way. */
  private readonly ending = new AbortController();
  private flushing = false;

  /** @param hasher cheaper ones make tests fast @param now monotonic clock in ms */
  constructor(
    private readonly ctx: ActorContext,
    private readonly hasher: PasswordHasher,
    now: () => number = () => performance.now(),
  ) {
    const params = ctx.params as DataApiValues;
    this.params = params;
    if (params.demo && (params.demo_password ?? '') === '') {
      throw new RangeError('demo = yes needs demo_password, the password the demo user gets');
    }
    this.store = new LazyStore(params.store, (store) => this.prepare(store));
    this.passwords = new PasswordChecker(hasher, params.verified_ttl, now);
    this.failures = new FailureLimiter(params.max_failures, now);
    this.calls = new CallLog(params.call_log_days, ctx.log);
  }

  async init(): Promise<void> {
    this.ctx.route('GET', this.params.route);
    // A database that is not there yet is no reason not to start: requests get 503 until it is.
    await this.store
      .get()
      .catch((error: unknown) => this.ctx.log.warn('data-api.store', { reason: reasonOf(error) }));
  }

  /** Returns at once: the mailbox must not wait for a database or a client. */
  request(request: ActorHttpRequest, response: ActorHttpResponse): void {
    const { ctx, params } = this;
    if (this.running.size >= params.max_requests) {
      const format = parseApiRequest(request, params.query_form).format;
      this.refuse(REFUSALS.busy, format, request, response);
      return;
    }
    const work = this.answer(request, response)
      .catch((error: unknown) =>
        ctx.log.error('data-api.failed', { reason: reasonOf(error), request: request.requestId }),
      )
      .finally(() => this.running.delete(work));
    this.running.add(work);
  }

  async receive(body: unknown): Promise<void> {
    if ((body as { type?: unknown }).type !== 'flush') return;
    this.flushing = false;
    await this.flush();
    if (this.calls.waiting > 0) this.flushLater();
  }

  async stop(): Promise<void> {
    const late = new Promise((resolve) => setTimeout(resolve, STOP_MS).unref());
    await Promise.race([Promise.allSettled(this.running), late]);
    this.ending.abort();
    await this.flush();
    await this.store.close();
  }

  private async prepare(store: Store): Promise<void> {
    await migrateDataApi(store);
    const { demo, demo_user: name, demo_password: password } = this.params;
    if (!demo || password === undefined) return;
    await migrateWeather(store);
    await seedDemo(store, this.hasher, { name, password });
  }

  private async answer(request: ActorHttpRequest, response: ActorHttpResponse): Promise<void> {
    const query = parseApiRequest(request, this.params.query_form);
    if ('problem' in query) return this.refuse(badRequest(query.problem), query.format, request, response);
    const answered = { started: false };
    try {
      const store = await this.store.get();
      const found = await this.authorise(store, query, request.remoteAddress);
      const rows = await this.send(store, found, query, response, answered);
      this.ctx.count('data_api_requests_total', 1, { result: 'ok' });
      this.ctx.count('data_api_rows_total', rows);
      if (this.params.call_log) {
        this.calls.add(query.credentials?.username ?? '', query.intername, request.remoteAddress, rows);
        this.flushLater();
      }
    } catch (error) {
      await this.store.failed(error);
      if (!answered.started)
        return this.refuse(this.refusalOf(error, query), query.format, request, response);
      // The status is long gone; a cut connection tells the client that this is not the whole.
      this.ctx.count('data_api_requests_total', 1, { result: 'broken' });
      this.ctx.log.warn('data-api.broken', {
        intername: query.intername,
        reason: reasonOf(error),
        request: request.requestId,
      });
      response.cut(reasonOf(error));
    }
  }

  /** @throws Refused, StoreError, HasherBusyError */
  private async authorise(store: Store, query: ApiQuery, address: string): Promise<InterfaceRow> {
    const { credentials, intername } = query;
    if (this.failures.blocked(address)) throw new Refused(REFUSALS.failures);
    if (credentials === undefined) throw new Refused(REFUSALS.credentials);
    const user = await findUser(store, credentials.username);
    if (!(await this.passwords.check(credentials, user?.passwd)) || user === undefined) {
      // The first of each minute only: whoever guesses must not fill the log.
      if (this.failures.failed(address) === 1)
        this.ctx.log.warn('data-api.wrong-password', { remote: address });
      throw new Refused(REFUSALS.credentials);
    }
    if (!addressAllowed(user.ip, address)) {
      this.ctx.log.warn('data-api.address', { user: credentials.username, remote: address });
      throw new Refused(REFUSALS.permission);
    }
    const found = await findInterface(store, credentials.username, intername);
    if (found === undefined) throw new Refused(REFUSALS.permission);
    return found;
  }

  /** Runs the statement and streams its rows. @returns how many were sent. @throws Refused, StoreError, SqlRewriteError */
  private async send(
    store: Store,
    found: InterfaceRow,
    query: ApiQuery,
    response: ActorHttpResponse,
    answered: { started: boolean },
  ): Promise<number> {
    const { row_limit: limit, statement_timeout: timeoutMs } = this.params;
    const columns = names(found.colstr);
    const statement = this.statement(store, found, query);
    const encoder = rowEncoder(query.format, columns);
    let text = encoder.begin;
    let count = 0;
    let cut = false;
    for await (const set of store.stream(statement.sql, statement.binds, {
      batchRows: BATCH_ROWS,
      timeoutMs,
      signal: this.ending.signal,
    })) {
      if (count === 0) this.checkColumns(set, columns, query.intername);
      for (const row of set.rows) {
        cut = count >= limit;
        if (cut) break;
        count++;
        text += encoder.row(row);
        if (text.length < PIECE_CHARS) continue;
        if (!answered.started) response.head(200, replyHeaders(query.format));
        answered.started = true;
        await this.taken(response.write(text));
        text = '';
      }
      if (cut || response.aborted) break;
    }
    if (cut) this.ctx.log.warn('data-api.cut', { intername: query.intername, limit });
    const bytes = Buffer.from(text + encoder.end(cut ? limit : undefined));
    if (!answered.started)
      response.head(200, { ...replyHeaders(query.format), 'Content-Length': String(bytes.length) });
    answered.started = true;
    response.end(bytes);
    return count;
  }

  private statement(
    store: Store,
    found: InterfaceRow,
    query: ApiQuery,
  ): { sql: string; binds: (string | null)[] } {
    const { sql, binds } = configured(() => rewriteSql(found.selectsql, store.dialect.name));
    const inputs = names(found.bindin ?? '');
    // A missing parameter binds NULL (spec 11.3); so does a number beyond the list.
    return {
      sql,
      binds: binds.map((bind) => bindValue(bind, query.params.get(inputs[bind.number - 1] ?? ''))),
    };
  }

  private checkColumns(set: RowSet, columns: readonly string[], intername: string): void {
    if (set.columns.length === columns.length) return;
    this.ctx.log.error('data-api.columns', {
      intername,
      selected: set.columns.length,
      named: columns.length,
    });
    throw new Refused(REFUSALS.internal);
  }

  /** Waits until the client took its bytes. @throws Error when it does not for too long */
  private async taken(written: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error('the client does not take its rows')),
        this.params.client_timeout,
      );
    });
    await Promise.race([written, late]).finally(() => clearTimeout(timer));
  }

  private refusalOf(error: unknown, query: ApiQuery): Refusal {
    if (error instanceof Refused) return error.refusal;
    if (error instanceof HasherBusyError) return REFUSALS.busy;
    if (error instanceof SqlRewriteError) return badRequest(error.message);
    this.ctx.log.error('data-api.error', { intername: query.intername, reason: reasonOf(error) });
    if (!(error instanceof StoreError)) return REFUSALS.internal;
    if (error.code === 'TIMEOUT') return sqlError(504, 'the statement took too long');
    if (error.retryable || error.code === 'OPEN' || error.code === 'CLOSED') return REFUSALS.unavailable;
    return sqlError(422, error.message);
  }

  private refuse(
    refusal: Refusal,
    format: ReplyFormat,
    request: ActorHttpRequest,
    response: ActorHttpResponse,
  ): void {
    this.ctx.count('data_api_requests_total', 1, { result: refusal.code.toLowerCase() });
    const { status, headers, body } = refusalReply(refusal, format, request.requestId);
    const bytes = Buffer.from(body);
    response.head(status, { ...headers, 'Content-Length': String(bytes.length) });
    response.end(bytes);
  }

  private flushLater(): void {
    if (this.flushing) return;
    this.flushing = true;
    this.ctx.after(FLUSH_MS, { type: 'flush' });
  }

  private async flush(): Promise<void> {
    const store = await this.store.get().catch(() => undefined);
    if (store !== undefined) await this.calls.flush(store);
  }
}

/** The interface's own text being wrong is no fault of the request. */
function configured<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error });
  }
}

function names(list: string): string[] {
  return list
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}
