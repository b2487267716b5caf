/**
 * Files into their table, each in one transaction with its row in `switchyard_files`: many small ones together, a large one
 * as a stream, and one with bad rows piece by piece until only those are left out. Worker thread.
 */
import type { BadBytes } from '../../../protocol/rowxml-tab.js';
import { RowXmlTab } from '../../../protocol/rowxml-tab.js';
import { StoreError, type BulkResult, type SqlRunner, type Store } from '../../../store/driver.js';
import { reasonOf } from '../../../runtime/errors.js';
import type { ClaimedFile } from '../stage/file-claims.js';
import type { DoneFiles, FileIdentity } from './done.js';
import type { LoadSettings } from './keys.js';
import type { FileGroup } from './groups.js';
import { FileReader } from './read.js';
import { originOf, writeRejects } from './rejects.js';
import { LoadSegments } from './segments.js';
import { BadFileError, type BulkLimits, type TablePlan } from './table.js';
import { isRetryable, StageError, type StageRun } from '../stage/run.js';

/** A file whose content is known. */
export interface HashedFile extends FileIdentity {
  readonly file: ClaimedFile;
}

/** A file read and turned into tab text, waiting for its transaction. */
export interface PreparedFile extends HashedFile {
  readonly pieces: readonly Buffer[];
  readonly rows: number;
  readonly rejects: readonly BadBytes[];
}

export interface LoadOutcome {
  readonly loaded: readonly HashedFile[];
  /** Loaded before; nothing was done now. */
  readonly known: readonly HashedFile[];
  readonly rows: number;
  readonly rejected: number;
  readonly result: BulkResult;
}

export interface LoaderEnv {
  readonly stage: string;
  readonly settings: LoadSettings;
  readonly done: DoneFiles;
}

export interface AloneOptions {
  /** Finds the bad rows instead of failing with the first. */
  readonly careful: boolean;
  /** Mended rejects: no limits, but at least one row must be good. */
  readonly replay: boolean;
}

export const NOTHING: BulkResult = { rows: 0, inserted: 0, updated: 0, skipped: 0 };
/** Bytes of refused records kept in memory for one file. */
const MAX_REJECT_BYTES = 64 << 20;
const LOGGED_REJECTS = 20;

/** The parser of one file and what it refused. */
class Parsing {
  readonly rejects: BadBytes[] = [];
  private bytes = 0;

  constructor(
    private readonly settings: LoadSettings,
    private readonly limited: boolean,
  ) {}

  /** @throws BadFileError */
  refuse(record: BadBytes): void {
    this.rejects.push(record);
    this.bytes += record.record.length;
    const { max_rejects: most } = this.settings;
    if (this.limited && this.rejects.length > most)
      throw new BadFileError(`more than ${most} bad rows; line ${record.line}: ${record.reason}`);
    if (this.bytes > MAX_REJECT_BYTES)
      throw new BadFileError(`its bad rows have more than ${MAX_REJECT_BYTES} bytes`);
  }

  /** At the end of the file. @param good rows. @throws BadFileError */
  judge(good: number): void {
    const { length } = this.rejects;
    const [first] = this.rejects;
    const { max_rejects_percent: most } = this.settings;
    if (!this.limited || first === undefined) return;
    if (length * 100 > most * (good + length))
      throw new BadFileError(
        `${length} of its ${good + length} rows are bad, more than ${most} percent; line ${first.line}: ${first.reason}`,
      );
  }
}

export class FileLoader {
  private readonly parsers = new WeakMap<TablePlan, { parser: RowXmlTab; parsing: Parsing }>();

  constructor(private readonly env: LoaderEnv) {}

  /** Reads and checks a file that fits into memory. Not twice at a time. @throws BadFileError, ChangingFileError */
  async prepare(file: ClaimedFile, plan: TablePlan, run: StageRun): Promise<PreparedFile> {
    const parsing = new Parsing(this.env.settings, true);
    let known = this.parsers.get(plan);
    if (known === undefined) {
      const slot = { parsing } as { parser: RowXmlTab; parsing: Parsing };
      slot.parser = this.parser(plan, (record) => slot.parsing.refuse(record), false);
      this.parsers.set(plan, slot);
      known = slot;
    }
    known.parsing = parsing;
    const { parser } = known;
    const reader = new FileReader(file, this.readLimits());
    const pieces: Buffer[] = [];
    for await (const piece of this.rendered(parser, reader, plan, file, run)) pieces.push(piece);
    parsing.judge(parser.rows);
    const { name, size, mtimeMs } = file;
    return {
      name,
      size,
      mtimeMs,
      hash: reader.hash,
      file,
      pieces,
      rows: parser.rows,
      rejects: parsing.rejects,
    };
  }

