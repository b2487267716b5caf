/** One pass over the rows: from the database's batches to the files of steps. Worker thread. */
import { reasonOf } from '../../../runtime/errors.js';
import type { SqlRow, SqlValue, Store } from '../../../store/driver.js';
import { MemoryPool } from '../../../store/memory-pool.js';
import { batchesOf, type Batch } from './batches.js';
import type { FileNames, Memory } from './memory.js';
import type { Outbox } from './outbox.js';
import type { Plan, SqlKey } from './plan.js';
import type { Renderer } from './render.js';
import type { Settings } from './settings.js';
import { integerOf, KeyOrderError, type SentKeys } from './window.js';
import { FileWriter } from './write.js';
import { StageError, type StageRun } from '../stage/run.js';

/** What is known when a step ends. */
export interface StepEnd {
  /** Largest key of the rows read so far; undefined: none came, or there is no key. */
  readonly key: SqlKey | undefined;
  /** No rows are left. */
  readonly last: boolean;
}

export interface PassOptions {
  readonly store: Store;
  readonly settings: Settings;
  readonly plan: Plan;
  readonly outbox: Outbox;
  readonly names: FileNames;
  readonly render: Renderer;
  /** Set when there is an overlap. */
  readonly sent: SentKeys | undefined;
  /** What the step leaves behind; undefined: nothing new, so there is nothing to commit. */
  readonly conclude: (
    end: StepEnd,
    files: number,
  ) => { position: bigint | undefined; expected: bigint | undefined; memory: Memory } | undefined;
}

/** A step ends after this time (ms) too, so that the rows of a slow query do not wait for the whole. */
const STEP_TIME = 30_000;
/** Memory of written lines that is kept for the next ones. */
const KEPT_BYTES = 8 << 20;
/** A step that waits longer (ms) for the one before it, which waits for room, lets the cursor go. */
const PATIENCE = 5_000;

export class Pass {
  private readonly memory = new MemoryPool(KEPT_BYTES);
  private writer: FileWriter | undefined;
  private folder: string | undefined;
  private started = 0;
  /** The step that is being carried out while the next one is read. */
  private carrying: Promise<boolean> = Promise.resolve(true);
  private key: SqlKey | undefined;
  private oldest: string | undefined;

  constructor(
    private readonly options: PassOptions,
    private readonly run: StageRun,
  ) {}

  /** Local time of the oldest row as the database prints it. */
  get oldestRow(): string | undefined {
    return this.oldest;
  }

  /**
   * Reads the rows beyond `from`. @returns `end` after the last one; `again` when the cursor had to be let go behind
   * `reached`; `stopped` when the run is to end.
   */
  async read(from: SqlKey | undefined): Promise<'end' | 'again' | 'stopped'> {
    const { store, settings, plan, sent, render, outbox } = this.options;
    const query = plan.read(from);
    sent?.begin(BigInt(from ?? 0), this.key === undefined ? undefined : BigInt(this.key));
    try {
      const choose = sent && ((rows: readonly SqlRow[]) => this.unsent(sent, rows));
      for await (const batch of batchesOf(store, query, settings, render, this.run, this.memory, choose)) {
        if (this.run.signal.aborted) return await this.stop();
        this.run.counts.rowsIn += batch.read;
        this.run.progress();
        await outbox.beat();
        if ((await this.take(batch)) === 'again') return 'again';
      }
      if (this.run.signal.aborted) return await this.stop();
      await this.endStep(true);
      return (await this.carrying) ? 'end' : 'stopped';
    } catch (error) {
      await this.drop();
      await this.carrying.catch((trouble: unknown) => {
        if (trouble !== error) this.run.log.warn('extract.step-left', { reason: reasonOf(trouble) });
      });
      throw error;
    }
  }

  /** The key behind which `again` has to go on. */
  get reached(): SqlKey | undefined {
    return this.key;
  }

  private unsent(sent: SentKeys, rows: readonly SqlRow[]): readonly SqlRow[] {
    try {
      return sent.take(rows, this.options.settings.keyAt ?? 0);
    } catch (error) {
      if (!(error instanceof KeyOrderError)) throw error;
      throw new StageError(`inc_field ${this.keyName}: ${error.message}`, false, { cause: error });
    }
  }

