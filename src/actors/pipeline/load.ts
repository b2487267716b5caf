/**
 * Stage `load`: files of row XML into tables, by rules (spec data-centre 8). Files are claimed, taken in the order of their
 * names, and loaded in groups: while the database works on one, the next is read. Worker thread.
 */
import { lstat } from 'node:fs/promises';
import { reasonOf } from '../../runtime/errors.js';
import { nameMatcher } from '../../protocol/match-name.js';
import { StoreError, type RowSet, type Store } from '../../store/driver.js';
import { FileClaims, type Candidate, type ClaimedFile } from './stage/file-claims.js';
import { LazyStore } from './stage/lazy-store.js';
import { DoneFiles, makeDoneTable } from './load/done.js';
import { FileLoader, type LoadOutcome } from './load/file.js';
import { FileGroups, type FileGroup } from './load/groups.js';
import { keys, loadSettings, type LoadParams, type LoadSettings } from './load/keys.js';
import { FilesAway } from './load/away.js';
import { checkTables, dryRun, previewRows } from './load/look.js';
import { ChangingFileError } from './load/read.js';
import { sweepRejects } from './load/rejects.js';
import { rulesOf, type LoadRule } from './load/rules.js';
import { BadFileError, TablePlans } from './load/table.js';
import { isRetryable, type Stage, type StageEnv, type StageRun } from './stage/run.js';
import { stageActor } from './stage.js';

export { keys };

/** Looks into the folder without a pause while each finds something to do. */
const MAX_SCANS = 100;
/** A file that fails in ways that are not its rows' so often is put aside. */
const MAX_TROUBLES = 3;
const MAX_REMEMBERED = 10_000;
/** Moved files marked at once. */
const MARKS = 1_000;

export function createStage(env: StageEnv): Stage {
  return new Load(env);
}

export const factory = stageActor(createStage);

export class Load implements Stage {
  readonly folders: readonly string[];
  private readonly settings: LoadSettings;
  private readonly store: LazyStore;
  private readonly rules: () => Promise<readonly LoadRule[]>;
  private readonly plans: TablePlans;
  private readonly done: DoneFiles;
  private readonly loader: FileLoader;
  private readonly away: FilesAway;
  private claims: FileClaims | undefined;
  /** How often a file failed for another reason than its rows. Those go alone, so that they hold up nobody. */
  private readonly troubles = new Map<string, number>();
  /** Files that are left alone until the next run. */
  private readonly later = new Set<string>();
  private purgeAt = 0;

  constructor(private readonly env: StageEnv) {
    const settings = loadSettings(env.params as LoadParams);
    this.settings = settings;
    this.folders = [settings.path];
    this.rules = rulesOf(settings, env);
    this.store = new LazyStore(settings.store, makeDoneTable);
    this.plans = new TablePlans(settings);
    this.done = new DoneFiles({ stage: env.name, repeat: settings.repeat, rememberMs: settings.remember });
    this.loader = new FileLoader({ stage: env.name, settings, done: this.done });
    this.away = new FilesAway(settings, this.done);
  }

  async run(run: StageRun): Promise<void> {
    const { path, lease, files_per_scan: limit } = this.settings;
    const matches = nameMatcher(this.settings.match);
    this.claims ??= await FileClaims.open({ folder: path, stage: this.env.name, matches, leaseMs: lease });
    this.later.clear();
    this.away.again();
    try {
      for (let scan = 0; scan < MAX_SCANS && !run.signal.aborted; scan++) {
        const found = await this.claims.scan(limit, new Set([...this.later, ...this.away.stuck]));
        const rules = await this.rules();
        if (run.dryRun)
          return await dryRun(found, rules, await this.store.get(), this.plans, this.loader, run);
        if (found.length === 0) break;
        await expectAll(found, run);
        await this.work(found, rules, await this.store.get(), this.claims, run);
        // Otherwise the next look would find files that are just being moved away.
        await this.away.settle();
      }
      await this.purge(run);
    } catch (error) {
      await this.store.failed(error);
      throw this.store.explained(error);
    } finally {
      await this.settle(run);
    }
  }