  /** Prepared files of one plan in one transaction and one bulk. @throws StoreError when any row is bad: load each alone, with care */
  async group(store: Store, { plan, files, rows: all }: FileGroup, run: StageRun): Promise<LoadOutcome> {
    const outcome = await this.transaction(store, run, async (tx) => {
      const known = await this.env.done.known(tx, files);
      const fresh = files.filter((file, i) => {
        // Linked into the folder again by a process that was killed before it could give its claim up.
        const again = files.findIndex(({ name, hash }) => name === file.name && hash === file.hash) < i;
        if (again) known.add(file);
        return !known.has(file);
      });
      const rows = fresh.reduce((sum, file) => sum + file.rows, 0);
      if (fresh.length > 0) await this.before(tx, plan);
      const result =
        rows === 0
          ? NOTHING
          : await plan.load(tx, fresh.length === files.length ? all : piecesOf(fresh), this.whole());
      for (const file of fresh) await this.keepRejects(file, file.hash, file.rejects, run);
      const loaded = fresh.map((file) => ({ ...file, rowsIn: file.rows, rowsRejected: file.rejects.length }));
      if (fresh.length > 0) await this.env.done.add(store, tx, loaded, run.runId);
      const rejected = fresh.reduce((sum, file) => sum + file.rejects.length, 0);
      // Without their rows: those are not needed any more.
      return { loaded: fresh.map(identityOf), known: [...known].map(identityOf), rows, rejected, result };
    });
    run.counts.bytes += outcome.loaded.reduce((sum, { size }) => sum + size, 0);
    return outcome;
  }

  /** One file of any size as it is read; its bytes are counted. @throws BadFileError, ChangingFileError, StoreError */
  async alone(
    store: Store,
    plan: TablePlan,
    file: ClaimedFile,
    options: AloneOptions,
    run: StageRun,
  ): Promise<LoadOutcome> {
    const { counts } = run;
    const before = counts.bytes;
    try {
      return await this.one(store, plan, file, options, run);
    } catch (error) {
      counts.bytes = before;
      throw error;
    }
  }

  private async one(
    store: Store,
    plan: TablePlan,
    file: ClaimedFile,
    options: AloneOptions,
    run: StageRun,
  ): Promise<LoadOutcome> {
    const { done } = this.env;
    return this.transaction(store, run, async (tx) => {
      const { name, size, mtimeMs } = file;
      if (await done.maybeKnown(tx, file)) {
        const reader = new FileReader(file, this.readLimits());
        for await (const piece of reader.pieces()) if (piece.length > 0) run.progress();
        const identity = { name, size, mtimeMs, hash: reader.hash, file };
        const known = await done.known(tx, [identity]);
        if (known.size > 0) return { loaded: [], known: [identity], rows: 0, rejected: 0, result: NOTHING };
      }
      await this.before(tx, plan);
      const parsing = new Parsing(this.env.settings, !options.replay);
      // Counted as they come: a large file is to show how far it is.
      const reader = new FileReader(file, this.readLimits(), (bytes) => (run.counts.bytes += bytes));
      const parser = this.parser(plan, (record) => parsing.refuse(record), options.careful);
      const segments = new LoadSegments(
        tx,
        plan,
        this.limits(),
        (record) => parsing.refuse(record),
        () => run.progress(),
      );
      let result: BulkResult;
      const pieces = this.rendered(parser, reader, plan, file, run);
      if (options.careful) {
        for await (const piece of pieces) await segments.load(piece, parser.takeTrace());
        await segments.end();
        result = segments.result;
      } else {
        result = await loadWhole(tx, plan, pieces, this.whole());
      }
      const rejected = parsing.rejects.length;
      const rows = parser.rows - segments.refused;
      if (options.replay && rows === 0 && rejected > 0)
        throw new BadFileError(
          `none of its rows is mended; line ${parsing.rejects[0]?.line}: ${parsing.rejects[0]?.reason}`,
        );
      parsing.judge(rows);
      parsing.rejects.sort((a, b) => a.line - b.line);
      const identity = { name, size, mtimeMs, hash: reader.hash, file };
      await this.keepRejects(file, reader.hash, parsing.rejects, run);
      await done.add(store, tx, [{ ...identity, rowsIn: rows, rowsRejected: rejected }], run.runId);
      return { loaded: [identity], known: [], rows, rejected, result };
    });
  }

  /**
   * Reads without a database: rows of tab text, for a dry run or a preview.
   * @param each told of pieces of them; false ends it. @param limited too many bad rows make the file bad.
   * @throws BadFileError, ChangingFileError
   */
  async look(
    file: ClaimedFile,
    plan: TablePlan,
    run: StageRun,
    each: (piece: Buffer) => boolean,
    limited = true,
  ): Promise<{ readonly rows: number; readonly rejects: readonly BadBytes[] }> {
    const parsing = new Parsing(this.env.settings, limited);
    const reader = new FileReader(file, this.readLimits());
    const parser = this.parser(plan, (record) => parsing.refuse(record), false);
    for await (const piece of this.rendered(parser, reader, plan, file, run))
      if (!each(piece)) return { rows: parser.rows, rejects: parsing.rejects };
    parsing.judge(parser.rows);
    return { rows: parser.rows, rejects: parsing.rejects };
  }

