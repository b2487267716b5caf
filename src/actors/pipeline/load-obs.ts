/**
 * Stage `load-obs`: observation files of a folder into T_ZHOBTMIND (spec data-centre 4.5). A file is claimed, loaded in
 * one transaction and removed only after the commit; the key (obtid, ddatetime) makes a second load of the same file
 * harmless. So a kill at any moment loses no row and brings none twice. Worker thread.
 */
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { nameMatcher } from '../../protocol/match-name.js';
import { OBSERVATION_FIELDS } from '../../protocol/observations.js';
import { writeFileAtomic } from '../../runtime/atomic-file.js';
import { reasonOf } from '../../runtime/errors.js';
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';
import { StoreError } from '../../store/driver.js';
import { migrateWeather } from '../../store/schema-weather.js';
import { FileClaims, putAside, type Candidate, type ClaimedFile } from './stage/file-claims.js';
import { LazyStore } from './stage/lazy-store.js';
import { BadFileError, loadFile, rejectText, type FileLimits, type FileOutcome } from './load-obs/file.js';
import { commonKeys, incomingKeys } from './stage/common-keys.js';
import { stageActor, stageKeys } from './stage.js';
import { isRetryable, StageError, type Stage, type StageEnv, type StageRun } from './stage/run.js';

export const keys = defineKeys({
  ...stageKeys,
  every: { ...stageKeys.every, default: '10s' },
  path: { type: 'path', required: true, help: 'Folder the files arrive in', reload: 'child' },
  match: {
    type: 'list',
    default: '*.xml,*.csv',
    help: 'Patterns of file names; *.tmp and names with a leading dot are never taken',
    reload: 'child',
    aliases: ['matchname'],
  },
  error_path: {
    type: 'path',
    help: 'Folder for files that cannot be loaded; default: the path with -errors behind it',
    reload: 'child',
  },
  reject_path: {
    type: 'path',
    help: 'Folder for the rows that were refused; default: error_path',
    reload: 'child',
  },
  store: commonKeys.store,
  charset: {
    type: 'string',
    default: 'utf-8',
    help: 'Encoding of the files, such as utf-8 or gb18030',
    reload: 'child',
  },
  files_per_scan: incomingKeys.files_per_scan,
  batch_rows: {
    type: 'int',
    default: '2000',
    min: 1,
    max: 100_000,
    help: 'Rows given to the database at once',
    reload: 'child',
  },
  max_file_size: {
    type: 'size',
    default: '1g',
    min: 1,
    help: 'A larger file goes to error_path unread',
    reload: 'child',
  },
  max_rejects: {
    type: 'int',
    default: '1000',
    min: 0,
    max: 100_000,
    help: 'More bad rows than this send the whole file to error_path',
    reload: 'child',
  },
  file_timeout: {
    type: 'duration',
    default: '5m',
    min: 1_000,
    help: 'Longest time for one file',
    reload: 'child',
  },
  lease: incomingKeys.lease,
});

const TABLE = 'T_ZHOBTMIND';
/** Looks into the folder without a pause while each finds a full load of files. */
const MAX_SCANS = 100;
/** A file that cannot be loaded within `file_timeout` this often is put aside. */
const MAX_TIMEOUTS = 3;
const MAX_STUCK = 10_000;
const MAX_NAME_BYTES = 200;
const LOGGED_REJECTS = 20;

export function createStage(env: StageEnv): Stage {
  return new LoadObs(env);
}

export const factory = stageActor(createStage);

class LoadObs implements Stage {
  readonly folders: readonly string[];
  private readonly params: ValuesOf<typeof keys>;
  private readonly store: LazyStore;
  private readonly errorPath: string;
  private readonly matches: (name: string) => boolean;
  private claims: FileClaims | undefined;
  /** Files that could not even be put aside; left alone until the next start. */
  private readonly stuck = new Set<string>();
  private readonly timeouts = new Map<string, number>();

  constructor(private readonly env: StageEnv) {
    this.params = env.params as ValuesOf<typeof keys>;
    this.folders = [this.params.path];
    this.store = new LazyStore(this.params.store, migrateWeather);
    this.errorPath = this.params.error_path ?? this.params.path.replace(/\/+$/, '') + '-errors';
    this.matches = nameMatcher(this.params.match);
    // Throws a RangeError that names it when there is no such encoding.
    new TextDecoder(this.params.charset);
  }

  async run(run: StageRun): Promise<void> {
    const { path, lease, files_per_scan: limit } = this.params;
    this.claims ??= await FileClaims.open({
      folder: path,
      stage: this.env.name,
      matches: this.matches,
      leaseMs: lease,
    });
    for (let scan = 0; scan < MAX_SCANS && !run.signal.aborted; scan++) {
      const found = await this.claims.scan(limit, this.stuck);
      for (const candidate of found) {
        if (run.signal.aborted) return;
        if (run.dryRun) await this.look(candidate, run);
        else await this.take(candidate, this.claims, run);
        run.progress();
      }
      if (found.length < limit || run.dryRun) return;
    }
  }

  async close(): Promise<void> {
    await this.claims?.release();
    await this.store.close();
  }

  private async look(candidate: Candidate, run: StageRun): Promise<void> {
    const limits = this.limits();
    run.counts.files++;
    try {
      const outcome = await loadFile(candidate, undefined, limits, async () => run.progress());
      run.counts.rowsIn += outcome.total;
      run.counts.rowsRejected += outcome.rejects.length;
      run.log.info('load-obs.would-load', {
        file: candidate.name,
        total: outcome.total,
        rejected: outcome.rejects.length,
      });
    } catch (error) {
      if (!(error instanceof BadFileError)) throw error;
      run.counts.errors++;
      run.log.warn('load-obs.would-put-aside', { file: candidate.name, reason: error.message });
    }
  }

