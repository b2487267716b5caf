/** What a listener does with a request: a route's target, else a static file, else 404 or 405. Main thread. */
import type { HttpHandler } from './http.js';
import type { HttpExchange } from './http-exchange.js';
import type { HttpRouter } from './http-router.js';
import type { StaticFiles } from './http-static.js';

export interface DispatchOptions<T> {
  readonly router: HttpRouter<T>;
  /** Passes the request on (to an actor's mailbox); it answers through the exchange. */
  readonly toTarget: (target: T, exchange: HttpExchange) => void | Promise<void>;
  readonly files?: StaticFiles | undefined;
}

const READS: readonly string[] = ['GET', 'HEAD'];

export function httpDispatch<T>({ router, toTarget, files }: DispatchOptions<T>): HttpHandler {
  return (exchange) => {
    const { method, path } = exchange;
    const target = router.match(method, path);
    if (target !== undefined) return toTarget(target, exchange);
    const isRead = method === 'GET' || method === 'HEAD';
    let allowed = router.allowed(path);
    if (allowed.length === 0 && files !== undefined && path !== '*') {
      if (isRead) return files.serve(exchange);
      allowed = READS;
    }
    if (path === '*' && method === 'OPTIONS') allowed = READS;
    if (allowed.length === 0) exchange.problem(404, 'not found');
    else if (method === 'OPTIONS') {
      exchange.head(204, { Allow: [...allowed, 'OPTIONS'].join(', ') });
      exchange.end();
    } else
      exchange.problem(405, `${method} is not allowed here`, { Allow: [...allowed, 'OPTIONS'].join(', ') });
    return undefined;
  };
}
