/** Ranges of a table's key: where they begin and end, and the condition for what is in one. They lock nothing. Worker thread. */
import type { SqlRow } from '../../../store/driver.js';
import { all, keyRange, whereText, type Piece } from '../sync/sql.js';
import { quotedKeys, type BatchSource } from './batch-source.js';

export interface Bound {
  readonly op: '>' | '>=';
  readonly key: SqlRow;
}

/** Where a range begins and ends; without `upTo` it is the last one. */
export interface Span {
  readonly from: Bound;
  readonly upTo: SqlRow | undefined;
  /** Rows of the table in it, matching or not, at most. */
  readonly size: number;
}

export class KeyRanges {
  private readonly quoted: readonly string[];
  private readonly table: string;

  /** @param timeoutMs longest time for one look */
  constructor(
    private readonly source: BatchSource,
    private readonly timeoutMs: number,
  ) {
    this.quoted = quotedKeys(source);
    this.table = source.store.dialect.quoteIdentifier(source.table);
  }

  /** The greatest key; undefined for an empty table. @throws StoreError, as all the others do */
  last(): Promise<SqlRow | undefined> {
    return this.key(undefined, 'DESC');
  }

  /** Where the next row that matches begins. It may look at many. */
  async firstMatch(after: Bound | undefined, end: SqlRow, signal?: AbortSignal): Promise<Bound | undefined> {
    const range = after === undefined ? this.range('<=', end) : this.between(after, end);
    const key = await this.key(all(range, this.source.where), 'ASC', signal);
    return key && { op: '>=', key };
  }

  /** The first `rows` of a range; the whole of it when it has no more. */
  async head({ from, upTo, size }: Span, rows: number, end: SqlRow, signal?: AbortSignal): Promise<Span> {
    const key = await this.nth(this.between(from, upTo ?? end), rows, signal);
    return key === undefined ? { from, upTo, size: Math.min(size, rows) } : { from, upTo: key, size: rows };
  }

  /** The rows of a range. */
  between({ op, key }: Bound, upTo: SqlRow): Piece {
    const { quoted } = this;
    const [first = ''] = quoted;
    const exact = all(this.range(op, key), this.range('<=', upTo));
    if (quoted.length === 1 || this.source.store.dialect.name !== 'mysql') return exact;
    // MySQL judges each row by the whole condition: nearly all of them pass by this first part, which it implies.
    return {
      sql: `(${first} > ? AND ${first} < ?) OR (${exact.sql})`,
      binds: [key[0] ?? null, upTo[0] ?? null, ...exact.binds],
    };
  }

  /** Only some databases find a comparison of rows by the index, and only some the same written with OR. */
  private range(op: '>' | '>=' | '<=', values: SqlRow): Piece {
    const { name } = this.source.store.dialect;
    const { quoted } = this;
    if (quoted.length === 1 || (name !== 'postgres' && name !== 'sqlite'))
      return keyRange(quoted, op, values);
    const places = quoted.map(() => '?').join(', ');
    return { sql: `(${quoted.join(', ')}) ${op} (${places})`, binds: values };
  }

  /** The last key of the first so many rows; undefined when the range has fewer. */
  private async nth(
    range: Piece,
    rows: number,
    signal: AbortSignal | undefined,
  ): Promise<SqlRow | undefined> {
    const { name } = this.source.store.dialect;
    const skip = rows - 1;
    const offset =
      name === 'oracle' || name === 'mssql'
        ? `OFFSET ${skip} ROWS FETCH NEXT 1 ROWS ONLY`
        : `LIMIT 1 OFFSET ${skip}`;
    const sql = `${this.select(range)} ORDER BY ${this.quoted.join(', ')} ${offset}`;
    return this.first(sql, range, signal);
  }

  private async key(
    range: Piece | undefined,
    order: 'ASC' | 'DESC',
    signal?: AbortSignal,
  ): Promise<SqlRow | undefined> {
    const by = this.quoted.map((name) => `${name} ${order}`).join(', ');
    const sql = `${this.select(range)} ORDER BY ${by}`;
    return this.first(this.source.store.dialect.limit(sql, 1), range, signal);
  }

  private select(range: Piece | undefined): string {
    return `SELECT ${this.quoted.join(', ')} FROM ${this.table}${range === undefined ? '' : whereText(range)}`;
  }

  private async first(
    sql: string,
    range: Piece | undefined,
    signal: AbortSignal | undefined,
  ): Promise<SqlRow | undefined> {
    const options = { timeoutMs: this.timeoutMs, ...(signal && { signal }) };
    const { rows } = await this.source.store.query(sql, range?.binds ?? [], options);
    return rows[0];
  }
}
