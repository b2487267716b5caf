/**
 * The complete HTTP engine: node:http, HTTP/1.0 and 1.1, keep-alive, pipelining, TLS, every limit as configured.
 * Main thread.
 */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { reasonOf, SwitchyardError } from './errors.js';
import type { HttpHandler, HttpOptions, HttpServerHandle } from './http.js';
import { HttpCounters, HttpExchange, type ExchangeOwner, type RequestHeaders } from './http-exchange.js';
import type { TlsPair } from './tls-context.js';
import { decodePath, isBodiless, type PreparedHead, rawProblem, splitTarget } from './http-message.js';

class NodeExchange extends HttpExchange {
  constructor(
    owner: ExchangeOwner,
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    path: string,
    query: string,
  ) {
    super(owner, request.method ?? 'GET', path, query, request.headers as RequestHeaders);
    response.on('close', () => {
      if (!response.writableFinished) this.markAborted();
    });
  }

  get remoteAddress(): string {
    return this.request.socket.remoteAddress ?? '';
  }

  abort(): void {
    this.ended = true;
    this.request.socket.destroy();
    this.markAborted();
  }

  protected sendChunk(bytes: Uint8Array): boolean {
    this.writeHead();
    const room = this.response.write(bytes);
    if (!room) this.response.once('drain', () => this.drained());
    return room;
  }

  protected finish(bytes: Uint8Array): void {
    if (this.pendingHead !== undefined && this.length < 0 && !isBodiless(this.status))
      this.length = bytes.length;
    this.writeHead();
    if (this.bodiless()) this.response.end();
    else this.response.end(bytes);
  }

  protected sendWhole(status: number, head: PreparedHead, body: Uint8Array): void {
    this.length = isBodiless(status) ? -1 : body.length;
    this.pendingHead = head;
    this.finish(body);
  }

  protected blocked(): boolean {
    return this.response.writableNeedDrain;
  }

  private writeHead(): void {
    const head = this.pendingHead;
    if (head === undefined) return;
    this.pendingHead = undefined;
    const pairs = [...head.pairs];
    if (this.length >= 0) pairs.push('Content-Length', String(this.length));
    if (this.echoId !== undefined) pairs.push('X-Request-Id', this.echoId);
    if (this.closing || this.owner.draining) pairs.push('Connection', 'close');
    this.response.writeHead(this.status, pairs);
  }
}

/** @throws SwitchyardError HTTP_LISTEN. */
export async function startNode(options: HttpOptions, handler: HttpHandler): Promise<HttpServerHandle> {
  const engine = new NodeEngine(options, handler);
  await engine.listen();
  return engine;
}

interface ConnectionState {
  /** Responses that are owed, in order (pipelining). */
  unfinished: number;
  /** The exchange whose body is still coming. */
  receiving: NodeExchange | undefined;
}

/** Requests that a client may pipeline ahead of the answers; beyond it the connection is cut. */
const MAX_PIPELINED = 1_000;

class NodeEngine implements HttpServerHandle, ExchangeOwner {
  readonly engine = 'node';
  readonly counters = new HttpCounters();
  readonly log;
  readonly accessLog: boolean;
  draining = false;
  private readonly server: Server | TlsServer;
  private readonly sockets = new Map<Socket, ConnectionState>();

  constructor(
    private readonly options: HttpOptions,
    private readonly handler: HttpHandler,
  ) {
    this.log = options.log;
    this.accessLog = options.accessLog;
    this.server = this.createServer();
    // No header is dropped in silence: their number is bounded by the bytes.
    this.server.maxHeadersCount = 0;
    this.server.keepAliveTimeout = options.idleTimeout;
    this.server.on('connection', (socket: Socket) => this.onConnection(socket));
    this.server.on('request', (request, response) => this.onRequest(request, response));
    this.server.on('checkContinue', (request, response) => this.onRequest(request, response, true));
    this.server.on('connect', (_request, socket) => socket.end(rawProblem(501, 'CONNECT is not supported')));
    this.server.on('clientError', (error, socket) => this.onClientError(error, socket as Socket));
    this.server.setTimeout(options.sendTimeout, (socket: Socket) => this.onSilence(socket));
  }

