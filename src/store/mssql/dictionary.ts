/** SQL Server's data dictionary, by schema, in the order of the declaration (spec data-centre 1.8, D16). */
import { StoreError, type ColumnInfo, type ColumnKind, type SqlRunner, type TableInfo } from '../driver.js';
import { mssqlDialect } from './dialect.js';

/** OBJECT_ID finds a name without schema where the login's default schema is, as statements do. */
const COLUMNS_SQL = `SELECT c.name, TYPE_NAME(c.system_type_id), c.max_length, c.precision, c.scale, c.is_nullable, c.is_identity, c.is_computed
  FROM sys.columns c WHERE c.object_id = OBJECT_ID(?) ORDER BY c.column_id`;
const KEYS_SQL = `SELECT i.name, i.is_primary_key, c.name
  FROM sys.indexes i JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id
  JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id
  WHERE i.object_id = OBJECT_ID(?) AND i.is_unique = 1 AND i.has_filter = 0 AND i.is_disabled = 0 AND k.key_ordinal > 0
  ORDER BY i.is_primary_key DESC, i.index_id, k.key_ordinal`;

export interface MssqlColumn extends ColumnInfo {
  /** As it is written in a declaration: `decimal(10,2)`, `nvarchar(max)`. */
  readonly declared: string;
  readonly identity: boolean;
}

export interface MssqlTable extends TableInfo {
  readonly columns: readonly MssqlColumn[];
}

/** @param type in small letters, without length */
export function kindOf(type: string): ColumnKind {
  if (/char|text|xml|uniqueidentifier|sysname/.test(type)) return 'text';
  if (/^(bit|tinyint|smallint|int|bigint)$/.test(type)) return 'integer';
  if (/^(decimal|numeric|money|smallmoney)$/.test(type)) return 'decimal';
  if (/^(float|real)$/.test(type)) return 'float';
  if (/^(date|time|datetime|datetime2|smalldatetime|datetimeoffset)$/.test(type)) return 'date';
  return /^(binary|varbinary|image|timestamp|rowversion)$/.test(type) ? 'bytes' : 'other';
}

function describe(row: readonly unknown[]): MssqlColumn {
  const [name, typeName, maxLength, precision, scale, nullable, identity, computed] = row;
  const type = String(typeName).toLowerCase();
  const kind = kindOf(type);
  const sized = /^n?(var)?char$|^(var)?binary$/.test(type);
  // In bytes; -1 is max.
  const bytes = Number(maxLength);
  const length = sized && bytes > 0 ? (type.startsWith('n') ? bytes / 2 : bytes) : undefined;
  const digits = kind === 'decimal' || kind === 'integer' ? Number(precision) : undefined;
  const fraction = /^(decimal|numeric|money|smallmoney|time|datetime2|datetimeoffset)$/.test(type)
    ? Number(scale)
    : undefined;
  let declared = type;
  if (sized) declared += `(${length ?? 'max'})`;
  else if (/^(decimal|numeric)$/.test(type)) declared += `(${Number(precision)},${Number(scale)})`;
  else if (/^(time|datetime2|datetimeoffset)$/.test(type)) declared += `(${Number(scale)})`;
  return {
    name: String(name),
    type,
    kind,
    length: kind === 'text' || kind === 'bytes' ? length : digits,
    scale: kind === 'integer' ? 0 : fraction,
    nullable: nullable === 1,
    generated: identity === 1 || computed === 1 || type === 'timestamp',
    declared,
    identity: identity === 1,
  };
}

/** @throws StoreError NO_TABLE */
export async function describeMssqlTable(
  store: Pick<SqlRunner, 'query'>,
  table: string,
): Promise<MssqlTable> {
  const name = mssqlDialect.quoteIdentifier(table);
  // The tables of another database have their own dictionary.
  if (/\]\.(\[|\.).*\]\.\[/.test(name))
    throw new StoreError('NO_TABLE', `${table}: connect to its own database`);
  const columns = await store.query(COLUMNS_SQL, [name]);
  if (columns.rows.length === 0) throw new StoreError('NO_TABLE', `no such table or view: ${table}`);
  const keys = new Map<string, { primary: boolean; columns: string[] }>();
  for (const [key, primary, column] of (await store.query(KEYS_SQL, [name])).rows) {
    const entry = keys.get(String(key)) ?? { primary: primary === 1, columns: [] };
    entry.columns.push(String(column));
    keys.set(String(key), entry);
  }
  const all = [...keys.values()];
  return {
    columns: columns.rows.map(describe),
    primaryKey: all.find(({ primary }) => primary)?.columns ?? [],
    uniqueKeys: all.filter(({ primary }) => !primary).map((key) => key.columns),
  };
}
