/**
 * A bulk load into one table: tab text to rows of values, many rows a statement. Thread of the database.
 *
 * SQLite takes any value into any column, so what another database would refuse is refused here by the declared type.
 */
import { isAscii, isUtf8 } from 'node:buffer';
import type Database from 'better-sqlite3';
import type { BulkResult, SqlRow, SqlValue } from '../driver.js';
import { columnReader, shorten, type ColumnReader } from './bulk-values.js';
import { sqliteDialect } from './dialect.js';
import { COLUMNS_SQL, describeColumns, nameParts } from './dictionary.js';
import { describe, failure } from './errors.js';
import type { BulkPlan } from './messages.js';

type Statement = Database.Statement<SqlValue[], unknown>;

/** What a bulk load needs of its connection. */
export interface BulkHost {
  readonly db: Database.Database;
  /** How often the function FOUND was called so far. */
  readonly found: { rows: number };
  /** @returns a statement that stays prepared */
  prepare(sql: string): Database.Statement<SqlValue[], unknown>;
}

/** Most rows and about how many values go into one statement; more make it slower again. */
const STATEMENT_ROWS = 64;
const STATEMENT_VALUES = 512;
/** SQL function that counts the rows an upsert finds; see `statementText`. */
export const FOUND = 'switchyard_row_found';
const TAB = 9;
const LF = 10;
const PLUS = 43;
const MINUS = 45;
const BACKSLASH = 92;
/** So many digits are a number without loss. */
const SAFE_DIGITS = 15;

export class SqliteBulk {
  private readonly readers: readonly ColumnReader[];
  private readonly integers: readonly boolean[];
  private readonly one: Statement;
  private readonly many: Statement;
  private readonly perStatement: number;
  /** Values that wait for a statement to be full. */
  private values: SqlValue[] = [];
  /** Rows read, and those given to the database. */
  private rows = 0;
  private given = 0;
  private changes = 0;
  private readonly foundBefore: number;

  /** @throws StoreError NO_TABLE, SYNTAX for unknown columns or a plan that makes no sense */
  constructor(
    private readonly host: BulkHost,
    private readonly plan: BulkPlan,
  ) {
    const { columns, hex, table, onDuplicate, keys } = plan;
    if (onDuplicate === 'update' && keys.length === 0) throw describe('SYNTAX', 'a bulk update needs keys');
    const described = describeColumns(host.prepare(COLUMNS_SQL).all(...nameParts(table)) as SqlRow[]);
    if (described.length === 0) throw describe('NO_TABLE', `no such table: ${table}`);
    const byName = new Map(described.map((column) => [column.name.toLowerCase(), column]));
    const infos = columns.map((name) => {
      const info = byName.get(name.toLowerCase());
      if (info === undefined) throw describe('SYNTAX', `table ${table} has no column ${shorten(name)}`);
      return info;
    });
    if (infos.length === 0) throw describe('SYNTAX', 'a bulk load needs columns');
    this.readers = infos.map((info, i) => columnReader(info, hex.includes(columns[i] ?? '')));
    this.integers = infos.map((info, i) => info.kind === 'integer' && !hex.includes(columns[i] ?? ''));
    this.perStatement = Math.max(1, Math.min(STATEMENT_ROWS, Math.floor(STATEMENT_VALUES / columns.length)));
    this.one = host.prepare(statementText(plan, 1));
    this.many = host.prepare(statementText(plan, this.perStatement));
    this.foundBefore = host.found.rows;
  }

  /** @param block whole lines. @throws StoreError with `row` */
  add(block: Uint8Array): void {
    const bytes = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
    if (isAscii(bytes)) return this.read(bytes.toString('latin1'));
    if (!isUtf8(bytes)) throw describe('BIND', 'a value is not UTF-8', this.rows + this.rowOfBadText(bytes));
    this.read(bytes.toString());
  }

  end(): BulkResult {
    this.single();
    const { rows, changes } = this;
    const inserted = changes - (this.host.found.rows - this.foundBefore);
    const there = rows - inserted;
    const update = this.plan.onDuplicate === 'update';
    return { rows, inserted, updated: update ? there : 0, skipped: update ? 0 : there };
  }

