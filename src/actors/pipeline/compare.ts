/**
 * Stage `compare`: whether two tables hold the same rows, and which differ: counts, then checksums by key range where both
 * databases can compute the same ones, else both tables read along their keys; then the keys, after a second look at each, so
 * that a sync under way is no difference. Repairs the target if asked to. Worker thread.
 */
import type { SqlRow } from '../../store/driver.js';
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';
import { canSum, differingRanges, within } from './compare/ranges.js';
import { CompareReport, type Difference } from './compare/report.js';
import { beating, beatingEach } from './stage/beating.js';
import { apply, lookUp, type ApplyOptions } from './sync/apply.js';
import { batchKeys, pairKeys } from './sync/keys.js';
import { fingerprint, inOrder, StorePair } from './sync/pair.js';
import type { Side, SyncPlan } from './sync/plan.js';
import { walk } from './sync/read.js';
import { whereText } from './sync/sql.js';
import { keyText } from './sync/values.js';
import { stageActor } from './stage.js';
import { stageKeys } from './stage/keys.js';
import { StageError, type Stage, type StageEnv, type StageRun } from './stage/run.js';

export const keys = defineKeys({
  ...pairKeys,
  ...batchKeys,
  every: { ...stageKeys.every, default: '1h' },
  method: {
    type: 'enum',
    values: ['auto', 'rows'],
    default: 'auto',
    help: 'auto: checksums where both sides are the same kind of database with the same types; rows: always read both tables',
    reload: 'child',
  },
  range_rows: {
    type: 'int',
    default: '50000',
    min: 2,
    max: 10_000_000,
    help: 'Rows of one checksum',
    reload: 'child',
  },
  leaf_rows: {
    type: 'int',
    default: '1000',
    min: 1,
    max: 50_000,
    help: 'A range that differs is halved until it has no more rows than this, and is then read',
    reload: 'child',
  },
  out: {
    type: 'path',
    help: 'Folder for a CSV file of the differing keys; none: they are only counted',
    reload: 'child',
  },
  max_listed: {
    type: 'int',
    default: '10000',
    min: 0,
    max: 10_000_000,
    help: 'Differing keys listed at most; the others are counted',
    reload: 'child',
  },
  fail_on_difference: {
    type: 'bool',
    default: 'yes',
    help: 'A run that leaves differences counts as failed',
    reload: 'child',
  },
  repair: {
    type: 'enum',
    values: ['none', 'target'],
    default: 'none',
    help: 'target: bring what is missing or different there',
    reload: 'child',
  },
  repair_delete: {
    type: 'bool',
    default: 'no',
    help: 'The repair also removes rows that the source does not have',
    reload: 'child',
  },
});

/** Keys written to the log. */
const LOGGED = 20;

interface Counted {
  missing: number;
  extra: number;
  different: number;
  repaired: number;
}

export function createStage(env: StageEnv): Stage {
  return new Compare(env);
}

export const factory = stageActor(createStage);

class Compare implements Stage {
  private readonly params: ValuesOf<typeof keys>;
  private readonly pair: StorePair;

  constructor(private readonly env: StageEnv) {
    this.params = env.params as ValuesOf<typeof keys>;
    this.pair = new StorePair(this.params);
  }

  async run(run: StageRun): Promise<void> {
    await this.pair.use(async () => {
      const options = { timeoutMs: this.params.statement_timeout, signal: run.signal };
      await this.compare(run, options);
    });
  }

  preview(limit: number): ReturnType<NonNullable<Stage['preview']>> {
    return this.pair.preview(limit, { needKey: true });
  }

  check(): Promise<readonly string[]> {
    return this.pair.check({ needKey: true });
  }

  close(): Promise<void> {
    return this.pair.close();
  }

  private async compare(run: StageRun, options: ApplyOptions): Promise<void> {
    const plan = await this.pair.plan({ needKey: true });
    const [source, target] = await beating(
      run,
      Promise.all([countRows(plan.source, options), countRows(plan.target, options)]),
    );
    run.expect({ rows: source });
    run.log.info('compare.counts', { table: plan.targetTable, source, target });
    const found: Counted = { missing: 0, extra: 0, different: 0, repaired: 0 };
    const report = new CompareReport(this.params.out, this.env.name, plan, this.params.max_listed);
    try {
      if (this.params.method === 'auto' && plan.alike && canSum(plan.source.store.dialect)) {
        await this.byRanges(plan, run, options, found, report);
      } else {
        await this.byRows(plan, run, options, found, report);
      }
      const path = await report.publish();
      if (run.signal.aborted) return;
      this.conclude(plan, run, found, path);
    } finally {
      await report.discard();
    }
  }

