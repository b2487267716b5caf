/**
 * Stage `transform`: files of foreign formats into row XML (spec data-centre 7.3; 8.4, last paragraph). A file is claimed, read record by
 * record, published whole and removed, exactly once whatever kills the process (transform-output.ts). Worker thread.
 */
import { readFile, stat, unlink } from 'node:fs/promises';
import { nameMatcher } from '../../protocol/match-name.js';
import { reasonOf } from '../../runtime/errors.js';
import type { RowSet } from '../../store/driver.js';
import { FileClaims, putAside, type Candidate, type ClaimedFile } from './stage/file-claims.js';
import { formats } from './transform/formats/readers.js';
import { isFull, waitingFiles } from './stage/out-folder.js';
import { stageActor } from './stage.js';
import { isRetryable, StageError, type Stage, type StageEnv, type StageRun } from './stage/run.js';
import { firstRows, isBadFile, transformFile, type TransformJob } from './transform/file.js';
import { FORMAT_NAMES, type TransformValues } from './transform/keys.js';
import { formatFor, formatOptions } from './transform/options.js';
import {
  checkMapping,
  inlineColumns,
  MappingError,
  parseMapping,
  type Mapping,
} from './transform/mapping.js';
import { Staging, type Ready } from './transform/output.js';
import { BadInputError } from './transform/formats/format.js';

export { keys } from './transform/keys.js';

/** Looks into the folder without a pause while each finds a full load of files. */
const MAX_SCANS = 100;
/** Its reject file has a longer name, and no file system takes more than 255 bytes. */
const MAX_NAME_BYTES = 200;
const LOGGED_REJECTS = 20;

export function createStage(env: StageEnv): Stage {
  return new Transform(env);
}

export const factory = stageActor(createStage);

class Transform implements Stage {
  readonly folders: readonly string[];
  readonly outputs: readonly string[];
  private readonly params: TransformValues;
  private readonly errorPath: string;
  private readonly matches: (name: string) => boolean;
  private claims: FileClaims | undefined;
  private staging: Staging | undefined;
  private mapping: { readonly value: Mapping; readonly version: string } | undefined;
  /** Files that could not even be put aside; left alone until the next start. */
  private readonly stuck = new Set<string>();

  constructor(private readonly env: StageEnv) {
    const params = (this.params = env.params as TransformValues);
    this.folders = [params.path];
    this.outputs = [params.out];
    this.errorPath = params.error_path ?? params.path.replace(/\/+$/, '') + '-errors';
    this.matches = nameMatcher(params.match);
    formatOptions(params, params.format === 'auto' ? 'csv' : params.format);
    if (params.mapping === undefined) checkMapping(this.inline());
    else if (params.columns !== '' || params.filter !== '') {
      throw new RangeError('mapping stands for columns and filter: give it, or them');
    }
    if (/[/\0]/.test(params.prefix + params.suffix))
      throw new RangeError('prefix and suffix are no part of a path');
  }

  async run(run: StageRun): Promise<void> {
    const { params } = this;
    const claims = await this.openClaims();
    const mapping = await this.readMapping();
    this.staging ??= await Staging.open({ out: params.out, stage: this.env.name, leaseMs: params.lease });
    if (!run.dryRun) {
      for (const ready of await this.staging.left(claims)) {
        run.log.notice('transform.finished-later', {
          file: ready.source.name,
          files: (await this.staging.publish(ready)).length,
        });
      }
    }
    const seq = { next: 1 };
    for (let scan = 0; scan < MAX_SCANS && !run.signal.aborted; scan++) {
      const found = await claims.scan(params.files_per_scan, this.stuck);
      run.expect({ bytes: run.counts.bytes + (await sizeOf(found)) });
      for (const candidate of found) {
        if (run.signal.aborted) return;
        if (!run.dryRun && (await this.mustWait(run))) return;
        if (run.dryRun) await this.look(candidate, mapping, run);
        else await this.take(candidate, claims, this.staging, mapping, seq, run);
        run.progress();
      }
      if (found.length < params.files_per_scan || run.dryRun) return;
    }
  }

  async preview(limit: number): Promise<RowSet> {
    const claims = await this.openClaims();
    const mapping = await this.readMapping();
    for (const candidate of await claims.scan(this.params.files_per_scan, this.stuck)) {
      const job = this.job(
        candidate,
        (await stat(candidate.path)).mtimeMs,
        mapping,
        this.env,
        async () => undefined,
      );
      const { columns, rows } = await firstRows(job, limit);
      if (rows.length > 0) return { columns, rows };
    }
    return { columns: [], rows: [] };
  }

