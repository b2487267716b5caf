/**
 * Stage `delete-files`: removes old files (spec data-centre 3), by age, and by room: the oldest first while the disk has less free
 * than asked for. What it did is in the ledger. Worker thread.
 */
import { rmdir, unlink } from 'node:fs/promises';
import { resolve } from 'node:path';
import { nameMatcher } from '../../protocol/match-name.js';
import { freeBytes } from '../../runtime/disk-space.js';
import { reasonOf } from '../../runtime/errors.js';
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';
import type { RowSet } from '../../store/driver.js';
import { oldFiles, type OldFile } from './stage/old-files.js';
import { stageActor, stageKeys } from './stage.js';
import type { Stage, StageEnv, StageRun } from './stage/run.js';

export const keys = defineKeys({
  ...stageKeys,
  every: { ...stageKeys.every, default: '300s' },
  path: { type: 'list', required: true, help: 'Folders to tidy', reload: 'child' },
  match: {
    type: 'list',
    default: '*',
    help: 'Patterns of file names',
    reload: 'child',
    aliases: ['matchstr'],
  },
  older_than: {
    type: 'duration',
    required: true,
    help: 'Age since the last change from which a file goes; 30m, 2d',
    reload: 'child',
  },
  recursive: { type: 'bool', default: 'yes', help: 'Sub-folders too', reload: 'child' },
  empty_folders: {
    type: 'enum',
    values: ['keep', 'remove'],
    default: 'keep',
    help: 'What becomes of sub-folders without anything in them',
    reload: 'child',
  },
  keep_free: {
    type: 'size',
    default: '0',
    help: 'While the disk has less free than this, files that match go whatever their age, the oldest first; 0: never',
    reload: 'child',
  },
  min_age: {
    type: 'duration',
    default: '1m',
    help: 'Younger files never go, not even to make room',
    reload: 'child',
  },
});

/** Candidates kept in memory when room is to be made; with more files than that, several runs are needed. */
const MAX_CANDIDATES = 10_000;
const PROGRESS_EVERY = 100;

export function createStage(env: StageEnv): Stage {
  return new DeleteFiles(env.params as ValuesOf<typeof keys>);
}

export const factory = stageActor(createStage);

class DeleteFiles implements Stage {
  private readonly matches: (name: string) => boolean;

  constructor(private readonly params: ValuesOf<typeof keys>) {
    this.matches = nameMatcher(params.match);
    for (const folder of params.path) {
      if (resolve(folder) === '/') throw new RangeError('path: "/" is too much to tidy; name a folder in it');
    }
  }

  async run(run: StageRun): Promise<void> {
    for (const folder of this.params.path) {
      if (run.signal.aborted) return;
      const seen = run.counts.files;
      await this.byAge(folder, run);
      if (this.params.keep_free > 0) await this.byRoom(folder, run);
      const files = run.counts.files - seen;
      if (files > 0) run.log.info('delete-files.done', { folder, files, dryRun: run.dryRun });
    }
  }

  async preview(limit: number): Promise<RowSet> {
    const rows: [string, number, string][] = [];
    for (const folder of this.params.path) {
      for await (const file of this.old(folder, this.params.older_than)) {
        if (rows.length >= limit) break;
        rows.push([file.path, file.size, new Date(file.mtimeMs).toISOString()]);
      }
    }
    return { columns: ['file', 'size', 'changed'], rows };
  }

  async check(): Promise<readonly string[]> {
    const free = await Promise.all(this.params.path.map((folder) => freeBytes(folder)));
    return this.params.path.map((folder, i) => `${folder}: ${Math.round((free[i] ?? 0) / 1e6)} MB free`);
  }

  private old(folder: string, olderThanMs: number, left?: (path: string) => Promise<void>) {
    const { recursive, min_age: minAge } = this.params;
    return oldFiles(folder, {
      matches: this.matches,
      olderThanMs: Math.max(olderThanMs, minAge),
      recursive,
      now: Date.now(),
      ...(left && { left }),
    });
  }

  private async byAge(folder: string, run: StageRun): Promise<void> {
    const tidy = this.params.empty_folders === 'remove' && !run.dryRun;
    // Only an empty folder can be removed this way, which is what is wanted.
    const left = tidy ? (path: string) => rmdir(path).catch(() => undefined) : undefined;
    try {
      for await (const file of this.old(folder, this.params.older_than, left)) {
        if (run.signal.aborted) return;
        await this.remove(file, run);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      run.log.debug('delete-files.no-folder', { folder });
    }
  }

  /** Frees until `keep_free` is reached. A dry run counts what the sizes say. */
  private async byRoom(folder: string, run: StageRun): Promise<void> {
    let missing = this.params.keep_free - (await freeBytes(folder));
    if (missing <= 0) return;
    const found: OldFile[] = [];
    for await (const file of this.old(folder, 0)) {
      found.push(file);
      run.progress();
      if (found.length >= MAX_CANDIDATES * 2) oldest(found);
    }
    oldest(found);
    const wanted = missing;
    for (const file of found) {
      if (missing <= 0 || run.signal.aborted) break;
      if (await this.remove(file, run)) missing -= file.size;
    }
    run.log.warn('delete-files.room', { folder, wantedBytes: wanted, freedBytes: wanted - missing });
  }

  private async remove(file: OldFile, run: StageRun): Promise<boolean> {
    if (run.counts.files % PROGRESS_EVERY === 0) run.progress();
    try {
      if (!run.dryRun) await unlink(file.path);
      else run.log.info('delete-files.would-delete', { file: file.path });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      run.counts.errors++;
      run.log.warn('delete-files.stuck', { file: file.path, reason: reasonOf(error) });
      return false;
    }
    run.counts.files++;
    run.counts.bytes += file.size;
    return true;
  }
}

function oldest(files: OldFile[]): void {
  files.sort((a, b) => a.mtimeMs - b.mtimeMs);
  if (files.length > MAX_CANDIDATES) files.length = MAX_CANDIDATES;
}