  private parser(plan: TablePlan, bad: (record: BadBytes) => void, trace: boolean): RowXmlTab {
    const { charset, strict, cut, nulls, max_record_bytes: maxRecordBytes } = this.env.settings;
    return new RowXmlTab(plan.tabColumns, bad, { charset, strict, cut, nulls, maxRecordBytes, trace });
  }

  /** The whole file as tab text. @throws BadFileError, ChangingFileError */
  private async *rendered(
    parser: RowXmlTab,
    reader: FileReader,
    plan: TablePlan,
    file: ClaimedFile,
    run: StageRun,
  ): AsyncGenerator<Buffer> {
    parser.reset();
    parser.tail = plan.tail(run.runId, originOf(file.name));
    for await (const bytes of reader.pieces()) {
      yield* parser.push(bytes);
      if (parser.fault !== undefined) throw new BadFileError(parser.fault);
      run.progress();
    }
    yield* parser.end();
    if (!parser.unclosed) return;
    if (this.env.settings.strict)
      throw new BadFileError('its first tag is never closed: it seems to be cut off');
    run.log.warn('load.unclosed', {
      file: file.name,
      hint: 'its first tag is never closed: it may have been cut off',
    });
  }

  /** With a heartbeat: a database at work says nothing, but the time-out ends it. @throws what `work` throws */
  private async transaction<T>(store: Store, run: StageRun, work: (tx: SqlRunner) => Promise<T>): Promise<T> {
    const beat = setInterval(() => run.progress(), 2_000);
    try {
      return await store.transaction(work, { ...this.limits(), signal: run.signal });
    } finally {
      clearInterval(beat);
    }
  }

  private async before(tx: SqlRunner, plan: TablePlan): Promise<void> {
    if (plan.beforeSql === undefined) return;
    try {
      await tx.execute(plan.beforeSql, [], this.limits());
    } catch (error) {
      if (!(error instanceof StoreError) || error.retryable || error.code === 'CANCELLED') throw error;
      throw new BadFileError(`the SQL before the file failed: ${error.message}`, { cause: error });
    }
  }

  /** Before the commit: a kill in between leaves a reject file that the repetition replaces. */
  private async keepRejects(
    file: { readonly name: string },
    hash: string,
    rejects: readonly BadBytes[],
    run: StageRun,
  ): Promise<void> {
    if (rejects.length === 0) return;
    const { reject_path: folder, charset } = this.env.settings;
    const kept = await writeRejects(
      folder,
      originOf(file.name),
      this.env.stage,
      hash,
      rejects,
      charset,
    ).catch((error: unknown) => {
      const text = `the refused rows of ${file.name} cannot be written into ${folder}: ${reasonOf(error)}`;
      const hint = 'nothing of the file is loaded until that folder is writable and has room';
      throw new StageError(`${text}; ${hint}`, isRetryable(error), { cause: error });
    });
    for (const { line, reason } of rejects.slice(0, LOGGED_REJECTS))
      run.log.warn('load.bad-row', { at: `${file.name}:${line}`, reason });
    run.log.warn('load.rejects', { file: file.name, rows: rejects.length, kept });
  }

  private limits(): { readonly timeoutMs: number } {
    return { timeoutMs: this.env.settings.file_timeout };
  }

  /** When this bulk fails, so does its transaction. */
  private whole(): BulkLimits {
    return { ...this.limits(), onFailure: 'rollback' };
  }

  private readLimits(): { readonly maxBytes: number; readonly maxRatio: number } {
    return { maxBytes: this.env.settings.max_file_size, maxRatio: this.env.settings.max_ratio };
  }
}

function identityOf({ name, size, mtimeMs, hash, file }: HashedFile): HashedFile {
  return { name, size, mtimeMs, hash, file };
}

function* piecesOf(files: readonly PreparedFile[]): Generator<Buffer> {
  for (const file of files) yield* file.pieces;
}

/** A fault of the file found while the database reads it comes back as itself, whatever the driver made of it. */
async function loadWhole(
  tx: SqlRunner,
  plan: TablePlan,
  pieces: AsyncGenerator<Buffer>,
  limits: BulkLimits,
): Promise<BulkResult> {
  let fault: { readonly error: unknown } | undefined;
  async function* watched(): AsyncGenerator<Buffer> {
    try {
      yield* pieces;
    } catch (error) {
      fault = { error };
      throw error;
    }
  }
  try {
    return await plan.load(tx, watched(), limits);
  } catch (error) {
    throw fault === undefined ? error : fault.error;
  }
}
