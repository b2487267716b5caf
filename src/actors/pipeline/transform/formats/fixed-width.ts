/** Lines whose fields stand at fixed columns, counted in characters or in bytes of the encoding. Worker thread. */
import type { BadRecord } from '../../../../protocol/rowxml.js';
import {
  MAX_REJECT_CHARS,
  type FormatInput,
  type FormatOptions,
  type RecordBatch,
  type SourceRecord,
} from './format.js';
import { bytesOf } from './input.js';
import { encodingOf, linesOf, type TextBlock } from './text.js';

const LF = 10;
const CR = 13;

interface Place {
  readonly name: string;
  /** From 0. */
  readonly start: number;
  readonly end: number;
}

/** @param fields `name:start:length`, the start counted from 1. @throws RangeError that says what is wrong */
export function fixedPlaces(fields: readonly string[]): readonly Place[] {
  if (fields.length === 0) throw new RangeError('fixed width needs fields = name:start:length, ...');
  return fields.map((field) => {
    const match = /^(.+):(\d{1,6}):(\d{1,6})$/.exec(field);
    const start = Number(match?.[2]);
    const length = Number(match?.[3]);
    if (!match || start < 1 || length < 1) {
      throw new RangeError(`field "${field}" is not name:start:length, with both from 1`);
    }
    return { name: match[1]?.trim() ?? '', start: start - 1, end: start - 1 + length };
  });
}

/** Values are trimmed; what lies behind the end of a line is empty. Empty lines are passed over. */
export async function* readFixedWidth(
  input: FormatInput,
  options: FormatOptions,
): AsyncGenerator<RecordBatch> {
  const places = fixedPlaces(options.fields);
  const fields = places.map(({ name }) => name);
  let skip = options.skipLines + (options.header === 'skip' ? 1 : 0);
  const encoded = await encodingOf(bytesOf(input, options, input.progress), options.charset);
  const inBytes = options.widthUnit === 'bytes';
  const cut = inBytes ? cutBytes(encoded.charset, places) : cutChars(places);
  for await (const block of linesOf(encoded, options.maxRecordBytes)) {
    const records: SourceRecord[] = [];
    const bad: BadRecord[] = [];
    let line = block.firstLine - 1;
    for (const piece of inBytes ? byteLines(block) : textLines(block)) {
      line++;
      if (skip > 0) {
        skip--;
        continue;
      }
      if (piece.length === 0) continue;
      const reason = block.bad?.get(line);
      const values = reason === undefined ? cut(piece) : reason;
      if (typeof values !== 'string') records.push({ values, line });
      else bad.push({ line, reason: values, text: piece.toString().slice(0, MAX_REJECT_CHARS) });
    }
    yield { fields, records, bad };
  }
}

function* textLines({ text }: TextBlock): Generator<string> {
  for (let start = 0; start < text.length;) {
    const lf = text.indexOf('\n', start);
    const end = lf < 0 ? text.length : lf;
    yield text.slice(start, end > start && text.charCodeAt(end - 1) === CR ? end - 1 : end);
    start = end + 1;
  }
}

function* byteLines({ bytes }: TextBlock): Generator<Buffer> {
  for (let start = 0; start < bytes.length;) {
    const lf = bytes.indexOf(LF, start);
    const end = lf < 0 ? bytes.length : lf;
    yield bytes.subarray(start, end > start && bytes[end - 1] === CR ? end - 1 : end);
    start = end + 1;
  }
}

type Cut = (line: string | Buffer) => string[] | string;

function cutChars(places: readonly Place[]): Cut {
  return (line) => {
    const text = line as string;
    // Characters beyond U+FFFF are two units of a string, but one for whoever counted the columns.
    const chars = /[\ud800-\udfff]/.test(text) ? Array.from(text) : undefined;
    return places.map(({ start, end }) =>
      (chars === undefined ? text.slice(start, end) : chars.slice(start, end).join('')).trim(),
    );
  };
}

/** A field that begins or ends inside a character makes the line bad. */
function cutBytes(charset: string, places: readonly Place[]): Cut {
  const decoder = new TextDecoder(charset, { fatal: true, ignoreBOM: true });
  return (line) => {
    const bytes = line as Buffer;
    const ascii = bytes.every((byte) => byte < 0x80);
    const values: string[] = [];
    for (const { name, start, end } of places) {
      const piece = bytes.subarray(start, end);
      try {
        values.push((ascii ? piece.toString('latin1') : decoder.decode(piece)).trim());
      } catch {
        return `the columns of ${name} cut a character of ${charset} apart`;
      }
    }
    return values;
  };
}