  get port(): number {
    return (this.server.address() as AddressInfo | null)?.port ?? 0;
  }

  connections(): number {
    return this.sockets.size;
  }

  listen(): Promise<void> {
    const { host, port, name } = this.options;
    return new Promise((resolve, reject) => {
      const refused = (error: Error): void => {
        const address = `${host === '' ? '*' : host}:${port}`;
        const fields = { listener: name, address, reason: error.message };
        reject(new SwitchyardError('HTTP_LISTEN', fields, { cause: error }));
      };
      this.server.once('error', refused);
      this.server.listen({ port, ...(host === '' ? {} : { host }), backlog: 4096 }, () => {
        this.server.off('error', refused);
        this.server.on('error', (error) => this.log.error('http.listener_error', { reason: error.message }));
        resolve();
      });
    });
  }

  setTls(tls: TlsPair): void {
    if (!('setSecureContext' in this.server)) throw new Error('this listener has no TLS');
    this.server.setSecureContext(tls);
  }

  async close(drainMs: number): Promise<void> {
    this.draining = true;
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeIdleConnections();
    const timer = setTimeout(() => this.server.closeAllConnections(), drainMs);
    // A connection that has sent only part of a request is neither idle nor busy: nothing is owed to it.
    for (const [socket, state] of this.sockets) if (state.unfinished === 0) socket.destroy();
    await closed;
    clearTimeout(timer);
  }

  private createServer(): Server | TlsServer {
    const { maxHeader, headerTimeout, bodyTimeout, tls } = this.options;
    const common: ServerOptions = {
      maxHeaderSize: maxHeader,
      headersTimeout: headerTimeout,
      requestTimeout: headerTimeout + bodyTimeout,
      connectionsCheckingInterval: Math.max(100, Math.min(1_000, headerTimeout / 4)),
      noDelay: true,
      requireHostHeader: false,
    };
    if (tls === undefined) return createServer(common);
    return createTlsServer({ ...common, cert: tls.cert, key: tls.key, handshakeTimeout: headerTimeout });
  }

  private onConnection(socket: Socket): void {
    if (this.sockets.size >= this.options.maxConnections) {
      this.counters.refused++;
      refuse(socket, rawProblem(503, 'too many connections'));
      return;
    }
    this.sockets.set(socket, { unfinished: 0, receiving: undefined });
    socket.once('close', () => this.sockets.delete(socket));
  }

