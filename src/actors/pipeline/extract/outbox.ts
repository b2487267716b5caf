/**
 * How files and position move together. Under `<out>/.extract-<stage>/`:
 *
 *     step-<n>/   the files of a step, being written
 *     step.json   "this step counts": its folder, the position behind it, and what the stage is to remember
 *     last.json   the step.json of the last step that was carried out
 *     lock        who is at work
 *
 * A step is written and synced, then step.json appears (the commit), then the files move into `out`, the position is stored, and
 * step.json becomes last.json. After a crash a step without step.json is removed, one with it is carried out to its end.
 * Worker thread.
 */
import { mkdir, readdir, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { sweepTemps, syncFolder, writeFileAtomic } from '../../../runtime/atomic-file.js';
import { reasonOf } from '../../../runtime/errors.js';
import { FileThread } from '../../../runtime/file-thread.js';
import { FolderLock } from './lock.js';
import { freshMemory, parseStep, type Memory, type StepRecord } from './memory.js';
import type { PositionKeeper } from './position.js';
import type { Free, Room } from './room.js';
import { StageError, type StageRun } from '../stage/run.js';

export interface OutboxOptions {
  readonly out: string;
  readonly stage: string;
  readonly room: Room;
  readonly leaseMs: number;
  readonly sync: boolean;
  /** Undefined for a full extraction. */
  readonly position: PositionKeeper | undefined;
}

/** Files that move together. */
const AT_ONCE = 64;
/** The making of a lock takes far less (ms). */
const STALE_LOCK = 60_000;

export function hiddenFolder(out: string, stage: string): string {
  return join(out, `.extract-${stage.replace(/[^\w.-]/g, '_')}`);
}

export class Outbox {
  memory: Memory = freshMemory();
  /** Writes the files and moves them. */
  readonly thread = new FileThread();
  private serial = 0;

  private constructor(
    private readonly options: OutboxOptions,
    private readonly folder: string,
    private readonly lock: FolderLock,
  ) {}

  /** Makes the folders when missing and takes the lock. @throws StageError when another process has it, or a folder is unusable */
  static async open(options: OutboxOptions): Promise<Outbox> {
    const folder = hiddenFolder(options.out, options.stage);
    try {
      await mkdir(folder, { recursive: true });
      return new Outbox(options, folder, await FolderLock.take(folder, options.leaseMs));
    } catch (error) {
      throw unusable(options.out, error);
    }
  }

  /** The last step that was carried out. @throws StageError when its record is damaged */
  static async recall(out: string, stage: string): Promise<StepRecord | undefined> {
    return readStep(join(hiddenFolder(out, stage), 'last.json'));
  }

  async close(): Promise<void> {
    await this.thread.close();
    await this.lock.release();
  }

  beat(): Promise<void> {
    return this.lock.beat();
  }

  /** After a crash: carries out the step that counts already, removes what does not count. To be called first. */
  async recover(run: StageRun): Promise<'ready' | 'stopped'> {
    const step = await readStep(join(this.folder, 'step.json'));
    for (const name of await readdir(this.folder)) {
      const stale = name.startsWith('step-') && name !== step?.folder;
      // Only the holder of the lock writes it, so a half-written one was left by a process that was killed.
      const half = name.startsWith('step.json.');
      if (stale || half) await rm(join(this.folder, name), { recursive: true, force: true });
    }
    await sweepTemps(this.folder, 'lock-', STALE_LOCK);
    if (step === undefined) {
      this.memory = (await readStep(join(this.folder, 'last.json')))?.memory ?? freshMemory();
      return 'ready';
    }
    run.log.notice('extract.completes', { rows: step.rows, position: step.position });
    return (await this.carryOut(step, run)) ? 'ready' : 'stopped';
  }

  /** A new empty folder for the files of a step. */
  async newStep(): Promise<string> {
    const name = `step-${process.pid}-${Date.now().toString(36)}-${++this.serial}`;
    await mkdir(join(this.folder, name)).catch((error: unknown) => {
      throw unusable(this.options.out, error);
    });
    return join(this.folder, name);
  }

  async dropStep(path: string): Promise<void> {
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }

  /**
   * Makes the step count and carries it out. @param path folder with its files, all written; undefined: there are none.
   * @param step.expected position that nobody but us may have changed since
   * @returns false when the run was stopped in the middle: the next run carries it out.
   * @throws StageError, and then nothing of the step counts, unless it fails behind the commit: the next run carries that out
   */
  async commit(
    path: string | undefined,
    step: { rows: number; position: bigint | undefined; expected: bigint | undefined; memory: Memory },
    run: StageRun,
  ): Promise<boolean> {
    const record: StepRecord = {
      version: 1,
      folder: path === undefined ? undefined : path.slice(this.folder.length + 1),
      rows: step.rows,
      position: step.position === undefined ? undefined : String(step.position),
      memory: step.memory,
    };
    try {
      await this.lock.prove();
      await this.provePosition(step.expected);
      if (path !== undefined && this.options.sync) await syncFolder(path);
      await writeFileAtomic(join(this.folder, 'step.json'), JSON.stringify(record));
    } catch (error) {
      if (path !== undefined) await this.dropStep(path);
      throw error;
    }
    return this.carryOut(record, run);
  }

  private async provePosition(expected: bigint | undefined): Promise<void> {
    const { position: keeper } = this.options;
    const now = await keeper?.read();
    if (now === expected || keeper === undefined) return;
    const text = `${keeper.where} was ${expected} when the run began and is ${now} now; nothing of this step is sent`;
    throw new StageError(text, true);
  }

  private async carryOut(step: StepRecord, run: StageRun): Promise<boolean> {
    if (step.folder !== undefined && !(await this.publish(join(this.folder, step.folder), run))) return false;
    const { position: keeper } = this.options;
    if (keeper !== undefined && step.position !== undefined) {
      const position = BigInt(step.position);
      if ((await keeper.read()) !== position) await keeper.write(position);
    }
    await rename(join(this.folder, 'step.json'), join(this.folder, 'last.json'));
    this.memory = step.memory;
    run.counts.rowsOut += step.rows;
    run.log.debug('extract.step', { rows: step.rows, position: step.position });
    return true;
  }

  /** Moves the files into `out` as far as there is room for them. @returns false when the run is to stop */
  private async publish(path: string, run: StageRun): Promise<boolean> {
    const names = (await readdir(path).catch(() => [])).sort(bySerial);
    let free: Free | undefined = { files: 0, bytes: 0 };
    for (let at = 0; at < names.length;) {
      if (free.files <= 0 || free.bytes <= 0) free = await this.options.room.wait(run, () => this.beat());
      if (free === undefined) return false;
      const some = names.slice(at, at + Math.min(free.files, this.options.room.countsBytes ? 1 : AT_ONCE));
      // By rename and not by link, because between link and unlink a crash would leave a file in both places. Looking first
      // whether the name is free is enough: nobody else writes names with our prefix and suffix.
      const sizes = await this.thread.move(path, this.options.out, some).catch((error: unknown) => {
        throw unusable(this.options.out, error);
      });
      for (const size of sizes) {
        free.files--;
        free.bytes -= size;
        run.counts.files++;
        run.counts.bytes += size;
      }
      at += some.length;
      run.progress();
    }
    if (names.length > 0 && this.options.sync) await syncFolder(this.options.out);
    await rmdir(path).catch(() => undefined);
    return true;
  }
}

function bySerial(a: string, b: string): number {
  const serial = (name: string): number => Number(/_(\d+)\.xml$/.exec(name)?.[1] ?? 0);
  return serial(a) - serial(b);
}

async function readStep(path: string): Promise<StepRecord | undefined> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const step = parseStep(text);
  if (step !== undefined) return step;
  throw new StageError(
    `${path} is damaged: it says which files were sent last; look into it, and remove it to go on from the position alone`,
    false,
  );
}

function unusable(out: string, error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code !== 'EACCES' && code !== 'EROFS' && code !== 'ENOTDIR' && code !== 'EEXIST') return error;
  return new StageError(
    `${out} cannot be written: ${reasonOf(error)}; it must be a folder writable for this program`,
    false,
    {
      cause: error,
    },
  );
}
