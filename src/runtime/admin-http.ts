/**
 * Health and metrics on the admin HTTP address: /livez /readyz /healthz /metrics. Main thread, node:http, few
 * connections, small requests. Runs from before the tree is started until after it has ended, so that probes always
 * get a true answer.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ControlPlane } from './control-plane.js';
import { reasonOf } from './errors.js';
import type { Logger } from './log-contract.js';

export interface AdminHttpOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Undefined until the tree has started. */
  readonly control: () => ControlPlane | undefined;
  readonly log: Logger;
  readonly version: string;
  readonly maxConnections?: number;
}

export interface AdminHttpServer {
  readonly port: number;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const TEXT = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json; charset=utf-8';
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const STARTING = { ready: false, state: 'starting', reasons: ['the tree is starting'] } as const;

const text = (status: number, body: string): Answer => ({ status, type: TEXT, body: `${body}\n` });

/** path -> answer; one visible table. */
const ROUTES: Readonly<Record<string, (options: AdminHttpOptions) => Answer>> = {
  '/livez': ({ control }) => {
    const live = control()?.live() ?? { ok: true, detail: 'starting' };
    return text(live.ok ? 200 : 503, live.detail);
  },
  '/readyz': ({ control }) => {
    const state = control()?.ready() ?? STARTING;
    return state.ready
      ? text(200, 'ready')
      : text(503, [`not ready: ${state.state}`, ...state.reasons].join('\n'));
  },
  '/healthz': ({ control, version }) => {
    const live = control()?.live() ?? { ok: true, detail: 'starting' };
    const ready = control()?.ready() ?? STARTING;
    const body = {
      live: live.ok,
      detail: live.detail,
      ...ready,
      version,
      uptimeSeconds: Math.floor(process.uptime()),
    };
    return {
      status: live.ok && ready.ready ? 200 : 503,
      type: JSON_TYPE,
      body: `${JSON.stringify(body)}\n`,
    };
  },
  '/metrics': ({ control }) => {
    const running = control();
    if (running === undefined) return text(503, 'starting');
    return { status: 200, type: METRICS_TYPE, body: running.metricsText() };
  },
};

function answer(request: IncomingMessage, options: AdminHttpOptions): Answer {
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  const route = Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
  if (route === undefined) return text(404, `no such page; there are ${Object.keys(ROUTES).join(' ')}`);
  if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'only GET and HEAD');
  try {
    return route(options);
  } catch (thrown) {
    options.log.error('admin.http.failed', { path, reason: reasonOf(thrown) });
    return text(500, 'failed; see the log');
  }
}

function respond(request: IncomingMessage, response: ServerResponse, options: AdminHttpOptions): void {
  const { status, type, body } = answer(request, options);
  request.resume(); // a body is not asked for; the request time-out ends a long one
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** @throws Error with `code` as from node:net when the address can't be bound */
export async function startAdminHttp(options: AdminHttpOptions): Promise<AdminHttpServer> {
  const server = createServer(
    { maxHeaderSize: 8192, headersTimeout: 5000, requestTimeout: 10_000, keepAliveTimeout: 5000 },
    (request, response) => respond(request, response, options),
  );
  server.maxConnections = options.maxConnections ?? 64;
  server.maxHeadersCount = 50;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', (error) => options.log.warn('admin.http.accept', { reason: error.message }));
  const { port } = server.address() as AddressInfo;
  options.log.info('admin.http.listening', { host: options.host, port });
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
