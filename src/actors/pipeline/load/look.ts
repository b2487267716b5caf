/** What the stage `load` says without loading: the dry run, the preview and the check. Worker or main thread. */
import { lstat } from 'node:fs/promises';
import { readTabLine } from '../../../protocol/tab-text.js';
import { reasonOf } from '../../../runtime/errors.js';
import type { RowSet, Store } from '../../../store/driver.js';
import type { Candidate, ClaimedFile } from '../stage/file-claims.js';
import type { FileLoader } from './file.js';
import type { LoadRule } from './rules.js';
import { ChangingFileError } from './read.js';
import { BadFileError, type TablePlans } from './table.js';
import type { StageRun } from '../stage/run.js';

export async function dryRun(
  found: readonly Candidate[],
  rules: readonly LoadRule[],
  store: Store,
  plans: TablePlans,
  loader: FileLoader,
  run: StageRun,
  limited = true,
): Promise<void> {
  const planOf = await plans.forRules(store, rules, found);
  for (const candidate of found) {
    if (run.signal.aborted) return;
    run.counts.files++;
    try {
      const plan = planOf(candidate.name);
      const { rows, rejects } = await loader.look(await fileOf(candidate), plan, run, () => true, limited);
      run.counts.rowsIn += rows + rejects.length;
      run.counts.rowsRejected += rejects.length;
      run.log.info('load.would-load', {
        file: candidate.name,
        table: plan.rule.table,
        rows,
        rejected: rejects.length,
      });
    } catch (error) {
      if (!(error instanceof BadFileError) && !(error instanceof ChangingFileError)) throw error;
      run.counts.errors++;
      run.log.warn('load.would-put-aside', { file: candidate.name, reason: error.message });
    }
  }
}

/** @throws BadFileError */
export async function previewRows(
  candidate: Candidate | undefined,
  rules: readonly LoadRule[],
  store: Store,
  plans: TablePlans,
  loader: FileLoader,
  limit: number,
): Promise<RowSet> {
  if (candidate === undefined) return { columns: [], rows: [] };
  const plan = (await plans.forRules(store, rules, [candidate]))(candidate.name);
  const lines: string[] = [];
  await loader.look(await fileOf(candidate), plan, silent, (piece) => {
    lines.push(
      ...piece
        .toString()
        .split('\n', limit + 1)
        .slice(0, -1),
    );
    return lines.length < limit;
  });
  const columns = plan.tabColumns.map(({ tag }) => tag);
  return { columns, rows: lines.slice(0, limit).map((line) => readTabLine(line).slice(0, columns.length)) };
}

export async function checkTables(
  rules: readonly LoadRule[],
  store: Store,
  plans: TablePlans,
): Promise<readonly string[]> {
  const lines = [`store: ${await store.version()}`];
  for (const rule of rules) {
    const plan = await plans.get(store, rule);
    const keys = plan.keys.length === 0 ? '' : ` by ${plan.keys.join(', ')}`;
    lines.push(`table ${rule.table}: ${rule.mode}${keys}, ${plan.tabColumns.length} columns`);
  }
  return lines;
}

async function fileOf(candidate: Candidate): Promise<ClaimedFile> {
  try {
    const info = await lstat(candidate.path);
    return { ...candidate, size: info.size, mtimeMs: info.mtimeMs, regular: info.isFile() };
  } catch (error) {
    throw new BadFileError(`it cannot be looked at: ${reasonOf(error)}`, { cause: error });
  }
}

const nothing = (): void => undefined;
const quiet = {
  debug: nothing,
  info: nothing,
  notice: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
  child: () => quiet,
};
/** A preview belongs to no run. */
const silent: StageRun = {
  log: quiet,
  signal: new AbortController().signal,
  dryRun: true,
  counts: { rowsIn: 0, rowsOut: 0, rowsRejected: 0, files: 0, bytes: 0, errors: 0 },
  progress: nothing,
  expect: nothing,
  runId: undefined,
  cutOff: async () => false,
  state: { get: async () => undefined, set: async () => undefined },
};
