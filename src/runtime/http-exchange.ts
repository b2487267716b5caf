/**
 * One request and its response, whatever the engine. Main thread. An engine subclasses it and fills in how bytes
 * leave; the state rules (head once, nothing after the end, writing after an abort is a no-op) are here.
 */
import type { LogFields, Logger } from './log-contract.js';
import {
  isBodiless,
  JSON_HEAD,
  PreparedHead,
  problemBody,
  requestIdOf,
  type ResponseHeaders,
} from './http-message.js';

export type RequestHeaders = Readonly<Record<string, string>>;

export class HttpCounters {
  requests = 0;
  /** Responses by class: index 2 for 2xx and so on; 1 stays 0. */
  readonly responses = [0, 0, 0, 0, 0, 0];
  bodyBytes = 0;
  /** Clients gone before their response was finished. */
  aborted = 0;
  /** Connections (node) or requests (uws) refused because of max_connections. */
  refused = 0;
  /** Connections closed by a time limit. The uws engine closes silent peers itself and cannot count them. */
  timeouts = 0;
  /** Requests refused by a parser or a size limit. */
  badRequests = 0;
}

/** What exchanges of a listener share. */
export interface ExchangeOwner {
  readonly counters: HttpCounters;
  readonly log: Logger;
  readonly accessLog: boolean;
  /** New exchanges are no longer kept alive. */
  draining: boolean;
}

export abstract class HttpExchange {
  aborted = false;
  /** The response is complete from the handler's side. */
  ended = false;
  /** Whole body, empty without one; at most max_body bytes. */
  body: Buffer = EMPTY;
  protected status = 0;
  protected sentBytes = 0;
  /** Announced body length; -1: not known, the body is sent chunked. */
  protected length = -1;
  protected closing = false;
  /** Head given but not yet on the wire: it leaves with the first body bytes. */
  protected pendingHead: PreparedHead | undefined;
  /** What a whole response echoes. */
  protected echoId: string | undefined;
  private held: Uint8Array | undefined;
  private headGiven = false;
  private id: string | undefined;
  private abortListeners: (() => void)[] | undefined;
  private drainWaiters: (() => void)[] | undefined;
  private readonly startedAt: number;

  protected constructor(
    protected readonly owner: ExchangeOwner,
    readonly method: string,
    /** Percent-decoded, starts with `/`, without dot segments or control characters. */
    readonly path: string,
    /** Raw text after `?`. */
    readonly query: string,
    /** Lower-case names; repeated headers joined. */
    readonly headers: RequestHeaders,
  ) {
    owner.counters.requests++;
    this.startedAt = owner.accessLog ? performance.now() : 0;
  }

  abstract get remoteAddress(): string;

  get requestId(): string {
    return (this.id ??= requestIdOf(this.headers['x-request-id']));
  }

  /** Called once when the client goes before the response has ended; at once if it already has. */
  onAbort(listener: () => void): void {
    if (this.aborted) listener();
    else (this.abortListeners ??= []).push(listener);
  }

  /**
   * Status and headers, at most once. They are sent together with the first bytes of the body. A Content-Length
   * here fixes the body's length; without one a streamed body is chunked.
   * @throws Error when called twice or with a header that is not allowed.
   */
  head(status: number, headers: ResponseHeaders = {}): void {
    if (this.headGiven) throw new Error('the response head was already given');
    if (!Number.isInteger(status) || status < 200 || status > 599) throw new Error(`bad status ${status}`);
    const kept: Record<string, string> = {};
    let length = -1;
    for (const [name, value] of Object.entries(headers)) {
      const lower = name.toLowerCase();
      if (lower === 'content-length' && /^\d{1,15}$/.test(value)) length = Number(value);
      else if (lower === 'connection') this.closing ||= value.toLowerCase() === 'close';
      else if (!ENGINE_HEADERS.has(lower)) kept[name] = value;
    }
    kept['X-Request-Id'] = this.requestId;
    this.pendingHead = new PreparedHead(kept);
    this.status = status;
    this.length = length;
    this.headGiven = true;
  }

  /**
   * Sends bytes of the body. They belong to the exchange from now on: do not change or reuse their memory.
   * @returns false when the client is behind: wait for `whenDrained` before the next write.
   * @throws Error after the end, or when more bytes come than the announced length.
   */
  write(chunk: string | Uint8Array): boolean {
    if (this.ended) throw new Error('the response has already ended');
    if (!this.headGiven) this.head(200);
    if (this.aborted) return true;
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    this.sentBytes += bytes.length;
    if (this.length >= 0 && this.sentBytes > this.length)
      throw new Error('more bytes than the Content-Length');
    if (bytes.length === 0 || this.bodiless()) return true;
    if (this.holds(bytes)) return true;
    this.release();
    return this.sendChunk(bytes);
  }

