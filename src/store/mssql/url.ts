/** `mssql:` URLs. Pure; any thread. */
import type mssql from 'mssql';
import { StoreError } from '../driver.js';

const KNOWN = ['encrypt', 'trust', 'instance', 'domain'];

/** How long a server may take to acknowledge a cancellation before the driver closes the connection (ms). */
const CANCEL_TIMEOUT = 2_500;

/**
 * `mssql://user:password@host:1433/database?encrypt=no`: encryption is on by default and the server's certificate is checked;
 * `trust=yes` takes any. `instance` finds the port by name, `domain` logs in by NTLM. Parts are percent-encoded.
 * @throws StoreError URL, which never tells the password
 */
export function mssqlConfig(url: string, connections: number, connectMs: number): mssql.config {
  const wrong = (text: string): StoreError =>
    new StoreError('URL', `mssql: ${text}; an example is mssql://user:password@host:1433/database`);
  let parsed: URL;
  let parts: string[];
  try {
    // Of an unknown scheme the parser keeps the host as it is written.
    parsed = new URL(url);
    parts = [parsed.username, parsed.password, parsed.pathname.slice(1)].map(decodeURIComponent);
  } catch {
    throw wrong('it cannot be read; @ / : and % in a password are written as %40 %2F %3A %25');
  }
  const [user = '', password = '', database = ''] = parts;
  if (parsed.hostname === '') throw wrong('the server is missing');
  if (user === '') throw wrong('the user is missing');
  for (const key of parsed.searchParams.keys()) {
    if (!KNOWN.includes(key)) throw wrong(`unknown option "${key}"; known: ${KNOWN.join(', ')}`);
  }
  const flag = (key: string, fallback: boolean): boolean => {
    const value = parsed.searchParams.get(key);
    if (value !== null && value !== 'yes' && value !== 'no') throw wrong(`${key} is yes or no`);
    return value === null ? fallback : value === 'yes';
  };
  const instance = parsed.searchParams.get('instance');
  const domain = parsed.searchParams.get('domain');
  return {
    server: parsed.hostname.replace(/^\[|\]$/g, ''),
    ...(instance === null ? { port: Number(parsed.port || 1433) } : {}),
    ...(database === '' ? {} : { database }),
    ...(domain === null ? {} : { domain }),
    user,
    password,
    connectionTimeout: connectMs,
    // The deadline of the contract cancels; the driver has none of its own.
    requestTimeout: 0,
    pool: { min: 0, max: connections, idleTimeoutMillis: 60_000, acquireTimeoutMillis: connectMs },
    options: {
      encrypt: flag('encrypt', true),
      trustServerCertificate: flag('trust', false),
      ...(instance === null ? {} : { instanceName: instance }),
      // Dates are read and written without a zone, in the order of ISO whatever the login's language.
      useUTC: true,
      dateFormat: 'ymd',
      cancelTimeout: CANCEL_TIMEOUT,
      appName: 'switchyard',
    },
  };
}