  async check(): Promise<readonly string[]> {
    const claims = await this.openClaims();
    const waiting = await claims.scan(this.params.files_per_scan, this.stuck);
    const mapping = await this.readMapping();
    const names = mapping.columns?.map(({ name }) => name).join(', ') ?? 'all fields';
    return [`path: ${this.params.path}, ${waiting.length} files`, `columns: ${names}`];
  }

  async close(): Promise<void> {
    await this.claims?.release();
    await this.staging?.close();
  }

  private async openClaims(): Promise<FileClaims> {
    return (this.claims ??= await FileClaims.open({
      folder: this.params.path,
      stage: this.env.name,
      matches: this.matches,
      leaseMs: this.params.lease,
    }));
  }

  private inline(): Mapping {
    const { columns, filter } = this.params;
    return { columns: inlineColumns(columns), checks: new Map(), filters: filter === '' ? [] : [filter] };
  }

  /** @throws StageError: files wait until the mapping is mended */
  private async readMapping(): Promise<Mapping> {
    const { mapping: path } = this.params;
    if (path === undefined) return this.inline();
    try {
      const { mtimeMs, size } = await stat(path);
      const version = `${mtimeMs} ${size}`;
      if (this.mapping?.version !== version) {
        this.mapping = { value: parseMapping(await readFile(path, 'utf8')), version };
      }
      return this.mapping.value;
    } catch (error) {
      throw new StageError(`the mapping ${path}: ${reasonOf(error)}`, false, { cause: error });
    }
  }

  private async mustWait(run: StageRun): Promise<boolean> {
    const waiting = await waitingFiles(this.params.out, this.params);
    if (!isFull(waiting, this.params)) return false;
    run.log.info('transform.waiting', { out: this.params.out, files: waiting.files, bytes: waiting.bytes });
    return true;
  }

  /** @throws BadInputError when nothing can be made of such a file */
  private job(
    file: Candidate,
    mtimeMs: number,
    mapping: Mapping,
    { log }: Pick<StageEnv, 'log'>,
    progress: (bytes: number) => Promise<void>,
  ): Omit<TransformJob, 'parts'> {
    const { params } = this;
    const format = formatFor(params, file.name);
    if (format === undefined) {
      throw new BadInputError(`its name tells no format; set format = one of ${FORMAT_NAMES.join(', ')}`);
    }
    let options;
    try {
      options = formatOptions(params, format);
    } catch (error) {
      // Only with format = auto: others are checked at the start.
      throw new BadInputError(`it is ${format} by its name: ${reasonOf(error)}`, { cause: error });
    }
    let logged = 0;
    return {
      file: { name: file.name, path: file.path, mtimeMs },
      format: formats[format],
      options,
      mapping,
      limits: {
        maxRejects: params.max_rejects,
        maxRejectPercent: params.max_rejects_percent,
        fileRows: params.file_rows,
      },
      rejectPath: params.reject_path ?? this.errorPath,
      progress,
      onUnknown: (name) => log.warn('transform.unknown-field', { file: file.name, field: name }),
      onReject: ({ line, reason }) => {
        if (logged++ < LOGGED_REJECTS) log.warn('transform.bad-row', { at: `${file.name}:${line}`, reason });
      },
    };
  }

  private async look(candidate: Candidate, mapping: Mapping, run: StageRun): Promise<void> {
    try {
      const job = this.job(candidate, 0, mapping, run, async () => run.progress());
      const { total, written, rejected } = await transformFile({ ...job, parts: undefined });
      run.counts.files++;
      run.counts.rowsIn += total;
      run.counts.rowsOut += written;
      run.counts.rowsRejected += rejected;
      run.log.info('transform.would-write', { file: candidate.name, total, rows: written, rejected });
    } catch (error) {
      if (!isBadFile(error)) throw asStageError(error);
      run.counts.errors++;
      run.log.warn('transform.would-put-aside', { file: candidate.name, reason: reasonOf(error) });
    }
  }

  private async take(
    candidate: Candidate,
    claims: FileClaims,
    staging: Staging,
    mapping: Mapping,
    seq: { next: number },
    run: StageRun,
  ): Promise<void> {
    let file: ClaimedFile | undefined;
    try {
      file = await claims.claim(candidate);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      // The name has no room for ours; everything else concerns the folder, thus all of its files.
      if (code === 'ENAMETOOLONG') return this.leaveAlone(candidate, 'it cannot be claimed', error, run);
      const hint = 'the folder must be writable for this program';
      throw new StageError(
        `${candidate.path} cannot be claimed: ${reasonOf(error)}; ${hint}`,
        isRetryable(error),
        {
          cause: error,
        },
      );
    }
    // Somebody else has it.
    if (file === undefined) return;
    try {
      const ready =
        (await staging.finished(file)) ?? (await this.make(file, claims, staging, mapping, seq, run));
      if (ready === undefined) return;
      await this.removeSource(file);
      await staging.publish(ready);
    } catch (error) {
      if (!isBadFile(error)) throw asStageError(error);
      await this.putAside(file, error, run);
    }
  }

