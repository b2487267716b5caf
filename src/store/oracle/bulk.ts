/** Tab text into an Oracle table by array inserts. Any thread. */
import { StoreError, type BulkOptions, type BulkResult, type ColumnInfo, type SqlRow } from '../driver.js';
import { paced, type Deadline } from '../give-up.js';
import { oracleDialect } from './dialect.js';
import { describeOracleTable } from './dictionary.js';
import type { OracleSession } from './runner.js';
import { tabBatches, type TabRow } from '../tab-rows.js';

const BATCH = { rows: 5_000, chars: 4 << 20 };
const quote = (name: string): string => oracleDialect.quoteIdentifier(name);

/** What the text of a column becomes, or why it is refused. */
type Reader = (value: string) => string | Uint8Array | { readonly bad: string };

/**
 * All values go as text, which the server turns into the column's type by the session's formats; bytes from their digits.
 * `update` inserts first and updates the rows that are there already, so that both are counted.
 * @throws StoreError with the row. The caller undoes what was done
 */
export async function oracleBulk(
  session: OracleSession,
  table: string,
  columns: readonly string[],
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: BulkOptions,
  deadline: Deadline,
): Promise<BulkResult> {
  const { onDuplicate = 'error', keys = [], hex = [] } = options;
  if (onDuplicate === 'update' && keys.length === 0) {
    throw new StoreError('BIND', 'an update needs the columns of the key');
  }
  const info = await describeOracleTable(
    { query: (sql, binds = []) => session.query(sql, binds, 10_000, deadline) },
    table,
  );
  const readers = columns.map((column) => reader(column, info.columns, hex.includes(column)));
  const sql = oracleDialect.insert(table, columns);
  const result = { rows: 0, inserted: 0, updated: 0, skipped: 0 };
  for await (const batch of paced(tabBatches(chunks, columns.length, BATCH), deadline)) {
    const values = batch.rows.map((row, i) => read(row, batch.first + i, columns, readers));
    const { duplicates, errors } = await session.batch(sql, values, onDuplicate !== 'error', deadline);
    const [bad] = errors;
    if (bad !== undefined) {
      const row = batch.first + bad.row;
      throw new StoreError(bad.code, `row ${row + 1}: ${bad.message}`, { row });
    }
    result.rows += values.length;
    result.inserted += values.length - duplicates.length;
    if (onDuplicate === 'skip') result.skipped += duplicates.length;
    else if (duplicates.length > 0) {
      const found = duplicates.map((i) => values[i] ?? []);
      await update(session, table, columns, found, options, deadline);
      result.updated += found.length;
    }
  }
  return result;
}

async function update(
  session: OracleSession,
  table: string,
  columns: readonly string[],
  rows: readonly SqlRow[],
  { keys = [], touch = [] }: BulkOptions,
  deadline: Deadline,
): Promise<void> {
  const at = keys.map((key) => columns.findIndex((column) => quote(column) === quote(key)));
  if (at.includes(-1)) throw new StoreError('BIND', 'a column of the key is not among the columns');
  const others = columns.flatMap((_, i) => (at.includes(i) ? [] : [i]));
  const sets = [
    ...others.map((i) => `${quote(columns[i] ?? '')} = ?`),
    ...touch.map((column) => `${quote(column)} = ${oracleDialect.now}`),
  ];
  if (sets.length === 0) return;
  const where = keys.map((key) => `${quote(key)} = ?`).join(' AND ');
  const sql = `UPDATE ${quote(table)} SET ${sets.join(', ')} WHERE ${where}`;
  const order = [...others, ...at];
  const changed = await session.many(
    sql,
    rows.map((row) => order.map((i) => row[i] ?? null)),
    deadline,
  );
  // Then it was another unique key that refused it, and nothing was updated.
  if (changed < rows.length) {
    throw new StoreError(
      'DUPLICATE',
      `${rows.length - changed} row(s) break a unique key other than ${keys.join(', ')}`,
    );
  }
}

/** Oracle rounds digits that a column has no room for without a word. */
function reader(name: string, known: readonly ColumnInfo[], isHex: boolean): Reader {
  const info = known.find((column) => quote(column.name) === quote(name));
  if (info === undefined) throw new StoreError('SYNTAX', `the table has no column ${name}`);
  const { scale, kind, type } = info;
  if (isHex) {
    return (value) =>
      value.length % 2 === 0 && /^[0-9a-f]*$/i.test(value)
        ? Buffer.from(value, 'hex')
        : { bad: 'bytes are written as hexadecimal digits' };
  }
  const most = type === 'number' || (kind === 'date' && type !== 'date') ? scale : undefined;
  if (most === undefined) return (value) => value;
  return (value) =>
    fractionDigits(value) > most ? { bad: `it has more than ${most} digits behind the point` } : value;
}

/** Without zeros at the end; the exponent taken in. */
function fractionDigits(value: string): number {
  const [, digits = '', exponent = '0'] =
    /\.(\d*)(?:[eE]([+-]?\d+)$)?/.exec(value) ?? /()[eE]([+-]?\d+)$/.exec(value) ?? [];
  return Math.max(0, digits.replace(/0+$/, '').length - Number(exponent));
}

function read(row: TabRow, index: number, columns: readonly string[], readers: readonly Reader[]): SqlRow {
  return row.map((value, i) => {
    const made = value === null ? null : (readers[i]?.(value) ?? value);
    if (made === null || typeof made === 'string' || made instanceof Uint8Array) return made;
    throw new StoreError('CONSTRAINT', `row ${index + 1}, ${columns[i]}: ${made.bad}`, { row: index });
  });
}