  private async take(candidate: Candidate, claims: FileClaims, run: StageRun): Promise<void> {
    let file: ClaimedFile | undefined;
    try {
      file = await claims.claim(candidate);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      // The name has no room for ours; everything else concerns the folder, thus all of its files.
      if (code === 'ENAMETOOLONG') return this.leaveAlone(candidate, 'it cannot be claimed', error, run);
      const hint = 'the folder must be writable for this program';
      const text = `${candidate.path} cannot be claimed: ${reasonOf(error)}; ${hint}`;
      throw new StageError(text, isRetryable(error), { cause: error });
    }
    // Somebody else has it.
    if (file === undefined) return;
    const started = performance.now();
    try {
      const outcome = await this.load(file, claims, run);
      await this.keepRejects(file, outcome, run);
      await unlink(file.path).catch((error: unknown) => {
        // An earlier instance of this stage that was given up for stuck has come to its end after all.
        if (!isGone(error)) throw error;
      });
      this.timeouts.delete(file.name);
      this.count(file, outcome, run, Math.round(performance.now() - started));
    } catch (error) {
      await this.failed(file, error, run);
    }
  }

  private async load(file: ClaimedFile, claims: FileClaims, run: StageRun): Promise<FileOutcome> {
    const { params } = this;
    if (!file.regular) throw new BadFileError('it is not a regular file');
    if (file.size > params.max_file_size)
      throw new BadFileError(`it is larger than ${params.max_file_size} bytes`);
    // Its reject file has a longer name, and no file system takes more than 255 bytes.
    if (Buffer.byteLength(file.name) > MAX_NAME_BYTES) throw new BadFileError('its name is too long');
    const limits = this.limits();
    const store = await this.store.get();
    const insert = store.dialect.insert(TABLE, OBSERVATION_FIELDS);
    const progress = async (): Promise<void> => {
      run.progress();
      await claims.beat();
    };
    return store.transaction((runner) => loadFile(file, { runner, insert }, limits, progress), {
      timeoutMs: params.file_timeout,
      signal: run.signal,
    });
  }

  /** Before the file goes. Its name is the same when the load is repeated, so a repetition replaces it. */
  private async keepRejects(file: ClaimedFile, outcome: FileOutcome, run: StageRun): Promise<void> {
    const { rejects } = outcome;
    if (rejects.length === 0) return;
    const folder = this.params.reject_path ?? this.errorPath;
    const path = join(folder, `${file.name}.${Math.round(file.mtimeMs)}.reject`);
    await writeFileAtomic(path, rejectText(file.name, rejects));
    for (const { line, reason } of rejects.slice(0, LOGGED_REJECTS)) {
      run.log.warn('load-obs.bad-row', { at: `${file.name}:${line}`, reason });
    }
    run.log.warn('load-obs.rejects', { file: file.name, rows: rejects.length, kept: path });
  }

  private count(file: ClaimedFile, outcome: FileOutcome, run: StageRun, ms: number): void {
    const { total, inserted, duplicates, rejects } = outcome;
    run.counts.files++;
    run.counts.bytes += file.size;
    run.counts.rowsIn += total;
    run.counts.rowsOut += inserted;
    run.counts.rowsRejected += rejects.length;
    run.log.info('load-obs.file', {
      file: file.name,
      total,
      inserted,
      duplicates,
      rejected: rejects.length,
      ms,
    });
  }

  /** Puts a bad file aside. @throws anything else: then the file stays claimed and is taken up by the next run */
  private async failed(file: ClaimedFile, error: unknown, run: StageRun): Promise<void> {
    await this.store.failed(error);
    // Asked to stop in the middle: nothing was applied.
    if (error instanceof StoreError && error.code === 'CANCELLED' && run.signal.aborted) return;
    let reason = reasonOf(error);
    if (!(error instanceof BadFileError)) {
      if (!(error instanceof StoreError) || error.code !== 'TIMEOUT') throw this.store.explained(error);
      const times = (this.timeouts.get(file.name) ?? 0) + 1;
      this.timeouts.set(file.name, times);
      if (times < MAX_TIMEOUTS) throw this.store.explained(error);
      this.timeouts.delete(file.name);
      reason = `it could not be loaded within ${this.params.file_timeout} ms, ${times} times`;
    }
    run.counts.errors++;
    try {
      const kept = await putAside(file, this.errorPath);
      run.log.error('load-obs.bad-file', { file: file.name, reason, kept });
    } catch (trouble) {
      if (isGone(trouble)) {
        run.log.warn('load-obs.gone', { file: file.path });
        return;
      }
      this.leaveAlone(file, reason, trouble, run);
    }
  }

  /** @throws StageError when there are too many of them */
  private leaveAlone(file: Candidate, reason: string, trouble: unknown, run: StageRun): void {
    if (this.stuck.size >= MAX_STUCK) {
      throw new StageError(`${MAX_STUCK} files cannot be put aside`, false, { cause: trouble });
    }
    this.stuck.add(file.name);
    run.log.error('load-obs.stuck-file', { file: file.path, reason, trouble: reasonOf(trouble) });
  }

  private limits(): FileLimits {
    const { batch_rows: batchRows, max_rejects: maxRejects, charset } = this.params;
    return { batchRows, maxRejects, charset };
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
