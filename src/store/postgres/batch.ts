/**
 * A batch: rows are sent in runs of some hundred, each run behind a savepoint, all in one round trip. When a row is refused the run is
 * undone, the rows before it (which were good) are sent again and the next run is shorter; so a few bad rows cost little, and many
 * cost two round trips each. Thread of the caller.
 */
import type { BatchOptions, BatchResult, RowError, SqlRow, StoreErrorCode } from '../driver.js';
import type { Deadline } from '../give-up.js';
import { LinkError, type PostgresLink } from './link.js';
import { isPlainInsert, wireSql } from './sql.js';
import { wireRow, type WireValue } from './values.js';

const LONGEST_RUN = 512;
/** A run ends early at about this many characters. */
const RUN_CHARS = 4 << 20;
/** What is wrong with one row; anything else is the whole batch's. */
const OF_ROW: ReadonlySet<StoreErrorCode> = new Set(['DUPLICATE', 'CONSTRAINT', 'BIND']);

/** A row to be sent, and where it stood. */
interface Row {
  readonly index: number;
  readonly values: readonly WireValue[];
}

/**
 * Inside a transaction that is open already.
 * @throws StoreError for what concerns the whole; the caller has to undo all of it
 */
export async function runBatch(
  link: PostgresLink,
  sql: string,
  given: readonly SqlRow[],
  options: BatchOptions,
  deadline: Deadline,
): Promise<BatchResult> {
  const { text, count } = wireSql(sql);
  const errors = new Map<number, RowError>();
  const duplicates: number[] = [];
  const skip = options.onDuplicate === 'skip';
  // Asked to leave duplicates out, the server can do it by itself for plain inserts: a row it left out changed nothing. So does a
  // row that a trigger swallows; it counts as a duplicate.
  const leaveOut = skip && isPlainInsert(sql);
  const statement = leaveOut ? `${text} ON CONFLICT DO NOTHING` : text;
  let longest = LONGEST_RUN;
  let savepoint: 'none' | 'held' | 'spoilt' = 'none';

  /** @returns the number of rows that went well: all, or those before the one that was refused */
  const send = async (rows: readonly Row[]): Promise<number> => {
    const before = savepoint === 'held' ? 2 : 1;
    try {
      const { counts } = await link.run((script) => {
        if (savepoint === 'spoilt') script.say('ROLLBACK TO SAVEPOINT sy_run');
        if (savepoint === 'held') script.say('RELEASE SAVEPOINT sy_run');
        if (savepoint !== 'spoilt') script.say('SAVEPOINT sy_run');
        script.prepare(statement);
        for (const { values } of rows) script.run(values);
      }, deadline);
      savepoint = 'held';
      if (leaveOut) rows.forEach(({ index }, i) => counts[before + i] === 0 && duplicates.push(index));
      return rows.length;
    } catch (error) {
      // The statement itself, in front of the first row, fails with codes that are not a row's.
      if (!(error instanceof LinkError) || !OF_ROW.has(error.code)) throw error;
      const good = error.done - before;
      const bad = rows[good];
      if (bad === undefined) throw error;
      savepoint = 'spoilt';
      if (error.code === 'DUPLICATE' && skip) duplicates.push(bad.index);
      else errors.set(bad.index, { row: bad.index, code: error.code, message: error.message });
      return good;
    }
  };

  let next = 0;
  while (next < given.length) {
    const rows: Row[] = [];
    for (let chars = 0; next < given.length && rows.length < longest && chars < RUN_CHARS; next++) {
      const values = wireRow(given[next] ?? [], count);
      if (typeof values === 'string') {
        errors.set(next, { row: next, code: 'BIND', message: values });
        continue;
      }
      for (const value of values) chars += value?.length ?? 0;
      rows.push({ index: next, values });
    }
    if (rows.length === 0) continue;
    const good = await send(rows);
    if (good === rows.length) {
      longest = Math.min(LONGEST_RUN, longest * 2);
      continue;
    }
    next = (rows[good]?.index ?? next) + 1;
    // They went well a moment ago; should one not do so now, its fate is told like any other's.
    for (let again = rows.slice(0, good); again.length > 0;) {
      const well = await send(again);
      again = well === again.length ? [] : again.toSpliced(well, 1);
    }
    longest = Math.max(1, longest >> 1);
  }
  // `as`: TypeScript does not see that `send` changes it.
  if ((savepoint as string) === 'spoilt')
    await link.run((script) => script.say('ROLLBACK TO SAVEPOINT sy_run'), deadline);
  const byRow = (a: number, b: number): number => a - b;
  return {
    done: given.length - duplicates.length - errors.size,
    duplicates: duplicates.sort(byRow),
    errors: [...errors.values()].sort((a, b) => a.row - b.row),
  };
}
