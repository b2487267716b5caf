/** SQLite's data dictionary. */
import { StoreError } from '../driver.js';
import type { ColumnInfo, ColumnKind, SqlRow, SqlRunner, TableInfo } from '../driver.js';

/** The declared type decides, by the first word found in it; SQLite itself takes any text as a type. */
const KINDS: readonly (readonly [RegExp, ColumnKind])[] = [
  [/date|time/, 'date'],
  [/char|text|clob/, 'text'],
  [/int/, 'integer'],
  [/dec|num/, 'decimal'],
  [/real|floa|doub/, 'float'],
  [/blob|bin/, 'bytes'],
];

/** @param row name, type, notnull, pk and hidden of table_xinfo. @param keyColumns columns of the primary key */
function describeColumn([name, declared, notNull, pk, hidden]: SqlRow, keyColumns: number): ColumnInfo {
  const text = String(declared).toLowerCase();
  const [, type = '', length, scale] = /^([^(]*?)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?$/.exec(text) ?? [
    '',
    text,
  ];
  return {
    name: String(name),
    type,
    kind: KINDS.find(([pattern]) => pattern.test(type))?.[1] ?? 'other',
    length: length === undefined ? undefined : Number(length),
    scale: scale === undefined ? undefined : Number(scale),
    nullable: Number(notNull) === 0 && Number(pk) === 0,
    // An INTEGER PRIMARY KEY is the row's own number; hidden columns are computed ones.
    generated: Number(hidden) > 0 || (Number(pk) > 0 && keyColumns === 1 && text === 'integer'),
  };
}

/** Binds: table, schema. */
export const COLUMNS_SQL =
  'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?, ?) WHERE hidden <> 1 ORDER BY cid';

/** @param rows of COLUMNS_SQL */
export function describeColumns(rows: readonly SqlRow[]): ColumnInfo[] {
  const keyColumns = rows.filter((row) => Number(row[3]) > 0).length;
  return rows.map((row) => describeColumn(row, keyColumns));
}

/** @returns table and schema, the binds of COLUMNS_SQL */
export function nameParts(table: string): [string, string] {
  const at = table.indexOf('.');
  return [table.slice(at + 1), at < 0 ? 'main' : table.slice(0, at)];
}

/** @throws StoreError NO_TABLE */
export async function describeTable(store: SqlRunner, table: string): Promise<TableInfo> {
  const [name, schema] = nameParts(table);
  const info = await store.query(COLUMNS_SQL, [name, schema]);
  if (info.rows.length === 0) throw new StoreError('NO_TABLE', `no such table: ${table}`);
  const keys = await store.query(
    `SELECT i.seq, c.name FROM pragma_index_list(?, ?) i, pragma_index_info(i.name, ?) c
     WHERE i."unique" = 1 AND i.origin <> 'pk' AND i.partial = 0 AND c.name IS NOT NULL ORDER BY i.seq DESC, c.seqno`,
    [name, schema, schema],
  );
  const uniqueKeys = new Map<unknown, string[]>();
  for (const [seq, column] of keys.rows) {
    const columns = uniqueKeys.get(seq) ?? [];
    columns.push(String(column));
    uniqueKeys.set(seq, columns);
  }
  return {
    columns: describeColumns(info.rows),
    primaryKey: info.rows
      .filter(([, , , pk]) => Number(pk) > 0)
      .sort((a, b) => Number(a[3]) - Number(b[3]))
      .map(([column]) => String(column)),
    uniqueKeys: [...uniqueKeys.values()],
  };
}
