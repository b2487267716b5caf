/**
 * Where two tables of the same kind of database differ, found by checksums that the databases compute: range by range, halving
 * what differs until it is small enough to be read. Worker thread.
 *
 * A range is what lies between two keys in the order of each side. Should collations order text keys in two ways, ranges hold
 * different rows and are read; the sum of all ranges is always the whole table on both sides.
 */
import type { ColumnKind, Dialect, SqlRow } from '../../../store/driver.js';
import { beating } from '../stage/beating.js';
import type { ApplyOptions } from '../sync/apply.js';
import type { Side, SyncPlan } from '../sync/plan.js';
import { all, keyRange, whereText, type Piece } from '../sync/sql.js';
import type { StageRun } from '../stage/run.js';

/** After `from`, up to `to`; undefined: no bound. */
export interface Range {
  readonly from: SqlRow | undefined;
  readonly to: SqlRow | undefined;
}

export interface RangeOptions extends ApplyOptions {
  /** Rows of a range that is looked at first. */
  readonly rangeRows: number;
  /** Rows of a range that is no longer halved. */
  readonly leafRows: number;
}

/**
 * One text for each row, no two rows the same: the values, which of them are NULL, and how long the texts are, as a text may hold
 * the separator. A sum of their hashes; of MD5 first, since sums of CRCs alone miss rows that exchange their values.
 */
const SUMS: Readonly<Record<string, (columns: readonly string[], kinds: readonly ColumnKind[]) => string>> = {
  mysql(columns, kinds) {
    const values = columns.map((column, i) => {
      if (kinds[i] === 'bytes') return `HEX(${column})`;
      return isText(kinds[i]) ? `CONVERT(${column} USING utf8mb4)` : column;
    });
    const nulls = `CONCAT(${columns.map((column) => `ISNULL(${column})`).join(', ')})`;
    const lengths = columns.filter((_, i) => isText(kinds[i])).map((column) => `CHAR_LENGTH(${column})`);
    return `COALESCE(SUM(CRC32(MD5(CONCAT_WS('\t', ${[...values, nulls, ...lengths].join(', ')})))), 0)`;
  },
  postgres(columns, kinds) {
    const values = columns.map((column) => `CAST(${column} AS text)`);
    const nulls = columns.map((column) => `CASE WHEN ${column} IS NULL THEN 1 ELSE 0 END`);
    const lengths = columns
      .filter((_, i) => isText(kinds[i]))
      .map((column) => `length(CAST(${column} AS text))`);
    const text = `concat_ws(chr(9), ${[...values, `concat(${nulls.join(', ')})`, ...lengths].join(', ')})`;
    return `COALESCE(SUM(CAST(CAST('x' || left(md5(${text}), 15) AS bit(60)) AS bigint)), 0)`;
  },
};

function isText(kind: ColumnKind | undefined): boolean {
  return kind === 'text' || kind === 'other';
}

export function canSum(dialect: Dialect): boolean {
  return SUMS[dialect.name] !== undefined;
}

/** Condition of one range. */
export function within(side: Side, { from, to }: Range): Piece {
  return all(side.where, from && keyRange(side.keys, '>', from), to && keyRange(side.keys, '<=', to));
}

/** Ranges of at most `leafRows` rows whose sums differ, in the order of the key. */
export async function* differingRanges(
  plan: SyncPlan,
  run: StageRun,
  options: RangeOptions,
): AsyncGenerator<Range> {
  let from: SqlRow | undefined;
  for (;;) {
    run.progress();
    if (run.signal.aborted) return;
    const to = await keyAt(plan.source, { from, to: undefined }, options.rangeRows, run, options);
    yield* halved(plan, { from, to }, run, options, true);
    if (to === undefined) return;
    from = to;
  }
}

async function* halved(
  plan: SyncPlan,
  range: Range,
  run: StageRun,
  options: RangeOptions,
  first: boolean,
): AsyncGenerator<Range> {
  const [source, target] = await beating(
    run,
    Promise.all([summed(plan.source, plan, range, options), summed(plan.target, plan, range, options)]),
  );
  if (first) run.counts.rowsIn += source.rows;
  if (source.rows === target.rows && source.sum === target.sum) return;
  const rows = Math.max(source.rows, target.rows);
  if (rows <= options.leafRows || run.signal.aborted) {
    yield range;
    return;
  }
  const larger = source.rows >= target.rows ? plan.source : plan.target;
  const middle = await keyAt(larger, range, Math.floor(rows / 2), run, options);
  if (middle === undefined || (range.to !== undefined && plan.compare(middle, range.to) === 0)) {
    yield range;
    return;
  }
  yield* halved(plan, { from: range.from, to: middle }, run, options, false);
  yield* halved(plan, { from: middle, to: range.to }, run, options, false);
}

async function summed(
  side: Side,
  plan: SyncPlan,
  range: Range,
  options: ApplyOptions,
): Promise<{ rows: number; sum: string }> {
  const kinds = plan.comparisons.map(({ kind }) => kind);
  const sum = SUMS[side.store.dialect.name]?.(side.columns, kinds) ?? '0';
  const where = within(side, range);
  const found = await side.store.query(
    `SELECT COUNT(*), ${sum} FROM ${side.table}${whereText(where)}`,
    where.binds,
    options,
  );
  const [rows = null, text = null] = found.rows[0] ?? [];
  return { rows: Number(rows), sum: String(text) };
}

/** The key of the row at this place of the range, counted from 1; undefined when there are fewer. */
async function keyAt(
  side: Side,
  range: Range,
  place: number,
  run: StageRun,
  options: ApplyOptions,
): Promise<SqlRow | undefined> {
  const where = within(side, range);
  const select = `SELECT ${side.keys.join(', ')} FROM ${side.table}${whereText(where)} ORDER BY ${side.keys.join(', ')}`;
  const found = side.store.query(`${select} LIMIT 1 OFFSET ${Math.max(0, place - 1)}`, where.binds, options);
  return (await beating(run, found)).rows[0];
}
