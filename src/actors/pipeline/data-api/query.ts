/** What a request to the data service asks for (spec data-centre 11.2), and by whom. Pure; any thread. */
import type { ActorHttpRequest } from '../../../runtime/actor.js';

export type ReplyFormat = 'xml' | 'json' | 'csv' | 'ndjson';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface ApiQuery {
  readonly format: ReplyFormat;
  /** Undefined when none were given, or only in a way that is switched off. */
  readonly credentials: Credentials | undefined;
  readonly intername: string;
  /** By exact name, decoded; the first of a name counts. */
  readonly params: ReadonlyMap<string, string>;
}

export interface QueryProblem {
  readonly format: ReplyFormat;
  readonly problem: string;
}

const MAX_QUERY_CHARS = 8_192;
const MAX_PARAMS = 100;
const MAX_NAME = 30;
const MAX_PASSWORD = 200;
const FORMATS: readonly ReplyFormat[] = ['xml', 'json', 'csv', 'ndjson'];
const BY_MEDIA_TYPE: Readonly<Record<string, ReplyFormat>> = {
  'application/json': 'json',
  'text/csv': 'csv',
  'application/x-ndjson': 'ndjson',
  'application/ndjson': 'ndjson',
  'application/xml': 'xml',
  'text/xml': 'xml',
  'text/html': 'xml',
};

/** @param queryForm whether username and passwd may stand in the URL */
export function parseApiRequest(
  request: Pick<ActorHttpRequest, 'query' | 'headers'>,
  queryForm: boolean,
): ApiQuery | QueryProblem {
  const accepted = acceptedFormat(request.headers['accept']);
  if (request.query.length > MAX_QUERY_CHARS) {
    return { format: accepted, problem: `the query is longer than ${MAX_QUERY_CHARS} characters` };
  }
  const params = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(request.query)) {
    if (params.size >= MAX_PARAMS) return { format: accepted, problem: `more than ${MAX_PARAMS} parameters` };
    if (!params.has(name)) params.set(name, value);
  }
  const wanted = params.get('format')?.toLowerCase();
  const format = wanted === undefined ? accepted : FORMATS.find((known) => known === wanted);
  if (format === undefined) return { format: accepted, problem: `format is none of ${FORMATS.join(', ')}` };
  const intername = params.get('intername') ?? '';
  if (intername === '') return { format, problem: 'the parameter intername is missing' };
  const header = request.headers['authorization'];
  const credentials = header === undefined ? (queryForm ? fromQuery(params) : undefined) : fromHeader(header);
  return { format, credentials, intername: intername.slice(0, MAX_NAME + 1), params };
}

/** The wish with the highest q among those we can meet; XML for everything else, which is what old clients send. */
function acceptedFormat(accept: string | undefined): ReplyFormat {
  let best: ReplyFormat = 'xml';
  let bestQuality = 0;
  for (const range of (accept ?? '').slice(0, 1_000).split(',')) {
    const [type = '', ...options] = range.split(';').map((part) => part.trim().toLowerCase());
    const format = Object.hasOwn(BY_MEDIA_TYPE, type) ? BY_MEDIA_TYPE[type] : undefined;
    const quality = Number(options.find((option) => option.startsWith('q='))?.slice(2) ?? 1);
    if (format === undefined || !(quality > bestQuality)) continue;
    best = format;
    bestQuality = quality;
  }
  return best;
}

function fromQuery(params: ReadonlyMap<string, string>): Credentials | undefined {
  const username = params.get('username');
  const password = params.get('passwd');
  return username === undefined || password === undefined ? undefined : checked(username, password);
}

/** `Basic base64(user:password)`, or `Bearer user:password` for clients that can only be given a token. */
function fromHeader(header: string): Credentials | undefined {
  const match = /^(Basic|Bearer) +(\S+)\s*$/i.exec(header.slice(0, 1_000));
  if (match === null) return undefined;
  const [, scheme = '', token = ''] = match;
  const text = scheme.toLowerCase() === 'basic' ? Buffer.from(token, 'base64').toString('utf8') : token;
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : checked(text.slice(0, colon), text.slice(colon + 1));
}

function checked(username: string, password: string): Credentials | undefined {
  const usable = username !== '' && username.length <= MAX_NAME && password.length <= MAX_PASSWORD;
  return usable ? { username, password } : undefined;
}
