/**
 * Stage `gzip-files`: old files become FILE.gz (spec data-centre 3). Compressed by the threads of the cpu-pool with Node's zlib: a name
 * never reaches a shell (weakness S8). FILE goes only after FILE.gz is on the disk, whole. Worker thread.
 */
import type { Stats } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { nameMatcher } from '../../protocol/match-name.js';
import { gzipFiles, originalOfTemp, type GzipFilesResult } from '../../runtime/gzip-file.js';
import { reasonOf } from '../../runtime/errors.js';
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';
import type { RowSet } from '../../store/driver.js';
import { oldFiles, type OldFile, type OldFilesOptions } from './stage/old-files.js';
import { stageActor, stageKeys } from './stage.js';
import type { Stage, StageEnv, StageRun } from './stage/run.js';

export const keys = defineKeys({
  ...stageKeys,
  every: { ...stageKeys.every, default: '300s' },
  path: { type: 'list', required: true, help: 'Folders with the files', reload: 'child' },
  match: {
    type: 'list',
    required: true,
    help: 'Patterns of file names, such as *.log.20*; *.gz and *.tmp are never taken',
    reload: 'child',
    aliases: ['matchstr'],
  },
  older_than: {
    type: 'duration',
    required: true,
    help: 'Age since the last change from which a file is compressed',
    reload: 'child',
  },
  recursive: { type: 'bool', default: 'yes', help: 'Sub-folders too', reload: 'child' },
  level: { type: 'int', default: '6', min: 1, max: 9, help: '1 is fast, 9 is small', reload: 'child' },
  threads: {
    type: 'int',
    default: '0',
    min: 0,
    max: 64,
    help: 'Jobs under way at once; 0: as many as there are processors',
    reload: 'child',
  },
  job_timeout: {
    type: 'duration',
    default: '10m',
    min: 1_000,
    help: 'Longest time for one file, or for a handful of small ones',
    reload: 'child',
  },
});

/** Small files share a job up to this size, so that handing jobs over costs little. */
const JOB_BYTES = 8 << 20;
const JOB_FILES = 64;
/** A job that is out of time may still end the call it is in (ms). */
const GRACE = 2_000;

export function createStage(env: StageEnv): Stage {
  return new GzipFiles(env);
}

export const factory = stageActor(createStage);

class GzipFiles implements Stage {
  private readonly params: ValuesOf<typeof keys>;
  private readonly matches: (name: string) => boolean;

  constructor(private readonly env: StageEnv) {
    this.params = env.params as ValuesOf<typeof keys>;
    const wanted = nameMatcher(this.params.match);
    this.matches = (name) => wanted(name) && !/\.(gz|tmp)$/i.test(name);
  }

  async run(run: StageRun): Promise<void> {
    const most = this.params.threads === 0 ? availableParallelism() : this.params.threads;
    const jobs = new Set<Promise<void>>();
    let failure: { readonly error: unknown } | undefined;
    const start = (files: readonly OldFile[]): void => {
      const job = this.compress(files, run)
        .catch((error: unknown) => void (failure ??= { error }))
        .finally(() => jobs.delete(job));
      jobs.add(job);
    };
    for await (const files of this.groups(run)) {
      if (run.signal.aborted || failure !== undefined) break;
      if (!run.dryRun) start(files);
      else run.counts.files += files.length;
      while (jobs.size >= most) await Promise.race(jobs);
      run.progress();
    }
    await Promise.all(jobs);
    if (failure !== undefined) throw failure.error;
  }

  async preview(limit: number): Promise<RowSet> {
    const rows: [string, number, string][] = [];
    for (const folder of this.params.path) {
      for await (const file of this.old(folder)) {
        if (rows.length >= limit) break;
        rows.push([file.path, file.size, new Date(file.mtimeMs).toISOString()]);
      }
    }
    return { columns: ['file', 'size', 'changed'], rows };
  }

  private old(folder: string, seen?: OldFilesOptions['seen']) {
    const { older_than: olderThanMs, recursive } = this.params;
    const options = { matches: this.matches, olderThanMs, recursive, now: Date.now() };
    return oldFiles(folder, seen === undefined ? options : { ...options, seen });
  }

  /** What a killed process left half done. Nobody who is alive leaves such a file unchanged for longer than a job may take. */
  private async sweep(path: string, { ctimeMs }: Stats, run: StageRun): Promise<void> {
    const original = originalOfTemp(basename(path));
    if (original === undefined || !this.matches(original)) return;
    // Not mtime, which is that of the original as soon as it is whole.
    if (Date.now() - ctimeMs <= this.params.job_timeout + GRACE) return;
    await unlink(path).then(
      () => run.log.notice('gzip-files.swept', { file: path }),
      (error: unknown) => run.log.warn('gzip-files.unswept', { file: path, reason: reasonOf(error) }),
    );
  }

  private async *groups(run: StageRun): AsyncGenerator<readonly OldFile[]> {
    let group: OldFile[] = [];
    let bytes = 0;
    for (const folder of this.params.path) {
      try {
        const seen: OldFilesOptions['seen'] = (path, info) => this.sweep(path, info, run);
        for await (const file of this.old(folder, run.dryRun ? undefined : seen)) {
          if (group.length > 0 && (bytes + file.size > JOB_BYTES || group.length >= JOB_FILES)) {
            yield group;
            group = [];
            bytes = 0;
          }
          group.push(file);
          bytes += file.size;
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        run.log.debug('gzip-files.no-folder', { folder });
      }
    }
    if (group.length > 0) yield group;
  }

  private async compress(files: readonly OldFile[], run: StageRun): Promise<void> {
    const { level, job_timeout: timeoutMs } = this.params;
    const job = { files: files.map((file) => file.path), level };
    // A large file is silent for long, but the job has its own deadline.
    const beat = setInterval(() => run.progress(), 1_000);
    try {
      const { cpu } = this.env;
      const done = (await (cpu === undefined
        ? gzipFiles(job)
        : cpu('gzip-files', job, { timeoutMs }))) as readonly GzipFilesResult[];
      for (const result of done) this.count(result, run);
    } finally {
      clearInterval(beat);
    }
    run.progress();
  }

  private count({ file, bytes, packed, skipped }: GzipFilesResult, run: StageRun): void {
    if (skipped === undefined) {
      run.counts.files++;
      run.counts.bytes += bytes;
      run.log.debug('gzip-files.file', { file, bytes, packed });
      return;
    }
    run.counts.errors++;
    run.log.warn('gzip-files.skipped', { file, reason: skipped });
  }
}
