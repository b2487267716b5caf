/** A raw client that sees every byte, and a listener of either engine with generous limits. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { httpDispatch } from '../../../src/runtime/http-dispatch.js';
import { HttpRouter } from '../../../src/runtime/http-router.js';
import {
  startHttp,
  type HttpEngine,
  type HttpExchange,
  type HttpHandler,
  type HttpOptions,
  type HttpServerHandle,
} from '../../../src/runtime/http.js';
import type { LogFields, Logger } from '../../../src/runtime/log-contract.js';
import type { StaticFiles } from '../../../src/runtime/http-static.js';

export const ENGINES: readonly HttpEngine[] = ['uws', 'node'];

export interface LoggedEvent {
  readonly event: string;
  readonly fields: LogFields | undefined;
}

export function memoryLog(events: LoggedEvent[] = []): Logger {
  const put = (event: string, fields?: LogFields): void => void events.push({ event, fields });
  const log: Logger = {
    debug: put, info: put, notice: put, warn: put, error: put, fatal: put, child: () => log }; // prettier-ignore
  return log;
}

const open: HttpServerHandle[] = [];

export async function start(
  engine: HttpEngine,
  handler: HttpHandler,
  options: Partial<HttpOptions> = {},
): Promise<HttpServerHandle> {
  const server = await startHttp(
    {
      name: 'test',
      engine,
      host: '127.0.0.1',
      port: 0,
      accessLog: false,
      maxHeader: 16_384,
      maxTarget: 2_048,
      maxBody: 100_000,
      maxConnections: 5_000,
      headerTimeout: 30_000,
      bodyTimeout: 30_000,
      idleTimeout: 30_000,
      sendTimeout: 30_000,
      log: memoryLog(),
      ...options,
    },
    handler,
  );
  open.push(server);
  return server;
}

/** For afterEach. */
export async function stopAll(): Promise<void> {
  await Promise.all(open.splice(0).map((server) => server.close(0)));
}

export type TestRoutes = Readonly<Record<string, (exchange: HttpExchange) => void | Promise<void>>>;

/** A listener whose routes are functions: `'GET /path'`. */
export function startRoutes(
  engine: HttpEngine,
  routes: TestRoutes,
  options: Partial<HttpOptions> = {},
  files?: StaticFiles,
): Promise<HttpServerHandle> {
  const router = new HttpRouter<string>();
  for (const route of Object.keys(routes)) {
    const [method = '', path = ''] = route.split(' ');
    router.add(method, path, route);
  }
  const handler = httpDispatch({ router, files, toTarget: (target, exchange) => routes[target]?.(exchange) });
  return start(engine, handler, options);
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Nothing but a socket: what was sent, what came, and when it closed. */
export class RawClient {
  received = Buffer.alloc(0);
  closed = false;
  private waiters: (() => void)[] = [];

  private constructor(readonly socket: Socket) {
    const wake = (): void => {
      for (const waiter of this.waiters.splice(0)) waiter();
    };
    socket.on('data', (data) => {
      this.received = Buffer.concat([this.received, data]);
      wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      wake();
    });
    socket.on('end', wake);
  }

  static async open(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const socket = connect({ port, host });
    const client = new RawClient(socket);
    await once(socket, 'connect');
    socket.setNoDelay(true);
    return client;
  }

  send(text: string | Buffer): void {
    this.socket.write(text);
  }

  /** The next whole answer; undefined when the connection closed before one came. */
  async answer(toHead = false): Promise<Answer | undefined> {
    for (;;) {
      const parsed = takeAnswer(this.received, toHead);
      if (parsed !== undefined) {
        this.received = this.received.subarray(parsed.used);
        return parsed.answer;
      }
      if (this.closed) return undefined;
      await new Promise<void>((resolve) => this.waiters.push(resolve));
    }
  }

  async untilClosed(): Promise<void> {
    while (!this.closed) await new Promise<void>((resolve) => this.waiters.push(resolve));
  }

  close(): void {
    this.socket.destroy();
  }
}

/** One exchange on a connection of its own. */
export async function ask(port: number, text: string | Buffer): Promise<Answer | undefined> {
  const client = await RawClient.open(port);
  client.send(text);
  const answer = await client.answer(text.toString('latin1').startsWith('HEAD '));
  client.close();
  return answer;
}

/** @param head extra header lines. */
export function get(path: string, head: readonly string[] = [], method = 'GET'): string {
  return [`${method} ${path} HTTP/1.1`, 'Host: test', ...head, '', ''].join('\r\n');
}

function takeAnswer(bytes: Buffer, toHead: boolean): { answer: Answer; used: number } | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const lines = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(lines[0] ?? '')?.[1]);
  const headers: Record<string, string> = {};
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const start = end + 4;
  const none = { answer: { status, headers, body: Buffer.alloc(0) }, used: start };
  if (toHead || status < 200 || status === 204 || status === 304) return none;
  if (headers['transfer-encoding'] === 'chunked') {
    const parts: Buffer[] = [];
    for (let at = start; ;) {
      const line = bytes.indexOf('\r\n', at);
      if (line < 0) return undefined;
      const size = parseInt(bytes.subarray(at, line).toString('latin1'), 16);
      if (bytes.length < line + 2 + size + 2) return undefined;
      parts.push(bytes.subarray(line + 2, line + 2 + size));
      at = line + 2 + size + 2;
      if (size === 0) return { answer: { status, headers, body: Buffer.concat(parts) }, used: at };
    }
  }
  const length = Number(headers['content-length'] ?? 0);
  if (bytes.length < start + length) return undefined;
  return { answer: { status, headers, body: bytes.subarray(start, start + length) }, used: start + length };
}
