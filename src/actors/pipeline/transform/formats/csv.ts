/** Delimited text: CSV, TSV and the like, by the header's names or by position. Worker thread. */
import type { BadRecord } from '../../../../protocol/rowxml.js';
import { csvLine, CsvRows } from './csv-rows.js';
import {
  BadInputError,
  MAX_REJECT_CHARS,
  type FormatInput,
  type FormatOptions,
  type RecordBatch,
  type SourceRecord,
} from './format.js';
import { bytesOf } from './input.js';
import { encodingOf, linesOf } from './text.js';

export async function* readCsv(input: FormatInput, options: FormatOptions): AsyncGenerator<RecordBatch> {
  let fields: readonly string[] | undefined = options.header === 'names' ? undefined : options.fields;
  /** Lines still to be dropped, whatever they hold. */
  let skip = options.skipLines + (options.header === 'skip' ? 1 : 0);
  let records: SourceRecord[] = [];
  let bad: BadRecord[] = [];
  let badLines: ReadonlyMap<number, string> | undefined;
  /** Bad lines of earlier blocks that a row may still reach back to. */
  const carried = new Map<number, string>();
  const spoiled = (first: number, last: number): string | undefined => {
    if (badLines === undefined && carried.size === 0) return undefined;
    for (let line = first; line <= last; line++) {
      const reason = badLines?.get(line) ?? carried.get(line);
      if (reason !== undefined) return reason;
    }
    return undefined;
  };
  const rows = new CsvRows(
    {
      row(values, line, last) {
        if (skip > 0) {
          skip--;
          return;
        }
        const reason = spoiled(line, last);
        if (fields === undefined) {
          if (reason !== undefined) throw new BadInputError(`its header, line ${line}, is bad: ${reason}`);
          fields = checkedHeader(values, options.fields);
        } else if (reason === undefined && (values.length === fields.length || fields.length === 0)) {
          if (fields.length === 0) fields = values.map((_, i) => `f${i + 1}`);
          records.push({ values, line });
        } else {
          const why = reason ?? `${values.length} fields instead of ${fields.length}`;
          bad.push({
            line,
            reason: why,
            text: csvLine(values, options.separator, options.quote).slice(0, MAX_REJECT_CHARS),
          });
        }
      },
      bad(line, last, reason, text) {
        if (skip > 0) skip--;
        else bad.push({ line, reason: spoiled(line, last) ?? reason, text: text.slice(0, MAX_REJECT_CHARS) });
      },
    },
    { separator: options.separator, quote: options.quote, maxRowChars: options.maxRecordBytes },
  );
  const batch = (): RecordBatch => {
    const made = { fields: fields ?? [], records, bad };
    records = [];
    bad = [];
    return made;
  };
  const encoded = await encodingOf(bytesOf(input, options, input.progress), options.charset);
  for await (const block of linesOf(encoded, options.maxRecordBytes)) {
    badLines = block.bad;
    rows.push(block.text);
    // A row that began in this block may end in the next; more bad lines than this are rejects anyway.
    if (carried.size > 10_000) carried.clear();
    for (const [line, reason] of block.bad ?? []) carried.set(line, reason);
    if (records.length > 0 || bad.length > 0) yield batch();
  }
  rows.end();
  if (fields === undefined) {
    throw new BadInputError(`it has no header line${expected(options.fields)}`);
  }
  yield batch();
}

function expected(names: readonly string[]): string {
  return names.length === 0 ? '' : `; expected: ${names.join(', ')}`;
}

/** @throws BadInputError for a header that lacks a name, or has one twice */
export function checkedHeader(values: readonly string[], wanted: readonly string[]): readonly string[] {
  const names = values.map((value) => value.trim());
  const missing = wanted.filter((name) => !names.includes(name));
  if (missing.length > 0) {
    throw new BadInputError(
      `its header lacks ${missing.join(', ')}; expected: ${wanted.join(', ')}; found: ${shown(names)}`,
    );
  }
  const twice = names.find((name, i) => name !== '' && names.indexOf(name) !== i);
  if (twice !== undefined) throw new BadInputError(`its header has the name ${twice} twice: ${shown(names)}`);
  return names;
}

function shown(names: readonly string[]): string {
  const text = names.join(', ');
  return text.length > 500 ? `${text.slice(0, 500)}...` : text;
}
