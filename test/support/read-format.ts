/** A foreign file through its reader. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FormatOptions } from '../../src/actors/pipeline/transform/formats/format.js';
import { formats } from '../../src/actors/pipeline/transform/formats/readers.js';
import type { FormatName } from '../../src/actors/pipeline/transform/keys.js';

const DEFAULTS: FormatOptions = {
  charset: 'auto',
  separator: ',',
  quote: '"',
  header: 'names',
  skipLines: 0,
  fields: [],
  widthUnit: 'chars',
  records: '',
  sheet: '',
  maxRecordBytes: 1 << 20,
  maxUnpacked: 1 << 30,
  maxRatio: 200,
};

export interface Read {
  readonly fields: readonly string[];
  readonly rows: readonly (readonly (string | undefined)[])[];
  readonly lines: readonly number[];
  readonly bad: readonly string[];
  readonly unknown: readonly string[];
}

export async function read(
  format: FormatName,
  content: string | Uint8Array,
  options: Partial<FormatOptions> = {},
  { name = 'file', wanted }: { name?: string; wanted?: readonly string[] } = {},
): Promise<Read> {
  const root = await mkdtemp(join(tmpdir(), 'formats-'));
  const path = join(root, name);
  await writeFile(path, content);
  const rows: (readonly (string | undefined)[])[] = [];
  const lines: number[] = [];
  const bad: string[] = [];
  const unknown: string[] = [];
  let fields: readonly string[] = [];
  const input = {
    name,
    path,
    wanted,
    progress: async () => undefined,
    onUnknown: (field: string) => void unknown.push(field),
  };
  try {
    for await (const batch of formats[format].read(input, { ...DEFAULTS, ...options })) {
      fields = batch.fields;
      for (const { values, line } of batch.records) {
        rows.push(values);
        lines.push(line);
      }
      for (const { line, reason } of batch.bad) bad.push(`${line}: ${reason}`);
    }
  } finally {
    await rm(root, { recursive: true });
  }
  return { fields, rows, lines, bad, unknown };
}
