/** SQLite's data dictionary. */
import { StoreError } from './driver.js';
import type { ColumnInfo, ColumnKind, SqlRunner, TableInfo } from './driver.js';

/** The declared type decides, by the first word found in it; SQLite itself takes any text as a type. */
const KINDS: readonly (readonly [RegExp, ColumnKind])[] = [
  [/date|time/, 'date'],
  [/char|text|clob/, 'text'],
  [/int/, 'integer'],
  [/dec|num/, 'decimal'],
  [/real|floa|doub/, 'float'],
  [/blob|bin/, 'bytes'],
];

function describeColumn(name: string, declared: string, nullable: boolean): ColumnInfo {
  const [, type = '', length, scale] = /^([^(]*?)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?$/.exec(
    declared.toLowerCase(),
  ) ?? ['', declared.toLowerCase()];
  return {
    name,
    type,
    kind: KINDS.find(([pattern]) => pattern.test(type))?.[1] ?? 'other',
    length: length === undefined ? undefined : Number(length),
    scale: scale === undefined ? undefined : Number(scale),
    nullable,
  };
}

/** @throws StoreError NO_TABLE */
export async function describeTable(store: SqlRunner, table: string): Promise<TableInfo> {
  const at = table.indexOf('.');
  const schema = at < 0 ? 'main' : table.slice(0, at);
  const name = table.slice(at + 1);
  const info = await store.query(
    'SELECT name, type, "notnull", pk FROM pragma_table_info(?, ?) ORDER BY cid',
    [name, schema],
  );
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
    columns: info.rows.map(([column, type, notNull, pk]) =>
      describeColumn(String(column), String(type), notNull === 0 && pk === 0),
    ),
    primaryKey: info.rows
      .filter(([, , , pk]) => Number(pk) > 0)
      .sort((a, b) => Number(a[3]) - Number(b[3]))
      .map(([column]) => String(column)),
    uniqueKeys: [...uniqueKeys.values()],
  };
}