  async preview(limit: number): Promise<RowSet> {
    const { path, lease: leaseMs, match } = this.settings;
    const claims = await FileClaims.open({
      folder: path,
      stage: this.env.name,
      matches: nameMatcher(match),
      leaseMs,
    });
    const found = await claims.scan(1, this.away.stuck);
    return previewRows(found[0], await this.rules(), await this.store.get(), this.plans, this.loader, limit);
  }

  async check(): Promise<readonly string[]> {
    return checkTables(await this.rules(), await this.store.get(), this.plans);
  }

  async close(): Promise<void> {
    await this.away.settle().catch(() => undefined);
    await this.claims?.release();
    await this.store.close();
  }

  /** One look's files, group after group; one group is being read while the one before it is being loaded. */
  private async work(
    found: readonly Candidate[],
    rules: readonly LoadRule[],
    store: Store,
    claims: FileClaims,
    run: StageRun,
  ): Promise<void> {
    const groups = new FileGroups({
      settings: this.settings,
      loader: this.loader,
      claims,
      plans: await this.plans.forRules(store, rules, found),
      alone: (name) => this.troubles.has(name),
      failed: (file, error) => this.fileFailed(file, error, run),
      unclaimable: (candidate, error) => this.away.leaveAlone(candidate, 'it cannot be claimed', error, run),
    });
    const each = groups.of(found, run)[Symbol.asyncIterator]();
    let next = each.next();
    try {
      for (;;) {
        const group = await next;
        if (group.done === true) return;
        next = each.next();
        // Looked at in the next turn, or below when this one fails.
        next.catch(() => undefined);
        await this.load(group.value, store, run);
        await claims.beat();
        if (run.signal.aborted) return;
      }
    } finally {
      await next.catch(() => undefined);
      await each.return?.(undefined).catch(() => undefined);
    }
  }

  private async load(group: FileGroup, store: Store, run: StageRun): Promise<void> {
    const started = performance.now();
    const files = group.files.map(({ file }) => file);
    try {
      const outcome =
        group.alone === undefined
          ? await this.loader.group(store, group, run)
          : await this.loader.alone(store, group.plan, group.alone, { careful: false, replay: false }, run);
      await this.finish(outcome, started, store, run);
    } catch (error) {
      if (isStop(error, run)) return;
      if (!isBadRows(error)) return this.groupFailed(group, error, run);
      run.log.debug('load.careful', { files: Math.max(1, files.length), reason: reasonOf(error) });
      this.plans.forget();
      for (const file of group.alone === undefined ? files : [group.alone])
        if (!run.signal.aborted) await this.carefully(file, group.plan.rule, store, run);
    }
  }

  /** Some row of the group is bad, or the table has changed. */
  private async carefully(file: ClaimedFile, rule: LoadRule, store: Store, run: StageRun): Promise<void> {
    const started = performance.now();
    try {
      const plan = await this.plans.get(store, rule);
      const outcome = await this.loader.alone(store, plan, file, { careful: true, replay: false }, run);
      await this.finish(outcome, started, store, run);
    } catch (error) {
      if (!isStop(error, run)) await this.fileFailed(file, error, run);
    }
  }

