/**
 * The fast HTTP engine: uWebSockets.js. Main thread. The registry build (20.30) has no hook for connections, so these
 * things are its own and cannot be configured:
 * - A connection without a complete request header, and one idle after an answer, is closed after 10 to 12 s. That is
 *   also what happens to HTTP/1.0 and to lines it cannot read: it never answers them. Use the node engine for those clients.
 * - A client that takes nothing of its answer is closed after 10 to 12 s, one that sends its body slower
 *   than 16 KB/s likewise.
 * - A header block that comes in several reads may have 4 KB, one with more than 50 lines is never answered; unknown
 *   methods and a body with both lengths are closed without an answer.
 * - A request pipelined behind one whose answer takes longer than its handler's turn closes the connection, and answers
 *   not yet on the wire are lost. Answers given at once (files in memory, refusals) pipeline.
 * - What a client that never reads has not taken of answers without a body (HEAD, 304; about 200 bytes each) stays in the
 *   engine's memory until the client stops asking. A plain flood is cut, see MAX_EMPTY_ANSWERS.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { reasonOf } from './errors.js';
import type { HttpHandler, HttpOptions, HttpServerHandle } from './http.js';
import { HttpCounters } from './http-exchange.js';
import { decodePath } from './http-message.js';
import { runHandler } from './http-node.js';
import type { UwsModule, UwsRequest, UwsResponse, UwsApp } from './http-uws-api.js';
import { UwsListening } from './http-uws-listening.js';
import { UwsExchange, type UwsOwner } from './http-uws-exchange.js';

/**
 * Loads the native module itself, not the package's entry: that one would quietly put a slow imitation in its place.
 * @returns the module, or the reason why there is none.
 */
export function loadUws(): UwsModule | string {
  const require = createRequire(import.meta.url);
  let entry: string;
  try {
    entry = require.resolve('uWebSockets.js');
  } catch {
    return 'uWebSockets.js is not installed';
  }
  const file = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
  let reason = `it has no build ${file}`;
  for (const folder of [dirname(entry), join(dirname(entry), '..', 'binaries')]) {
    try {
      const uws = require(join(folder, file)) as UwsModule;
      uws._cfg('999999990007'); // its own Server-like header off; ours is sent
      return uws;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') reason = reasonOf(error);
    }
  }
  return reason;
}

/** @throws SwitchyardError HTTP_LISTEN. */
export async function startUws(
  uws: UwsModule,
  options: HttpOptions,
  handler: HttpHandler,
): Promise<HttpServerHandle> {
  const engine = new UwsEngine(uws, options, handler);
  await engine.listen();
  return engine;
}

/** Answers without a body (HEAD, 304) in one turn of the loop, over all connections. */
const MAX_EMPTY_ANSWERS = 500;

class UwsEngine implements HttpServerHandle, UwsOwner {
  readonly engine = 'uws';
  readonly counters = new HttpCounters();
  readonly log;
  readonly accessLog: boolean;
  draining = false;
  readonly unfinished = new Set<UwsExchange>();
  private readonly app: UwsApp;
  private readonly listening: UwsListening;
  private emptyAnswers = 0;
  private drainedAll: (() => void) | undefined;
  private readonly reader = new HeaderReader();

  constructor(
    uws: UwsModule,
    private readonly options: HttpOptions,
    private readonly handler: HttpHandler,
  ) {
    this.log = options.log;
    this.accessLog = options.accessLog;
    this.app = uws.App();
    this.listening = new UwsListening(uws, this.app, options);
    this.app.any('/*', (response, request) => this.onRequest(response, request));
  }

  get port(): number {
    return this.listening.port;
  }

  connections(): number {
    return this.unfinished.size;
  }

  listen(): Promise<void> {
    return this.listening.open();
  }

  setTls(): void {
    throw new Error('the uws engine has no TLS');
  }

  async close(drainMs: number): Promise<void> {
    if (this.draining) return;
    this.draining = true;
    this.listening.close();
    if (this.unfinished.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, drainMs);
        this.drainedAll = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.app.close(); // idle connections, and what did not finish in time
  }

  finished(exchange: UwsExchange): void {
    this.unfinished.delete(exchange);
    if (this.unfinished.size === 0) this.drainedAll?.();
  }

  mayAnswerEmpty(): boolean {
    if (this.emptyAnswers === 0) setImmediate(() => (this.emptyAnswers = 0));
    return ++this.emptyAnswers <= MAX_EMPTY_ANSWERS;
  }

