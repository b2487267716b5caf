/** Part of the store contract: transactions. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { SqlRunner } from '../../src/store/driver.js';
import { codeOf, countOf, type Kit } from './contract.js';

export function transactionContract(kit: Kit): void {
  const { types, rowLocks } = kit.options;

  describe('a transaction', () => {
    it('is committed when its work fulfils and rolled back when it rejects', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY`);
      const insert = `INSERT INTO ${table} (id) VALUES (?)`;
      const seen = await store.transaction(async (tx) => {
        await tx.execute(insert, [1]);
        return countOf(tx, table);
      });
      expect(seen).toBe(1);
      const failed = store.transaction(async (tx) => {
        await tx.execute(insert, [2]);
        throw new Error('changed my mind');
      });
      await expect(failed).rejects.toThrow('changed my mind');
      expect((await store.query(`SELECT id FROM ${table}`)).rows).toEqual([[1]]);
    });

    it('goes on after a statement that failed', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY`);
      const insert = `INSERT INTO ${table} (id) VALUES (?)`;
      await store.transaction(async (tx) => {
        await tx.execute(insert, [1]);
        expect(await codeOf(tx.execute(insert, [1]))).toBe('DUPLICATE');
        expect(await codeOf(tx.query('SELECT id FROM SY_NOWHERE'))).toBe('NO_TABLE');
        expect(await codeOf(tx.query(`SELECT id FROM ${table}`, [], { maxRows: 0 }))).toBe('TOO_MANY_ROWS');
        await tx.execute(insert, [2]);
      });
      expect(await countOf(store, table)).toBe(2);
    });

    it('keeps the order of calls made at once', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.integer}`);
      const insert = `INSERT INTO ${table} (id, v) VALUES (?, ?)`;
      await store.transaction(async (tx) => {
        const batch = tx.batch(insert, [[1, 1], [1, 2], [2, 1]]); // prettier-ignore
        const change = tx.execute(`UPDATE ${table} SET v = 9 WHERE id = 2`);
        const wrong = codeOf(tx.execute(insert, [2, 0]));
        const count = countOf(tx, table);
        expect([(await batch).done, await change, await wrong, await count]).toEqual([2, 1, 'DUPLICATE', 2]);
      });
    });

    it('ends at its deadline, rolled back, and refuses what comes later', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}`);
      let escaped: SqlRunner | undefined;
      let late: Promise<string> | undefined;
      const work = async (tx: SqlRunner): Promise<void> => {
        escaped = tx;
        await tx.execute(`INSERT INTO ${table} (id) VALUES (1)`);
        await sleep(700);
        late = codeOf(tx.execute(`INSERT INTO ${table} (id) VALUES (2)`));
        await late;
      };
      expect(await codeOf(store.transaction(work, { timeoutMs: 300 }))).toBe('TIMEOUT');
      await sleep(600);
      expect(await late).not.toBe('fulfilled');
      expect(await countOf(store, table)).toBe(0);
      expect(await codeOf(escaped!.query(`SELECT id FROM ${table}`))).not.toBe('fulfilled');
    });

    it('is rolled back when the caller gives it up', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}`);
      const stop = new AbortController();
      const work = async (tx: SqlRunner): Promise<void> => {
        await tx.execute(`INSERT INTO ${table} (id) VALUES (1)`);
        stop.abort();
        await sleep(20);
        await tx.execute(`INSERT INTO ${table} (id) VALUES (2)`);
      };
      expect(await codeOf(store.transaction(work, { signal: stop.signal }))).toBe('CANCELLED');
      expect(await countOf(store, table)).toBe(0);
    });

    it('is closed to calls after its end', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}`);
      let escaped: SqlRunner | undefined;
      await store.transaction(async (tx) => {
        escaped = tx;
      });
      expect(await codeOf(escaped!.execute(`INSERT INTO ${table} (id) VALUES (1)`))).not.toBe('fulfilled');
      expect(await countOf(store, table)).toBe(0);
    });

    it.skipIf(!rowLocks)(
      'that is the victim of a deadlock is BUSY, and the other one goes through',
      async () => {
        const { store } = kit;
        const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.integer}`);
        await store.batch(`INSERT INTO ${table} (id, v) VALUES (?, 0)`, [[1], [2]]);
        const arrived: (() => void)[] = [];
        // Both hold their first row before either wants its second.
        const both = (): Promise<void> =>
          new Promise((resolve) => {
            arrived.push(resolve);
            if (arrived.length === 2) for (const go of arrived) go();
          });
        const cross = (first: number, second: number): Promise<string> =>
          codeOf(
            store.transaction(async (tx) => {
              await tx.execute(`UPDATE ${table} SET v = v + 1 WHERE id = ?`, [first]);
              await both();
              await tx.execute(`UPDATE ${table} SET v = v + 1 WHERE id = ?`, [second]);
            }),
          );
        const outcome = await Promise.all([cross(1, 2), cross(2, 1)]);
        expect(outcome.sort()).toEqual(['BUSY', 'fulfilled']);
        expect((await store.query(`SELECT v FROM ${table}`)).rows).toEqual([[1], [1]]);
      },
    );

    it.skipIf(!rowLocks)('waits for a locked row only so long', async () => {
      const impatient = await kit.options.open({}, 'lock_wait=1');
      try {
        const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.integer}`);
        await impatient.execute(`INSERT INTO ${table} (id, v) VALUES (1, 0)`);
        await impatient.transaction(async (tx) => {
          await tx.execute(`UPDATE ${table} SET v = 1`);
          expect(await codeOf(impatient.execute(`UPDATE ${table} SET v = 2`))).toBe('BUSY');
          const batch = impatient.batch(`UPDATE ${table} SET v = ?`, [[3]]);
          expect(await codeOf(batch)).toBe('BUSY');
        });
        expect((await impatient.query(`SELECT v FROM ${table}`)).rows).toEqual([[1]]);
      } finally {
        await impatient.close();
      }
    });
  });
}
