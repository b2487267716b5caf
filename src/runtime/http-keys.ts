/** Conf keys of `[http NAME]` sections. */
import { SwitchyardError } from './errors.js';
import type { HttpLimits } from './http.js';
import { defineKeys, type SectionSpec, type ValuesOf } from './schema.js';
import { loadTls, type TlsPair } from './tls-context.js';

export const httpKeys = defineKeys({
  address: {
    type: 'address',
    required: true,
    help: 'address and port to listen on: 8080, 127.0.0.1:8080 or [::1]:8080',
    reload: 'child',
  },
  engine: {
    type: 'enum',
    values: ['uws', 'node'],
    default: 'node',
    help: 'uws: fastest, HTTP/1.1 without TLS; node: complete, also HTTP/1.0 (webbench, ab, old proxies) and TLS',
    reload: 'child',
  },
  root: {
    type: 'path',
    help: 'folder of static files; without it only routes of actors are served',
    reload: 'child',
  },
  cache_size: {
    type: 'size',
    default: '32m',
    min: 0,
    max: 4 * 1024 ** 3,
    help: 'memory for small static files; a changed file is noticed within about a second',
    reload: 'child',
  },
  max_header: {
    type: 'size',
    default: '16k',
    min: 1024,
    max: 1024 ** 2,
    help: 'largest header block of a request; more is answered with 431',
    reload: 'child',
  },
  max_target: {
    type: 'size',
    default: '8k',
    min: 256,
    max: 1024 ** 2,
    help: 'longest path with query of a request; more is answered with 414',
    reload: 'child',
  },
  max_body: {
    type: 'size',
    default: '1m',
    min: 0,
    max: 1024 ** 3,
    help: 'largest body of a request; more is answered with 413',
    reload: 'child',
  },
  max_connections: {
    type: 'int',
    default: '10000',
    min: 1,
    max: 1_000_000,
    help: 'connections at a time (node) or unfinished requests at a time (uws); more are answered with 503',
    reload: 'child',
  },
  header_timeout: {
    type: 'duration',
    default: '10s',
    min: 100,
    max: 600_000,
    help: 'time for a whole request header; the uws engine always uses 10 s',
    reload: 'child',
  },
  body_timeout: {
    type: 'duration',
    default: '60s',
    min: 100,
    max: 3_600_000,
    help: 'time for a whole request body',
    reload: 'child',
  },
  idle_timeout: {
    type: 'duration',
    default: '15s',
    min: 100,
    max: 3_600_000,
    help: 'time a kept connection may wait for its next request; the uws engine always uses 10 s',
    reload: 'child',
  },
  send_timeout: {
    type: 'duration',
    default: '30s',
    min: 100,
    max: 3_600_000,
    help: 'time a client may take no byte of its answer; the uws engine always uses 10 s',
    reload: 'child',
  },
  tls_cert: { type: 'path', help: 'certificate chain in PEM; only with engine = node', reload: 'live' },
  tls_key: { type: 'path', help: 'private key in PEM; only with engine = node', reload: 'live' },
  access_log: { type: 'bool', default: 'no', help: 'log an event for each request', reload: 'child' },
});

export const httpSection: SectionSpec = {
  section: 'http',
  named: true,
  help: 'An HTTP listener: static files and the routes of actors',
  keys: httpKeys,
};

export type HttpConf = ValuesOf<typeof httpKeys>;

export function httpLimits(conf: HttpConf): HttpLimits {
  return {
    maxHeader: conf.max_header,
    maxTarget: conf.max_target,
    maxBody: conf.max_body,
    maxConnections: conf.max_connections,
    headerTimeout: conf.header_timeout,
    bodyTimeout: conf.body_timeout,
    idleTimeout: conf.idle_timeout,
    sendTimeout: conf.send_timeout,
  };
}

/**
 * Reads the TLS files of a section; undefined without them.
 * @throws SwitchyardError HTTP_TLS_ENGINE, NET_TLS.
 */
export async function readTls(name: string, conf: HttpConf): Promise<TlsPair | undefined> {
  const { tls_cert: cert, tls_key: key } = conf;
  if (cert === undefined && key === undefined) return undefined;
  if (conf.engine === 'uws') throw new SwitchyardError('HTTP_TLS_ENGINE', { listener: name });
  if (cert !== undefined && key !== undefined) return loadTls(name, cert, key);
  const reason = 'tls_cert and tls_key go together';
  throw new SwitchyardError('NET_TLS', { listener: name, file: cert ?? key ?? '', reason });
}
