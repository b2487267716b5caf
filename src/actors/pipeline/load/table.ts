/**
 * How rows get into a table: its columns, key and checks from the data dictionary, for one rule (spec data-centre 8.3).
 * Kept for a minute, because the dictionary costs more than a small file. Worker thread.
 */
import type { TabColumn, TabKind } from '../../../protocol/tab-writer.js';
import { tabValue } from '../../../protocol/tab-text.js';
import {
  StoreError,
  type BulkOptions,
  type BulkResult,
  type ColumnInfo,
  type Dialect,
  type SqlRunner,
  type Store,
  type TableInfo,
} from '../../../store/driver.js';
import { rewriteSql } from '../../../store/sql-rewrite.js';
import type { LoadSettings } from './keys.js';
import { originOf } from './rejects.js';
import type { LoadRule } from './rules.js';
import { sequenceBulk, sequencePlan } from './sequence.js';
import { StageError } from '../stage/run.js';

/** The file cannot be loaded, now or later: it is put aside with this reason. */
export class BadFileError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'BadFileError';
  }
}

/** @param name of a file. @throws BadFileError when no rule matches, or it cannot be loaded */
export type PlanOf = (name: string) => TablePlan;

export type BulkLimits = Pick<BulkOptions, 'onFailure'> & { readonly timeoutMs: number };

type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

export interface TablePlan {
  readonly rule: LoadRule;
  /** By which an upsert finds its row. */
  readonly keys: readonly string[];
  /** What is read from the files. */
  readonly tabColumns: readonly TabColumn[];
  /** What follows in each row: tab text, each value with a tab before it. */
  tail(runId: number | undefined, file: string): Buffer;
  /** Statement before the rows of a file, in the database's own form. */
  readonly beforeSql: string | undefined;
  /** Rows with the same value in this column of `tabColumns` are best loaded together; see arrange.ts. */
  readonly together: number | undefined;
  /** Files of one transaction at most, when nothing is configured. */
  readonly groupFiles: number;
  /** All rows or none; see `BulkOptions` for `onFailure`. @throws StoreError */
  load(tx: SqlRunner, chunks: Chunks, options: BulkLimits): Promise<BulkResult>;
}

const KEEP = 60_000;
/** These end the transaction in which the file's rows are to be. */
const COMMITS: Readonly<Record<string, RegExp>> = {
  mysql:
    /^\s*(alter|create|drop|truncate|rename|lock|unlock|grant|revoke|start|begin|commit|rollback|set)\b/i,
  oracle: /^\s*(alter|create|drop|truncate|rename|lock|grant|revoke|commit|rollback|set)\b/i,
};
const ENDS = /^\s*(begin|commit|rollback|start|end|savepoint|release)\b/i;

export class TablePlans {
  private readonly kept = new Map<string, { readonly plan: TablePlan; readonly until: number }>();

  constructor(private readonly settings: LoadSettings) {}

  /** @throws BadFileError when no file of this rule can be loaded; StageError for a wrong conf; StoreError */
  async get(store: Store, rule: LoadRule): Promise<TablePlan> {
    const name = JSON.stringify([rule.table, rule.mode, rule.beforeSql]);
    const known = this.kept.get(name);
    if (known !== undefined && performance.now() < known.until) return known.plan;
    const plan = makePlan(rule, await dictionary(store, rule.table), store.dialect, this.settings);
    this.kept.set(name, { plan, until: performance.now() + KEEP });
    return plan;
  }

  /**
   * The plans of the files of one look, made beforehand: while a transaction is under way the dictionary may have to wait.
   * @throws StageError for a wrong conf; StoreError
   */
  async forRules(
    store: Store,
    rules: readonly LoadRule[],
    files: readonly { readonly name: string }[],
  ): Promise<PlanOf> {
    const byRule = new Map<LoadRule, TablePlan | BadFileError>();
    const ruleOf = (name: string): LoadRule | undefined => {
      // `*.xml` is meant for x.xml.gz and for the rejects of x.xml too.
      const plain = originOf(name).replace(/\.gz$/i, '');
      return rules.find((rule) => rule.matches(plain));
    };
    for (const { name } of files) {
      const rule = ruleOf(name);
      if (rule === undefined || byRule.has(rule)) continue;
      try {
        byRule.set(rule, await this.get(store, rule));
      } catch (error) {
        if (!(error instanceof BadFileError)) throw error;
        byRule.set(rule, error);
      }
    }
    return (name) => {
      const rule = ruleOf(name);
      const plan = rule && byRule.get(rule);
      if (plan === undefined) throw new BadFileError('no rule matches its name');
      if (plan instanceof BadFileError) throw plan;
      return plan;
    };
  }

  /** The database did not know the table as we did. */
  forget(): void {
    this.kept.clear();
  }
}

async function dictionary(store: Store, table: string): Promise<TableInfo> {
  try {
    return await store.columns(table);
  } catch (error) {
    if (error instanceof StoreError && (error.code === 'NO_TABLE' || error.code === 'SYNTAX'))
      throw new BadFileError(`the table ${table} does not exist`, { cause: error });
    throw error;
  }
}

