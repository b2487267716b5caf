/** One foreign file to row XML: reads, maps, checks, writes; bad records go to a reject file. Worker thread. */
import { join } from 'node:path';
import { rowXmlWriter, type BadRecord } from '../../../protocol/rowxml.js';
import { createAtomic, type AtomicFile } from '../../../runtime/atomic-file.js';
import {
  BadInputError,
  MAX_REJECT_CHARS,
  type FormatInput,
  type FormatOptions,
  type RecordBatch,
} from './formats/format.js';
import { csvLine } from './formats/csv-rows.js';
import type { Format } from './formats/readers.js';
import { compilePlan, FieldsError, wantedFields, type Mapping, type Plan } from './mapping.js';
import type { Parts } from './output.js';

export interface TransformLimits {
  /** More bad records than this make the whole file bad. */
  readonly maxRejects: number;
  /** The same in percent of its records, looked at when the file has ended. */
  readonly maxRejectPercent: number;
  /** Rows of an output file; 0: all in one. */
  readonly fileRows: number;
}

export interface TransformJob {
  readonly file: { readonly name: string; readonly path: string; readonly mtimeMs: number };
  readonly format: Format;
  readonly options: FormatOptions;
  readonly mapping: Mapping;
  readonly limits: TransformLimits;
  /** Undefined: nothing is written. */
  readonly parts: Parts | undefined;
  readonly rejectPath: string;
  /** Called after every piece of the file with its bytes so far. */
  readonly progress: (bytes: number) => Promise<void>;
  readonly onUnknown: (name: string) => void;
  readonly onReject: (record: BadRecord) => void;
}

export interface TransformOutcome {
  readonly total: number;
  readonly written: number;
  /** Kept back by a filter. */
  readonly filtered: number;
  readonly rejected: number;
  /** Path of the reject file. */
  readonly rejects: string | undefined;
}

const WRITE_CHARS = 512 << 10;
const BEGIN = '<data>\n';
const END = '</data>\n';

/**
 * @throws BadInputError, FieldsError for a file that has to be put aside; MappingError when the mapping is wrong; the system's error.
 * The caller then discards the parts; the reject file is gone already.
 */
export async function transformFile(job: TransformJob): Promise<TransformOutcome> {
  const { parts, limits } = job;
  const rejects = new RejectFile(job);
  const counts = { total: 0, written: 0, filtered: 0 };
  let plan: Plan | undefined;
  let write = rowXmlWriter([]);
  let text = '';
  let inPart = 0;
  const endPart = async (): Promise<void> => {
    if (inPart === 0 || parts === undefined) return;
    await parts.write(text + END);
    await parts.endPart();
    text = '';
    inPart = 0;
  };
  const take = async (batch: RecordBatch): Promise<void> => {
    counts.total += batch.records.length + batch.bad.length;
    for (const bad of batch.bad) await rejects.add(bad);
    if (batch.records.length === 0) return;
    if (plan === undefined) {
      plan = compilePlan(job.mapping, batch.fields, job.file.name);
      write = rowXmlWriter(plan.columns);
    }
    const out = new Array<string>(plan.columns.length).fill('');
    for (const { values, line } of batch.records) {
      const reason = plan.apply(values, line, out);
      if (reason !== undefined) {
        if (reason === '') counts.filtered++;
        else await rejects.add({ line, reason, text: recordText(values, batch.fields, job) });
        continue;
      }
      counts.written++;
      if (parts === undefined) continue;
      if (inPart++ === 0) text += BEGIN;
      text += write(out);
      if (limits.fileRows > 0 && inPart >= limits.fileRows) await endPart();
      else if (text.length > WRITE_CHARS) {
        await parts.write(text);
        text = '';
      }
    }
  };
  try {
    for await (const batch of records(job, job.progress)) await take(batch);
    await endPart();
    rejects.check(counts.total);
    const path = await rejects.commit();
    return { ...counts, rejected: rejects.count, rejects: path };
  } catch (error) {
    await rejects.discard();
    throw error;
  }
}

