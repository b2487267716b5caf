/**
 * Versioned tables. Who owns tables lists their migrations and calls `migrate` when it opens its store; any thread, and
 * safe when several open the same database at once.
 */
import { StoreError, type Store } from './driver.js';

export interface Migration {
  /** 1, 2, 3 ... without a gap. One that was released is never changed; a change is the next one. */
  readonly version: number;
  /** Statements by dialect name. */
  readonly statements: Readonly<Record<string, readonly string[]>>;
}

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
  return store.transaction(async (tx) => {
    await tx.execute(
      'CREATE TABLE IF NOT EXISTS schema_version (owner VARCHAR(50) PRIMARY KEY, version INTEGER NOT NULL)',
    );
    const found = await tx.query('SELECT version FROM schema_version WHERE owner = ?', [owner]);
    const current = Number(found.rows[0]?.[0] ?? 0);
    if (current > newest) {
      throw new StoreError(
        'DATABASE',
        `the tables of ${owner} have version ${current}, this program knows ${newest}: use a newer program`,
      );
    }
    for (const { version, statements } of migrations.slice(current)) {
      const texts = statements[store.dialect.name];
      if (texts === undefined) {
        throw new StoreError(
          'DATABASE',
          `the tables of ${owner} have no definition for ${store.dialect.name}`,
        );
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
  });
}
