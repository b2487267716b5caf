/**
 * How the stage `archive` moves rows: all of a batch by two statements, or, where some cannot be copied or the history is in
 * another database, row by row. A row is deleted only when its copy is proven. Worker thread.
 */
import { tabLine } from '../../../protocol/tab-text.js';
import { StoreError, type SqlRow, type SqlRunner, type Store } from '../../../store/driver.js';
import type { HistoryTable } from './tables.js';
import { quotedKeys, type BatchSource } from '../stage/batch-source.js';
import { chunksOf, keyList, maxKeys, whereText, type Piece } from '../sync/sql.js';

/** A row that was not moved. */
export interface StayedRow {
  readonly key: SqlRow;
  readonly reason: string;
}

export interface MoveResult {
  readonly moved: number;
  readonly stayed: readonly StayedRow[];
  /** As in `Taken`. */
  readonly heldMs?: number | undefined;
}

export interface Mover {
  readonly source: BatchSource;
  /** undefined: the source's own database */
  readonly target: Store | undefined;
  readonly timeoutMs: number;
}

function insertText(store: Store, { quoted, columns }: HistoryTable): string {
  const names = columns.map((name) => store.dialect.quoteIdentifier(name)).join(', ');
  // Numbers that the source's database has made are kept.
  const overriding = store.dialect.name === 'postgres' ? ' OVERRIDING SYSTEM VALUE' : '';
  return `INSERT INTO ${quoted} (${names})${overriding}`;
}

function sourceNames({ store }: BatchSource, { sourceColumns }: HistoryTable): string {
  return sourceColumns.map(({ name }) => store.dialect.quoteIdentifier(name)).join(', ');
}

/**
 * One transaction in one database: copied and deleted are the same rows, or nothing happens.
 * @throws StoreError BUSY when the rows changed in between; DUPLICATE or another code of the row when one
 * cannot be copied
 */
export async function moveInside(mover: Mover, table: HistoryTable, where: Piece): Promise<MoveResult> {
  const { source, timeoutMs } = mover;
  const { store } = source;
  const name = store.dialect.quoteIdentifier(source.table);
  const columns = sourceNames(source, table);
  const insert = insertText(store, table);
  const condition = whereText(where);
  const began = performance.now();
  let heldMs: number | undefined;
  const moved = await store.transaction(
    async (tx) => {
      const { copied, deleted } = await copyAndDelete(tx, store.dialect.name, {
        copy: (from, end) => `${insert} SELECT ${columns} FROM ${name}${from}${condition}${end}`,
        lock: `SELECT 1 FROM ${name}${condition} FOR UPDATE`,
        remove: `DELETE FROM ${name}${condition}`,
        both: `WITH gone AS (DELETE FROM ${name}${condition} RETURNING ${columns}),
          kept AS (${insert} SELECT ${columns} FROM gone RETURNING 1)
          SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM gone)`,
        binds: where.binds,
      });
      if (copied !== deleted)
        throw new StoreError(
          'BUSY',
          `${copied} rows were copied, but ${deleted} match now: they are changing`,
        );
      // A commit of InnoDB lets the locks go before it waits for the disk.
      if (store.dialect.name === 'mysql') heldMs = performance.now() - began;
      return deleted;
    },
    { timeoutMs },
  );
  return { moved, stayed: [], heldMs };
}

interface Texts {
  readonly copy: (from: string, end: string) => string;
  readonly lock: string;
  readonly remove: string;
  readonly both: string;
  readonly binds: SqlRow;
}

/** Rows copied stay locked until they are deleted, so equal numbers are equal rows. */
async function copyAndDelete(
  tx: SqlRunner,
  dialect: string,
  { copy, lock, remove, both, binds }: Texts,
): Promise<{ copied: number; deleted: number }> {
  if (dialect === 'postgres') {
    const { rows } = await tx.query(both, binds);
    return { copied: Number(rows[0]?.[0]), deleted: Number(rows[0]?.[1]) };
  }
  // Oracle cannot lock what INSERT ... SELECT reads.
  const locked = dialect === 'oracle' ? (await tx.query(lock, binds)).rows.length : undefined;
  const copied = await tx.execute(
    copy(dialect === 'mssql' ? ' WITH (UPDLOCK, HOLDLOCK)' : '', dialect === 'mysql' ? ' FOR UPDATE' : ''),
    binds,
  );
  const deleted = await tx.execute(remove, binds);
  return { copied: locked === undefined || locked === copied ? copied : locked, deleted };
}

/**
 * Row by row: the rows are read and locked, written where their key is not there yet, and deleted if an equal row is in
 * the history table, whoever wrote it. @param size about so many rows are in the range
 */
