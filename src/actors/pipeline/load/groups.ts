/**
 * The files of one look into the folder as groups that are loaded together: neighbours in the order of their names, of one
 * table, small enough for memory. Everything else goes alone. Worker thread.
 */
import type { Candidate, ClaimedFile, FileClaims } from '../stage/file-claims.js';
import { together } from './arrange.js';
import type { FileLoader, PreparedFile } from './file.js';
import type { LoadSettings } from './keys.js';
import { isPacked } from './read.js';
import { BadFileError, type PlanOf, type TablePlan } from './table.js';
import { isRetryable, StageError, type StageRun } from '../stage/run.js';
import { reasonOf } from '../../../runtime/errors.js';

export interface FileGroup {
  readonly plan: TablePlan;
  readonly files: readonly PreparedFile[];
  /** The rows of all of them, in the order in which they are loaded best. */
  readonly rows: readonly Buffer[];
  /** Instead of `files`: one that is read while it is loaded. */
  readonly alone?: ClaimedFile;
}

export interface FileGroupsEnv {
  readonly settings: LoadSettings;
  readonly loader: FileLoader;
  readonly claims: FileClaims;
  readonly plans: PlanOf;
  /** This file must not be in a group. */
  alone(name: string): boolean;
  /** @throws what is to end the run */
  failed(file: ClaimedFile, error: unknown): Promise<void>;
  unclaimable(candidate: Candidate, error: unknown): void;
}

/** Files claimed at once. */
const CLAIMS = 16;
/** Its reject file has a longer name, and no file system takes more than 255 bytes. */
const MAX_NAME_BYTES = 200;

export class FileGroups {
  constructor(private readonly env: FileGroupsEnv) {}

  /** Each group is yours until the next is asked for; it may be asked for while the last is still at work. */
  async *of(found: readonly Candidate[], run: StageRun): AsyncGenerator<FileGroup> {
    const { group_files: maxFiles, group_bytes: maxBytes } = this.env.settings;
    let plan: TablePlan | undefined;
    let files: PreparedFile[] = [];
    let bytes = 0;
    const take = (of: TablePlan): FileGroup => {
      const taken = files;
      files = [];
      bytes = 0;
      const rows = taken.flatMap(({ pieces }) => pieces);
      return { plan: of, files: taken, rows: of.together === undefined ? rows : together(rows, of.together) };
    };
    for await (const file of this.claimed(found)) {
      if (run.signal.aborted) return;
      const wanted = await this.planFor(file);
      if (wanted === undefined) continue;
      const alone =
        file.size > maxBytes ||
        isPacked(file.name) ||
        wanted.beforeSql !== undefined ||
        this.env.alone(file.name);
      const fits =
        !alone &&
        wanted === plan &&
        files.length < (maxFiles ?? wanted.groupFiles) &&
        bytes + file.size <= maxBytes;
      if (!fits && files.length > 0 && plan !== undefined) yield take(plan);
      plan = wanted;
      if (alone) {
        yield { plan, files: [], rows: [], alone: file };
        continue;
      }
      try {
        files.push(await this.env.loader.prepare(file, plan, run));
        bytes += file.size;
      } catch (error) {
        await this.env.failed(file, error);
      }
    }
    if (files.length > 0 && plan !== undefined) yield take(plan);
  }

  /** @returns undefined when the file was put aside */
  private async planFor(file: ClaimedFile): Promise<TablePlan | undefined> {
    try {
      if (!file.regular) throw new BadFileError('it is not a regular file');
      if (Buffer.byteLength(file.name) > MAX_NAME_BYTES) throw new BadFileError('its name is too long');
      return this.env.plans(file.name);
    } catch (error) {
      await this.env.failed(file, error);
      return undefined;
    }
  }

  /** In their order, some at a time. What somebody else was faster with is left out. */
  private async *claimed(found: readonly Candidate[]): AsyncGenerator<ClaimedFile> {
    for (let at = 0; at < found.length; at += CLAIMS) {
      const several = await Promise.all(
        found.slice(at, at + CLAIMS).map((candidate) => this.claim(candidate)),
      );
      for (const file of several) if (file !== undefined) yield file;
    }
  }

  private async claim(candidate: Candidate): Promise<ClaimedFile | undefined> {
    try {
      return await this.env.claims.claim(candidate);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      // The name has no room for ours; everything else concerns the folder, thus all of its files.
      if (code === 'ENAMETOOLONG') {
        this.env.unclaimable(candidate, error);
        return undefined;
      }
      const hint = 'the folder must be writable for this program';
      const text = `${candidate.path} cannot be claimed: ${reasonOf(error)}; ${hint}`;
      throw new StageError(text, isRetryable(error), { cause: error });
    }
  }
}
