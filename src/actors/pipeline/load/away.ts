/**
 * What becomes of a file after it was loaded or refused. Loaded ones are moved while the next group is at work: their row in
 * `switchyard_files` makes that safe, without a sync of the folder. Worker thread.
 */
import { unlink } from 'node:fs/promises';
import { reasonOf } from '../../../runtime/errors.js';
import { putAside, type Candidate, type ClaimedFile } from '../stage/file-claims.js';
import type { DoneFiles } from './done.js';
import type { HashedFile } from './file.js';
import type { LoadSettings } from './keys.js';
import { isRetryable, StageError, type StageRun } from '../stage/run.js';

/** Files moved at the same time. */
const AT_ONCE = 8;
const MAX_STUCK = 10_000;

export class FilesAway {
  /** Files that could not even be put aside; left alone until the next start, or until the next run where that may help. */
  readonly stuck = new Set<string>();
  private readonly passing = new Set<string>();
  private moving: Promise<void> = Promise.resolve();

  constructor(
    private readonly settings: LoadSettings,
    private readonly done: DoneFiles,
  ) {}

  /** Another run: what was in the way may be gone. */
  again(): void {
    for (const name of this.passing) this.stuck.delete(name);
    this.passing.clear();
  }

  /** Begins to move loaded files away, when those before them are gone. @throws StageError when those could not be moved */
  async take(files: readonly HashedFile[], run: StageRun): Promise<void> {
    await this.settle();
    this.moving = this.moveAll(files, run);
    // Seen by the next settle.
    this.moving.catch(() => undefined);
  }

  /** @throws StageError when a file could not be moved */
  async settle(): Promise<void> {
    const { moving } = this;
    this.moving = Promise.resolve();
    await moving;
  }

  /** A file that cannot be loaded goes to error_path. @throws StageError when too many cannot even be moved */
  async putAside(file: ClaimedFile, reason: string, run: StageRun): Promise<void> {
    try {
      const kept = await putAside(file, this.settings.error_path);
      run.counts.errors++;
      run.log.error('load.bad-file', { file: file.name, reason, kept });
    } catch (trouble) {
      if (isGone(trouble)) run.log.warn('load.gone', { file: file.path });
      else this.leaveAlone(file, reason, trouble, run);
    }
  }

  /** @throws StageError when there are too many of them */
  leaveAlone(file: Candidate, reason: string, trouble: unknown, run: StageRun): void {
    run.counts.errors++;
    if (this.stuck.size >= MAX_STUCK)
      throw new StageError(`${MAX_STUCK} files cannot be put aside`, false, { cause: trouble });
    this.stuck.add(file.name);
    if (isRetryable(trouble)) this.passing.add(file.name);
    run.log.error('load.stuck-file', { file: file.path, reason, trouble: reasonOf(trouble) });
  }

  private async moveAll(files: readonly HashedFile[], run: StageRun): Promise<void> {
    for (let at = 0; at < files.length; at += AT_ONCE) {
      const some = files.slice(at, at + AT_ONCE);
      // All of them come to their end: a run that has failed leaves nothing at work.
      const moves = await Promise.allSettled(some.map(({ file }) => this.move(file, run)));
      const failed = moves.find((move) => move.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      for (const file of some) this.done.moved(file);
    }
  }

  private async move(file: ClaimedFile, run: StageRun): Promise<void> {
    try {
      if (this.settings.done === 'delete') await unlink(file.path);
      else await putAside(file, this.settings.done_path);
    } catch (error) {
      if (isGone(error)) {
        // An earlier instance of this stage that was given up for stuck has come to its end after all.
        run.log.warn('load.gone', { file: file.path });
        return;
      }
      const { done, done_path: folder } = this.settings;
      const what =
        done === 'delete' ? 'removed' : `moved to ${folder}, which has to be writable and have room`;
      const text = `${file.path} is loaded and cannot be ${what}: ${reasonOf(error)}`;
      throw new StageError(text, isRetryable(error), { cause: error });
    }
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
