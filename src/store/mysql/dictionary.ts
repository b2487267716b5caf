/** The data dictionary of MySQL and MariaDB: schema-qualified, in the order of the declaration. */
import { StoreError } from '../driver.js';
import type { ColumnInfo, ColumnKind, SqlRunner, SqlValue, TableInfo } from '../driver.js';

const KINDS: Readonly<Record<string, ColumnKind>> = {
  char: 'text', varchar: 'text', tinytext: 'text', text: 'text', mediumtext: 'text', longtext: 'text', enum: 'text', set: 'text', json: 'text',
  tinyint: 'integer', smallint: 'integer', mediumint: 'integer', int: 'integer', bigint: 'integer', year: 'integer',
  decimal: 'decimal', float: 'float', double: 'float',
  date: 'date', datetime: 'date', timestamp: 'date',
  binary: 'bytes', varbinary: 'bytes', tinyblob: 'bytes', blob: 'bytes', mediumblob: 'bytes', longblob: 'bytes', bit: 'bytes',
}; // prettier-ignore

const number = (value: SqlValue | undefined): number | undefined =>
  value === null || value === undefined ? undefined : Number(value);

function describe(row: readonly SqlValue[]): ColumnInfo {
  const [name, declared, chars, digits, scale, nullable, extra, fraction] = row;
  const type = String(declared).toLowerCase();
  const kind = KINDS[type] ?? 'other';
  return {
    name: String(name),
    type,
    kind,
    length: kind === 'text' || kind === 'bytes' ? number(chars) : number(digits),
    scale: kind === 'decimal' ? number(scale) : number(fraction),
    nullable: String(nullable).toUpperCase() === 'YES',
    // "DEFAULT_GENERATED" only says that the default is an expression.
    generated: /auto_increment|(?:virtual|stored|persistent)(?: generated)?/i.test(String(extra)),
  };
}

/** @param database that of the connection, for a name without schema. @throws StoreError NO_TABLE */
export async function describeTable(
  runner: Pick<SqlRunner, 'query'>,
  database: string,
  table: string,
): Promise<TableInfo> {
  const at = table.indexOf('.');
  const schema = at < 0 ? database : table.slice(0, at);
  const name = table.slice(at + 1);
  const columns = await runner.query(
    `SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, IS_NULLABLE, EXTRA, DATETIME_PRECISION
     FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`,
    [schema, name],
  );
  if (columns.rows.length === 0) throw new StoreError('NO_TABLE', `no such table: ${table}`);
  // Keys over a part of a column or over an expression do not tell rows apart by their columns.
  const keys = await runner.query(
    `SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS
     WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX`,
    [schema, name],
  );
  const byName = new Map<string, (string | undefined)[]>();
  for (const [key, column, part] of keys.rows) {
    const list = byName.get(String(key)) ?? [];
    list.push(column === null || part !== null ? undefined : String(column));
    byName.set(String(key), list);
  }
  const whole = [...byName].filter(([, list]) => !list.includes(undefined)) as [string, string[]][];
  return {
    columns: columns.rows.map(describe),
    primaryKey: whole.find(([key]) => key === 'PRIMARY')?.[1] ?? [],
    uniqueKeys: whole.filter(([key]) => key !== 'PRIMARY').map(([, list]) => list),
  };
}
