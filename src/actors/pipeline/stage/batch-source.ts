/** The table of a stage that works in batches: what its conf says, checked against the dictionary. Worker thread. */
import type { Dialect, Store, TableInfo } from '../../../store/driver.js';
import { condition } from '../sync/sql.js';
import { StageError } from './run.js';

export interface BatchSource {
  readonly store: Store;
  /** As the conf has it. */
  readonly table: string;
  readonly info: TableInfo;
  /** Names of the key's columns as the dictionary has them. */
  readonly keys: readonly string[];
  /** The operator's condition, rewritten; never empty. */
  readonly where: string;
}

/** Pseudo columns that find a row, but stand in no dictionary. */
const ROW_IDS: Readonly<Record<string, readonly string[]>> = { oracle: ['rowid'], sqlite: ['rowid'] };

/** Reads the dictionary and checks the conf against it. @throws StageError, StoreError */
export async function openSource(
  store: Store,
  given: { readonly table: string; readonly key: readonly string[]; readonly where: string },
): Promise<BatchSource> {
  const { table } = given;
  const where = condition(given.where, store.dialect, 'where');
  if (where === '') throw new StageError('where is empty; "where 1=1" takes all rows', false);
  const info = await store.columns(table);
  return { store, table, info, where, keys: keysOf(store.dialect, table, info, given.key) };
}

function keysOf(
  dialect: Dialect,
  table: string,
  info: TableInfo,
  wanted: readonly string[],
): readonly string[] {
  const column = (name: string) => info.columns.find((one) => one.name.toLowerCase() === name.toLowerCase());
  if (wanted.length === 0) {
    const found = [info.primaryKey, ...info.uniqueKeys].find(
      (key) => key.length > 0 && key.every((name) => column(name)?.nullable === false),
    );
    if (found !== undefined) return found;
    throw new StageError(`${table} has neither a primary key nor a unique one without NULL; set key`, false);
  }
  return wanted.map((name) => {
    if (ROW_IDS[dialect.name]?.includes(name.toLowerCase()) === true) return name.toLowerCase();
    const found = column(name);
    if (found === undefined) throw new StageError(`key: ${table} has no column ${name}`, false);
    // No range finds a row without a key.
    if (found.nullable) throw new StageError(`key: ${table}.${found.name} may be NULL`, false);
    return found.name;
  });
}

export function quotedKeys({ store, keys, info }: BatchSource): string[] {
  const known = new Set(info.columns.map(({ name }) => name));
  return keys.map((name) => (known.has(name) ? store.dialect.quoteIdentifier(name) : name));
}
