/** The calls of the store contract on one Oracle connection, inside a transaction or each for itself. Any thread. */
import type oracledb from 'oracledb';
import { cleanBinds, cleanRow } from '../binds.js';
import {
  StoreError,
  type BatchResult,
  type ColumnKind,
  type RowError,
  type RowSet,
  type SqlRow,
} from '../driver.js';
import { guard, type Deadline } from '../give-up.js';
import { toldName } from './dialect.js';
import { isOfRow, oracleError, oracleFailure } from './errors.js';
import {
  bindRows,
  bindValue,
  fetchHandler,
  plainRow,
  resultKind,
  withPrintedDates,
  type OracleDriver,
} from './values.js';
import { placeholders } from '../placeholders.js';

/** Rows in one call of executeMany: the driver builds the whole message in memory. */
const ROWS_PER_CALL = 5_000;
/** Described statements kept; the one unused longest goes first. */
const CACHED_SELECTS = 256;
const FETCH_ROWS = 1_000;
/** With large objects in it, a batch of a stream has so many rows at most. */
const LOB_ROWS = 16;

export interface PreparedSelect {
  readonly sql: string;
  readonly columns: readonly string[];
  readonly kinds: readonly ColumnKind[];
  readonly hasLobs: boolean;
}

/** What the connections of a pool share. */
export class OracleShared {
  readonly fetchTypeHandler;
  private readonly selects = new Map<string, PreparedSelect>();

  constructor(readonly driver: OracleDriver) {
    this.fetchTypeHandler = fetchHandler(driver);
  }

  get(sql: string): PreparedSelect | undefined {
    const known = this.selects.get(sql);
    if (known === undefined) return undefined;
    this.selects.delete(sql);
    this.selects.set(sql, known);
    return known;
  }

  put(sql: string, prepared: PreparedSelect): void {
    this.selects.set(sql, prepared);
    const [oldest] = this.selects.keys();
    if (this.selects.size > CACHED_SELECTS && oldest !== undefined) this.selects.delete(oldest);
  }

  forget(sql: string): void {
    this.selects.delete(sql);
  }
}

/** One borrowed connection. A call that was cancelled spoils it: it goes back to be closed. */
export class OracleSession {
  spoiled = false;
  released = false;

  constructor(
    readonly connection: oracledb.Connection,
    readonly shared: OracleShared,
  ) {}

  /** One call of the driver under the deadline. @throws StoreError */
  async call<T>(deadline: Deadline, start: (connection: oracledb.Connection) => Promise<T>): Promise<T> {
    deadline.check();
    if (this.spoiled) throw new StoreError('LOST', 'the connection was given up');
    try {
      const { value, cancelled } = await guard(start(this.connection), deadline, () =>
        this.connection.break(),
      );
      this.spoiled ||= cancelled;
      return value;
    } catch (error) {
      const failure = oracleError(error);
      if (failure.code === 'LOST' || failure === deadline.error) this.spoiled = true;
      throw failure;
    }
  }