  private onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue = false): void {
    const state = this.stateOf(request.socket);
    if (state === undefined) return; // a refused connection
    if (++state.unfinished > MAX_PIPELINED) {
      this.counters.refused++;
      request.socket.destroy();
      return;
    }
    response.once('close', () => state.unfinished--);
    const target = request.url ?? '/';
    const { path: raw, query } = splitTarget(target);
    const path = target === '*' ? '*' : decodePath(raw);
    const exchange = new NodeExchange(this, request, response, path ?? '/', query);
    if (target.length > this.options.maxTarget)
      this.refuseRequest(exchange, 414, 'the request target is too long');
    else if (path === undefined) this.refuseRequest(exchange, 400, 'bad path');
    else if (request.headers.host === undefined && request.httpVersion === '1.1') {
      this.refuseRequest(exchange, 400, 'a Host header is required');
    } else if (Number(request.headers['content-length'] ?? 0) > this.options.maxBody) {
      this.refuseRequest(exchange, 413, `a body may have at most ${this.options.maxBody} bytes`);
    } else {
      if (expectsContinue) response.writeContinue();
      this.receive(request, exchange, state);
    }
  }

  /** A TLS socket is kept under its raw socket, which is what 'connection' reported. */
  private stateOf(socket: Socket & { _parent?: Socket | null }): ConnectionState | undefined {
    return this.sockets.get(socket) ?? (socket._parent ? this.sockets.get(socket._parent) : undefined);
  }

  private refuseRequest(exchange: NodeExchange, status: number, message: string): void {
    this.counters.badRequests++;
    exchange.problem(status, message);
  }

  private receive(request: IncomingMessage, exchange: NodeExchange, state: ConnectionState): void {
    const { headers, method } = request;
    const hasBody = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
    if (!hasBody || method === 'GET' || method === 'HEAD') {
      runHandler(this.handler, exchange);
      return;
    }
    const chunks: Buffer[] = [];
    let bytes = 0;
    state.receiving = exchange;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (exchange.ended) return; // what follows a 413 is read and dropped, within the body's time limit
      if (bytes > this.options.maxBody) {
        chunks.length = 0;
        this.refuseRequest(exchange, 413, `a body may have at most ${this.options.maxBody} bytes`);
      } else chunks.push(chunk);
    });
    request.on('end', () => {
      state.receiving = undefined;
      if (exchange.ended || exchange.aborted) return;
      exchange.body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
      runHandler(this.handler, exchange);
    });
    request.on('error', () => undefined); // the response's 'close' tells the exchange
  }

  private onClientError(error: Error & { code?: string; rawPacket?: Buffer }, socket: Socket): void {
    if (error.code === 'ECONNRESET' || error.code === 'EPIPE' || !socket.writable) {
      socket.destroy();
      return;
    }
    const [status, message] = explain(error, this.options.maxTarget);
    if (status === 408) this.counters.timeouts++;
    else this.counters.badRequests++;
    const state = this.stateOf(socket);
    if (state === undefined) socket.destroy();
    else if (state.unfinished === 0) refuse(socket, rawProblem(status, message));
    else if (state.unfinished === 1 && state.receiving?.ended === false) {
      state.receiving.problem(status, message, { Connection: 'close' });
    } else socket.destroy(); // answers of earlier requests are under way: nothing can be put between them
  }

  /** No byte moved on the connection for sendTimeout. */
  private onSilence(socket: Socket): void {
    const waiting = (this.stateOf(socket)?.unfinished ?? 0) > 0;
    if (waiting && socket.writableLength === 0) {
      socket.setTimeout(this.options.sendTimeout); // the handler is slow, not the client
      return;
    }
    this.counters.timeouts++;
    socket.destroy();
  }
}

/** Runs a handler; whatever it throws, now or later, ends the exchange. */
export function runHandler(handler: HttpHandler, exchange: HttpExchange): void {
  try {
    const later = handler(exchange);
    if (later !== undefined) later.catch((error: unknown) => exchange.fail(reasonOf(error)));
  } catch (error) {
    exchange.fail(reasonOf(error));
  }
}

/** Says why and closes; what the client still sends is read for a second so that it gets the answer and not a reset. */
function refuse(socket: Socket, text: string): void {
  socket.on('error', () => undefined);
  socket.end(text);
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), 1_000);
  socket.once('close', () => clearTimeout(timer));
}

function explain(error: { code?: string; rawPacket?: Buffer }, maxTarget: number): readonly [number, string] {
  const start = error.rawPacket?.subarray(0, maxTarget + 32).toString('latin1') ?? '';
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return /^[A-Z]+ [^\r\n]+$/.test(start) && start.length > maxTarget
        ? [414, 'the request target is too long']
        : [431, 'the request headers are too large'];
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [408, 'the request did not come in time'];
    case 'HPE_INVALID_METHOD':
      return /^[A-Z]{2,20} \//.test(start) ? [501, 'unknown method'] : [400, 'bad request'];
    case 'HPE_INVALID_VERSION':
      return [505, 'HTTP/1.0 and HTTP/1.1 are spoken here'];
    default:
      return [400, 'bad request'];
  }
}
