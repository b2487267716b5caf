/**
 * What a stage between two databases does, worked out of its conf and both data dictionaries: which columns become which,
 * the key, the conditions. Everything that does not fit is told at once and by name. Worker thread.
 */
import { StoreError } from '../../../store/driver.js';
import type { ColumnInfo, Dialect, SqlRow, SqlValue, Store, TableInfo } from '../../../store/driver.js';
import { all, condition, operatorSql, splitColumns } from './sql.js';
import { StageError } from '../stage/run.js';
import { canonical, comparisonOf, compareKeys, converter, type Comparison } from './values.js';

export interface PairSettings {
  readonly source_table: string;
  readonly target_table: string;
  readonly source_columns: string;
  readonly target_columns: string;
  readonly where: string;
  readonly source_where: string;
  readonly target_where: string;
  readonly source_key: readonly string[];
  readonly target_key: readonly string[];
}

/** One table as SQL text. */
export interface Side {
  readonly label: 'source' | 'target';
  readonly store: Store;
  /** Quoted. */
  readonly table: string;
  /** Expressions, those of the key first. */
  readonly columns: readonly string[];
  /** What the key is found by. */
  readonly keys: readonly string[];
  /** Condition without the word where, or ''. */
  readonly where: string;
}

export interface SyncPlan {
  readonly source: Side;
  readonly target: Side;
  /** Name of the target's table as given. */
  readonly targetTable: string;
  /** Names in the target, those of the key first. */
  readonly columns: readonly string[];
  /** The first of `columns`. */
  readonly key: readonly string[];
  /** For each of `columns`. */
  readonly comparisons: readonly Comparison[];
  /** Columns of raw bytes. */
  readonly hex: readonly string[];
  /** The key by which the target itself tells rows apart, if it has one within `columns`. */
  readonly upsertKey: readonly string[] | undefined;
  /** Both sides have the same dialect, types and no expressions, so they print equal rows alike. */
  readonly alike: boolean;
  /** Order of two rows by their key. */
  compare(a: SqlRow, b: SqlRow): number;
  /** The names of the columns that differ. */
  differing(a: SqlRow, b: SqlRow): string[];
  same(a: SqlRow, b: SqlRow): boolean;
  /** A row of the source as the target takes it. */
  convert(row: SqlRow): SqlRow;
}

const WORDS = /^(null|sysdate|user|current_(date|time|timestamp|user)|local(time|timestamp)|-?\d+(\.\d+)?)$/i;

/**
 * @param link the source as the target sees it; its dictionary may be out of reach, then names are taken as they are
 * @param needKey false: a table without any key will do
 * @throws StageError naming what does not fit, StoreError
 */
export async function makePlan(
  source: Store,
  target: Store,
  settings: PairSettings,
  options: { readonly link?: string; readonly needKey: boolean },
): Promise<SyncPlan> {
  const sourceName =
    options.link ?? (settings.source_table === '' ? settings.target_table : settings.source_table);
  const targetInfo = await target.columns(settings.target_table);
  const sourceInfo = await dictionary(source, sourceName, options.link !== undefined);
  const find = (info: TableInfo, name: string): ColumnInfo | undefined =>
    info.columns.find((column) => column.name === name) ??
    info.columns.find((column) => column.name.toLowerCase() === bare(name).toLowerCase());

  const key = chooseKey(settings, targetInfo, find);
  if (key.length === 0 && options.needKey) {
    throw new StageError(
      `${settings.target_table} has neither a primary nor a unique key: set target_key`,
      false,
    );
  }
  const targets = chooseColumns(settings, targetInfo, key, find);
  const expressions = splitColumns(settings.source_columns);
  if (expressions.length > 0 && expressions.length !== targets.length) {
    const names = targets.map(({ name }) => name).join(', ');
    throw new StageError(
      `source_columns has ${expressions.length} entries for ${targets.length} columns of the target (${names})`,
      false,
    );
  }
  const missing: string[] = [];
  const pairs = targets.map((info, i) => {
    const text = expressions[i] ?? info.name;
    const found = sourceInfo === undefined ? undefined : find(sourceInfo, text);
    if (found !== undefined) return { info, found, sql: source.dialect.quoteIdentifier(found.name) };
    if (isName(text) && !WORDS.test(text)) {
      if (sourceInfo !== undefined) missing.push(bare(text));
      return { info, found, sql: source.dialect.quoteIdentifier(bare(text)) };
    }
    return { info, found, sql: operatorSql(text, source.dialect, 'source_columns') };
  });
  if (missing.length > 0) {
    throw new StageError(
      `the source table ${sourceName} has no column ${missing.join(', ')}: set source_columns and target_columns`,
      false,
    );
  }
  const keyed = key.map((name) => {
    const pair = pairs.find(({ info }) => info.name === name);
    if (pair === undefined) throw new StageError(`the key column ${name} is not among target_columns`, false);
    return pair;
  });
  checkSourceKey(settings, keyed, source.dialect);
  const ordered = [...keyed, ...pairs.filter((pair) => !keyed.includes(pair))];

  const dialects = [source.dialect.name, target.dialect.name];
  const comparisons = ordered.map(({ info, found }) => comparisonOf(found, info, dialects));
  const columns = ordered.map(({ info }) => info.name);
  const quoted = columns.map((name) => target.dialect.quoteIdentifier(name));
  const alike =
    dialects[0] === dialects[1] &&
    ordered.every(({ info, found }) => found?.type === info.type && found.scale === info.scale);
  const converters = ordered.map(({ info }, i) => converter(comparisons[i] as Comparison, info));
  const differing = (a: SqlRow, b: SqlRow): string[] =>
    columns.filter((_, i) => !sameAt(a, b, i, comparisons));
  // A column of the key that may be NULL has no place in an order; such rows are left alone.
  const filled = (side: 'source' | 'target'): string =>
    keyed
      .flatMap(({ info, found, sql }) =>
        side === 'target'
          ? info.nullable ? [`${target.dialect.quoteIdentifier(info.name)} IS NOT NULL`] : []
          : found === undefined || found.nullable ? [`${sql} IS NOT NULL`] : [],
      )
      .join(' AND '); // prettier-ignore
  return {
    source: {
      label: 'source',
      store: source,
      table: source.dialect.quoteIdentifier(sourceName),
      columns: ordered.map(({ sql }) => sql),
      keys: keyed.map(({ sql }) => sql),
      where: all(
        condition(settings.where, source.dialect, 'where'),
        condition(settings.source_where, source.dialect, 'source_where'),
        filled('source'),
      ).sql,
    },
    target: {
      label: 'target',
      store: target,
      table: target.dialect.quoteIdentifier(settings.target_table),
      columns: quoted,
      keys: quoted.slice(0, key.length),
      where: all(
        condition(settings.where, target.dialect, 'where'),
        condition(settings.target_where, target.dialect, 'target_where'),
        filled('target'),
      ).sql,
    },
    targetTable: settings.target_table,
    columns,
    key,
    comparisons,
    hex: ordered.filter(({ info }) => info.kind === 'bytes').map(({ info }) => info.name),
    upsertKey: upsertKey(targetInfo, key, columns),
    alike,
    compare: compareKeys(comparisons.slice(0, key.length)),
    differing,
    same: (a, b) => {
      for (let i = key.length; i < columns.length; i++) if (!sameAt(a, b, i, comparisons)) return false;
      return true;
    },
    convert: alike ? (row) => row : (row) => row.map((value, i) => converters[i]?.(value) ?? null),
  };
}