  private async byRanges(
    plan: SyncPlan,
    run: StageRun,
    options: ApplyOptions,
    found: Counted,
    report: CompareReport,
  ): Promise<void> {
    const { range_rows: rangeRows, leaf_rows: leafRows, batch_rows: batchRows } = this.params;
    let suspects: SqlRow[] = [];
    for await (const range of differingRanges(plan, run, { ...options, rangeRows, leafRows })) {
      const read = async (side: Side): Promise<readonly SqlRow[]> => {
        const where = within(side, range);
        const text = `SELECT ${side.columns.join(', ')} FROM ${side.table}${whereText(where)}`;
        return (await side.store.query(text, where.binds, options)).rows;
      };
      const [source, target] = await beating(run, Promise.all([read(plan.source), read(plan.target)]));
      for (const { row } of differences(plan, source, target)) suspects.push(row);
      if (suspects.length < batchRows) continue;
      await this.settle(plan, suspects, run, options, found, report);
      suspects = [];
    }
    await this.settle(plan, suspects, run, options, found, report);
  }

  private async byRows(
    plan: SyncPlan,
    run: StageRun,
    options: ApplyOptions,
    found: Counted,
    report: CompareReport,
  ): Promise<void> {
    await inOrder(run, fingerprint(this.params), async (byBytes) => {
      const steps = walk(plan, { ...options, byBytes, stepRows: this.params.batch_rows });
      for await (const step of beatingEach(run, steps)) {
        run.counts.rowsIn += step.sourceRows;
        run.progress();
        await this.settle(
          plan,
          [...step.missing, ...step.changed, ...step.extra],
          run,
          options,
          found,
          report,
        );
      }
    });
  }

  /** A second look at rows that seemed to differ, then list and repair. @param suspects the key's values in front */
  private async settle(
    plan: SyncPlan,
    suspects: readonly SqlRow[],
    run: StageRun,
    options: ApplyOptions,
    found: Counted,
    report: CompareReport,
  ): Promise<void> {
    if (suspects.length === 0) return;
    const [source, target] = await beating(
      run,
      Promise.all([
        lookUp(plan.source, suspects, options),
        lookUp(
          plan.target,
          suspects.map((row) => plan.convert(row)),
          options,
        ),
      ]),
    );
    const real = [...differences(plan, source, target)];
    for (const { kind, row, columns } of real.slice(0, Math.max(0, LOGGED - report.listed))) {
      const key = row.slice(0, plan.key.length).map(String).join(', ');
      run.log.warn('compare.difference', { table: plan.targetTable, kind, key, columns: columns.join(', ') });
    }
    await report.add(real);
    for (const { kind } of real) found[kind]++;
    run.counts.rowsRejected += real.length;
    if (this.params.repair === 'none' || run.dryRun) return;
    const rows = (kind: Difference['kind']): SqlRow[] =>
      real.filter((difference) => difference.kind === kind).map(({ row }) => row);
    const remove = this.params.repair_delete ? rows('extra') : [];
    const change = { insert: rows('missing'), update: rows('different'), remove };
    const repaired = await apply(plan, change, run, options);
    found.repaired += change.insert.length + change.update.length + remove.length;
    run.counts.rowsOut += repaired;
  }

  /** @throws StageError when differences are left and that is a failure */
  private conclude(plan: SyncPlan, run: StageRun, found: Counted, report: string | undefined): void {
    const { missing, extra, different, repaired } = found;
    const left = missing + extra + different - repaired;
    const fields = {
      table: plan.targetTable,
      rows: run.counts.rowsIn,
      missing,
      extra,
      different,
      repaired,
      report,
    };
    if (missing + extra + different === 0) run.log.info('compare.equal', fields);
    else run.log.warn('compare.different', fields);
    if (left === 0 || !this.params.fail_on_difference) return;
    const where = report === undefined ? '' : `, listed in ${report}`;
    throw new StageError(
      `${plan.targetTable} differs from its source: ${missing} missing, ${extra} too many, ${different} different, ${repaired} repaired${where}`,
      false,
    );
  }
}

async function countRows(side: Side, options: ApplyOptions): Promise<number> {
  const where = whereText({ sql: side.where, binds: [] });
  const { rows } = await side.store.query(`SELECT COUNT(*) FROM ${side.table}${where}`, [], options);
  return Number(rows[0]?.[0]);
}

/** Rows of either side that have no equal on the other, by key and without any order. */
function* differences(
  plan: SyncPlan,
  source: readonly SqlRow[],
  target: readonly SqlRow[],
): Generator<Difference> {
  const text = (row: SqlRow): string => keyText(row, plan.comparisons, plan.key.length);
  const others = new Map(target.map((row) => [text(row), row]));
  for (const row of source) {
    const key = text(row);
    const other = others.get(key);
    others.delete(key);
    if (other === undefined) yield { kind: 'missing', row, columns: [] };
    else if (!plan.same(row, other)) yield { kind: 'different', row, columns: plan.differing(row, other) };
  }
  for (const row of others.values()) yield { kind: 'extra', row, columns: [] };
}