function makePlan(rule: LoadRule, info: TableInfo, dialect: Dialect, settings: LoadSettings): TablePlan {
  const byTag = new Map(info.columns.map((column) => [tagOf(column.name), column]));
  const own = new Set(settings.skip_columns.map(tagOf));
  const provenance = settings.provenance.map((name) => {
    const column = byTag.get(tagOf(name));
    if (column === undefined)
      throw new StageError(`provenance: the table ${rule.table} has no column ${name}`, false);
    own.add(tagOf(name));
    return column;
  });
  if (provenance.length !== 0 && provenance.length !== 2)
    throw new StageError('provenance: two columns are needed, for the run and for the file', false);
  const natural = naturalKey(info, dialect, rule, own);
  const read = info.columns.filter(
    (column) => !own.has(tagOf(column.name)) && (!column.generated || column.name === natural),
  );
  if (read.length === 0) throw new BadFileError(`the table ${rule.table} has no column to load`);
  const columns = [...read, ...provenance].map(({ name }) => name);
  const keys = rule.mode === 'upsert' ? keyOf(rule, info, columns, settings.key) : [];
  const touched = [byTag.get('upttime')?.name].filter((name) => name !== undefined);
  const touch = own.has('upttime') ? touched : [];
  const hex = read.filter(({ kind }) => kind === 'bytes').map(({ name }) => name);
  const options: BulkOptions =
    rule.mode === 'upsert' ? { onDuplicate: 'update', keys, touch, hex } : { onDuplicate: 'skip', hex };
  const sequence = sequencePlan(rule, byTag.get('keyid'), own, dialect);
  return {
    rule,
    keys,
    tabColumns: read.map((column) => tabColumn(column, dialect, column.name === natural)),
    tail: (runId, file) => {
      const [, name] = provenance;
      if (name === undefined) return Buffer.alloc(0);
      const cut = [...file].slice(0, name.length ?? Infinity).join('');
      return Buffer.from(`\t${tabValue(runId)}\t${tabValue(cut)}`);
    },
    beforeSql: beforeSql(rule, dialect),
    together: togetherBy(info, dialect, read),
    // Each of SQLite's transactions writes most of the pages that the next one changes again.
    groupFiles: 64,
    load: (tx, chunks, limits) =>
      sequence === undefined
        ? tx.bulk(rule.table, columns, chunks, { ...options, ...limits })
        : sequenceBulk(tx, dialect, { table: rule.table, columns, keys, touch, hex, ...sequence }, chunks),
  };
}

/** Some dictionaries put names that need it into double quotes. */
function tagOf(name: string): string {
  return name.replace(/^"|"$/g, '').toLowerCase();
}

/**
 * A column the database would number itself, but by which alone rows can be told apart: then the files bring it. It counts
 * only where a NULL in it means "number it", or where it has to be there because an upsert needs a key.
 */
function naturalKey(
  info: TableInfo,
  dialect: Dialect,
  rule: LoadRule,
  own: ReadonlySet<string>,
): string | undefined {
  const [name, second] = info.primaryKey;
  if (name === undefined || second !== undefined || own.has(tagOf(name)) || info.uniqueKeys.length > 0)
    return undefined;
  return dialect.name === 'sqlite' || dialect.name === 'mysql' || rule.mode === 'upsert' ? name : undefined;
}

function keyOf(
  rule: LoadRule,
  info: TableInfo,
  columns: readonly string[],
  configured: readonly string[],
): readonly string[] {
  if (configured.length > 0) {
    return configured.map((wanted) => {
      const found = columns.find((name) => tagOf(name) === tagOf(wanted));
      if (found === undefined)
        throw new BadFileError(`the table ${rule.table} has no column ${wanted} for its key`);
      return found;
    });
  }
  // Without a key every row of the table would be updated (spec data-centre D16).
  const found = [info.primaryKey, ...info.uniqueKeys].find(
    (key) => key.length > 0 && key.every((name) => columns.includes(name)),
  );
  if (found === undefined)
    throw new BadFileError(
      `the table ${rule.table} has no primary or unique key among the loaded columns: an upsert could not tell its rows apart`,
    );
  return found;
}

/** SQLite inserts row by row, each into its place of the index: observations come by time, and their key begins with the station. */
function togetherBy(info: TableInfo, dialect: Dialect, read: readonly ColumnInfo[]): number | undefined {
  if (dialect.name !== 'sqlite') return undefined;
  const key = [info.primaryKey, ...info.uniqueKeys].find(({ length }) => length > 1);
  const at = read.findIndex(({ name }) => name === key?.[0]);
  return at < 0 ? undefined : at;
}

function tabColumn(column: ColumnInfo, dialect: Dialect, generated: boolean): TabColumn {
  const { name, length, scale, nullable } = column;
  const kind = kindOf(column, dialect);
  return { tag: tagOf(name), kind, length, scale, nullable: nullable || generated };
}

function kindOf({ kind, type }: ColumnInfo, dialect: Dialect): TabKind {
  switch (kind) {
    case 'integer':
    case 'decimal':
    case 'float':
      return kind;
    case 'date':
      // Oracle's DATE has a time of day; SQLite's column has whatever one writes.
      if (/^time(?!stamp)/.test(type)) return 'text';
      return type === 'date' && dialect.name !== 'oracle' && dialect.name !== 'sqlite' ? 'day' : 'date';
    case 'bytes':
      return 'hex';
    case 'text':
    case 'other':
      return 'text';
  }
}

function beforeSql(rule: LoadRule, dialect: Dialect): string | undefined {
  if (rule.beforeSql === undefined) return undefined;
  const text = rule.beforeSql.replace(/[;\s]+$/, '');
  let sql: string;
  try {
    const rewritten = rewriteSql(text, dialect.name);
    if (rewritten.binds.length > 0) throw new Error('it has binds, and there is nothing to bind');
    ({ sql } = rewritten);
  } catch (error) {
    throw new BadFileError(
      `the SQL before the file: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
  const word = COMMITS[dialect.name]?.exec(sql) ?? ENDS.exec(sql);
  if (word !== null)
    throw new BadFileError(
      `the SQL before the file: ${word[1]} would end the transaction of the file; use delete or update`,
    );
  return sql;
}
