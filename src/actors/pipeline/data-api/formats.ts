/**
 * Answers of the data service. The XML form is that of spec data-centre 11.3: always status 200, the retcode tells; the other
 * forms use the statuses of HTTP. Pure; any thread.
 */
import { csvField } from '../../../protocol/csv.js';
import { escapeXml, rowXmlWriter } from '../../../protocol/rowxml.js';
import type { SqlRow, SqlValue } from '../../../store/driver.js';
import type { ReplyFormat } from './query.js';

const TYPES: Readonly<Record<ReplyFormat, string>> = {
  xml: 'text/html;charset=utf-8',
  json: 'application/json; charset=utf-8',
  csv: 'text/csv; charset=utf-8',
  ndjson: 'application/x-ndjson; charset=utf-8',
};

/** Answers hold data of one user. */
export function replyHeaders(format: ReplyFormat): Record<string, string> {
  return {
    'Content-Type': TYPES[format],
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    Vary: 'Accept, Authorization',
  };
}

export interface Refusal {
  /** Of the forms other than XML. */
  readonly status: number;
  readonly code: string;
  readonly message: string;
  /** Text after the retcode in the XML form, line end included where the reference has one. */
  readonly xml: string;
}

const refusal = (status: number, code: string, message: string, xml: string): Refusal => ({
  status,
  code,
  message,
  xml,
});
const line = (text: string): string => `<message>${escapeXml(text)}</message>\n`;

export const REFUSALS = {
  credentials: refusal(
    401,
    'CREDENTIALS',
    'unknown user or wrong password',
    '<message>用户名或密码不正确。</message>',
  ),
  permission: refusal(
    403,
    'PERMISSION',
    'not allowed, or no such interface',
    '<message>用户无权限，或接口不存在。</message>',
  ),
  internal: refusal(500, 'INTERNAL', 'internal error', '<message>内部错误。</message>'),
  busy: refusal(
    503,
    'BUSY',
    'too many requests are under way; try again',
    line('too many requests, try again'),
  ),
  failures: refusal(
    429,
    'FAILURES',
    'too many wrong passwords; wait a minute',
    line('too many wrong passwords, wait a minute'),
  ),
  unavailable: refusal(
    503,
    'UNAVAILABLE',
    'the database cannot be reached; try again',
    line('the database cannot be reached, try again'),
  ),
} as const satisfies Record<string, Refusal>;

export function badRequest(problem: string): Refusal {
  return refusal(400, 'BAD_REQUEST', problem, line(problem));
}

/** @param problem what the database said; it names tables and columns, which the user of the interface may know */
export function sqlError(status: 422 | 504, problem: string): Refusal {
  return refusal(status, 'SQL', problem, line(problem));
}

export function refusalReply(
  { status, code, message, xml }: Refusal,
  format: ReplyFormat,
  requestId: string,
): { status: number; headers: Record<string, string>; body: string } {
  if (format === 'xml')
    return { status: 200, headers: replyHeaders('xml'), body: `<retcode>-1</retcode>${xml}` };
  const headers = replyHeaders('json');
  if (status === 401) headers['WWW-Authenticate'] = 'Basic realm="data", charset="UTF-8"';
  if (status === 503) headers['Retry-After'] = '1';
  if (status === 429) headers['Retry-After'] = '60';
  return { status, headers, body: JSON.stringify({ code, message, requestId }) + '\n' };
}

export interface RowEncoder {
  /** Before the first row. */
  readonly begin: string;
  row(values: SqlRow): string;
  /** After the last one. @param cutAt the row limit, when there were more rows */
  end(cutAt: number | undefined): string;
}

/** @param columns output names, one for each value */
export function rowEncoder(format: ReplyFormat, columns: readonly string[]): RowEncoder {
  switch (format) {
    case 'xml': {
      const write = rowXmlWriter(columns);
      return {
        begin: '<retcode>0</retcode><message>ok</message>\n<data>\n',
        row: (values) => write(values.map(plain)),
        end: (cutAt) => '</data>\n' + (cutAt === undefined ? '' : `<truncated>${cutAt}</truncated>\n`),
      };
    }
    case 'csv':
      return {
        begin: columns.map(csvField).join(',') + '\r\n',
        row: (values) => values.map((value) => csvField(plain(value))).join(',') + '\r\n',
        // A reader of CSV takes every line for a row, so a cut can only be told by status or log.
        end: () => '',
      };
    case 'ndjson': {
      const write = jsonRow(columns);
      return {
        begin: '',
        row: (values) => write(values) + '\n',
        end: (cutAt) => (cutAt === undefined ? '' : `{"truncated":true,"limit":${cutAt}}\n`),
      };
    }
    case 'json': {
      const write = jsonRow(columns);
      let first = true;
      return {
        begin: '{"retcode":0,"message":"ok","data":[',
        row(values) {
          const text = (first ? '\n' : ',\n') + write(values);
          first = false;
          return text;
        },
        end: (cutAt) => '\n]' + (cutAt === undefined ? '' : `,"truncated":true,"limit":${cutAt}`) + '}\n',
      };
    }
  }
}

/** Numbers stay numbers; what JSON cannot hold exactly becomes text. */
function jsonRow(columns: readonly string[]): (values: SqlRow) => string {
  const names = columns.map((name) => JSON.stringify(name) + ':');
  return (values) => {
    let text = '{';
    for (let i = 0; i < names.length; i++) {
      const value = plain(values[i] ?? null);
      text +=
        (i === 0 ? '' : ',') + names[i] + JSON.stringify(typeof value === 'bigint' ? String(value) : value);
    }
    return text + '}';
  };
}

function plain(value: SqlValue): string | number | bigint | null {
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
}