  private async finish(outcome: LoadOutcome, started: number, store: Store, run: StageRun): Promise<void> {
    const { counts, log } = run;
    const { rows, rejected, result, known } = outcome;
    counts.files += outcome.loaded.length;
    counts.rowsIn += rows + rejected;
    counts.rowsOut += result.inserted + result.updated;
    counts.rowsRejected += rejected;
    run.progress();
    const [first] = outcome.loaded;
    if (first !== undefined) {
      const { inserted, updated, skipped: duplicates } = result;
      const which =
        outcome.loaded.length === 1
          ? { file: first.name }
          : { files: outcome.loaded.length, first: first.name };
      log.info('load.done', {
        ...which,
        rows,
        inserted,
        updated,
        duplicates,
        rejected,
        ms: Math.round(performance.now() - started),
      });
    }
    for (const { name } of known.slice(0, 20))
      log.notice('load.known', { file: name, hint: 'it was loaded before; repeat = load loads it again' });
    for (const { name } of [...outcome.loaded, ...known]) this.troubles.delete(name);
    await this.away.take([...outcome.loaded, ...known], run);
    await this.done.markGone(store, MARKS);
  }

  /** @throws whatever it was, unless it is about one file alone */
  private async groupFailed(group: FileGroup, error: unknown, run: StageRun): Promise<void> {
    if (group.alone !== undefined) return this.fileFailed(group.alone, error, run);
    for (const { name } of group.files) this.trouble(name);
    throw error;
  }

  /** @throws what is not the file's fault: it stays claimed, and the next run takes it up */
  private async fileFailed(file: ClaimedFile, error: unknown, run: StageRun): Promise<void> {
    if (error instanceof ChangingFileError) {
      this.later.add(file.name);
      run.log.warn('load.changing', { file: file.name, reason: error.message });
      return;
    }
    let reason = reasonOf(error);
    if (!(error instanceof BadFileError)) {
      const times = this.trouble(file.name);
      const passing = isRetryable(error) && !(error instanceof StoreError && error.code === 'TIMEOUT');
      if (passing || times < MAX_TROUBLES) throw error;
      reason = `${reason} (${times} times)`;
    }
    this.troubles.delete(file.name);
    await this.away.putAside(file, reason, run);
  }

  private trouble(name: string): number {
    const times = (this.troubles.get(name) ?? 0) + 1;
    if (this.troubles.size < MAX_REMEMBERED || times > 1) this.troubles.set(name, times);
    return times;
  }

  /** Once an hour: what nobody needs any more. */
  private async purge(run: StageRun): Promise<void> {
    if (run.signal.aborted || performance.now() < this.purgeAt) return;
    await this.away.settle();
    await sweepRejects(this.settings.reject_path, this.settings.lease);
    const removed = await this.done.purge(
      await this.store.get(),
      this.later.size + this.away.stuck.size === 0,
    );
    this.purgeAt = performance.now() + 3_600_000;
    if (removed > 0) run.log.info('load.forgotten', { files: removed });
  }

  /** The last files are on their way out. */
  private async settle(run: StageRun): Promise<void> {
    await this.away.settle();
    if (run.dryRun) return;
    await this.store
      .get()
      .then((store) => this.done.markGone(store, 1))
      .catch((error: unknown) => run.log.debug('load.unmarked', { reason: reasonOf(error) }));
  }
}

/** So that the run can tell how long it will take. */
async function expectAll(found: readonly Candidate[], run: StageRun): Promise<void> {
  let { bytes } = run.counts;
  for (let at = 0; at < found.length; at += 64) {
    const sizes = found.slice(at, at + 64).map(({ path }) =>
      lstat(path).then(
        ({ size }) => size,
        () => 0,
      ),
    );
    for (const size of await Promise.all(sizes)) bytes += size;
  }
  run.expect({ bytes });
}

/** A database that refused rows, or knows the table otherwise than we do. */
function isBadRows(error: unknown): boolean {
  return (
    error instanceof StoreError &&
    ['DUPLICATE', 'CONSTRAINT', 'BIND', 'DATABASE', 'SYNTAX', 'NO_TABLE'].includes(error.code)
  );
}

/** Asked to stop in the middle: nothing was applied. */
function isStop(error: unknown, run: StageRun): boolean {
  return error instanceof StoreError && error.code === 'CANCELLED' && run.signal.aborted;
}
