/**
 * Mended reject files of a stage `load` into their tables, each exactly once (`stage replay-rejects NAME`). Rows that are still
 * bad go into a new reject file; a file without any good row stays as it is. Main thread of the command.
 */
import { basename } from 'node:path';
import { StoreError } from '../../../store/driver.js';
import { FilesAway } from './away.js';
import { FileClaims } from '../stage/file-claims.js';
import { LazyStore } from '../stage/lazy-store.js';
import { DoneFiles, makeDoneTable } from './done.js';
import { FileLoader } from './file.js';
import { loadSettings, type LoadParams } from './keys.js';
import { dryRun } from './look.js';
import { REJECT_SUFFIX } from './rejects.js';
import { rulesOf } from './rules.js';
import { BadFileError, TablePlans, type PlanOf } from './table.js';
import { StageError, type Stage, type StageEnv, type StageFactory, type StageRun } from '../stage/run.js';

const MAX_FILES = 100_000;

/** @param files names or paths of reject files; none: all of the stage */
export function createReplay(files: readonly string[]): StageFactory {
  return (env) => new Replay(env, new Set(files.map((file) => basename(file))));
}

class Replay implements Stage {
  private readonly store: LazyStore;

  constructor(
    private readonly env: StageEnv,
    private readonly wanted: ReadonlySet<string>,
  ) {
    this.store = new LazyStore(loadSettings(env.params as LoadParams).store, makeDoneTable);
  }

  async run(run: StageRun): Promise<void> {
    const { env, wanted } = this;
    const settings = loadSettings(env.params as LoadParams);
    const plans = new TablePlans(settings);
    const done = new DoneFiles({ stage: env.name, repeat: 'skip', rememberMs: settings.remember });
    const loader = new FileLoader({ stage: env.name, settings, done });
    const away = new FilesAway(settings, done);
    const claims = await FileClaims.open({
      folder: settings.reject_path,
      stage: `${env.name}-replay`,
      matches: (name) => name.endsWith(REJECT_SUFFIX) && (wanted.size === 0 || wanted.has(name)),
      leaseMs: settings.lease,
    });
    try {
      const found = await claims.scan(MAX_FILES, new Set());
      for (const name of wanted)
        if (!found.some((candidate) => candidate.name === name))
          throw new StageError(`${settings.reject_path} has no reject file ${name}`, false);
      const store = await this.store.get();
      const rules = await rulesOf(settings, env)();
      if (run.dryRun) return await dryRun(found, rules, store, plans, loader, run, false);
      const planOf = await plans.forRules(store, rules, found);
      for (const candidate of found) {
        if (run.signal.aborted) return;
        const file = await claims.claim(candidate);
        if (file === undefined) continue;
        try {
          const plan = planFor(planOf, file.name);
          const outcome = await loader.alone(store, plan, file, { careful: true, replay: true }, run);
          const { counts } = run;
          counts.files++;
          counts.rowsIn += outcome.rows + outcome.rejected;
          counts.rowsOut += outcome.result.inserted + outcome.result.updated;
          counts.rowsRejected += outcome.rejected;
          run.log.info('load.replayed', { file: file.name, rows: outcome.rows, rejected: outcome.rejected });
          await away.take([...outcome.loaded, ...outcome.known], run);
        } catch (error) {
          if (error instanceof StoreError && error.code === 'CANCELLED' && run.signal.aborted) return;
          if (!(error instanceof BadFileError)) throw error;
          run.counts.errors++;
          run.log.warn('load.not-replayed', { file: file.name, reason: error.message });
        }
      }
    } catch (error) {
      await this.store.failed(error);
      throw this.store.explained(error);
    } finally {
      await away.settle();
      // Files that were not loaded go back to where they were.
      await claims.release();
    }
  }

  async close(): Promise<void> {
    await this.store.close();
  }
}

/** What the SQL before a file deletes would be the rows loaded since. */
function planFor(planOf: PlanOf, name: string): ReturnType<PlanOf> {
  return { ...planOf(name), beforeSql: undefined };
}