/** A rejected record in the form of its format, so that it can be mended and put back. */
function recordText(
  values: readonly (string | undefined)[],
  fields: readonly string[],
  { format, options }: TransformJob,
): string {
  if (!format.named) return csvLine(values, options.separator, options.quote).slice(0, MAX_REJECT_CHARS);
  const pairs = fields
    .map((name, i) => [name, values[i]] as const)
    .filter(([, value]) => value !== undefined);
  return JSON.stringify(Object.fromEntries(pairs)).slice(0, MAX_REJECT_CHARS);
}

export interface FirstRows {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The first rows that would go out. @throws as `transformFile` */
export async function firstRows(job: Omit<TransformJob, 'parts'>, limit: number): Promise<FirstRows> {
  const rows: string[][] = [];
  let plan: Plan | undefined;
  for await (const { fields, records: found } of records(job, async () => undefined)) {
    if (found.length === 0) continue;
    plan ??= compilePlan(job.mapping, fields, job.file.name);
    for (const { values, line } of found) {
      const out = new Array<string>(plan.columns.length).fill('');
      if (plan.apply(values, line, out) === undefined) rows.push(out);
      if (rows.length >= limit) return { columns: plan.columns, rows };
    }
  }
  return { columns: plan?.columns ?? [], rows };
}

function records(
  job: Omit<TransformJob, 'parts'>,
  progress: (bytes: number) => Promise<void>,
): AsyncGenerator<RecordBatch> {
  const { file, format, options, mapping } = job;
  const wanted = format.named ? wantedFields(mapping) : undefined;
  const input: FormatInput = {
    name: file.name,
    path: file.path,
    wanted,
    progress,
    onUnknown: job.onUnknown,
  };
  return format.read(input, options);
}

/** Bad records with line and reason, written as they come: no number of them fills the memory. */
class RejectFile {
  count = 0;
  private file: AtomicFile | undefined;
  private text = '';
  private first: BadRecord | undefined;
  private readonly path: string;

  constructor(private readonly job: TransformJob) {
    // The same name when the file is transformed again, so a repetition replaces it.
    this.path = join(job.rejectPath, `${job.file.name}.${Math.round(job.file.mtimeMs)}.reject`);
  }

  async add(record: BadRecord): Promise<void> {
    const { job } = this;
    this.count++;
    this.first ??= record;
    if (this.count > job.limits.maxRejects) {
      throw new BadInputError(`more than ${job.limits.maxRejects} of its records are bad${this.example()}`);
    }
    job.onReject(record);
    if (job.parts === undefined) return;
    this.text += `# ${job.file.name}:${record.line}: ${record.reason.replace(/[\r\n]+/g, ' ')}\n${record.text}\n`;
    if (this.text.length > WRITE_CHARS) await this.flush();
  }

  /** @throws BadInputError */
  check(total: number): void {
    const { maxRejectPercent: percent } = this.job.limits;
    if (this.count === 0) return;
    if (this.count === total)
      throw new BadInputError(`none of its ${total} records is good${this.example()}`);
    if (this.count * 100 <= total * percent) return;
    throw new BadInputError(
      `${this.count} of its ${total} records are bad, more than ${percent} %${this.example()}`,
    );
  }

  async commit(): Promise<string | undefined> {
    if (this.count === 0 || this.job.parts === undefined) return undefined;
    await this.flush();
    await this.file?.commit();
    this.file = undefined;
    return this.path;
  }

  async discard(): Promise<void> {
    await this.file?.discard();
  }

  private async flush(): Promise<void> {
    this.file ??= await createAtomic(this.path);
    await this.file.handle.writeFile(this.text);
    this.text = '';
  }

  private example(): string {
    return this.first === undefined ? '' : `; the first: line ${this.first.line}: ${this.first.reason}`;
  }
}

/** The file itself is the trouble. */
export function isBadFile(error: unknown): boolean {
  return error instanceof BadInputError || error instanceof FieldsError;
}
