/**
 * One statement for many rows. Inserts go many rows to a statement; when one fails it is cut in two until the bad rows stand
 * alone, so one bad row among a thousand costs twenty small statements. That needs an engine where a failed statement leaves nothing
 * behind; on others every row has its own.
 */
import { StoreError } from '../driver.js';
import type { BatchOptions, BatchResult, RowError, SqlRow, SqlValue, StoreErrorCode } from '../driver.js';
import type { Call } from './call.js';
import { withBinds } from './call.js';
import { isTransactional } from './engine.js';
import { rowOf } from './errors.js';
import { asRowInsert, literal, type RowInsert } from './text.js';

/** Characters of one statement; well below the smallest usual max_allowed_packet, and more gains nothing. */
const STATEMENT_CHARS = 512 * 1024;
const STATEMENT_ROWS = 2_000;

/** Errors that are the row's own. Everything else ends the batch. */
const OF_A_ROW: ReadonlySet<StoreErrorCode> = new Set(['DUPLICATE', 'CONSTRAINT', 'BIND']);

const ownFault = (error: unknown): error is StoreError =>
  error instanceof StoreError && OF_A_ROW.has(error.code);

class Batch {
  readonly duplicates: number[] = [];
  readonly errors: RowError[] = [];

  constructor(
    private readonly call: Call,
    private readonly rows: readonly SqlRow[],
    private readonly skip: boolean,
  ) {}

  async inserts({ head, tuple, tail }: RowInsert): Promise<void> {
    let texts: string[] = [];
    let places: number[] = [];
    let chars = 0;
    const flush = async (): Promise<void> => {
      await this.insert(head, tail, texts, places);
      texts = [];
      places = [];
      chars = 0;
    };
    for (let i = 0; i < this.rows.length; i++) {
      const text = this.attempt(i, () => tupleText(tuple, this.rows[i] as SqlRow));
      if (text === undefined) continue;
      if (texts.length >= STATEMENT_ROWS || (chars + text.length > STATEMENT_CHARS && texts.length > 0))
        await flush();
      texts.push(text);
      places.push(i);
      chars += text.length;
    }
    if (texts.length > 0) await flush();
  }

  async oneByOne(sql: string): Promise<void> {
    for (let i = 0; i < this.rows.length; i++) {
      const text = this.attempt(i, () => withBinds(sql, this.rows[i] as SqlRow));
      if (text === undefined) continue;
      try {
        await this.call.run(text);
      } catch (error) {
        this.bad(i, error);
      }
    }
  }

  private async insert(
    head: string,
    tail: string,
    texts: readonly string[],
    places: readonly number[],
  ): Promise<void> {
    try {
      await this.call.run(`${head}${texts.join(',')} ${tail}`);
    } catch (error) {
      if (!ownFault(error)) throw error;
      const [place] = places;
      if (places.length === 1 && place !== undefined) return this.bad(place, error);
      const cuts = cutAt(error, places.length);
      let from = 0;
      for (const to of [...cuts, places.length]) {
        if (to > from) await this.insert(head, tail, texts.slice(from, to), places.slice(from, to));
        from = to;
      }
    }
  }

  private attempt(row: number, make: () => string): string | undefined {
    try {
      return make();
    } catch (error) {
      this.bad(row, error);
      return undefined;
    }
  }

  private bad(row: number, error: unknown): void {
    if (!ownFault(error)) throw error;
    const { code, message } = error;
    if (code === 'DUPLICATE' && this.skip) this.duplicates.push(row);
    else this.errors.push({ row, code, message });
  }
}

/** Where to cut a failed statement: around the row the server names, else in the middle. */
function cutAt(error: StoreError, rows: number): number[] {
  const named = rowOf(error.message);
  if (named === undefined || named < 0 || named >= rows) return [rows >> 1];
  return [named, named + 1];
}

function tupleText(tuple: readonly string[], row: SqlRow): string {
  if (row.length !== tuple.length - 1)
    throw new StoreError(
      'BIND',
      `the statement has ${tuple.length - 1} question marks, the row ${row.length} values`,
    );
  let text = tuple[0] ?? '';
  for (let i = 0; i < row.length; i++) text += literal(row[i] as SqlValue) + (tuple[i + 1] ?? '');
  return text;
}

async function undoable(call: Call, table: string | undefined): Promise<boolean> {
  return table !== undefined && (await isTransactional(call, table)) === true;
}

/**
 * @param options `engineKnown`: a failed statement leaves nothing behind that matters
 * @throws StoreError when the batch failed as a whole; nothing is applied then
 */
export async function runBatch(
  call: Call,
  sql: string,
  rows: readonly SqlRow[],
  options: BatchOptions & { readonly engineKnown?: boolean },
): Promise<BatchResult> {
  if (rows.length === 0) return { done: 0, duplicates: [], errors: [] };
  const batch = new Batch(call, rows, options.onDuplicate === 'skip');
  const insert = asRowInsert(sql);
  const whole =
    insert !== undefined && (options.engineKnown === true || (await undoable(call, insert.table)));
  await atomically(call, () => (whole ? batch.inserts(insert) : batch.oneByOne(sql)));
  const { duplicates, errors } = batch;
  duplicates.sort((a, b) => a - b);
  errors.sort((a, b) => a.row - b.row);
  return { done: rows.length - duplicates.length - errors.length, duplicates, errors };
}

/** All of `work` or nothing: a transaction of its own, or a savepoint within the caller's. */
export async function atomically<T>(call: Call, work: () => Promise<T>): Promise<T> {
  const { inTransaction, link } = call;
  await call.run(inTransaction ? 'SAVEPOINT switchyard' : 'START TRANSACTION');
  try {
    const result = await work();
    await call.run(inTransaction ? 'RELEASE SAVEPOINT switchyard' : 'COMMIT');
    return result;
  } catch (error) {
    // Past the deadline too: that is why it does not go through the call. It is bounded by the call's grace.
    if (link.lost === undefined)
      await link.run(inTransaction ? 'ROLLBACK TO SAVEPOINT switchyard' : 'ROLLBACK').catch(() => undefined);
    throw error;
  }
}
