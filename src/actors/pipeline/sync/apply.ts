/** Bringing rows into the target, and looking single keys up on either side. Worker thread. */
import type { SqlRow, SqlRunner } from '../../../store/driver.js';
import { StoreError } from '../../../store/driver.js';
import { tabLine } from '../../../protocol/tab-text.js';
import type { SyncPlan, Side } from './plan.js';
import { all, chunksOf, keyList, maxKeys } from './sql.js';
import { pastConflicts } from '../stage/conflicts.js';
import { StageError, type StageRun } from '../stage/run.js';
import { keyText } from './values.js';

export interface ApplyOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** What one transaction brings. */
export interface Change {
  /** Rows of the source that the target lacks, as far as is known. */
  readonly insert: readonly SqlRow[];
  /** Rows of the source that the target has, but different. */
  readonly update: readonly SqlRow[];
  /** Rows of the target, of which only the key is looked at. */
  readonly remove: readonly SqlRow[];
}

/** Fewer rows than this are not worth a bulk load. */
const FEW_ROWS = 50;
const TEXT_CHARACTERS = 256 << 10;

/**
 * One transaction of the target, done again when it met a lock. @returns rows written and removed
 * @throws StoreError, StageError: then nothing of it is applied
 */
export async function apply(
  plan: SyncPlan,
  change: Change,
  run: StageRun,
  options: ApplyOptions,
): Promise<number> {
  const { insert, update, remove } = change;
  if (insert.length + update.length + remove.length === 0) return 0;
  const { store } = plan.target;
  return pastConflicts(run, () => store.transaction((tx) => applyIn(plan, tx, change, options), options));
}

/** The same inside a transaction of the target that is open already. */
export async function applyIn(
  plan: SyncPlan,
  tx: SqlRunner,
  { insert, update, remove }: Change,
  options: ApplyOptions,
): Promise<number> {
  // First, because a key may come back in another form: `a` as `A` where both are the same to the target.
  const removed = await removeKeys(plan, tx, remove, options);
  await write(plan, tx, insert, update, options);
  return insert.length + update.length + removed;
}

async function write(
  plan: SyncPlan,
  tx: SqlRunner,
  insert: readonly SqlRow[],
  update: readonly SqlRow[],
  options: ApplyOptions,
): Promise<void> {
  if (plan.upsertKey === undefined) {
    await removeKeys(plan, tx, update, options);
    await bulk(plan, tx, [...insert, ...update], 'error', options);
    return;
  }
  if (insert.length + update.length <= FEW_ROWS) {
    const rows = [...insert, ...update].map((row) => plan.convert(row));
    if (rows.length === 0) return;
    const { dialect } = plan.target.store;
    const sql = dialect.upsert(plan.targetTable, plan.columns, plan.upsertKey);
    const { errors } = await tx.batch(sql, rows, options);
    const [first] = errors;
    if (first === undefined) return;
    const key = (rows[first.row] ?? []).slice(0, plan.key.length).map(String).join(', ');
    throw new StageError(
      `${plan.targetTable} refused the row with the key (${key}): ${first.message}`,
      false,
    );
  }
  let known = update;
  if (insert.length > 0) {
    try {
      await bulk(plan, tx, insert, 'error', options);
    } catch (error) {
      // Somebody else brought some of them in the meantime, or a target_where hides them.
      if (!(error instanceof StoreError && error.code === 'DUPLICATE')) throw error;
      known = [...update, ...insert];
    }
  }
  if (known.length > 0) await bulk(plan, tx, known, 'update', options);
}

async function bulk(
  plan: SyncPlan,
  tx: SqlRunner,
  rows: readonly SqlRow[],
  onDuplicate: 'error' | 'update',
  options: ApplyOptions,
): Promise<void> {
  if (rows.length === 0) return;
  await tx.bulk(plan.targetTable, plan.columns, tabText(plan, rows), {
    ...options,
    onDuplicate,
    hex: plan.hex,
    ...(onDuplicate === 'update' && { keys: plan.upsertKey ?? plan.key }),
  });
}

/** Tab text of rows of the source, in pieces. */
export function* tabText(plan: SyncPlan, rows: Iterable<SqlRow>): Generator<Uint8Array> {
  let text = '';
  for (const row of rows) {
    text += tabLine(plan.convert(row));
    if (text.length < TEXT_CHARACTERS) continue;
    yield Buffer.from(text);
    text = '';
  }
  if (text !== '') yield Buffer.from(text);
}

/** @returns how many there were */
export async function removeKeys(
  plan: SyncPlan,
  tx: SqlRunner,
  rows: readonly SqlRow[],
  options: ApplyOptions,
): Promise<number> {
  const { target } = plan;
  let removed = 0;
  for (const chunk of chunksOf(rows, maxKeys(target.store.dialect, target.keys.length))) {
    const where = all(target.where, keyList(target.store.dialect, target.keys, chunk));
    removed += await tx.execute(`DELETE FROM ${target.table} WHERE ${where.sql}`, where.binds, options);
  }
  return removed;
}

/** The rows of one side with these keys, by no order. @param keys each with the key's values in front */
export async function lookUp(
  side: Side,
  keys: readonly SqlRow[],
  options: ApplyOptions & { readonly keysOnly?: boolean },
  runner: SqlRunner = side.store,
): Promise<SqlRow[]> {
  const found: SqlRow[] = [];
  const columns = (options.keysOnly === true ? side.columns.slice(0, side.keys.length) : side.columns).join(
    ', ',
  );
  for (const chunk of chunksOf(keys, maxKeys(side.store.dialect, side.keys.length))) {
    const where = all(side.where, keyList(side.store.dialect, side.keys, chunk));
    const { rows } = await runner.query(
      `SELECT ${columns} FROM ${side.table} WHERE ${where.sql}`,
      where.binds,
      options,
    );
    for (const row of rows) found.push(row);
  }
  return found;
}

/** Of these rows of the target those whose key the source does not have now, either. */
export async function stillGone(
  plan: SyncPlan,
  extra: readonly SqlRow[],
  options: ApplyOptions,
): Promise<readonly SqlRow[]> {
  if (extra.length === 0) return extra;
  const present = await lookUp(plan.source, extra, { ...options, keysOnly: true });
  if (present.length === 0) return extra;
  const there = new KeySet(plan);
  for (const row of present) there.add(row);
  return extra.filter((row) => !there.has(row));
}

/** Keys, found again in whatever form the other database prints them. */
export class KeySet {
  private readonly texts = new Set<string>();
  constructor(private readonly plan: SyncPlan) {}
  add(row: SqlRow): void {
    this.texts.add(keyText(row, this.plan.comparisons, this.plan.key.length));
  }
  has(row: SqlRow): boolean {
    return this.texts.has(keyText(row, this.plan.comparisons, this.plan.key.length));
  }
}
