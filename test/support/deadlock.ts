/** Makes a stage the victim of a deadlock, on MariaDB or PostgreSQL. */
import { expect } from 'vitest';
import { openStore, type SqlRunner, type Store } from '../../src/store/driver.js';

/** How many connections of this database wait for a row. */
async function waiting(store: Store): Promise<number> {
  if (store.dialect.name === 'postgres') {
    const { rows } = await store.query(
      `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return Number(rows[0]?.[0]);
  }
  const { rows: own } = await store.query(
    'SELECT id FROM information_schema.processlist WHERE db = DATABASE()',
  );
  const ids = new Set(own.map(([id]) => String(id)));
  // Not information_schema.innodb_trx, which shows old news when all together ask more often than ten times a second.
  const { rows } = await store.query('SHOW ENGINE INNODB STATUS');
  const blocks = String(rows[0]?.[2]).split('---TRANSACTION ').slice(1);
  const waits = blocks.filter((block) => block.includes('\nLOCK WAIT '));
  return waits.filter((block) => ids.has(/thread id (\d+)/.exec(block)?.[1] ?? '')).length;
}

/** InnoDB takes the cheaper transaction for its victim, and rather one that has not changed tables without transactions. */
async function gainWeight(tx: SqlRunner, store: Store): Promise<void> {
  if (store.dialect.name === 'mysql') {
    await tx.execute('CREATE TEMPORARY TABLE T_MEMORY (n INTEGER) ENGINE=MEMORY');
    await tx.execute('INSERT INTO T_MEMORY VALUES (1)');
  }
  const rows = Array.from({ length: 3_000 }, (_, n) => [n]);
  await tx.batch('INSERT INTO T_WEIGHT (n) VALUES (?)', rows);
}

export interface Locks {
  /** Statement that takes the row the work comes to last. */
  readonly last: string;
  /** Statement that takes a row the work has by then. */
  readonly first: string;
}

/**
 * Another connection has the last row and then wants the first one. What it did is undone in the end.
 * @param start begins the work. @param ready the last row is taken then; without it before the work begins
 * @returns what became of the work
 */
export async function deadlocked<T>(
  url: string,
  { last, first }: Locks,
  start: () => Promise<T>,
  ready?: () => Promise<void>,
): Promise<T> {
  const store = await openStore(url);
  const undone = new Error('undone');
  let running: Promise<T> | undefined;
  try {
    await store.execute('CREATE TABLE T_WEIGHT (n INTEGER)');
    const holding = store.transaction(async (tx) => {
      await gainWeight(tx, store);
      if (ready === undefined) await tx.execute(last);
      running = start();
      running.catch(() => undefined);
      if (ready !== undefined) {
        await ready();
        await tx.execute(last);
      }
      await expect.poll(() => waiting(store), { timeout: 4_000, interval: 50 }).toBeGreaterThan(0);
      await tx.execute(first);
      throw undone;
    });
    await expect(holding).rejects.toBe(undone);
    if (running === undefined) throw new Error('it never began');
    return await running;
  } finally {
    await running?.catch(() => undefined);
    await store.close();
  }
}
