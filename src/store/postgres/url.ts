/**
 * `postgres://user:password@host:port/database?options`, user, password and database percent-encoded. Options:
 * `ssl=disable` (default), `require` (encrypted, the server not checked) or `verify` (certificate and host name checked, `ca=FILE` for
 * one of your own); `socket=FOLDER` of the server's socket, whatever the host says; `lock_wait=SECONDS` until a locked row is BUSY (5); `schema=a,b` where tables
 * are looked for (default: as the server has it).
 */
import type { ClientConfig } from 'pg';
import { parseServerUrl, serverTls } from '../server-url.js';

export interface PostgresAddress {
  /** For messages: no user, no password. */
  readonly label: string;
  readonly lockWaitSeconds: number;
  /** Names of the search path. */
  readonly schemas: readonly string[];
  readonly client: ClientConfig;
}

/** @throws StoreError URL, which never shows the user or the password */
export async function parsePostgresUrl(text: string): Promise<PostgresAddress> {
  const parsed = parseServerUrl(text, 'postgres', 5432, ['ssl', 'ca', 'socket', 'schema']);
  const { options, database, port, user, password, lockWaitSeconds } = parsed;
  if (database === '') throw parsed.bad('the path is the name of one database');
  const host = options.socket ?? parsed.host;
  if (host === '') throw parsed.bad('needs a host');
  if (user === '') throw parsed.bad('needs a user');
  return {
    label: `${options.socket ?? `${host}:${port}`}/${database}`,
    lockWaitSeconds,
    schemas: (options.schema ?? '').split(',').filter((name) => name !== ''),
    client: {
      host,
      port,
      database,
      user,
      // Never undefined: the library would look for a password elsewhere.
      password,
      ssl: (await serverTls(parsed)) ?? false,
      application_name: 'switchyard',
      keepAlive: true,
      keepAliveInitialDelayMillis: 30_000,
    },
  };
}