  private onRequest(response: UwsResponse, request: UwsRequest): void {
    const method = request.getCaseSensitiveMethod();
    const target = request.getUrl();
    const query = request.getQuery() ?? '';
    const reader = this.reader;
    reader.read(request);
    const path = decodePath(target) ?? '';
    const exchange = new UwsExchange(this, method, path, query, reader.headers, response);
    try {
      this.dispatch(exchange, response, target.length + query.length);
    } catch (error) {
      exchange.fail(reasonOf(error));
    }
    // Whatever happened: to return without an answer or an abort handler would end the process.
    exchange.turnEnds();
  }

  private dispatch(exchange: UwsExchange, response: UwsResponse, targetBytes: number): void {
    const { reader } = this;
    const { method, path } = exchange;
    const refusal = this.refusal(path, targetBytes, reader);
    if (refusal !== undefined) {
      this.counters.badRequests++;
      exchange.problem(refusal[0], refusal[1], { Connection: 'close' });
    } else if (reader.hasBody && method !== 'GET' && method !== 'HEAD') {
      this.receive(exchange, response, Number(reader.headers['content-length'] ?? 0));
    } else {
      runHandler(this.handler, exchange);
    }
  }

  private refusal(
    path: string,
    targetBytes: number,
    reader: HeaderReader,
  ): readonly [number, string] | undefined {
    const { options } = this;
    if (targetBytes > options.maxTarget) return [414, 'the request target is too long'];
    if (reader.bytes > options.maxHeader) return [431, 'the request headers are too large'];
    if (path === '') return [400, 'bad path'];
    if (reader.ambiguous) return [400, 'a header that may come once came twice'];
    if (reader.headers['host'] === undefined) return [400, 'a Host header is required'];
    if (this.unfinished.size >= options.maxConnections) {
      this.counters.refused++;
      return [503, 'too many requests at a time'];
    }
    return undefined;
  }

  private receive(exchange: UwsExchange, response: UwsResponse, announced: number): void {
    const { maxBody, bodyTimeout } = this.options;
    const tooLarge = (): void => {
      this.counters.badRequests++;
      exchange.problem(413, `a body may have at most ${maxBody} bytes`);
    };
    if (announced > maxBody) {
      tooLarge();
      return;
    }
    const chunks: Buffer[] = [];
    let bytes = 0;
    exchange.detach();
    const timer = setTimeout(() => {
      this.counters.timeouts++;
      exchange.problem(408, 'the request did not come in time', { Connection: 'close' });
    }, bodyTimeout);
    exchange.onAbort(() => clearTimeout(timer));
    response.onData((chunk, isLast) => {
      if (exchange.ended || exchange.aborted) return;
      bytes += chunk.byteLength;
      if (bytes > maxBody) {
        clearTimeout(timer);
        chunks.length = 0;
        exchange.turnBegins();
        tooLarge();
        exchange.turnEnds();
        return;
      }
      chunks.push(Buffer.from(new Uint8Array(chunk))); // a copy: the engine reuses its memory
      if (!isLast) return;
      clearTimeout(timer);
      exchange.body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
      exchange.turnBegins();
      runHandler(this.handler, exchange);
      exchange.turnEnds();
    });
  }
}

/** A plain record without a prototype's names in the way; an object literal with a null prototype is slower to make. */
const HeaderBag = function HeaderBag() {} as unknown as new () => Record<string, string>;
HeaderBag.prototype = Object.create(null) as object;

/** Reads a request's headers in one pass; kept by the engine so that a request costs one object, not a closure. */
class HeaderReader {
  headers: Record<string, string> = new HeaderBag();
  bytes = 0;
  hasBody = false;
  ambiguous = false;

  private readonly onHeader = (name: string, value: string): void => {
    this.bytes += name.length + value.length + 4;
    if (name === 'content-length' || name === 'transfer-encoding') this.hasBody = true;
    const before = this.headers[name];
    if (before === undefined) this.headers[name] = value;
    else if (SINGLE.has(name)) this.ambiguous = true;
    else this.headers[name] = `${before}${name === 'cookie' ? '; ' : ', '}${value}`;
  };

  read(request: UwsRequest): void {
    this.headers = new HeaderBag();
    this.bytes = 0;
    this.hasBody = false;
    this.ambiguous = false;
    request.forEach(this.onHeader);
  }
}

/** Repeating these would let two readers of one request disagree about where it ends or whom it is for. */
const SINGLE: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding', 'host']);
