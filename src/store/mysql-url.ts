/**
 * `mysql://user:password@host:port/database?options`, user, password and database percent-encoded. Options:
 * `ssl=disable` (default), `require` (encrypted, the server not checked) or `verify` (certificate and host name checked, `ca=FILE` for
 *one of your own); `socket=PATH` to a server on this machine instead of the host, of which `localhost` is written then; `lock_wait=SECONDS` until a locked row is BUSY (5).
 * The session speaks utf8mb4, whatever the tables are in: the server converts (5.5.3 is the oldest that can).
 */
import { readFile } from 'node:fs/promises';
import type { ConnectionOptions } from 'mysql2';
import { StoreError } from './driver.js';

export interface MysqlAddress {
  /** For messages: no user, no password. */
  readonly label: string;
  readonly database: string;
  readonly lockWaitSeconds: number;
  readonly connection: ConnectionOptions;
}

const OPTIONS = ['ssl', 'ca', 'socket', 'lock_wait'] as const;
type Option = (typeof OPTIONS)[number];

function bad(message: string): StoreError {
  return new StoreError('URL', `mysql: ${message}`);
}

function decode(what: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw bad(`the ${what} is not percent-encoded properly ("%" itself is "%25")`);
  }
}

/** @throws StoreError URL, which never shows the user or the password */
export async function parseMysqlUrl(text: string): Promise<MysqlAddress> {
  if (!URL.canParse(text)) throw bad('not a URL; expected mysql://user:password@host:3306/database');
  const url = new URL(text);
  const options: Partial<Record<Option, string>> = {};
  for (const [key, value] of url.searchParams) {
    const known = OPTIONS.find((option) => option === key);
    if (known === undefined) throw bad(`unknown option "${key}"; known: ${OPTIONS.join(', ')}`);
    options[known] = value;
  }
  const database = decode('database', url.pathname.replace(/^\//, ''));
  if (database.includes('/')) throw bad('the path is the name of one database');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (host === '' && options.socket === undefined) throw bad('needs a host');
  const lockWaitSeconds = Number(options.lock_wait ?? 5);
  if (!(Number.isInteger(lockWaitSeconds) && lockWaitSeconds >= 1 && lockWaitSeconds <= 3600))
    throw bad('lock_wait is a number of seconds, 1 to 3600');
  const port = url.port === '' ? 3306 : Number(url.port);
  const label = options.socket ?? `${host}:${port}`;
  return {
    label: `${label}/${database}`,
    database,
    lockWaitSeconds,
    connection: {
      ...(options.socket === undefined ? { host, port } : { socketPath: options.socket }),
      user: decode('user', url.username),
      password: decode('password', url.password),
      ...(database === '' ? {} : { database }),
      charset: 'UTF8MB4_UNICODE_CI',
      ...(await tls(options)),
    },
  };
}

async function tls({
  ssl = 'disable',
  ca,
}: Partial<Record<Option, string>>): Promise<Pick<ConnectionOptions, 'ssl'>> {
  if (ssl === 'disable') {
    if (ca !== undefined) throw bad('ca needs ssl=verify');
    return {};
  }
  if (ssl === 'require') return { ssl: { rejectUnauthorized: false } };
  if (ssl !== 'verify') throw bad('ssl is disable, require or verify');
  if (ca === undefined) return { ssl: { rejectUnauthorized: true, verifyIdentity: true } };
  const file = await readFile(ca, 'utf8').catch((error: unknown) => {
    throw bad(`cannot read ca=${ca}: ${(error as Error).message}`);
  });
  return { ssl: { ca: file, rejectUnauthorized: true, verifyIdentity: true } };
}
