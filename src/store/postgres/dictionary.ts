/** PostgreSQL's data dictionary. Names without a schema are looked for along the search path, as in every statement. Any thread. */
import { StoreError } from '../driver.js';
import type { ColumnInfo, ColumnKind, RowSet, SqlRow, TableInfo } from '../driver.js';
import { postgresDialect, spell } from './dialect.js';

const KINDS: Readonly<Record<string, ColumnKind>> = {
  varchar: 'text', bpchar: 'text', text: 'text', name: 'text', citext: 'text',
  int2: 'integer', int4: 'integer', int8: 'integer', oid: 'integer', bool: 'integer',
  numeric: 'decimal',
  float4: 'float', float8: 'float',
  date: 'date', time: 'date', timetz: 'date', timestamp: 'date', timestamptz: 'date',
  bytea: 'bytes',
}; // prettier-ignore

/** A domain counts as what it is made of. A serial is an integer with a sequence as its default. */
const COLUMNS = `
  SELECT a.attname, b.typname, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
    NOT (a.attnotnull OR t.typnotnull),
    a.attidentity <> '' OR a.attgenerated <> '' OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false)
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
  JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE c.oid = to_regclass(?) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  ORDER BY a.attnum`;

/** Only keys that hold for every row and as soon as it is written: none over expressions, with a condition or deferred. */
const KEYS = `
  SELECT i.indexrelid, i.indisprimary, a.attname
  FROM pg_index i
  CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS p (attnum, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = p.attnum
  WHERE i.indrelid = to_regclass(?) AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
    AND i.indexprs IS NULL AND p.place <= i.indnkeyatts
  ORDER BY i.indexrelid, p.place`;

function describeColumn(row: SqlRow): ColumnInfo {
  const [name, type, modifier, nullable, generated] = row;
  const kind = KINDS[String(type)] ?? 'other';
  const given = Number(modifier);
  let length: number | undefined;
  let scale: number | undefined;
  // The modifier holds the declared length plus 4, or digits and scale (11 bits, signed) plus 4, or digits of a second.
  if (given >= 0 && kind === 'text') length = given - 4;
  else if (given >= 0 && kind === 'date') scale = given;
  else if (given >= 0 && kind === 'decimal') {
    length = (given - 4) >> 16;
    scale = (((given - 4) & 0x7ff) ^ 1024) - 1024;
  }
  return {
    name: spell(String(name)),
    type: String(type),
    kind,
    length,
    scale,
    nullable: nullable === 1,
    generated: generated === 1,
  };
}

/**
 * @param query asks the database, in the transaction if there is one
 * @throws StoreError NO_TABLE
 */
export async function describeTable(
  query: (sql: string, binds: SqlRow) => Promise<RowSet>,
  table: string,
): Promise<TableInfo> {
  const name = postgresDialect.quoteIdentifier(table);
  const columns = await query(COLUMNS, [name]);
  if (columns.rows.length === 0) {
    // `to_regclass` needs both the schema and the table to be there and to be visible.
    throw new StoreError('NO_TABLE', `no such table: ${name}`);
  }
  const keys = new Map<unknown, string[]>();
  let primaryKey: readonly string[] = [];
  for (const [index, primary, column] of (await query(KEYS, [name])).rows) {
    const names = keys.get(index) ?? [];
    names.push(spell(String(column)));
    keys.set(index, names);
    if (primary === 1) primaryKey = names;
  }
  return {
    columns: columns.rows.map(describeColumn),
    primaryKey,
    uniqueKeys: [...keys.values()].filter((names) => names !== primaryKey),
  };
}
