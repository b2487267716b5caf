/** The formats that `transform` reads: a new one is a file here and a line in the table. Pure data. */
import { readCsv } from './csv.js';
import { readFixedWidth } from './fixed-width.js';
import type { ReadFormat } from './format.js';
import { readJson } from './json.js';
import { readNdjson } from './ndjson.js';
import { readXlsx } from './xlsx.js';
import { readXml } from './xml.js';
import { FORMAT_NAMES, type FormatName } from '../keys.js';

export interface Format {
  readonly read: ReadFormat;
  /** Endings of file names, before a .gz. */
  readonly endings: readonly string[];
  /** Every record names its values. */
  readonly named: boolean;
  /** Unless the conf says otherwise. */
  readonly separator?: string;
}

export const formats: Readonly<Record<FormatName, Format>> = {
  csv: { read: readCsv, endings: ['.csv'], named: false },
  tsv: { read: readCsv, endings: ['.tsv', '.tab'], named: false, separator: '\t' },
  'fixed-width': { read: readFixedWidth, endings: ['.txt', '.dat'], named: false },
  json: { read: readJson, endings: ['.json'], named: true },
  ndjson: { read: readNdjson, endings: ['.ndjson', '.jsonl'], named: true },
  xml: { read: readXml, endings: ['.xml'], named: true },
  xlsx: { read: readXlsx, endings: ['.xlsx'], named: false },
};

/** By the ending of the name; undefined when none fits. */
export function formatOf(name: string): FormatName | undefined {
  const plain = name.toLowerCase().replace(/\.gz$/, '');
  return FORMAT_NAMES.find((format) => formats[format].endings.some((ending) => plain.endsWith(ending)));
}