  /** Describes a select once; other statements come back as they are. */
  async prepare(sql: string, count: number, deadline: Deadline): Promise<PreparedSelect> {
    const known = this.shared.get(sql);
    const text = placeholders(sql, (n) => `:${n}`, count);
    if (known !== undefined) return known;
    if (!/^[\s(]*(select|with)\b/i.test(stripComments(sql))) {
      throw new StoreError('SYNTAX', 'the statement returns no rows: use execute');
    }
    const info = await this.call(deadline, (connection) => connection.getStatementInfo(text));
    const columns = info.metaData ?? [];
    const { driver } = this.shared;
    const lobs = [
      driver.DB_TYPE_CLOB,
      driver.DB_TYPE_NCLOB,
      driver.DB_TYPE_BLOB,
      driver.DB_TYPE_LONG,
      driver.DB_TYPE_LONG_RAW,
    ];
    const prepared: PreparedSelect = {
      sql: withPrintedDates(text, columns, driver),
      columns: columns.map(({ name }) => toldName(name)),
      kinds: columns.map((column) => resultKind(column, driver)),
      hasLobs: columns.some(({ dbType }) => lobs.some((lob) => lob === dbType)),
    };
    this.shared.put(sql, prepared);
    return prepared;
  }

  async query(sql: string, binds: SqlRow, maxRows: number, deadline: Deadline): Promise<RowSet> {
    const values = cleanBinds(binds).map(bindValue);
    const select = await this.prepare(sql, values.length, deadline);
    const result = await this.select(sql, select, values, deadline, {
      maxRows: maxRows + 1,
      fetchArraySize: Math.min(FETCH_ROWS, maxRows + 1),
    });
    const rows = (result.rows ?? []) as unknown[][];
    if (rows.length > maxRows) {
      throw new StoreError('TOO_MANY_ROWS', `more than ${maxRows} rows: use stream or a limit`);
    }
    return { columns: select.columns, kinds: select.kinds, rows: rows.map(plainRow) };
  }

  /** Batches of rows off a cursor; leaving the loop closes it. @param newDeadline one for each batch */
  async *stream(
    sql: string,
    binds: SqlRow,
    batchRows: number,
    newDeadline: () => Deadline,
  ): AsyncGenerator<RowSet> {
    let deadline = newDeadline();
    let cursor: oracledb.ResultSet<unknown> | undefined;
    try {
      const values = cleanBinds(binds).map(bindValue);
      const select = await this.prepare(sql, values.length, deadline);
      const size = select.hasLobs ? Math.min(batchRows, LOB_ROWS) : batchRows;
      const options = { resultSet: true, fetchArraySize: size, prefetchRows: size };
      cursor = (await this.select(sql, select, values, deadline, options)).resultSet;
      if (cursor === undefined) throw new StoreError('SYNTAX', 'the statement returns no rows: use execute');
      for (let first = true; ; first = false) {
        const from = cursor;
        const rows = (await this.call(deadline, () => from.getRows(size))) as unknown[][];
        deadline.done();
        // Also without rows a reader learns the columns.
        if (rows.length > 0 || first)
          yield { columns: select.columns, kinds: select.kinds, rows: rows.map(plainRow) };
        if (rows.length < size) return;
        deadline = newDeadline();
      }
    } finally {
      deadline.done();
      if (!this.spoiled) await cursor?.close().catch(() => (this.spoiled = true));
    }
  }

  async execute(sql: string, binds: SqlRow, autoCommit: boolean, deadline: Deadline): Promise<number> {
    const values = cleanBinds(binds).map(bindValue);
    const text = placeholders(sql, (n) => `:${n}`, values.length);
    const result = await this.call(deadline, (connection) =>
      connection.execute(text, values, { autoCommit }),
    );
    return result.rowsAffected ?? result.rows?.length ?? 0;
  }

  /**
   * One statement for many rows; nothing is committed. What is wrong with a row is listed, with its index.
   * @throws StoreError what is wrong with the whole
   */
  async batch(sql: string, rows: readonly SqlRow[], skip: boolean, deadline: Deadline): Promise<BatchResult> {
    const duplicates: number[] = [];
    const errors: RowError[] = [];
    if (rows.length === 0) return { done: 0, duplicates, errors };
    const text = placeholders(sql, (n) => `:${n}`, rows[0]?.length ?? 0);
    for (let start = 0; start < rows.length; start += ROWS_PER_CALL) {
      const good: number[] = [];
      const values: SqlRow[] = [];
      for (let i = start; i < Math.min(rows.length, start + ROWS_PER_CALL); i++) {
        const row = cleanRow(rows[i] ?? []);
        if (typeof row === 'string') errors.push({ row: i, code: 'BIND', message: row });
        else if (row.length !== rows[0]?.length) {
          errors.push({
            row: i,
            code: 'BIND',
            message: `${row.length} values instead of ${rows[0]?.length}`,
          });
        } else {
          good.push(i);
          values.push(row);
        }
      }
      if (values.length === 0) continue;
      const { rows: bound, bindDefs } = bindRows(values, this.shared.driver);
      const result = await this.call(deadline, (connection) =>
        connection.executeMany(text, bound, { bindDefs, batchErrors: true, autoCommit: false }),
      );
      for (const error of result.batchErrors ?? []) {
        const { code, message } = oracleFailure(error);
        if (!isOfRow(code)) throw new StoreError(code, message, { cause: error });
        const row = good[error.offset ?? 0] ?? start;
        if (code === 'DUPLICATE' && skip) duplicates.push(row);
        else errors.push({ row, code, message });
      }
    }
    errors.sort((a, b) => a.row - b.row);
    return { done: rows.length - duplicates.length - errors.length, duplicates, errors };
  }

  /** One statement for many rows that must all be good. @returns rows changed */
  async many(sql: string, rows: readonly SqlRow[], deadline: Deadline): Promise<number> {
    const text = placeholders(sql, (n) => `:${n}`, rows[0]?.length ?? 0);
    const { rows: bound, bindDefs } = bindRows(rows, this.shared.driver);
    const result = await this.call(deadline, (connection) =>
      connection.executeMany(text, bound, { bindDefs, autoCommit: false }),
    );
    return result.rowsAffected ?? 0;
  }

  /**
   * Does the work, or undoes all of it and throws: inside a transaction by a savepoint, else by a transaction of its own.
   */
  async atomically<T>(own: boolean, deadline: Deadline, work: () => Promise<T>): Promise<T> {
    if (!own) await this.call(deadline, (connection) => connection.execute('SAVEPOINT SWITCHYARD_SP'));
    try {
      const result = await work();
      if (own) await this.call(deadline, (connection) => connection.commit());
      return result;
    } catch (error) {
      // A spoiled connection is closed, which rolls back what it did.
      if (!this.spoiled) {
        const undo = own
          ? this.connection.rollback()
          : this.connection.execute('ROLLBACK TO SAVEPOINT SWITCHYARD_SP');
        await undo.catch(() => (this.spoiled = true));
      }
      throw error;
    }
  }

  private async select(
    sql: string,
    { sql: text }: PreparedSelect,
    values: oracledb.BindParameters,
    deadline: Deadline,
    options: oracledb.ExecuteOptions,
  ): Promise<oracledb.Result<unknown>> {
    const { fetchTypeHandler } = this.shared;
    try {
      return await this.call(deadline, (connection) =>
        connection.execute(text, values, { ...options, fetchTypeHandler }),
      );
    } catch (error) {
      // The table may have changed since it was described.
      this.shared.forget(sql);
      throw error;
    }
  }
}

function stripComments(sql: string): string {
  return sql.replace(/^(\s*(--[^\n]*\n|\/\*[^]*?\*\/))+/, '');
}
