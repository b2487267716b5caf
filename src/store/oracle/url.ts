/** `oracle:` URLs. Pure; any thread. */
import { StoreError } from '../driver.js';

export interface OracleAddress {
  readonly user: string;
  readonly password: string;
  /** As the driver takes it: `host:port/service`, a descriptor, or a name of tnsnames.ora. */
  readonly connectString: string;
  /** Folder of tnsnames.ora. */
  readonly configDir: string | undefined;
  /** undefined: thin. '' : thick, with the libraries where the system finds them; else their folder. */
  readonly thick: string | undefined;
}

const KNOWN = ['config', 'sid', 'thick', 'tls'];

/**
 * `oracle://user:password@host:1521/service`, `oracle://user:password@TNSNAME?config=/etc/oracle`, with the options of KNOWN;
 * parts are percent-encoded. @throws StoreError URL, which never tells the password
 */
export function oracleAddress(url: string): OracleAddress {
  const wrong = (text: string): StoreError =>
    new StoreError('URL', `oracle: ${text}; an example is oracle://user:password@host:1521/service`);
  const match = /^oracle:\/\/([^:@/?]*)(?::([^@]*))?@([^@?]*)(?:\?(.*))?$/i.exec(url);
  if (match === null)
    throw wrong('user, password and server are needed, with @ in a password written as %40');
  const decode = (text: string | undefined): string => {
    try {
      return decodeURIComponent(text ?? '');
    } catch {
      throw wrong('a % in the URL is written as %25');
    }
  };
  const [user, password, target] = [decode(match[1]), decode(match[2]), decode(match[3]).replace(/\/$/, '')];
  if (user === '') throw wrong('the user is missing');
  if (target === '') throw wrong('the server is missing');
  const options = new URLSearchParams(match[4] ?? '');
  for (const key of options.keys()) {
    if (!KNOWN.includes(key)) throw wrong(`unknown option "${key}"; known: ${KNOWN.join(', ')}`);
  }
  const thick = options.get('thick') ?? undefined;
  const tls = options.get('tls') ?? 'no';
  if (tls !== 'yes' && tls !== 'no') throw wrong('tls is yes or no');
  const sid = options.get('sid') ?? undefined;
  let connectString = tls === 'yes' ? `tcps://${target}` : target;
  if (sid !== undefined) {
    const [, host, port = '1521'] = /^([\w.-]+)(?::(\d{1,5}))?$/.exec(target) ?? [];
    if (host === undefined || !/^[\w$#.]{1,64}$/.test(sid)) throw wrong('sid stands beside host:port alone');
    const protocol = tls === 'yes' ? 'TCPS' : 'TCP';
    connectString = `(DESCRIPTION=(ADDRESS=(PROTOCOL=${protocol})(HOST=${host})(PORT=${port}))(CONNECT_DATA=(SID=${sid})))`;
  }
  return {
    user,
    password,
    connectString,
    configDir: options.get('config') ?? undefined,
    thick: thick === undefined || thick === 'no' ? undefined : thick === 'yes' ? '' : thick,
  };
}
