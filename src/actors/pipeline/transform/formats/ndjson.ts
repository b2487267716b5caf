/** One JSON object per line. Worker thread. */
import type { BadRecord } from '../../../../protocol/rowxml.js';
import { reasonOf } from '../../../../runtime/errors.js';
import {
  MAX_REJECT_CHARS,
  NamedFields,
  type FormatInput,
  type FormatOptions,
  type RecordBatch,
  type SourceRecord,
} from './format.js';
import { bytesOf } from './input.js';
import { flatten } from './json-values.js';
import { encodingOf, linesOf } from './text.js';

const NUMBERS = /"(?:[^"\\]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Numbers become marked strings, because a JSON number has digits that a double has not. What is no JSON stays none. */
function numbersAsText(line: string): string {
  if (!/[:,[]\s*[-\d]/.test(line)) return line;
  return line.replace(NUMBERS, (token) => (token.startsWith('"') ? token : `"\\u0000${token}"`));
}

export async function* readNdjson(input: FormatInput, options: FormatOptions): AsyncGenerator<RecordBatch> {
  const named = new NamedFields(input);
  const encoded = await encodingOf(bytesOf(input, options, input.progress), options.charset);
  for await (const block of linesOf(encoded, options.maxRecordBytes)) {
    const records: SourceRecord[] = [];
    const bad: BadRecord[] = [];
    let line = block.firstLine - 1;
    for (const text of block.text.split('\n')) {
      line++;
      if (line <= options.skipLines || text.trim() === '') continue;
      let reason = block.bad?.get(line);
      if (reason === undefined) {
        try {
          const value: unknown = JSON.parse(numbersAsText(text));
          records.push({ values: flatten(value, named), line });
          named.close();
          continue;
        } catch (error) {
          reason = reasonOf(error).slice(0, 300);
        }
      }
      bad.push({ line, reason, text: text.slice(0, MAX_REJECT_CHARS) });
    }
    yield { fields: named.fields, records, bad };
  }
}
