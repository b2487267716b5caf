/**
 * One SQLite handle with its prepared statements: the calls of the store contract, blocking. Thread of the database.
 */
import type Database from 'better-sqlite3';
import type { BatchResult, BulkResult, RowError, RowSet, SqlRow, SqlValue } from '../driver.js';
import { FOUND, SqliteBulk, type BulkHost } from './bulk.js';
import type { BulkPlan, CursorRows } from './messages.js';
import { describe, failure } from './errors.js';

type Statement = Database.Statement<SqlValue[], unknown>;

/** Statements kept prepared; the one unused longest goes first. */
const CACHED_STATEMENTS = 128;
/** Rows between two looks at whether the caller has given up. */
const ROWS_PER_LOOK = 256;
/** A batch of a cursor ends early at about this size, so that wide rows do not fill the reader's memory. */
const BATCH_BYTES = 1 << 20;
/** One row that a worker cannot be given without harm: a huge string ends the process, not only the worker. */
const MAX_ROW_BYTES = 32 << 20;
/** Name of the savepoint of a bulk load inside a transaction. */
const BULK = 'switchyard_bulk';
/** These refuse to run inside a transaction. */
const BARE = /^\s*(vacuum|pragma|attach|detach)\b/i;

/** SQLite hands out every integer as a bigint here, so that none loses digits; small ones become numbers again. */
function narrow(row: SqlValue[]): SqlRow {
  for (let i = 0; i < row.length; i += 1) {
    const value = row[i];
    if (typeof value !== 'bigint') continue;
    const small = Number(value);
    if (Number.isSafeInteger(small)) row[i] = small;
  }
  return row;
}

/** Text and blobs of a row, roughly. */
function sizeOf(row: SqlRow): number {
  let bytes = 0;
  for (const value of row) {
    if (typeof value === 'string') bytes += value.length;
    else if (value instanceof Uint8Array) bytes += value.byteLength;
  }
  return bytes;
}

/** The driver binds every number as a float: 5 would be stored as '5.0' in a text column. */
function widen(row: SqlRow): SqlValue[] {
  return row.map((value) =>
    typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value,
  );
}

export class SqliteConnection implements BulkHost {
  readonly found = { rows: 0 };
  private readonly statements = new Map<string, Statement>();
  private cursor: { rows: IterableIterator<SqlValue[]>; columns: string[]; batchRows: number } | undefined;

  private bulk: { readonly load: SqliteBulk; readonly nested: boolean } | undefined;

  constructor(readonly db: Database.Database) {
    db.defaultSafeIntegers(true);
  }

  configure(sync: 'full' | 'normal'): void {
    this.db.pragma('journal_mode = WAL');
    this.db.pragma(`synchronous = ${sync === 'full' ? 'FULL' : 'NORMAL'}`);
    this.db.pragma('foreign_keys = ON');
    // 32 MB, used as the file grows: what does not fit is written several times when rows come in another order than an index has.
    this.db.pragma('cache_size = -32000');
    // 32 MB: pages changed by many transactions are folded back once.
    this.db.pragma('wal_autocheckpoint = 8000');
    this.db.function(FOUND, () => {
      this.found.rows++;
      return 1;
    });
    // Also finds out whether the file is a database at all.
    this.db.prepare('SELECT count(*) FROM sqlite_schema').get();
  }

  /** @param decide false: the caller has given up, nothing may be applied. */
  query(sql: string, binds: SqlRow, maxRows: number, decide: () => boolean, givenUp: () => boolean): RowSet {
    const statement = this.prepare(sql);
    if (!statement.reader) throw describe('SYNTAX', 'the statement returns no rows: use execute');
    const run = (): RowSet => {
      const rows: SqlRow[] = [];
      for (const row of statement.iterate(...widen(binds)) as IterableIterator<SqlValue[]>) {
        if (rows.length === maxRows) {
          throw describe('TOO_MANY_ROWS', `more than ${maxRows} rows: use stream or a limit`);
        }
        if (rows.length % ROWS_PER_LOOK === 0 && givenUp()) throw describe('CANCELLED', 'given up');
        rows.push(narrow(row));
      }
      return { columns: columnsOf(statement), rows };
    };
    // An INSERT ... RETURNING is a query that writes.
    return statement.readonly || this.db.inTransaction ? run() : this.atomically(decide, run);
  }

  /** @returns rows changed */
  write(sql: string, binds: SqlRow, decide: () => boolean): number {
    const statement = this.prepare(sql);
    const values = widen(binds);
    // A statement with RETURNING, or a pragma that answers, has to be read to its end to be executed.
    const run = (): number => {
      if (!statement.reader) return Number(statement.run(...values).changes);
      return statement.all(...values).length;
    };
    if (this.db.inTransaction) return run();
    if (BARE.test(sql)) {
      if (!decide()) throw describe('CANCELLED', 'given up');
      return run();
    }
    return this.atomically(decide, run);
  }

