/**
 * Versioned tables. Who owns tables lists their migrations and calls `migrate` when it opens its store; any thread, and
 * safe when several open the same database at once.
 */
import { StoreError, type SqlRunner, type Store } from './driver.js';

export interface Migration {
  /** 1, 2, 3 ... without a gap. One that was released is never changed; a change is the next one. */
  readonly version: number;
  /** Statements by dialect name. */
  readonly statements: Readonly<Record<string, readonly string[]>>;
}

/**
 * Keeps others from migrating the same database at the same time; SQLite has but one writer anyway. Each answers 1 when it is ours.
 * PostgreSQL's ends with the transaction, MySQL's has to be given back.
 */
const LOCKS: Readonly<Record<string, { readonly take: string; readonly free?: string }>> = {
  mysql: {
    take: `SELECT GET_LOCK(concat(database(), '.schema_version'), 20)`,
    free: `SELECT RELEASE_LOCK(concat(database(), '.schema_version'))`,
  },
  postgres: { take: 'SELECT count(pg_advisory_xact_lock(7321655)::text)' },
};

/**
 * Applies what is missing, in one transaction where the database can (MySQL and Oracle commit at each CREATE, so
 * statements there must be repeatable).
 * @param owner whose tables: `accounts`, `ledger`; each has its own row in schema_version.
 * @returns the version now reached.
 * @throws StoreError DATABASE when the tables are newer than this program, or the dialect is not provided for.
 */
export async function migrate(
  store: Store,
  owner: string,
  migrations: readonly Migration[],
): Promise<number> {
  const newest = migrations.length;
  // Nearly always there is nothing to do, and so nothing to lock.
  if ((await versionOf(store, owner, newest).catch(absent)) === newest) return newest;
  const lock = LOCKS[store.dialect.name];
  return store.transaction(async (tx) => {
    if (lock !== undefined && (await tx.query(lock.take)).rows[0]?.[0] !== 1) {
      throw new StoreError('BUSY', 'somebody else changes the tables of this database');
    }
    try {
      return await apply(store, tx, owner, migrations);
    } finally {
      if (lock?.free !== undefined) await tx.query(lock.free);
    }
  });
}

/** The version is unknown where no table tells it. */
function absent(error: unknown): undefined {
  if (error instanceof StoreError && error.code === 'NO_TABLE') return undefined;
  throw error;
}

/** @throws StoreError DATABASE when it is beyond `newest` */
async function versionOf(runner: SqlRunner, owner: string, newest: number): Promise<number> {
  const found = await runner.query('SELECT version FROM schema_version WHERE owner = ?', [owner]);
  const current = Number(found.rows[0]?.[0] ?? 0);
  if (current > newest) {
    throw new StoreError(
      'DATABASE',
      `the tables of ${owner} have version ${current}, this program knows ${newest}: use a newer program`,
    );
  }
  return current;
}

async function apply(
  store: Store,
  tx: SqlRunner,
  owner: string,
  migrations: readonly Migration[],
): Promise<number> {
  const newest = migrations.length;
  await tx.execute(
    'CREATE TABLE IF NOT EXISTS schema_version (owner VARCHAR(50) PRIMARY KEY, version INTEGER NOT NULL)',
  );
  const current = await versionOf(tx, owner, newest);
  for (const { version, statements } of migrations.slice(current)) {
    const texts = statements[store.dialect.name];
    if (texts === undefined) {
      throw new StoreError('DATABASE', `the tables of ${owner} have no definition for ${store.dialect.name}`);
    }
    for (const text of texts) await tx.execute(text);
    const changed = await tx.execute('UPDATE schema_version SET version = ? WHERE owner = ?', [
      version,
      owner,
    ]);
    if (changed === 0) {
      await tx.execute('INSERT INTO schema_version (owner, version) VALUES (?, ?)', [owner, version]);
    }
  }
  return newest;
}
