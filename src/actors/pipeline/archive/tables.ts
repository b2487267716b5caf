/** History tables of the stage `archive`: one, or one for each year or month of a date column; made when missing. Worker thread. */
import { computedColumns, createLike } from '../../../store/create-like.js';
import { StoreError, type ColumnInfo, type Store, type TableInfo } from '../../../store/driver.js';
import { canonical, comparisonOf, type Comparison } from '../sync/values.js';
import type { BatchSource } from '../stage/batch-source.js';
import { StageError } from '../stage/run.js';
import type { Piece } from '../sync/sql.js';
import type { SqlRow, SqlValue } from '../../../store/driver.js';

export type Split = 'one' | 'yearly' | 'monthly';

/** Rows of one batch that go into one table. */
export interface Period {
  /** `2026`, `2026-03`, or '' for everything. */
  readonly name: string;
  readonly where: Piece | undefined;
  /** First day after it. */
  readonly end: string;
}

export interface HistoryTable {
  readonly name: string;
  readonly quoted: string;
  /** Those that are copied, as the source and as the history table call them, in one order. */
  readonly sourceColumns: readonly ColumnInfo[];
  readonly columns: readonly string[];
  /** A row as text by which equal rows are equal. */
  rowText(values: SqlRow): string;
}

export interface HistoryOptions {
  readonly target_table: string | undefined;
  readonly split: Split;
  readonly date_column: string | undefined;
  readonly create: boolean;
}

export class HistoryTables {
  private readonly known = new Map<string, Promise<HistoryTable>>();
  readonly date: ColumnInfo | undefined;
  private readonly pattern: string;

  /** @param target undefined: in the source's own database. @throws StageError */
  constructor(
    private readonly source: BatchSource,
    private readonly target: Store | undefined,
    private readonly options: HistoryOptions,
  ) {
    const { split, date_column: column, target_table: given } = options;
    const suffix = { one: '_HIS', yearly: '_{yyyy}', monthly: '_{yyyy}{mm}' }[split];
    this.pattern = given === undefined || given === '' ? source.table + suffix : given;
    if (this.target === undefined && this.pattern.toLowerCase() === source.table.toLowerCase())
      throw new StageError('target_table is the table itself', false);
    const wanted = { one: [], yearly: ['{yyyy}'], monthly: ['{yyyy}', '{mm}'] }[split];
    for (const part of wanted) {
      if (!this.pattern.includes(part))
        throw new StageError(`split = ${split}: target_table "${this.pattern}" needs ${part}`, false);
    }
    if (split === 'one') return;
    if (column === undefined) throw new StageError(`split = ${split} needs date_column`, false);
    this.date = source.info.columns.find(({ name }) => name.toLowerCase() === column.toLowerCase());
    if (this.date?.kind !== 'date')
      throw new StageError(`date_column: ${source.table} has no date column ${column}`, false);
  }

  /** The period of a value of the date column. @throws StageError for a value that is no date */
  periodOf(value: SqlValue): Period {
    const { split } = this.options;
    const [, year = '', month = ''] = /^(\d{4})-(\d\d)/.exec(String(value)) ?? [];
    if (year === '') throw new StageError(`date_column: "${String(value).slice(0, 40)}" is no date`, false);
    const yearly = split === 'yearly';
    const name = yearly ? year : `${year}-${month}`;
    const next = yearly || month === '12' ? Number(year) + 1 : Number(year);
    const nextMonth = yearly || month === '12' ? 1 : Number(month) + 1;
    const begin = yearly ? `${year}-01-01` : `${year}-${month}-01`;
    const end = `${String(next).padStart(4, '0')}-${String(nextMonth).padStart(2, '0')}-01`;
    const column = this.dateName();
    return { name, end, where: { sql: `${column} >= ? AND ${column} < ?`, binds: [begin, end] } };
  }

  dateName(): string {
    return this.source.store.dialect.quoteIdentifier(this.date?.name ?? '');
  }

  /** The table of a period, made once if it has to be. @throws StageError, StoreError */
  get(period: Period): Promise<HistoryTable> {
    const found = this.known.get(period.name);
    if (found !== undefined) return found;
    const [year = '', month = ''] = period.name.split('-');
    const name = this.pattern.replaceAll('{yyyy}', year).replaceAll('{mm}', month);
    const made = this.open(name);
    this.known.set(period.name, made);
    made.catch(() => this.known.delete(period.name));
    return made;
  }

  private async open(name: string): Promise<HistoryTable> {
    const { source } = this;
    const store = this.target ?? source.store;
    const info = await this.describe(name, store);
    // A copy that was cut off could not be told from a second one.
    if (this.target !== undefined && info.primaryKey.length === 0 && info.uniqueKeys.length === 0)
      throw new StageError(`${name} in the other database needs a primary or unique key`, false);
    const made = new Set([...(await computedColumns(source.store, source.table))]);
    const computed = await computedColumns(store, name);
    const columns: string[] = [];
    const sourceColumns: ColumnInfo[] = [];
    const how: Comparison[] = [];
    const dialects = [source.store.dialect.name, store.dialect.name];
    for (const column of source.info.columns) {
      const same = info.columns.find((one) => one.name.toLowerCase() === column.name.toLowerCase());
      if (same === undefined && made.has(column.name)) continue;
      if (same === undefined)
        throw new StageError(`${name} has no column ${column.name}: its values would be lost`, false);
      if (computed.has(same.name)) continue;
      sourceColumns.push(column);
      columns.push(same.name);
      how.push(comparisonOf(column, same, dialects));
    }
    const rowText = (values: SqlRow): string =>
      JSON.stringify(how.map((one, i) => canonical(values[i] ?? null, one)));
    return { name, quoted: store.dialect.quoteIdentifier(name), sourceColumns, columns, rowText };
  }

  private async describe(name: string, store: Store): Promise<TableInfo> {
    try {
      return await store.columns(name);
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'NO_TABLE') throw error;
      if (!this.options.create)
        throw new StageError(`the history table ${name} is missing and create = no`, false);
      await createLike(this.source.store, this.source.table, name, this.target);
      return store.columns(name);
    }
  }
}