  /** @returns undefined when the stage is to stop */
  private async make(
    file: ClaimedFile,
    claims: FileClaims,
    staging: Staging,
    mapping: Mapping,
    seq: { next: number },
    run: StageRun,
  ): Promise<Ready | undefined> {
    const { params } = this;
    if (!file.regular) throw new BadInputError('it is not a regular file');
    if (file.size > params.max_file_size)
      throw new BadInputError(`it is larger than ${params.max_file_size} bytes`);
    if (Buffer.byteLength(file.name) > MAX_NAME_BYTES) throw new BadInputError('its name is too long');
    const started = performance.now();
    const before = run.counts.bytes;
    const job = this.job(file, file.mtimeMs, mapping, run, async (bytes) => {
      run.signal.throwIfAborted();
      run.counts.bytes = before + bytes;
      run.progress();
      await claims.beat();
    });
    const parts = await staging.begin(file);
    try {
      const outcome = await transformFile({ ...job, parts });
      const ready = await parts.ready((part, opened) =>
        this.nameOf(file.name, part, parts.count, opened, seq),
      );
      run.counts.bytes = before + file.size;
      run.counts.files++;
      run.counts.rowsIn += outcome.total;
      run.counts.rowsOut += outcome.written;
      run.counts.rowsRejected += outcome.rejected;
      const { total, written: rows, filtered, rejected } = outcome;
      const ms = Math.round(performance.now() - started);
      run.log.info('transform.file', {
        file: file.name,
        total,
        rows,
        filtered,
        rejected,
        files: parts.count,
        ms,
      });
      if (outcome.rejects !== undefined) {
        run.log.warn('transform.rejects', { file: file.name, rows: rejected, kept: outcome.rejects });
      }
      return ready;
    } catch (error) {
      await parts.discard();
      run.counts.bytes = before;
      if (run.signal.aborted && !isBadFile(error)) return undefined;
      throw error;
    }
  }

  /** Spec data-centre 7.3, or the name of the source with .xml behind it. */
  private nameOf(source: string, part: number, parts: number, opened: Date, seq: { next: number }): string {
    const { prefix, suffix } = this.params;
    if (prefix !== '') return `${prefix}_${timeText(opened)}_${suffix}_${seq.next++}.xml`;
    return parts === 1 ? `${source}.xml` : `${source}_${part + 1}.xml`;
  }

  private async removeSource(file: ClaimedFile): Promise<void> {
    if (this.params.done_path !== undefined) await putAside(file, this.params.done_path);
    else await unlink(file.path);
  }

  private async putAside(file: ClaimedFile, error: unknown, run: StageRun): Promise<void> {
    const reason = reasonOf(error);
    run.counts.errors++;
    try {
      const kept = await putAside(file, this.errorPath);
      run.log.error('transform.bad-file', { file: file.name, reason, kept });
    } catch (trouble) {
      if (trouble instanceof Error && 'code' in trouble && trouble.code === 'ENOENT') {
        run.log.warn('transform.gone', { file: file.path });
        return;
      }
      this.leaveAlone(file, reason, trouble, run);
    }
  }

  private leaveAlone(file: Candidate, reason: string, trouble: unknown, run: StageRun): void {
    if (this.stuck.size >= 10_000)
      throw new StageError('10000 files cannot be put aside', false, { cause: trouble });
    this.stuck.add(file.name);
    run.log.error('transform.stuck-file', { file: file.path, reason, trouble: reasonOf(trouble) });
  }
}

async function sizeOf(files: readonly Candidate[]): Promise<number> {
  let bytes = 0;
  // One that is gone meanwhile has nothing to be waited for.
  for (const { path } of files) bytes += (await stat(path).catch(() => ({ size: 0 }))).size;
  return bytes;
}

function asStageError(error: unknown): unknown {
  return error instanceof MappingError
    ? new StageError(`the mapping: ${error.message}`, false, { cause: error })
    : error;
}

/** Local time, yyyymmddhh24miss (spec data-centre 1.5). */
function timeText(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
  return `${day}${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;
}
