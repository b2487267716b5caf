/**
 * `mysql://user:password@host:port/database?options`, user, password and database percent-encoded. Options:
 * `ssl=disable` (default), `require` (encrypted, the server not checked) or `verify` (certificate and host name checked, `ca=FILE` for
 * one of your own); `socket=PATH` to a server on this machine instead of the host, of which `localhost` is written then; `lock_wait=SECONDS` until a locked row is BUSY (5).
 * The session speaks utf8mb4, whatever the tables are in: the server converts (5.5.3 is the oldest that can).
 */
import type { ConnectionOptions } from 'mysql2';
import { parseServerUrl, serverTls } from '../server-url.js';

export interface MysqlAddress {
  /** For messages: no user, no password. */
  readonly label: string;
  readonly database: string;
  readonly lockWaitSeconds: number;
  readonly connection: ConnectionOptions;
}

/** @throws StoreError URL, which never shows the user or the password */
export async function parseMysqlUrl(text: string): Promise<MysqlAddress> {
  const parsed = parseServerUrl(text, 'mysql', 3306, ['ssl', 'ca', 'socket']);
  const { options, database, host, port, user, password, lockWaitSeconds } = parsed;
  if (host === '' && options.socket === undefined) throw parsed.bad('needs a host');
  const tls = await serverTls(parsed);
  return {
    label: `${options.socket ?? `${host}:${port}`}/${database}`,
    database,
    lockWaitSeconds,
    connection: {
      ...(options.socket === undefined ? { host, port } : { socketPath: options.socket }),
      user,
      password,
      ...(database === '' ? {} : { database }),
      charset: 'UTF8MB4_UNICODE_CI',
      ...(tls && { ssl: { ...tls, ...(tls.rejectUnauthorized && { verifyIdentity: true }) } }),
    },
  };
}
