/**
 * First step of reading conf: text to entries with their file and line. Knows nothing of sections' meaning. Any thread.
 *
 *     # or ; at the start of a line: comment        [section]   [section name]
 *     key = value   # blank + hash: comment to the end of the line
 *     key = "a # b"   escapes \" \\ \n \r \t        key = 'taken as it is, no ${...}'
 */
import { SwitchyardError, type ErrorCode } from './errors.js';

export const confLimits = { fileBytes: 4 << 20, lineChars: 64 << 10, problems: 200 } as const;

export interface Place {
  readonly file: string;
  /** From 1; 0 when it concerns the file as a whole. */
  readonly line: number;
}

/** How a value was written: bare and double-quoted ones may hold ${ENV}, only bare ones `file:` references. */
export type Quoting = 'bare' | 'double' | 'single';

export type ConfEntry =
  | { readonly kind: 'section'; readonly section: string; readonly name: string; readonly place: Place }
  | {
      readonly kind: 'key';
      readonly key: string;
      readonly text: string;
      readonly quoting: Quoting;
      readonly place: Place;
    };

export interface ConfProblem {
  /** An error refuses the conf; a note is printed and that is all. */
  readonly severity: 'error' | 'note';
  readonly code: ErrorCode | 'NOTE';
  readonly place: Place;
  readonly text: string;
  readonly hint: string;
}

export interface ConfText {
  readonly entries: readonly ConfEntry[];
  readonly problems: readonly ConfProblem[];
}

/** `file:line`, or the file alone. */
export function placeText(place: Place): string {
  return place.line > 0 ? `${place.file}:${place.line}` : place.file;
}

/** The line shown to a person: `conf/a.conf:3: unknown key prot in [listener a], did you mean port? (hint)`. */
export function problemText(problem: ConfProblem): string {
  const kind = problem.severity === 'note' ? 'note: ' : '';
  const hint = problem.hint === '' ? '' : ` (${problem.hint})`;
  return `${placeText(problem.place)}: ${kind}${problem.text}${hint}`;
}

/** An error out of the catalogue at a place. @param params never hold a secret or a value that came from one. */
export function confError(
  code: ErrorCode,
  place: Place,
  params: Readonly<Record<string, string | number>> = {},
): ConfProblem {
  const error = new SwitchyardError(code, params);
  const hint = error.hint.replace('{help}', () => String(params['help'] ?? '')).trim();
  return { severity: 'error', code, place, text: error.message, hint };
}

export function confNote(place: Place, text: string): ConfProblem {
  return { severity: 'note', code: 'NOTE', place, text, hint: '' };
}

