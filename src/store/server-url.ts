/** What the URLs of database servers have in common: `scheme://user:password@host:port/database?options`. Any thread. */
import { readFile } from 'node:fs/promises';
import { StoreError } from './driver.js';

export interface ServerUrl<O extends string> {
  readonly url: URL;
  readonly options: Partial<Record<O, string>>;
  readonly user: string;
  readonly password: string;
  /** '' when the URL names none. */
  readonly database: string;
  /** Without the brackets of an IPv6 address; '' when there is none. */
  readonly host: string;
  readonly port: number;
  /** `lock_wait`: seconds until a locked row is BUSY. */
  readonly lockWaitSeconds: number;
  /** A complaint about this URL, which never shows the user or the password. */
  readonly bad: (message: string) => StoreError;
}

/** @param scheme for messages. @param known names of the options. @throws StoreError URL */
export function parseServerUrl<const O extends string>(
  text: string,
  scheme: string,
  defaultPort: number,
  known: readonly O[],
): ServerUrl<O | 'lock_wait'> {
  const bad = (message: string): StoreError => new StoreError('URL', `${scheme}: ${message}`);
  if (!URL.canParse(text)) {
    throw bad(`not a URL; expected ${scheme}://user:password@host:${defaultPort}/database`);
  }
  const url = new URL(text);
  const names: readonly (O | 'lock_wait')[] = [...known, 'lock_wait'];
  const options: Partial<Record<O | 'lock_wait', string>> = {};
  for (const [key, value] of url.searchParams) {
    const name = names.find((option) => option === key);
    if (name === undefined) throw bad(`unknown option "${key}"; known: ${names.join(', ')}`);
    options[name] = value;
  }
  const decode = (what: string, part: string): string => {
    try {
      return decodeURIComponent(part);
    } catch {
      throw bad(`the ${what} is not percent-encoded properly ("%" itself is "%25")`);
    }
  };
  const database = decode('database', url.pathname.replace(/^\//, ''));
  if (database.includes('/')) throw bad('the path is the name of one database');
  const lockWaitSeconds = Number(options.lock_wait ?? 5);
  if (!(Number.isInteger(lockWaitSeconds) && lockWaitSeconds >= 1 && lockWaitSeconds <= 3600))
    throw bad('lock_wait is a number of seconds, 1 to 3600');
  return {
    url,
    options,
    user: decode('user', url.username),
    password: decode('password', url.password),
    database,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? defaultPort : Number(url.port),
    lockWaitSeconds,
    bad,
  };
}

export interface ServerTls {
  readonly rejectUnauthorized: boolean;
  readonly ca?: string;
}

/** `ssl=disable|require|verify` and `ca=FILE`. @returns undefined without TLS. @throws StoreError URL */
export async function serverTls({
  options,
  bad,
}: ServerUrl<'ssl' | 'ca' | 'lock_wait'>): Promise<ServerTls | undefined> {
  const { ssl = 'disable', ca } = options;
  if (ca !== undefined && ssl !== 'verify') throw bad('ca needs ssl=verify');
  if (ssl === 'disable') return undefined;
  if (ssl === 'require') return { rejectUnauthorized: false };
  if (ssl !== 'verify') throw bad('ssl is disable, require or verify');
  if (ca === undefined) return { rejectUnauthorized: true };
  const file = await readFile(ca, 'utf8').catch((error: unknown) => {
    throw bad(`cannot read ca=${ca}: ${(error as Error).message}`);
  });
  return { ca: file, rejectUnauthorized: true };
}
