/**
 * What both HTTP engines share about messages: the request target, request ids, response heads and problem replies.
 * Pure; main thread only in practice.
 */
import { randomBytes } from 'node:crypto';
import { STATUS_CODES } from 'node:http';

/** `200 OK` and so on, by code. */
export const STATUS_LINES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(STATUS_CODES).map(([code, text]) => [code, `${code} ${text}`]),
);

export const SERVER_NAME = 'switchyard';

// Anything that needs work or suspicion: escapes, backslashes, control characters, dot segments.
// eslint-disable-next-line no-control-regex
const UNUSUAL = /[%\\\x00-\x20\x7f-\uffff]|\/\.\.?(?:\/|$)/;
// eslint-disable-next-line no-control-regex
const FORBIDDEN = /[\\\x00-\x1f\x7f]|\/\.\.?(?:\/|$)/;
const SANE_ID = /^[\w.:+/=@-]{1,128}$/;
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;
// eslint-disable-next-line no-control-regex
const BAD_VALUE = /[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]/;

/**
 * Percent-decodes a path once. Dot segments, backslashes and control characters are refused in any spelling,
 * because no honest client sends them and every later step is simpler without them.
 * @returns undefined when the path is not acceptable (answer 400).
 */
export function decodePath(raw: string): string | undefined {
  if (!raw.startsWith('/')) return undefined;
  if (!UNUSUAL.test(raw)) return raw;
  let decoded: string;
  try {
    decoded = decodeURIComponent(raw);
  } catch {
    return undefined;
  }
  return FORBIDDEN.test(decoded) ? undefined : decoded;
}

/** Splits a request target; an absolute form (`http://host/path`) loses its origin. */
export function splitTarget(target: string): { readonly path: string; readonly query: string } {
  let rest = target;
  if (!target.startsWith('/')) {
    const origin = /^https?:\/\/[^/?#]*/i.exec(target);
    if (origin !== null) rest = target.slice(origin[0].length);
    if (rest === '' || rest.startsWith('?')) rest = `/${rest}`;
  }
  const mark = rest.indexOf('?');
  return mark < 0 ? { path: rest, query: '' } : { path: rest.slice(0, mark), query: rest.slice(mark + 1) };
}

const processTag = randomBytes(5).toString('hex');
let serial = 0;

/** The client's X-Request-Id when it is short and harmless, else a new one, unique in this process's life. */
export function requestIdOf(sent: string | undefined): string {
  if (sent !== undefined && SANE_ID.test(sent)) return sent;
  serial = (serial + 1) % Number.MAX_SAFE_INTEGER;
  return `${processTag}-${serial.toString(36)}`;
}

export type ResponseHeaders = Readonly<Record<string, string>>;

/**
 * Header lines made once and sent many times. Checked here, so that neither engine can be made to send a header
 * line that a value smuggled in. Content-Length, Date, Server and Connection belong to the engine.
 * @throws Error on a name or value that is not allowed in a header.
 */
export class PreparedHead {
  /** name, value, name, value: as node:http takes them. */
  readonly pairs: readonly string[];
  /** The first name, and its value with all further lines appended: one call for the uws engine. */
  readonly first = 'Server';
  readonly rest: string;

  constructor(headers: ResponseHeaders) {
    const pairs = ['Server', SERVER_NAME];
    let rest = SERVER_NAME;
    for (const [name, value] of Object.entries(headers)) {
      checkHeader(name, value);
      pairs.push(name, value);
      rest += `\r\n${name}: ${value}`;
    }
    this.pairs = pairs;
    this.rest = rest;
  }
}

export function checkHeader(name: string, value: string): void {
  if (!TOKEN.test(name)) throw new Error(`not a header name: ${JSON.stringify(name.slice(0, 40))}`);
  if (typeof value !== 'string' || BAD_VALUE.test(value)) throw new Error(`bad value for header ${name}`);
}

export const JSON_HEAD: ResponseHeaders = {
  'Content-Type': 'application/json; charset=utf-8',
  'Cache-Control': 'no-store',
};

/** Body of a refusal; `code` is stable for programs, `message` for people. */
export function problemBody(status: number, message: string, requestId: string): string {
  return `${JSON.stringify({ code: `HTTP_${status}`, message, requestId })}\n`;
}

/** A whole refusal as bytes, for the moments when the engine has no response object. Closes the connection. */
export function rawProblem(status: number, message: string): string {
  const body = problemBody(status, message, requestIdOf(undefined));
  return (
    `HTTP/1.1 ${STATUS_LINES[status] ?? status}\r\nServer: ${SERVER_NAME}\r\nDate: ${new Date().toUTCString()}\r\n` +
    `Content-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
    `Connection: close\r\n\r\n${body}`
  );
}

/** Statuses that never have a body. */
export function isBodiless(status: number): boolean {
  return status === 204 || status === 304 || (status >= 100 && status < 200);
}