  /**
   * A small beginning of unknown length waits until the current turn is over: when the end comes in the same turn, as it
   * does for most answers of actors, the response leaves in one piece with a Content-Length.
   */
  private holds(bytes: Uint8Array): boolean {
    if (this.pendingHead === undefined || this.length >= 0) return false;
    const held = this.held;
    if ((held?.length ?? 0) + bytes.length > HELD_BYTES) return false;
    this.held = held === undefined ? bytes : Buffer.concat([held, bytes]);
    if (held === undefined) queueMicrotask(() => this.release());
    return true;
  }

  private release(): void {
    const { held } = this;
    this.held = undefined;
    if (held !== undefined && !this.aborted && !this.ended) this.sendChunk(held);
  }

  /** Settles when more may be written, or when the client has gone. */
  whenDrained(): Promise<void> {
    if (this.aborted || !this.blocked()) return Promise.resolve();
    return new Promise((resolve) => (this.drainWaiters ??= []).push(resolve));
  }

  /** Ends the response; 200 without a prior head. A second call is ignored. */
  end(chunk?: string | Uint8Array): void {
    if (this.ended) return;
    if (!this.headGiven) this.head(200);
    if (this.aborted) {
      this.ended = true;
      return;
    }
    const bytes = chunk === undefined ? EMPTY : typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    const total = this.sentBytes + bytes.length;
    if (this.length >= 0 && total !== this.length && !this.bodiless()) {
      // The client was promised another length: all that can be said truthfully now is a cut connection.
      this.owner.log.error('http.length_mismatch', { path: this.path, announced: this.length, sent: total });
      this.abort();
      return;
    }
    this.sentBytes = total;
    this.ended = true;
    const { held } = this;
    this.held = undefined;
    this.finish(held === undefined ? bytes : Buffer.concat([held, bytes]));
    this.account();
  }

  /**
   * A whole response in one call, the cheap way for static content. For HEAD the body's length is announced and
   * nothing is sent. X-Request-Id is echoed when the client sent one.
   */
  reply(status: number, head: PreparedHead, body: Uint8Array = EMPTY): void {
    if (this.headGiven) throw new Error('the response head was already given');
    this.headGiven = true;
    this.ended = true;
    if (this.aborted) return;
    this.status = status;
    this.sentBytes = body.length;
    const sentId = this.headers['x-request-id'];
    if (sentId !== undefined && sentId === this.requestId) this.echoId = sentId;
    this.sendWhole(status, head, body);
    this.account();
  }

  /** A refusal as JSON with code, message and requestId. Ignored when a head was already given. */
  problem(status: number, message: string, headers: ResponseHeaders = {}): void {
    if (this.headGiven || this.ended) return;
    this.head(status, { ...JSON_HEAD, ...headers });
    this.end(problemBody(status, message, this.requestId));
  }

  /** The handler failed: 500 when still possible, else the connection is cut so that nobody takes it as whole. */
  fail(reason: string): void {
    if (this.ended) return;
    this.owner.log.error('http.handler_failed', { path: this.path, requestId: this.requestId, reason });
    if (this.status === 0 || this.pendingHead !== undefined) {
      this.headGiven = false;
      this.held = undefined;
      this.sentBytes = 0;
      this.problem(500, 'internal error');
    } else this.abort();
  }

  /** Cuts the connection; abort listeners run. */
  abstract abort(): void;
  /** Sends a non-empty piece, with the pending head if there is one. */
  protected abstract sendChunk(bytes: Uint8Array): boolean;
  /** Sends the last, possibly empty, piece. */
  protected abstract finish(bytes: Uint8Array): void;
  protected abstract sendWhole(status: number, head: PreparedHead, body: Uint8Array): void;
  protected abstract blocked(): boolean;

  protected bodiless(): boolean {
    return this.method === 'HEAD' || isBodiless(this.status);
  }

  /** The engine saw the client go, or cut it. */
  protected markAborted(): void {
    if (this.aborted) return;
    this.aborted = true;
    this.owner.counters.aborted++;
    this.drained();
    const listeners = this.abortListeners;
    this.abortListeners = undefined;
    for (const listener of listeners ?? []) listener();
  }

  protected drained(): void {
    const waiters = this.drainWaiters;
    this.drainWaiters = undefined;
    for (const resume of waiters ?? []) resume();
  }

  private account(): void {
    const { counters, accessLog, log } = this.owner;
    const kind = (this.status / 100) | 0;
    counters.responses[kind] = (counters.responses[kind] ?? 0) + 1;
    if (!this.bodiless()) counters.bodyBytes += this.sentBytes;
    if (accessLog) log.info('http.access', this.accessFields());
  }

  private accessFields(): LogFields {
    return {
      remote: this.remoteAddress,
      method: this.method,
      path: this.path,
      status: this.status,
      bytes: this.bodiless() ? 0 : this.sentBytes,
      ms: Math.round((performance.now() - this.startedAt) * 1000) / 1000,
      requestId: this.requestId,
    };
  }
}

const EMPTY = Buffer.alloc(0);
const HELD_BYTES = 16 * 1024;
const ENGINE_HEADERS = new Set(['transfer-encoding', 'keep-alive', 'date', 'server', 'x-request-id']);