  private async take(batch: Batch): Promise<'on' | 'again'> {
    const { keyAt, lagAt } = this.options.settings;
    let handedOn = false;
    for (let at = 0; at < batch.count;) {
      const next = keyAt === undefined ? undefined : this.keyOf(batch.key(at));
      if (this.mayEnd(next) && (await this.endStep(false)) === 'again') {
        await this.carrying;
        return 'again';
      }
      const writer = await this.begin();
      const to = Math.min(batch.count, at + writer.roomInFile);
      handedOn = at === 0 && to === batch.count;
      const behind = writer.add(batch.bytes(at, to), to - at, handedOn);
      if (keyAt !== undefined) this.note(batch, at, to);
      if (lagAt !== undefined) this.noteTimes(batch, at, to);
      if (behind !== undefined) await behind;
      at = to;
    }
    if (!handedOn) batch.release();
    return 'on';
  }

  /** A step ends between two files and between two different keys, so that its last key says exactly what was read. */
  private mayEnd(next: SqlKey | undefined): boolean {
    const { writer } = this;
    if (!this.options.plan.ordered || writer === undefined || !writer.betweenFiles || next === this.key)
      return false;
    return (
      writer.files >= this.options.settings.params.step_files || performance.now() - this.started > STEP_TIME
    );
  }

  private async begin(): Promise<FileWriter> {
    if (this.writer !== undefined) return this.writer;
    const { outbox, names, settings } = this.options;
    const folder = (this.folder = await outbox.newStep());
    this.started = performance.now();
    const { file_rows: fileRows, sync } = settings.params;
    this.writer = new FileWriter({
      folder,
      thread: outbox.thread,
      nextName: () => names.next(),
      fileRows,
      sync,
      memory: this.memory,
    });
    return this.writer;
  }

  /** Ends the step; it is carried out while the next one is read. */
  private async endStep(last: boolean): Promise<'on' | 'again'> {
    const { writer, folder, carrying } = this;
    await writer?.finish();
    const conclusion = this.options.conclude({ key: this.key, last }, writer?.files ?? 0);
    this.writer = this.folder = undefined;
    const patient = last || (await isDoneWithin(carrying, PATIENCE));
    // The commits follow one another: a step counts only when the one before it was carried out.
    if (!(await carrying)) {
      if (folder !== undefined) await this.options.outbox.dropStep(folder);
      return 'again';
    }
    if (conclusion !== undefined) {
      const step = { rows: writer?.rows ?? 0, ...conclusion };
      this.carrying = this.options.outbox.commit(folder, step, this.run);
      this.carrying.catch(() => undefined);
    }
    return patient ? 'on' : 'again';
  }

  /** The largest key. Where the rows are in its order that is the last one. */
  private note(batch: Batch, from: number, to: number): void {
    const { ordered } = this.options.plan;
    for (let i = ordered ? to - 1 : from; i < to; i++) {
      const value = batch.key(i);
      const key = this.keyOf(value);
      if (key === undefined) {
        const text = value === null ? 'NULL' : `"${String(value).slice(0, 40)}"`;
        const kind = this.options.settings.incremental ? 'an integer' : 'an integer or text';
        throw new StageError(`${this.keyName} is ${text} in a row, it has to be ${kind}`, false);
      }
      if (this.key === undefined || ordered || key > this.key) this.key = key;
    }
  }

  private keyOf(value: SqlValue): SqlKey | undefined {
    return this.options.settings.incremental ? integerOf(value) : plainKey(value);
  }

  private noteTimes(batch: Batch, from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const value = batch.time(i);
      if (value === null) continue;
      const text = String(value);
      if (this.oldest === undefined || text < this.oldest) this.oldest = text;
    }
  }

  private get keyName(): string {
    const { fields, keyAt } = this.options.settings;
    return fields[keyAt ?? 0] ?? '';
  }

  private async stop(): Promise<'stopped'> {
    await this.drop();
    await this.carrying;
    return 'stopped';
  }

  private async drop(): Promise<void> {
    const { writer, folder } = this;
    this.writer = this.folder = undefined;
    await writer?.abandon();
    if (folder !== undefined) await this.options.outbox.dropStep(folder);
  }
}

function plainKey(value: SqlValue): SqlKey | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : undefined;
  return typeof value === 'bigint' || typeof value === 'string' ? value : undefined;
}

async function isDoneWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
