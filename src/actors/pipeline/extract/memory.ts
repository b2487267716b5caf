/** What an extraction remembers beside its position, and the names of its files. Pure; any thread. */
import { digitsOfTime } from '../../../protocol/observations.js';
import type { SqlKey } from './plan.js';

export interface Memory {
  /** Time and number of the last file name given out. */
  readonly name: { readonly time: string; readonly serial: number } | undefined;
  /** Keys of the overlap that were sent (`SentKeys.toText`), and the position to which that belongs. */
  readonly sent: { readonly position: string; readonly keys: string } | undefined;
  /** A full extraction that was cut off behind this key. */
  readonly full: FullProgress | undefined;
  /** The full extraction that ended with this step. Nothing sends its rows again until its run is known to have ended. */
  readonly ended: FullEnd | undefined;
}

export interface FullProgress {
  readonly after: { readonly type: 'integer' | 'text'; readonly value: string };
  /** ms since 1970 */
  readonly startedAt: number;
  /** Of the select and fields: another select begins anew. */
  readonly signature: string;
}

export interface FullEnd extends Pick<FullProgress, 'signature'> {
  /** ms since 1970 */
  readonly endedAt: number;
  /** Number in the ledger of the run that came to the end of the rows. */
  readonly run: number;
}

export interface StepRecord {
  readonly version: 1;
  /** Below the hidden folder; undefined: a step without files. */
  readonly folder: string | undefined;
  readonly rows: number;
  readonly position: string | undefined;
  readonly memory: Memory;
}

export function freshMemory(): Memory {
  return { name: undefined, sent: undefined, full: undefined, ended: undefined };
}

export function parseStep(text: string): StepRecord | undefined {
  try {
    const step = JSON.parse(text) as Partial<StepRecord> | null;
    const sound =
      step?.version === 1 &&
      typeof step.rows === 'number' &&
      typeof step.memory === 'object' &&
      (step.folder === undefined || /^step-[\w-]+$/.test(step.folder)) &&
      (step.position === undefined || /^-?\d+$/.test(step.position));
    return sound ? (step as StepRecord) : undefined;
  } catch {
    return undefined;
  }
}

export function keyToText(key: SqlKey): FullProgress['after'] {
  return { type: typeof key === 'string' ? 'text' : 'integer', value: String(key) };
}

export function keyFromText({ type, value }: FullProgress['after']): SqlKey {
  if (type === 'text') return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : BigInt(value);
}

/**
 * Names of the form `PREFIX_yyyymmddhh24miss_SUFFIX_SEQ.xml` (spec data-centre 7.3). SEQ counts the files of a run. A name is never
 * given twice, and later names have no earlier time, even when the clock was set back: loaders take files in that order.
 */
export class FileNames {
  private serial = 0;

  /** @param last the one given out last by earlier runs */
  constructor(
    private readonly prefix: string,
    private readonly suffix: string,
    private last: Memory['name'],
    private readonly now: () => Date = () => new Date(),
  ) {}

  next(): string {
    const present = digitsOfTime(this.now());
    const time = this.last !== undefined && this.last.time > present ? this.last.time : present;
    // A run that begins within the second of the one before it counts on.
    if (this.serial === 0 && this.last?.time === time) this.serial = this.last.serial;
    this.last = { time, serial: ++this.serial };
    return `${this.prefix}_${time}_${this.suffix}_${this.serial}.xml`;
  }

  get given(): Memory['name'] {
    return this.last;
  }
}