export async function moveRows(
  mover: Mover,
  table: HistoryTable,
  where: Piece,
  size: number,
): Promise<MoveResult> {
  const { source, target, timeoutMs } = mover;
  const { store } = source;
  const keys = quotedKeys(source);
  const name = store.dialect.quoteIdentifier(source.table);
  const hint = store.dialect.name === 'mssql' ? ' WITH (UPDLOCK, HOLDLOCK)' : '';
  const lock = /^(sqlite|mssql)$/.test(store.dialect.name) ? '' : ' FOR UPDATE';
  const sql = `SELECT ${keys.join(', ')}, ${sourceNames(source, table)} FROM ${name}${hint}${whereText(where)}${lock}`;
  return store.transaction(
    async (tx) => {
      const { rows } = await tx.query(sql, where.binds, { maxRows: 2 * size + 1_000 });
      if (rows.length === 0) return { moved: 0, stayed: [] };
      const values = rows.map((row) => row.slice(keys.length));
      const to = target ?? tx;
      const why = await copyRows(to, target ?? store, table, values);
      const there = await storedRows(mover, to, table, rows);
      const good: SqlRow[] = [];
      const stayed: StayedRow[] = [];
      rows.forEach((row, i) => {
        const key = row.slice(0, keys.length);
        if (there.has(table.rowText(values[i] ?? []))) good.push(key);
        else stayed.push({ key, reason: why.get(i) ?? 'its copy reads differently' });
      });
      let deleted = 0;
      for (const some of chunksOf(good, maxKeys(store.dialect, keys.length))) {
        const list = keyList(store.dialect, keys, some);
        deleted += await tx.execute(`DELETE FROM ${name} WHERE ${list.sql}`, list.binds);
      }
      if (deleted !== good.length)
        throw new StoreError('BUSY', `${good.length} rows were copied, but ${deleted} are there now`);
      return { moved: deleted, stayed };
    },
    { timeoutMs },
  );
}

/** @returns why rows were not written, by their index; a row not named was */
async function copyRows(
  to: SqlRunner,
  store: Store,
  table: HistoryTable,
  rows: readonly SqlRow[],
): Promise<Map<number, string>> {
  const why = new Map<number, string>();
  if (to === store) {
    try {
      const hex = table.columns.filter((_, i) => table.sourceColumns[i]?.kind === 'bytes');
      await to.bulk(table.name, table.columns, [Buffer.from(rows.map(tabLine).join(''))], { hex });
      return why;
    } catch (error) {
      if (!(error instanceof StoreError) || !isOfRow(error)) throw error;
    }
  }
  const binds = table.columns.map(() => '?').join(', ');
  const insert = `${insertText(store, table)} VALUES (${binds})`;
  const { duplicates, errors } = await to.batch(insert, rows, { onDuplicate: 'skip' });
  for (const row of duplicates) why.set(row, 'the history table has another row with its key');
  for (const { row, message } of errors) why.set(row, message);
  return why;
}

/** Whether a row, not the database, is why it failed. */
export function isOfRow({ code }: StoreError): boolean {
  return code === 'DUPLICATE' || code === 'CONSTRAINT' || code === 'BIND';
}

/** Rows of the history table with these keys, as text. */
async function storedRows(
  { source, target }: Mover,
  to: SqlRunner,
  table: HistoryTable,
  rows: readonly SqlRow[],
): Promise<Set<string>> {
  const { dialect } = target ?? source.store;
  const quote = (name: string): string => dialect.quoteIdentifier(name);
  const by = historyKeys(source, table);
  const names = by.map(({ name }) => quote(name));
  const columns = table.columns.map(quote).join(', ');
  const stored = new Set<string>();
  for (const some of chunksOf(rows, maxKeys(dialect, by.length))) {
    const keyed = some.map((row) => by.map(({ index }) => row[source.keys.length + index] ?? null));
    const list = keyList(dialect, names, keyed);
    const sql = `SELECT ${columns} FROM ${table.quoted} WHERE ${list.sql}`;
    const found = await to.query(sql, list.binds);
    for (const row of found.rows) stored.add(table.rowText(row));
  }
  return stored;
}

/** The columns by which a row is found in the history: the walking key, or for a row id the source's own key. */
function historyKeys(
  { keys, info }: BatchSource,
  { sourceColumns, columns }: HistoryTable,
): { name: string; index: number }[] {
  const place = (name: string): number => sourceColumns.findIndex((column) => column.name === name);
  const usable = [keys, info.primaryKey, ...info.uniqueKeys, sourceColumns.map(({ name }) => name)].find(
    (list) => list.length > 0 && list.every((name) => place(name) >= 0),
  );
  return (usable ?? []).map((name) => ({ name: columns[place(name)] ?? name, index: place(name) }));
}