const sectionLine = /^\[\s*([A-Za-z][\w.-]*)(?:\s+([^\s\]]+))?\s*\]\s*(?:[#;].*)?$/;
const sectionName = /^[A-Za-z0-9][\w.@/-]{0,63}$/;
const keyLine = /^([A-Za-z_][\w.-]*)\s*=\s*(.*)$/s;
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const control = /[\u0000-\u0008\u000b-\u001f\u007f]/;

/**
 * Decodes and splits a conf file. Never throws; every problem is reported with its line.
 * @param file name used in the places, as the operator wrote it
 * @param content bytes of the file, or text already decoded
 */
export function readConf(file: string, content: Uint8Array | string): ConfText {
  const entries: ConfEntry[] = [];
  const problems: ConfProblem[] = [];
  for (const line of confLines(file, content, problems)) {
    if (problems.length >= confLimits.problems) break;
    const outcome = readLine(line.text.trim(), line.place);
    if (outcome === undefined) continue;
    if (typeof outcome === 'string') problems.push(confError('CONF_SYNTAX', line.place, { reason: outcome }));
    else entries.push(outcome);
  }
  return { entries, problems };
}

/** Lines without BOM and line ends; a line over the limit and a text that is not UTF-8 become problems. */
export function confLines(
  file: string,
  content: Uint8Array | string,
  problems: ConfProblem[],
): { readonly text: string; readonly place: Place }[] {
  const bytes = typeof content === 'string' ? Buffer.from(content) : Buffer.from(content);
  if (bytes.length > confLimits.fileBytes) {
    const params = { what: `a size of ${bytes.length} bytes`, limit: `${confLimits.fileBytes} bytes` };
    problems.push(confError('CONF_TOO_LARGE', { file, line: 0 }, params));
    return [];
  }
  const text = decodeUtf8(bytes);
  if (text === undefined) {
    problems.push(confError('CONF_ENCODING', { file, line: firstBadLine(bytes) }));
    return [];
  }
  const lines = [];
  let number = 0;
  for (const raw of text.split(/\r\n|\n|\r/)) {
    number++;
    const place = { file, line: number };
    if (raw.length > confLimits.lineChars) {
      const params = {
        what: `a line of ${raw.length} characters`,
        limit: `${confLimits.lineChars} characters`,
      };
      problems.push(confError('CONF_TOO_LARGE', place, params));
    } else {
      lines.push({ text: raw, place });
    }
  }
  return lines;
}

/** @returns undefined when it is not UTF-8 */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    // The decoder takes the byte order mark away.
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function firstBadLine(bytes: Buffer): number {
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const newline = bytes.indexOf(10, start);
    const end = newline < 0 ? bytes.length : newline + 1;
    if (decodeUtf8(bytes.subarray(start, end)) === undefined) break;
    start = end;
  }
  return line;
}

/** @returns an entry, nothing for a blank or comment line, or the reason why it is wrong. */
function readLine(line: string, place: Place): ConfEntry | string | undefined {
  if (line === '' || line.startsWith('#') || line.startsWith(';')) return undefined;
  if (control.test(line)) return 'the line holds a control character';
  if (line.startsWith('[')) {
    const match = sectionLine.exec(line);
    if (match === null) return 'a section is written [section] or [section name]';
    const [, section = '', name = ''] = match;
    if (name !== '' && !sectionName.test(name)) {
      return `section name ${name.slice(0, 80)} may hold at most 64 letters, digits and . _ @ / -`;
    }
    return { kind: 'section', section, name, place };
  }
  const match = keyLine.exec(line);
  // The line itself is not repeated: it may be the second half of somebody's password.
  if (match === null) return 'the line is neither a section nor key = value';
  const value = readValue(match[2] ?? '');
  return typeof value === 'string' ? value : { kind: 'key', key: match[1] ?? '', ...value, place };
}

function readValue(written: string): { text: string; quoting: Quoting } | string {
  const quote = written[0];
  if (quote !== '"' && quote !== "'") {
    const comment = /(^|\s)#/.exec(written);
    return { text: (comment ? written.slice(0, comment.index) : written).trim(), quoting: 'bare' };
  }
  let text = '';
  let at = 1;
  for (; at < written.length && written[at] !== quote; at++) {
    if (quote === '"' && written[at] === '\\') {
      const meant = escapes[written[++at] ?? ''];
      if (meant === undefined) return 'inside double quotes only \\" \\\\ \\n \\r \\t are known escapes';
      text += meant;
    } else {
      text += written[at];
    }
  }
  if (at >= written.length) return `the quote ${quote} is not closed`;
  const rest = written.slice(at + 1);
  if (!/^\s*(#.*)?$/s.test(rest)) return 'text follows the closing quote; quote the whole value';
  return { text, quoting: quote === '"' ? 'double' : 'single' };
}

const escapes: Readonly<Record<string, string>> = { '"': '"', '\\': '\\', n: '\n', r: '\r', t: '\t' };

/** Writes a value so that `readConf` and the expansion of references give it back. Bare when that is safe. */
export function writeValue(text: string): string {
  // eslint-disable-next-line no-control-regex -- anything unusual is quoted
  const plain = /^[^\s"'#\u0000-\u001f\u007f]([^\u0000-\u001f\u007f]*[^\s\u0000-\u001f\u007f])?$/;
  if (plain.test(text) && !/\s#|\$\{|^file:/.test(text)) return text;
  const escaped = text.replace(/[\\"\n\r\t]/g, (c) => `\\${{ '\n': 'n', '\r': 'r', '\t': 't' }[c] ?? c}`);
  return `"${escaped.replaceAll('${', () => '$${')}"`;
}
