/**
 * `postgres://user:password@host:port/database?options`, user, password and database percent-encoded. Options:
 * `ssl=disable` (default), `require` (encrypted, the server not checked) or `verify` (certificate and host name checked, `ca=FILE` for
 * one of your own); `socket=FOLDER` of the server's socket, whatever the host says; `lock_wait=SECONDS` until a locked row is BUSY (5); `schema=a,b` where tables
 * are looked for (default: as the server has it).
 */
import { readFile } from 'node:fs/promises';
import type { ClientConfig } from 'pg';
import { StoreError } from './driver.js';

export interface PostgresAddress {
  /** For messages: no user, no password. */
  readonly label: string;
  readonly lockWaitSeconds: number;
  /** Names of the search path. */
  readonly schemas: readonly string[];
  readonly client: ClientConfig;
}

const OPTIONS = ['ssl', 'ca', 'socket', 'lock_wait', 'schema'] as const;
type Option = (typeof OPTIONS)[number];

function bad(message: string): StoreError {
  return new StoreError('URL', `postgres: ${message}`);
}

function decode(what: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw bad(`the ${what} is not percent-encoded properly ("%" itself is "%25")`);
  }
}

/** @throws StoreError URL, which never shows the user or the password */
export async function parsePostgresUrl(text: string): Promise<PostgresAddress> {
  if (!URL.canParse(text)) throw bad('not a URL; expected postgres://user:password@host:5432/database');
  const url = new URL(text);
  const options: Partial<Record<Option, string>> = {};
  for (const [key, value] of url.searchParams) {
    const known = OPTIONS.find((option) => option === key);
    if (known === undefined) throw bad(`unknown option "${key}"; known: ${OPTIONS.join(', ')}`);
    options[known] = value;
  }
  const database = decode('database', url.pathname.replace(/^\//, ''));
  if (database === '' || database.includes('/')) throw bad('the path is the name of one database');
  const host = options.socket ?? url.hostname.replace(/^\[|\]$/g, '');
  if (host === '') throw bad('needs a host');
  if (url.username === '') throw bad('needs a user');
  const lockWaitSeconds = Number(options.lock_wait ?? 5);
  if (!(Number.isInteger(lockWaitSeconds) && lockWaitSeconds >= 1 && lockWaitSeconds <= 3600))
    throw bad('lock_wait is a number of seconds, 1 to 3600');
  const port = url.port === '' ? 5432 : Number(url.port);
  return {
    label: `${options.socket ?? `${host}:${port}`}/${database}`,
    lockWaitSeconds,
    schemas: (options.schema ?? '').split(',').filter((name) => name !== ''),
    client: {
      host,
      port,
      database,
      user: decode('user', url.username),
      // Never undefined: the library would look for a password elsewhere.
      password: decode('password', url.password),
      ssl: await tls(options),
      application_name: 'switchyard',
      keepAlive: true,
      keepAliveInitialDelayMillis: 30_000,
    },
  };
}

async function tls({ ssl = 'disable', ca }: Partial<Record<Option, string>>): Promise<ClientConfig['ssl']> {
  if (ca !== undefined && ssl !== 'verify') throw bad('ca needs ssl=verify');
  if (ssl === 'disable') return false;
  if (ssl === 'require') return { rejectUnauthorized: false };
  if (ssl !== 'verify') throw bad('ssl is disable, require or verify');
  if (ca === undefined) return { rejectUnauthorized: true };
  const file = await readFile(ca, 'utf8').catch((error: unknown) => {
    throw bad(`cannot read ca=${ca}: ${(error as Error).message}`);
  });
  return { ca: file, rejectUnauthorized: true };
}
