/** Reading both tables in the order of their key, and walking along them together in bounded memory. Worker thread. */
import type { RowSet, SqlRow } from '../../../store/driver.js';
import type { SyncPlan, Side } from './plan.js';
import { all, byteOrder, keyRange, whereText, type Piece } from './sql.js';
import { StageError } from '../stage/run.js';

/** Rows fetched from a database at once. */
export const FETCH_ROWS = 2_000;

/** The database's order of the keys is not ours: its collation sorts text in another way than by code points. */
export class UnsortedError extends Error {
  constructor(readonly side: Side) {
    super(`the keys of the ${side.label} do not come in the order of their characters`);
    this.name = 'UnsortedError';
  }
}

export interface ReadOptions {
  /** Rows after this key. */
  readonly after?: SqlRow | undefined;
  /** Rows up to this key. */
  readonly upTo?: SqlRow | undefined;
  /** Further condition. */
  readonly and?: Piece | undefined;
  /** The key's columns alone. */
  readonly keysOnly?: boolean;
  /** Text keys are sorted by their bytes, which few indexes are. */
  readonly byBytes?: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** A select of one side in the order of its key. */
export function orderedSelect(side: Side, plan: SyncPlan, options: ReadOptions): Piece {
  const keys =
    options.byBytes === true
      ? side.keys.map((key, i) => byteOrder(side.store.dialect, key, plan.comparisons[i]?.kind ?? 'other'))
      : side.keys;
  const after = options.after === undefined ? undefined : keyRange(keys, '>', options.after);
  const upTo = options.upTo === undefined ? undefined : keyRange(keys, '<=', options.upTo);
  const where = all(side.where, options.and, after, upTo);
  const columns = options.keysOnly === true ? side.columns.slice(0, side.keys.length) : side.columns;
  return {
    sql: `SELECT ${columns.join(', ')} FROM ${side.table}${whereText(where)} ORDER BY ${keys.join(', ')}`,
    binds: where.binds,
  };
}

/** Batches of rows, the next one on its way while this one is worked on. */
export async function* ahead(batches: AsyncIterable<RowSet>): AsyncGenerator<RowSet> {
  const iterator = batches[Symbol.asyncIterator]();
  let next = iterator.next();
  try {
    for (;;) {
      const result = await next;
      if (result.done === true) return;
      next = iterator.next();
      // Its failure is met at the next turn; until then it must not count as unhandled.
      next.catch(() => undefined);
      yield result.value;
    }
  } finally {
    await next.catch(() => undefined);
    await iterator.return?.();
  }
}

/** One side, row by row, with a look at the order. */
class RowReader {
  row: SqlRow | undefined;
  private rows: readonly SqlRow[] = [];
  private at = 0;
  private readonly batches: AsyncGenerator<RowSet>;

  constructor(
    private readonly side: Side,
    private readonly plan: SyncPlan,
    options: ReadOptions,
  ) {
    const { sql, binds } = orderedSelect(side, plan, options);
    const { timeoutMs, signal } = options;
    this.batches = ahead(side.store.stream(sql, binds, { batchRows: FETCH_ROWS, timeoutMs, signal }));
  }

  /** @returns false when the batch at hand is used up: then `refill` */
  next(): boolean {
    const row = this.rows[this.at];
    if (row === undefined) return false;
    this.at++;
    if (this.row !== undefined) {
      const order = this.plan.compare(this.row, row);
      if (order > 0) throw new UnsortedError(this.side);
      if (order === 0) {
        const key = row.slice(0, this.plan.key.length).map(String).join(', ');
        throw new StageError(
          `the ${this.side.label} has the key (${key}) twice: choose a key that is unique`,
          false,
        );
      }
    }
    this.row = row;
    return true;
  }

  /** Gets the next batch and its first row; at the end `row` is undefined. */
  async refill(): Promise<void> {
    for (;;) {
      const result = await this.batches.next();
      if (result.done === true) {
        this.row = undefined;
        return;
      }
      this.rows = result.value.rows;
      this.at = 0;
      if (this.next()) return;
    }
  }

  async close(): Promise<void> {
    await this.batches.return(undefined);
  }
}

/** What has to be done that the target equals the source, up to `position`. */
export interface Step {
  /** Rows of the source that the target lacks. */
  readonly missing: SqlRow[];
  /** Rows of the source that look different in the target, and those rows of the target. */
  readonly changed: SqlRow[];
  readonly changedFrom: SqlRow[];
  /** Rows of the target that the source lacks. */
  readonly extra: SqlRow[];
  /** Rows seen in the source and in the target. */
  sourceRows: number;
  targetRows: number;
  /** The last key that was looked at. */
  position: SqlRow | undefined;
}

export interface WalkOptions extends ReadOptions {
  /** Differences in one step at most. */
  readonly stepRows: number;
  /** Whose condition `and` is, when it differs between the sides. */
  readonly andTarget?: Piece | undefined;
}

/** Rows looked at in one step at most, so that positions move even where nothing differs. */
const STEP_LOOKS = 100_000;

/**
 * Both sides in the order of the key. With `keysOnly` rows of the same key count as the same.
 * @throws UnsortedError what was found before may then be wrong, but for missing rows
 */
export async function* walk(plan: SyncPlan, options: WalkOptions): AsyncGenerator<Step> {
  const source = new RowReader(plan.source, plan, options);
  const target = new RowReader(plan.target, plan, { ...options, and: options.andTarget ?? options.and });
  try {
    await Promise.all([source.refill(), target.refill()]);
    let step = newStep();
    while (source.row !== undefined || target.row !== undefined) {
      const order =
        source.row === undefined ? 1 : target.row === undefined ? -1 : plan.compare(source.row, target.row);
      step.position = order <= 0 ? source.row : target.row;
      if (order <= 0) {
        const row = source.row as SqlRow;
        step.sourceRows++;
        if (order < 0) step.missing.push(row);
        else if (options.keysOnly !== true && !plan.same(row, target.row as SqlRow)) {
          step.changed.push(row);
          step.changedFrom.push(target.row as SqlRow);
        }
      }
      if (order >= 0) {
        step.targetRows++;
        if (order > 0) step.extra.push(target.row as SqlRow);
      }
      if (order <= 0 && !source.next()) await source.refill();
      if (order >= 0 && !target.next()) await target.refill();
      if (
        step.missing.length + step.changed.length + step.extra.length >= options.stepRows ||
        step.sourceRows + step.targetRows >= STEP_LOOKS
      ) {
        yield step;
        step = newStep();
      }
    }
    if (step.position !== undefined) yield step;
  } finally {
    await Promise.all([source.close(), target.close()]);
  }
}

function newStep(): Step {
  return {
    missing: [],
    changed: [],
    changedFrom: [],
    extra: [],
    sourceRows: 0,
    targetRows: 0,
    position: undefined,
  };
}
