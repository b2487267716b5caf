/**
 * What is asked of the database. The select of the conf is put into `WITH q (c1, c2, ...) AS (...)`: so its columns have
 * names whatever they are, and the rows come in the order of the key. A select that cannot stand there is run as it is. Worker
 * thread.
 */
import { isRetryable, StageError } from '../stage/run.js';
import { reasonOf } from '../../../runtime/errors.js';
import type { SqlRow, SqlValue, Store } from '../../../store/driver.js';
import { rewriteSql, SqlRewriteError, type RewrittenSql } from '../../../store/sql-rewrite.js';
import type { Settings } from './settings.js';

export type SqlKey = number | bigint | string;

export interface Query {
  readonly sql: string;
  readonly binds: SqlRow;
}

export interface Plan {
  /** Rows come in the order of the key, so that what was read up to a row is known by its key. */
  readonly ordered: boolean;
  /** Why they do not, although there is a key. */
  readonly reason: string | undefined;
  /** @param after the rows with a key beyond this one; undefined: all */
  read(after: SqlKey | undefined): Query;
  /** The same as one row with the number of rows; undefined when that cannot be asked. */
  count(after: SqlKey | undefined): Query | undefined;
  /** Select of one row if there is a row without key. Not for incremental extractions, which never see such rows. */
  keyless(): string | undefined;
}

/** A value no row can have beyond it is not known; any serves to look at the columns alone. */
const ANY_POSITION = 0;

/** @throws StageError when the select does not fit the fields, StoreError when the database refuses it */
export async function planOf(store: Store, settings: Settings): Promise<Plan> {
  const inner = rewrite(settings, store.dialect.name);
  const names = settings.fields.map((_, i) => `c${i + 1}`);
  const head = `WITH q (${names.join(', ')}) AS (\n${inner.sql}\n)`;
  const probe = inner.binds.map(() => ANY_POSITION);
  try {
    await store.query(`${head} SELECT * FROM q WHERE 1 = 0`, probe);
    return wrapped(store, settings, inner, head, names);
  } catch (error) {
    if (isRetryable(error)) throw error;
    // Either the select itself is wrong, and that is said now, or it cannot stand in brackets.
    await checkColumns(store, settings, inner.sql, probe);
    return bare(settings, inner, reasonOf(error));
  }
}

function rewrite({ params, incremental }: Settings, dialect: string): RewrittenSql {
  let result: RewrittenSql;
  try {
    result = rewriteSql(params.sql.trim().replace(/;\s*$/, ''), dialect);
  } catch (error) {
    if (error instanceof SqlRewriteError)
      throw new StageError(`sql: ${error.message}`, false, { cause: error });
    throw error;
  }
  const other = result.binds.find(({ number }) => number !== 1);
  if (other !== undefined)
    throw new StageError(`sql: :${other.number} is never given, only :1 (the position) is`, false);
  if (!incremental && result.binds.length > 0)
    throw new StageError('sql: :1 is the position of an incremental extraction; set inc_field', false);
  return result;
}

/** @throws StageError */
export function checkWidth(settings: Settings, columns: number): void {
  const { length } = settings.fields;
  if (columns === length) return;
  throw new StageError(
    `sql brings ${columns} columns, fields names ${length}; one name for each column`,
    false,
  );
}

async function checkColumns(store: Store, settings: Settings, sql: string, binds: SqlRow): Promise<void> {
  const timeoutMs = settings.params.query_timeout;
  for await (const { columns } of store.stream(sql, binds, { batchRows: 1, timeoutMs })) {
    checkWidth(settings, columns.length);
    return;
  }
}

function wrapped(
  store: Store,
  settings: Settings,
  inner: RewrittenSql,
  head: string,
  names: readonly string[],
): Plan {
  const { keyAt, incremental, ordered } = settings;
  const key = keyAt === undefined ? undefined : `q.${names[keyAt]}`;
  // The select asks for the position itself, as the reference has it; otherwise it is asked for around it.
  const asksItself = inner.binds.length > 0;
  const binds = (after: SqlKey | undefined): SqlValue[] => {
    if (after === undefined) return [];
    return asksItself ? inner.binds.map(() => after) : [after];
  };
  const rows = (after: SqlKey | undefined): string =>
    `FROM q${after !== undefined && !asksItself && key !== undefined ? ` WHERE ${key} > ?` : ''}`;
  return {
    ordered,
    reason: undefined,
    read(after) {
      // The order of the select itself would not be kept by one around it.
      const asItIs = !ordered && (asksItself || key === undefined);
      const sql = asItIs ? inner.sql : `${head} SELECT * ${rows(after)}${ordered ? ` ORDER BY ${key}` : ''}`;
      return { sql, binds: binds(after) };
    },
    count: (after) => ({
      sql: `${head} SELECT count(*) ${rows(after)}`,
      binds: binds(after),
    }),
    keyless() {
      if (incremental || key === undefined) return undefined;
      return store.dialect.limit(`${head} SELECT 1 FROM q WHERE ${key} IS NULL`, 1);
    },
  };
}

function bare({ keyAt, incremental }: Settings, inner: RewrittenSql, reason: string): Plan {
  if (incremental && inner.binds.length === 0) {
    throw new StageError(
      `sql: it needs \`> :1\` for the position, as nothing can be put around it: ${reason}`,
      false,
    );
  }
  return {
    ordered: false,
    reason: keyAt === undefined ? undefined : reason,
    read: (after = ANY_POSITION) => ({
      sql: inner.sql,
      binds: inner.binds.map(() => after),
    }),
    count: () => undefined,
    keyless: () => undefined,
  };
}
