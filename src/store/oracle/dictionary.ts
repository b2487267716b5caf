/** Oracle's data dictionary, by owner, in the order of the declaration, keys of any name (spec data-centre 1.8, D16). */
import { StoreError, type ColumnInfo, type ColumnKind, type SqlRunner, type TableInfo } from '../driver.js';
import { nameParts, toldName } from './dialect.js';

/** The name as it is, then what a synonym of the schema or a public one stands for. */
const OWNER_SQL = `SELECT owner, table_name, db_link FROM (
  SELECT owner, table_name, NULL AS db_link, 1 AS nearness FROM all_tables WHERE owner = ? AND table_name = ?
  UNION ALL SELECT owner, view_name, NULL, 2 FROM all_views WHERE owner = ? AND view_name = ?
  UNION ALL SELECT table_owner, table_name, db_link, DECODE(owner, 'PUBLIC', 4, 3) FROM all_synonyms
    WHERE owner IN (?, 'PUBLIC') AND synonym_name = ?) ORDER BY nearness`;
const COLUMNS_SQL = `SELECT column_name, data_type, char_length, data_precision, data_scale, nullable, virtual_column, data_length
  FROM all_tab_cols WHERE owner = ? AND table_name = ? AND hidden_column = 'NO' ORDER BY column_id`;
/** Oracle 12 and later. */
const IDENTITY_SQL = 'SELECT column_name FROM all_tab_identity_cols WHERE owner = ? AND table_name = ?';
const KEYS_SQL = `SELECT c.constraint_name, c.constraint_type, k.column_name
  FROM all_constraints c JOIN all_cons_columns k ON k.owner = c.owner AND k.constraint_name = c.constraint_name
  WHERE c.owner = ? AND c.table_name = ? AND c.constraint_type IN ('P', 'U') AND c.status = 'ENABLED'
  ORDER BY c.constraint_type, c.constraint_name, k.position`;
/** Unique indexes that no constraint stands for, without those over expressions. */
const INDEXES_SQL = `SELECT i.index_name, 'U', k.column_name
  FROM all_indexes i JOIN all_ind_columns k ON k.index_owner = i.owner AND k.index_name = i.index_name
  WHERE i.table_owner = ? AND i.table_name = ? AND i.uniqueness = 'UNIQUE' AND i.index_type = 'NORMAL'
  AND NOT EXISTS (SELECT 1 FROM all_constraints c WHERE c.owner = i.table_owner AND c.table_name = i.table_name
    AND c.index_name = i.index_name AND c.constraint_type IN ('P', 'U'))
  ORDER BY i.index_name, k.column_position`;

type Row = readonly unknown[];

function kindOf(type: string, scale: number | undefined, precision: number | undefined): ColumnKind {
  if (/^(n?char|n?varchar2?|n?clob|long|u?rowid|xmltype|json)$/.test(type)) return 'text';
  if (/^(date$|timestamp)/.test(type)) return 'date';
  if (type === 'float' || /^binary_(float|double)$/.test(type)) return 'float';
  if (type === 'number')
    return scale === 0 || (scale === undefined && precision !== undefined) ? 'integer' : 'decimal';
  if (type === 'integer' || type === 'boolean') return 'integer';
  return /^(raw|long raw|blob|bfile)$/.test(type) ? 'bytes' : 'other';
}

function optional(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

function describe(row: Row, identities: ReadonlySet<unknown>): ColumnInfo {
  const [name, declared, chars, precision, scale, nullable, virtual, bytes] = row;
  // TIMESTAMP(6) WITH TIME ZONE: the digits are told by the scale.
  const type = String(declared)
    .toLowerCase()
    .replace(/\(\d+\)/g, '');
  const kind = kindOf(type, optional(scale), optional(precision));
  const length =
    kind === 'text'
      ? Number(chars) > 0
        ? Number(chars)
        : undefined
      : type === 'raw'
        ? optional(bytes)
        : optional(precision);
  return {
    name: toldName(String(name)),
    type,
    kind,
    length,
    scale: optional(scale),
    nullable: nullable === 'Y',
    generated: virtual === 'YES' || identities.has(name),
  };
}

/** @throws StoreError NO_TABLE */
export async function describeOracleTable(
  store: Pick<SqlRunner, 'query'>,
  table: string,
): Promise<TableInfo> {
  const { path, link } = nameParts(table);
  const missing = (): StoreError => new StoreError('NO_TABLE', `no such table or view: ${table}`);
  if (path.length > 2) throw missing();
  if (link !== undefined) {
    throw new StoreError(
      'NO_TABLE',
      `${table}: the columns of a table behind a link are asked for in its own database`,
    );
  }
  const name = path.at(-1) ?? '';
  let schema = path.length === 2 ? (path[0] ?? '') : '';
  if (schema === '') {
    const current = await store.query(`SELECT SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA') FROM DUAL`);
    schema = String(current.rows[0]?.[0]);
  }
  const found = await store.query(OWNER_SQL, [schema, name, schema, name, schema, name]);
  const [owner, real, remote] = found.rows[0] ?? [];
  if (owner === undefined || owner === null || remote !== null) throw missing();
  const at = [owner, real ?? name];
  const columns = await store.query(COLUMNS_SQL, at);
  if (columns.rows.length === 0) throw missing();
  const identities = await store.query(IDENTITY_SQL, at).catch((error: unknown) => {
    if (error instanceof StoreError && error.code === 'NO_TABLE') return { rows: [] };
    throw error;
  });
  const generated = new Set<unknown>(identities.rows.map(([column]) => column));
  const keys = new Map<string, { primary: boolean; columns: string[] }>();
  for (const sql of [KEYS_SQL, INDEXES_SQL]) {
    for (const [key, type, column] of (await store.query(sql, at)).rows) {
      const entry = keys.get(String(key)) ?? { primary: type === 'P', columns: [] };
      entry.columns.push(toldName(String(column)));
      keys.set(String(key), entry);
    }
  }
  const all = [...keys.values()];
  return {
    columns: columns.rows.map((row) => describe(row, generated)),
    primaryKey: all.find(({ primary }) => primary)?.columns ?? [],
    uniqueKeys: all.filter(({ primary }) => !primary).map((key) => key.columns),
  };
}
