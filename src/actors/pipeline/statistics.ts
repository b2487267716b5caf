/**
 * Stage `statistics`: secondary products of what was loaded (spec data-centre 8.4 names it, without a program): aggregates by period and
 * group, rankings, what is missing, any select; into a table, a CSV file and a page. Each run computes the newest periods anew, so late
 * data counts and a run that was cut off does no harm. Worker thread.
 */
import { dirname } from 'node:path';
import { writeFileAtomic } from '../../runtime/atomic-file.js';
import { localTime } from '../../runtime/log-format.js';
import { openStore, type RowSet, type Store } from '../../store/driver.js';
import { SqlRewriteError } from '../../store/sql-rewrite.js';
import { LazyStore } from './stage/lazy-store.js';
import { beating } from './stage/beating.js';
import { stageActor } from './stage.js';
import { StageError, type Stage, type StageEnv, type StageRun } from './stage/run.js';
import {
  checkParams,
  compute,
  TooManyRowsError,
  type ComputeContext,
  type Result,
  type Span,
} from './statistics/compute.js';
import type { StatisticsValues } from './statistics/keys.js';
import { csvText, htmlText, type ReportInput } from './statistics/report.js';
import { earlier, movePeriod, periodOf } from './statistics/sql.js';
import { readTable, writeTable, type Replace } from './statistics/table.js';

export { keys } from './statistics/keys.js';

/** Beginning of the newest period that was computed. */
const STATE = 'last-period';

export function createStage(env: StageEnv): Stage {
  return new Statistics(env);
}

export const factory = stageActor(createStage);

class Statistics implements Stage {
  readonly outputs: readonly string[];
  private readonly params: StatisticsValues;
  private readonly store: LazyStore;
  private readonly target: LazyStore;

  constructor(
    private readonly env: StageEnv,
    private readonly clock: () => number = Date.now,
  ) {
    this.params = env.params as StatisticsValues;
    checkParams(this.params);
    this.outputs = [this.params.csv, this.params.html]
      .filter((path) => path !== undefined)
      .map((path) => dirname(path));
    this.store = new LazyStore(this.params.store, async () => undefined);
    const { target } = this.params;
    this.target = target === undefined ? this.store : new LazyStore(target, async () => undefined);
  }

  async run(run: StageRun): Promise<void> {
    const { params } = this;
    try {
      const now = this.now();
      const store = await this.store.get();
      const span = await this.span(run, now);
      const context: ComputeContext = { store, params, signal: run.signal, progress: () => run.progress() };
      // Each of its queries has its own deadline.
      const result = await beating(run, compute(context, span));
      run.counts.rowsIn += result.rows.length;
      if (run.dryRun) {
        run.log.info('statistics.would-write', { rows: result.rows.length, from: span.from });
        return;
      }
      if (params.table !== '') {
        const replace = this.replace(result, span);
        const target = await this.target.get();
        run.counts.rowsOut += await beating(run, writeTable(target, params, result, replace));
      } else run.counts.rowsOut += result.rows.length;
      if (params.csv !== undefined || params.html !== undefined) {
        await this.writeFiles(await this.reported(result, now), now, run);
      }
      if (params.kind !== 'sql') await run.state.set(STATE, this.newest(now));
      run.log.info('statistics.done', { kind: params.kind, rows: result.rows.length, from: span.from });
    } catch (error) {
      await this.store.failed(error);
      if (this.target !== this.store) await this.target.failed(error);
      throw asStageError(error);
    }
  }

  async preview(limit: number): Promise<RowSet> {
    const { params } = this;
    const span = { from: this.back(this.now(), params.recompute - 1), now: this.now() };
    const context = {
      store: await this.store.get(),
      params,
      signal: this.env.signal,
      progress: () => undefined,
    };
    const { columns, rows } = await compute(context, span).catch((error: unknown) => {
      throw asStageError(error);
    });
    return { columns: columns.map(({ name }) => name), rows: rows.slice(0, limit) };
  }

  async check(): Promise<readonly string[]> {
    const lines: string[] = [];
    const look = async (name: string, url: string): Promise<void> => {
      const store: Store = await openStore(url);
      try {
        lines.push(`${name}: ${await store.version()}`);
        if (name === 'store' && this.params.source_table !== '') {
          const { columns } = await store.columns(this.params.source_table);
          lines.push(`source_table: ${this.params.source_table}, ${columns.length} columns`);
        }
      } finally {
        await store.close();
      }
    };
    await look('store', this.params.store);
    if (this.params.target !== undefined) await look('target', this.params.target);
    return lines;
  }

  async close(): Promise<void> {
    await this.store.close();
    await this.target.close();
  }

  private now(): string {
    return localTime(this.clock()).slice(0, 19).replace('T', ' ');
  }

  /** Beginning of the newest period that can be in the result. */
  private newest(now: string): string {
    const { kind, period, grace } = this.params;
    return periodOf(kind === 'missing' ? earlier(now, grace) : now, period);
  }

  private back(now: string, periods: number): string {
    return movePeriod(this.newest(now), this.params.period, -periods);
  }

  /** From `recompute` periods back, or further, to the last one that was computed: after an outage none is left out. */
  private async span(run: StageRun, now: string): Promise<Span> {
    const { params } = this;
    const recent = this.back(now, params.recompute - 1);
    // Without a table there is nowhere else that older periods of the report could come from.
    const reported = params.table === '' ? this.back(now, params.report_periods - 1) : recent;
    const last = params.table === '' ? undefined : await run.state.get(STATE);
    const begun = localTime(this.clock() - params.history).slice(0, 19);
    const since =
      last === undefined
        ? periodOf(begun, params.period)
        : movePeriod(last, params.period, 1 - params.recompute);
    const from = params.table === '' ? reported : [recent, since].sort()[0];
    return { from: from ?? recent, now };
  }

  private replace(result: Result, span: Span): Replace {
    const { params } = this;
    if (params.kind === 'sql') {
      const keys = result.columns.filter(({ key }) => key).map(({ name }) => name);
      return keys.length === 0 ? { mode: 'all' } : { mode: 'update', keys };
    }
    if (params.kind === 'group') return { mode: 'update', keys: [params.date_column, ...params.group] };
    return { mode: 'periods', column: params.date_column, from: span.from };
  }

  private async reported(result: Result, now: string): Promise<Result> {
    const { params } = this;
    if (params.table === '' || params.kind === 'sql' || result.columns.length === 0) return result;
    const names = result.columns.map(({ name }) => name);
    const from = this.back(now, params.report_periods - 1);
    const { rows } = await readTable(await this.target.get(), params, names, from);
    return { columns: result.columns, rows };
  }

  private async writeFiles(result: Result, now: string, run: StageRun): Promise<void> {
    const { params } = this;
    const input: ReportInput = { ...result, now, title: params.title === '' ? this.env.name : params.title };
    const write = async (path: string | undefined, make: () => Promise<string> | string): Promise<void> => {
      if (path === undefined) return;
      const text = await make();
      const name = path
        .replaceAll('{date}', now.slice(0, 10).replaceAll('-', ''))
        .replaceAll('{hour}', now.slice(11, 13));
      await writeFileAtomic(name, text);
      run.counts.files++;
      run.counts.bytes += Buffer.byteLength(text);
      run.progress();
    };
    await write(params.csv, () => csvText(input));
    await write(params.html, () => htmlText(input, params));
  }
}

function asStageError(error: unknown): unknown {
  if (error instanceof RangeError || error instanceof SqlRewriteError || error instanceof TooManyRowsError) {
    return new StageError(error.message, false, { cause: error });
  }
  return error;
}