function sameAt(a: SqlRow, b: SqlRow, i: number, comparisons: readonly Comparison[]): boolean {
  const left: SqlValue = a[i] ?? null;
  const right: SqlValue = b[i] ?? null;
  if (left === right) return true;
  const how = comparisons[i] as Comparison;
  return canonical(left, how) === canonical(right, how);
}

/** What is behind a link may have a dictionary that cannot be reached. */
async function dictionary(store: Store, table: string, linked: boolean): Promise<TableInfo | undefined> {
  try {
    return await store.columns(table);
  } catch (error) {
    if (linked && error instanceof StoreError && error.code === 'NO_TABLE') return undefined;
    throw error;
  }
}

type Find = (info: TableInfo, name: string) => ColumnInfo | undefined;

function chooseKey(settings: PairSettings, info: TableInfo, find: Find): readonly string[] {
  if (settings.target_key.length === 0) {
    return info.primaryKey.length > 0 ? info.primaryKey : (info.uniqueKeys[0] ?? []);
  }
  return settings.target_key.map((name) => {
    const found = find(info, name);
    if (found === undefined)
      throw new StageError(`target_key: ${settings.target_table} has no column ${name}`, false);
    return found.name;
  });
}

function chooseColumns(
  settings: PairSettings,
  info: TableInfo,
  key: readonly string[],
  find: Find,
): readonly ColumnInfo[] {
  const names = splitColumns(settings.target_columns);
  if (names.length === 0) {
    // A number the database makes itself is copied only where rows are told apart by it.
    const keys = new Set([...key, ...info.primaryKey, ...info.uniqueKeys.flat()]);
    return info.columns.filter(({ name, generated }) => !generated || keys.has(name));
  }
  const missing = names.filter((name) => find(info, name) === undefined);
  if (missing.length > 0) {
    throw new StageError(
      `target_columns: the table ${settings.target_table} has no column ${missing.join(', ')}`,
      false,
    );
  }
  const found = names.map((name) => find(info, name)).filter((column) => column !== undefined);
  const twice = found.find((column, i) => found.indexOf(column) !== i);
  if (twice !== undefined) throw new StageError(`target_columns names ${twice.name} twice`, false);
  return found;
}

/** The source's key must be what arrives in the target's key, otherwise rows would not find each other. */
function checkSourceKey(
  settings: PairSettings,
  keyed: readonly { readonly info: ColumnInfo; readonly sql: string }[],
  dialect: Dialect,
): void {
  const { source_key: given } = settings;
  if (given.length === 0) return;
  if (given.length !== keyed.length) {
    throw new StageError(`source_key has ${given.length} columns, target_key ${keyed.length}`, false);
  }
  const plain = (text: string): string => text.replace(/["`[\]\s]/g, '').toLowerCase();
  for (const [i, text] of given.entries()) {
    const { info, sql } = keyed[i] as (typeof keyed)[number];
    if (plain(operatorSql(text, dialect, 'source_key')) === plain(sql)) continue;
    throw new StageError(
      `source_key ${text} is not what source_columns brings into the key column ${info.name} (${sql})`,
      false,
    );
  }
}

/** A key of the target whose columns are all given: the one asked for, if it is one, before others. */
function upsertKey(
  info: TableInfo,
  key: readonly string[],
  columns: readonly string[],
): readonly string[] | undefined {
  const usable = [info.primaryKey, ...info.uniqueKeys].filter(
    (names) => names.length > 0 && names.every((name) => columns.includes(name)),
  );
  return usable.find((names) => sameNames(names, key)) ?? usable[0];
}

export function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name));
}

function isName(text: string): boolean {
  return /^[\p{L}_][\p{L}\p{N}_$#]*$/u.test(text) || /^(?:"[^"]+"|`[^`]+`|\[[^\]]+\])$/.test(text);
}

function bare(text: string): string {
  return text.replace(/^["`[]|["`\]]$/g, '');
}