  batch(
    sql: string,
    rows: readonly (SqlRow | string)[],
    skip: boolean,
    decide: () => boolean,
    givenUp: () => boolean,
  ): BatchResult {
    const statement = this.prepare(sql);
    if (statement.reader) throw describe('SYNTAX', 'a batch statement must not return rows');
    const run = (): BatchResult => {
      const duplicates: number[] = [];
      const errors: RowError[] = [];
      for (let i = 0; i < rows.length; i += 1) {
        if (i % ROWS_PER_LOOK === 0 && givenUp()) throw describe('CANCELLED', 'given up');
        const row = rows[i] ?? '';
        if (typeof row === 'string') {
          errors.push({ row: i, code: 'BIND', message: row });
          continue;
        }
        try {
          statement.run(...widen(row));
        } catch (error) {
          const { code, message } = failure(error);
          // Only what is wrong with this row is the row's; a full disk or a lost lock is the batch's.
          const ofRow = code === 'DUPLICATE' || code === 'CONSTRAINT' || code === 'BIND';
          if (!ofRow || !this.db.inTransaction) throw error;
          if (code === 'DUPLICATE' && skip) duplicates.push(i);
          else errors.push({ row: i, code, message });
        }
      }
      return { done: rows.length - duplicates.length - errors.length, duplicates, errors };
    };
    return this.db.inTransaction ? run() : this.atomically(decide, run);
  }

  /** A transaction of several calls. */
  begin(): void {
    // What a failing statement or bulk needs to be undone is kept in memory: half as fast again for inserts of many rows.
    // SQLite looks at this only at the start; sorts, which can be far larger, stay in files.
    this.db.pragma('temp_store = MEMORY');
    try {
      this.beginPlain();
    } finally {
      this.db.pragma('temp_store = DEFAULT');
    }
  }

  /** @throws StoreError: nothing was begun */
  beginBulk(plan: BulkPlan): void {
    if (this.bulk !== undefined)
      throw describe('SYNTAX', 'another bulk load of this transaction has not ended');
    const load = new SqliteBulk(this, plan);
    if (plan.nested) this.prepare(`SAVEPOINT ${BULK}`).run();
    this.bulk = { load, nested: plan.nested };
  }

  addBulk(block: Uint8Array): void {
    if (this.bulk === undefined) throw describe('LOST', 'the bulk load is over');
    this.bulk.load.add(block);
  }

  /** @param keep false: as if it had not been; without `nested` the transaction has to be rolled back */
  endBulk(keep: boolean): BulkResult | undefined {
    const { bulk } = this;
    if (bulk === undefined) {
      if (keep) throw describe('LOST', 'the bulk load is over');
      return undefined;
    }
    const result = keep ? bulk.load.end() : undefined;
    this.bulk = undefined;
    if (!bulk.nested || !this.db.inTransaction) return result;
    if (!keep) this.prepare(`ROLLBACK TO ${BULK}`).run();
    this.prepare(`RELEASE ${BULK}`).run();
    return result;
  }

  commit(): void {
    this.bulk = undefined;
    try {
      this.prepare('COMMIT').run();
    } catch (error) {
      this.rollback();
      throw error;
    }
  }

  /** Does nothing when SQLite has already rolled back by itself, as it does on a full disk. */
  rollback(): void {
    this.bulk = undefined;
    if (this.db.inTransaction) this.prepare('ROLLBACK').run();
  }

  openCursor(sql: string, binds: SqlRow, batchRows: number): void {
    const statement = this.prepare(sql);
    if (!statement.reader) throw describe('SYNTAX', 'the statement returns no rows: use execute');
    const rows = statement.iterate(...widen(binds)) as IterableIterator<SqlValue[]>;
    this.cursor = { rows, columns: columnsOf(statement), batchRows };
  }

  nextRows(): CursorRows {
    if (this.cursor === undefined) throw describe('LOST', 'the cursor was closed');
    const { rows, columns, batchRows } = this.cursor;
    const batch: SqlRow[] = [];
    let bytes = 0;
    while (batch.length < batchRows && bytes < BATCH_BYTES) {
      const next = rows.next();
      if (next.done === true) return { columns, rows: batch, last: true };
      const row = narrow(next.value);
      const size = sizeOf(row);
      if (size > MAX_ROW_BYTES) {
        throw describe(
          'DATABASE',
          `a row of ${size} bytes is larger than ${MAX_ROW_BYTES}; select less of it`,
        );
      }
      bytes += size;
      batch.push(row);
    }
    return { columns, rows: batch, last: false };
  }

  close(): void {
    this.cursor?.rows.return?.();
    this.cursor = undefined;
    this.statements.clear();
    this.db.close();
  }

  private beginPlain(): void {
    this.prepare('BEGIN IMMEDIATE').run();
  }

  private atomically<T>(decide: () => boolean, run: () => T): T {
    this.beginPlain();
    try {
      const result = run();
      if (!decide()) throw describe('CANCELLED', 'given up before the commit');
      this.commit();
      return result;
    } catch (error) {
      this.rollback();
      throw error;
    }
  }

  prepare(sql: string): Statement {
    const known = this.statements.get(sql);
    if (known !== undefined) {
      this.statements.delete(sql);
      this.statements.set(sql, known);
      return known;
    }
    const statement: Statement = this.db.prepare<SqlValue[]>(sql);
    if (statement.reader) statement.raw(true);
    this.statements.set(sql, statement);
    if (this.statements.size > CACHED_STATEMENTS) {
      for (const oldest of this.statements.keys()) {
        this.statements.delete(oldest);
        break;
      }
    }
    return statement;
  }
}

function columnsOf(statement: Statement): string[] {
  return statement.columns().map((column) => column.name);
}
