/**
 * The admin port: a line protocol (see admin-session.ts) on loopback TCP behind a token. Main thread. Bounded:
 * connections, line length, tries, time until the token came, idle time.
 */
import { chmod, mkdir, open, readFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { AdminSession, endSocket } from './admin-session.js';
import type { ControlPlane } from './control-plane.js';
import type { Logger } from './log-contract.js';

export interface AdminOptions {
  /** A loopback address; anything else is refused. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly token: string;
  readonly control: ControlPlane;
  readonly log: Logger;
  readonly maxConnections?: number;
  readonly maxLineBytes?: number;
  readonly maxTries?: number;
  readonly wrongTokenDelayMs?: number;
  /** From accept until the right token. */
  readonly authTimeoutMs?: number;
  readonly idleTimeoutMs?: number;
}

export interface AdminServer {
  readonly host: string;
  readonly port: number;
  /** Ends the connections after their current answers. */
  close(): Promise<void>;
}

const DEFAULTS = {
  maxConnections: 16,
  maxLineBytes: 4096,
  maxTries: 3,
  wrongTokenDelayMs: 250,
  authTimeoutMs: 10_000,
  idleTimeoutMs: 600_000,
} as const;

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** @throws Error when the address is not loopback or can't be bound (`code` as from node:net) */
export async function startAdmin(given: AdminOptions): Promise<AdminServer> {
  const options = { ...DEFAULTS, ...given };
  if (!isLoopback(options.host)) {
    throw new Error(`admin address ${options.host} is not loopback; use 127.0.0.1, ::1 or localhost`);
  }
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    if (sockets.size >= options.maxConnections) {
      socket.write(`error\ntoo many admin connections (${options.maxConnections})\n.\n`);
      endSocket(socket);
      return;
    }
    sockets.add(socket);
    const session = new AdminSession(socket, options);
    const authTimer = setTimeout(() => {
      if (!session.isAuthorised) socket.destroy();
    }, options.authTimeoutMs).unref();
    socket.setTimeout(options.idleTimeoutMs, () => socket.destroy());
    socket.once('close', () => {
      clearTimeout(authTimer);
      sockets.delete(socket);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', (error) => options.log.warn('admin.accept', { reason: error.message }));
  const { port } = server.address() as AddressInfo;
  options.log.info('admin.listening', { host: options.host, port });
  return {
    host: options.host,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) endSocket(socket);
      }),
  };
}

/**
 * The token of the admin port: read from the file, or made (256 bits, mode 0600) when there is none. Start-up only.
 * @throws Error when the file is readable by others or is empty
 */
export async function ensureToken(file: string): Promise<string> {
  await mkdir(dirname(file), { recursive: true });
  try {
    const handle = await open(file, 'wx', 0o600);
    const token = randomBytes(32).toString('hex');
    try {
      await handle.writeFile(`${token}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    return token;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown;
  }
  await chmod(file, 0o600);
  const token = (await readFile(file, 'utf8')).trim();
  if (token.length < 16)
    throw new Error(`${file}: the admin token is shorter than 16 characters; delete the file`);
  return token;
}
