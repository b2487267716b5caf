/**
 * Text out of bytes, never with a silent replacement character: bytes that are no text of the encoding are told with their
 * position. Two forms: whole lines, of which a bad one spoils only itself, and a plain stream, which it spoils. Worker thread.
 */
import { BadInputError, MAX_REJECT_CHARS } from './format.js';

const LF = 10;
const BOMS: readonly (readonly [string, readonly number[]])[] = [
  ['utf-8', [0xef, 0xbb, 0xbf]],
  ['utf-16le', [0xff, 0xfe]],
  ['utf-16be', [0xfe, 0xff]],
];

/** A piece of text that ends with a line's end, or with the file. */
export interface TextBlock {
  readonly text: string;
  readonly bytes: Buffer;
  /** Number of its first line, from 1. */
  readonly firstLine: number;
  /** Why a line cannot be used, by its number; undefined when all can. */
  readonly bad: ReadonlyMap<number, string> | undefined;
}

export interface Encoded {
  /** WHATWG name. */
  readonly charset: string;
  /** The bytes without the byte order mark. */
  readonly bytes: AsyncGenerator<Buffer>;
}

/** @param charset WHATWG name; `auto` and `utf-16` look at the first bytes. @throws what the source throws */
export async function encodingOf(source: AsyncGenerator<Buffer>, charset: string): Promise<Encoded> {
  // A first piece of at least a few bytes: gzip may give very small ones.
  let head: Buffer = Buffer.alloc(0);
  while (head.length < 512) {
    const next = await source.next();
    if (next.done === true) break;
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  const bom = BOMS.find(([, mark]) => mark.every((byte, i) => head[i] === byte));
  let name = charset.toLowerCase();
  if (name === 'auto') {
    try {
      name = bom?.[0] ?? declared(head) ?? 'utf-8';
    } catch (error) {
      // Nobody else will close the file.
      await source.return(undefined);
      throw error;
    }
  } else if (name === 'utf-16') name = bom?.[0] ?? 'utf-16le';
  if (bom !== undefined && bom[0] === name) head = head.subarray(bom[1].length);
  const rest = async function* (): AsyncGenerator<Buffer> {
    try {
      if (head.length > 0) yield head;
      yield* source;
    } finally {
      // Also when the reader gave up at the first piece.
      await source.return(undefined);
    }
  };
  return { charset: name, bytes: rest() };
}

/** What an XML declaration says. */
function declared(head: Buffer): string | undefined {
  const name = /^\s*<\?xml[^>]*\sencoding\s*=\s*["']([\w.:-]+)["']/.exec(
    head.toString('latin1', 0, 256),
  )?.[1];
  if (name === undefined) return undefined;
  try {
    return new TextDecoder(name).encoding;
  } catch (error) {
    throw new BadInputError(`its XML declaration names "${name}", which is no known encoding`, {
      cause: error,
    });
  }
}

/** @throws BadInputError at bytes that are no text */
export async function* textOf({ charset, bytes }: Encoded): AsyncGenerator<string> {
  const decoder = new TextDecoder(charset, { fatal: true, ignoreBOM: true });
  let done = 0;
  for await (const chunk of bytes) {
    let text: string;
    try {
      text = decoder.decode(chunk, { stream: true });
    } catch (error) {
      const where = `between its bytes ${done} and ${done + chunk.length}`;
      throw new BadInputError(`it is not ${charset} text ${where}`, { cause: error });
    }
    done += chunk.length;
    yield text;
  }
  try {
    const rest = decoder.decode();
    if (rest !== '') yield rest;
  } catch (error) {
    throw new BadInputError(`it ends in the middle of a character of ${charset}`, { cause: error });
  }
}

/**
 * Blocks of whole lines. A line longer than `maxLineBytes` is cut to its beginning and told as bad; so is one with bytes that are
 * no text. @throws BadInputError for UTF-16 that is broken: there a lost byte spoils everything behind it
 */
export async function* linesOf(encoded: Encoded, maxLineBytes: number): AsyncGenerator<TextBlock> {
  const wide = encoded.charset.startsWith('utf-16');
  const charset = wide ? 'utf-8' : encoded.charset;
  const source = wide ? asUtf8(textOf(encoded)) : encoded.bytes;
  const decoder = new TextDecoder(charset, { fatal: true, ignoreBOM: true });
  let carry: Buffer | undefined;
  let line = 1;
  let offset = 0;
  /** Inside a line that is too long; its beginning is already out. */
  let skipping = false;
  const block = (bytes: Buffer, reason?: string): TextBlock => {
    const made = decoded(bytes, decoder, charset, line, offset, reason);
    for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) line++;
    offset += bytes.length;
    return made;
  };
  for await (let chunk of source) {
    if (skipping) {
      const end = chunk.indexOf(LF);
      offset += end < 0 ? chunk.length : end + 1;
      if (end < 0) continue;
      chunk = chunk.subarray(end + 1);
      skipping = false;
      line++;
    }
    const all: Buffer = carry === undefined ? chunk : Buffer.concat([carry, chunk]);
    const cut = all.lastIndexOf(LF) + 1;
    if (cut > 0) yield block(all.subarray(0, cut));
    carry = cut < all.length ? all.subarray(cut) : undefined;
    if (carry !== undefined && carry.length > maxLineBytes) {
      const reason = `the line is longer than max_record_bytes, ${maxLineBytes}`;
      const { length } = carry;
      yield block(carry.subarray(0, MAX_REJECT_CHARS), reason);
      offset += length - MAX_REJECT_CHARS;
      carry = undefined;
      skipping = true;
    }
  }
  if (carry !== undefined) yield block(carry);
}

async function* asUtf8(texts: AsyncIterable<string>): AsyncGenerator<Buffer> {
  for await (const text of texts) yield Buffer.from(text);
}

function decoded(
  bytes: Buffer,
  decoder: InstanceType<typeof TextDecoder>,
  charset: string,
  firstLine: number,
  offset: number,
  reason: string | undefined,
): TextBlock {
  if (reason !== undefined) {
    return { text: bytes.toString('latin1'), bytes, firstLine, bad: new Map([[firstLine, reason]]) };
  }
  try {
    return { text: decoder.decode(bytes), bytes, firstLine, bad: undefined };
  } catch {
    // Line by line: no byte of a character of these encodings looks like a line feed.
  }
  const lenient = new TextDecoder(charset, { ignoreBOM: true });
  const bad = new Map<number, string>();
  let text = '';
  let line = firstLine;
  for (let start = 0; start < bytes.length; line++) {
    const end = bytes.indexOf(LF, start);
    const stop = end < 0 ? bytes.length : end + 1;
    const piece = bytes.subarray(start, stop);
    try {
      text += decoder.decode(piece);
    } catch {
      const at = badByte(piece, charset);
      const hex = piece.subarray(at, at + 4).toString('hex');
      bad.set(line, `bytes ${hex} at position ${offset + start + at} of the file are not ${charset} text`);
      // Only the reject file will show it.
      text += lenient.decode(piece);
    }
    start = stop;
  }
  return { text, bytes, firstLine, bad };
}

/** Where the first character begins that cannot be decoded. */
function badByte(piece: Buffer, charset: string): number {
  let good = 0;
  let wrong = piece.length;
  while (wrong - good > 1) {
    const middle = (good + wrong) >> 1;
    try {
      new TextDecoder(charset, { fatal: true }).decode(piece.subarray(0, middle), { stream: true });
      good = middle;
    } catch {
      wrong = middle;
    }
  }
  return good;
}