  /** Characters are looked at one by one: two thirds of the time of splitting the text. */
  private read(text: string): void {
    const { readers, integers, values } = this;
    const last = readers.length - 1;
    const full = this.perStatement * readers.length;
    let at = 0;
    while (at < text.length) {
      for (let column = 0; column <= last; column++) {
        const start = at;
        let code = text.charCodeAt(at);
        if (integers[column] === true) {
          const signed = code === MINUS || code === PLUS;
          if (signed) code = text.charCodeAt(++at);
          const digits = at;
          let value = 0;
          while (code >= 48 && code <= 57) {
            value = value * 10 + code - 48;
            code = text.charCodeAt(++at);
          }
          const length = at - digits;
          if (length > 0 && length <= SAFE_DIGITS && code === (column === last ? LF : TAB)) {
            values.push(signed && text.charCodeAt(start) === MINUS ? 0 - value : value);
            at++;
            continue;
          }
        }
        // NaN, at the end of the text, is neither.
        let escaped = false;
        while (code !== TAB && code !== LF && at < text.length) {
          if (code === BACKSLASH) escaped = true;
          code = text.charCodeAt(++at);
        }
        if ((code === TAB) !== column < last) throw this.wrongNumber(column + 1, code === TAB);
        values.push(this.value(column, text.substring(start, at), escaped));
        at++;
      }
      this.rows++;
      if (values.length === full) this.flush();
    }
  }

  private value(column: number, raw: string, escaped: boolean): SqlValue {
    try {
      return this.readers[column]?.(raw, escaped) ?? null;
    } catch (error) {
      const { code, message } = failure(error);
      throw describe(code, `column ${shorten(this.plan.columns[column] ?? '')}: ${message}`, this.rows);
    }
  }

  private flush(): void {
    const { values } = this;
    try {
      // Arguments are bound faster than the elements of an array.
      this.changes += this.many.run(...values).changes;
      this.given = this.rows;
      values.length = 0;
    } catch (error) {
      // A full disk may have cost the whole transaction.
      if (!this.host.db.inTransaction) throw error;
      // The statement undid itself; one by one tells which row it was.
      this.single();
    }
  }

  private single(): void {
    const { values, readers } = this;
    const width = readers.length;
    for (let from = 0; from < values.length; from += width) {
      try {
        this.changes += this.one.run(...values.slice(from, from + width)).changes;
      } catch (error) {
        const { code, message } = failure(error);
        throw describe(code, message, this.given);
      }
      this.given++;
    }
    values.length = 0;
  }

  private wrongNumber(found: number, more: boolean): Error {
    const wanted = this.readers.length;
    return describe(
      'BIND',
      `${more ? `more than ${wanted}` : found} values for ${wanted} columns`,
      this.rows,
    );
  }

  private rowOfBadText(bytes: Buffer): number {
    let row = 0;
    for (
      let from = 0, to;
      (to = bytes.indexOf(LF, from)) >= 0 && isUtf8(bytes.subarray(from, to));
      from = to + 1
    )
      row++;
    return row;
  }
}

/**
 * An upsert tells only how many rows it touched. The function in its WHERE is called for each row found, and always
 * true, so it tells the updated from the inserted.
 */
function statementText({ table, columns, onDuplicate, keys, touch }: BulkPlan, rows: number): string {
  const row = `(${columns.map(() => '?').join(', ')})`;
  const more = `, ${row}`.repeat(rows - 1);
  const plain = sqliteDialect.insert(table, columns);
  if (onDuplicate === 'error') return plain + more;
  const found =
    onDuplicate === 'update' ? sqliteDialect.upsert(table, columns, keys, touch).slice(plain.length) : '';
  if (found.includes(' DO UPDATE ')) return `${plain}${more}${found} WHERE ${FOUND}()`;
  const by = keys.length > 0 ? ` (${keys.map((key) => sqliteDialect.quoteIdentifier(key)).join(', ')})` : '';
  return `${plain}${more} ON CONFLICT${by} DO NOTHING`;
}
