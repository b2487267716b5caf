/**
 * HTTP listeners: one contract, two engines (DESIGN 3). `uws` is the fast one, `node` the complete one: HTTP/1.0, TLS,
 * every limit as configured. Main thread. What differs is listed in http-uws.ts.
 */
import { SwitchyardError } from './errors.js';
import type { HttpCounters, HttpExchange } from './http-exchange.js';
import type { Logger } from './log-contract.js';
import type { TlsPair } from './tls-context.js';

export { HttpCounters, HttpExchange } from './http-exchange.js';
export { PreparedHead } from './http-message.js';

export type HttpEngine = 'uws' | 'node';

export interface HttpLimits {
  /** Bytes of a request's header block. */
  readonly maxHeader: number;
  /** Bytes of a request's target (path and query); longer ones get 414. */
  readonly maxTarget: number;
  /** Bytes of a request's body; longer ones get 413. */
  readonly maxBody: number;
  /** Connections at a time. The uws engine cannot see connections and limits unfinished requests instead. */
  readonly maxConnections: number;
  /** Milliseconds for a whole header block, from its connection's start or its first byte. */
  readonly headerTimeout: number;
  /** Milliseconds for a whole body. */
  readonly bodyTimeout: number;
  /** Milliseconds a connection may wait for its next request. */
  readonly idleTimeout: number;
  /** Milliseconds a client may take no byte of a waiting response. */
  readonly sendTimeout: number;
}

export interface HttpOptions extends HttpLimits {
  /** Name of the conf section, for logs. */
  readonly name: string;
  readonly engine: HttpEngine;
  /** Empty: all addresses, IPv4 and IPv6. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly accessLog: boolean;
  /** PEM; node engine only. */
  readonly tls?: TlsPair | undefined;
  readonly log: Logger;
}

/**
 * Gets each request when it is complete. It answers through the exchange, now or later; a throw or a rejection becomes 500.
 * Return nothing rather than a promise where speed counts.
 */
export type HttpHandler = (exchange: HttpExchange) => void | Promise<void>;

export interface HttpServerHandle {
  /** The engine that really runs. */
  readonly engine: HttpEngine;
  readonly port: number;
  readonly counters: HttpCounters;
  /** Open connections (node) or unfinished requests (uws). */
  connections(): number;
  /** Stops accepting, lets running requests finish for at most `drainMs`, then closes everything. Never rejects. */
  close(drainMs: number): Promise<void>;
  /** New certificate for new connections. @throws Error when the pair does not fit or the listener has no TLS. */
  setTls(tls: TlsPair): void;
}

/**
 * Starts a listener. Falls back from `uws` to `node` when the native module does not load here (musl, Arm without a
 * build, another Node), and says so.
 * @throws SwitchyardError HTTP_LISTEN when the address cannot be bound, HTTP_TLS_ENGINE for TLS on the uws engine.
 */
export async function startHttp(options: HttpOptions, handler: HttpHandler): Promise<HttpServerHandle> {
  if (options.engine === 'uws') {
    if (options.tls !== undefined) throw new SwitchyardError('HTTP_TLS_ENGINE', { listener: options.name });
    const { loadUws, startUws } = await import('./http-uws.js');
    const uws = loadUws();
    if (typeof uws !== 'string') return startUws(uws, options, handler);
    options.log.warn('http.engine_fallback', {
      listener: options.name,
      wanted: 'uws',
      using: 'node',
      reason: uws,
    });
  }
  const { startNode } = await import('./http-node.js');
  return startNode(options, handler);
}
