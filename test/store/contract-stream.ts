/** Part of the store contract: streams. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { SqlRow } from '../../src/store/driver.js';
import { codeOf, type Kit } from './contract.js';

async function rowsOf(stream: AsyncIterable<{ readonly rows: readonly SqlRow[] }>): Promise<SqlRow[]> {
  const all: SqlRow[] = [];
  for await (const { rows } of stream) all.push(...rows);
  return all;
}

export function streamContract(kit: Kit): void {
  const { types, series } = kit.options;

  describe('a stream', () => {
    it('brings every row once, in order, in batches of the size asked for', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.text(20)}`);
      const rows = Array.from({ length: 2_500 }, (_, id): SqlRow => [id, id % 3 === 0 ? null : `v${id}`]);
      await store.batch(`INSERT INTO ${table} (id, v) VALUES (?, ?)`, rows);
      const select = `SELECT id, v FROM ${table} WHERE id >= ? ORDER BY id`;
      const sizes: number[] = [];
      const got: SqlRow[] = [];
      for await (const batch of store.stream(select, [0], { batchRows: 1_000 })) {
        expect(batch.columns.map((name) => name.toLowerCase())).toEqual(['id', 'v']);
        if (batch.rows.length > 0) sizes.push(batch.rows.length);
        got.push(...batch.rows);
      }
      expect(got).toEqual(rows);
      expect(sizes).toEqual([1_000, 1_000, 500]);
      expect(await rowsOf(store.stream(select, [2_498]))).toHaveLength(2);
    });

    it('without rows still tells the columns', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}`);
      const seen: string[] = [];
      for await (const { columns } of store.stream(`SELECT id FROM ${table}`)) seen.push(...columns);
      expect(seen.map((name) => name.toLowerCase())).toEqual(['id']);
    });

    it('sees a snapshot, and lets other calls do their work meanwhile', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY`);
      await store.batch(
        `INSERT INTO ${table} (id) VALUES (?)`,
        Array.from({ length: 500 }, (_, id) => [id]),
      );
      let seen = 0;
      let next = 1_000;
      for await (const { rows } of store.stream(`SELECT id FROM ${table}`, [], { batchRows: 50 })) {
        seen += rows.length;
        await store.execute(`INSERT INTO ${table} (id) VALUES (?)`, [next++]);
      }
      expect(seen).toBe(500);
      expect((await store.query(`SELECT count(*) FROM ${table}`)).rows).toEqual([[next - 500]]);
    });

    it('read by several at once goes on for each', async () => {
      const { store } = kit;
      const all = await Promise.all([1, 2, 3].map(() => rowsOf(store.stream(series(2_000)))));
      expect(all.map((rows) => rows.length)).toEqual([2_000, 2_000, 2_000]);
    });

    it('of 200,000 wide rows stays small in memory', async () => {
      const { store } = kit;
      let rows = 0;
      let sum = 0;
      let most = 0;
      const before = process.memoryUsage().rss;
      for await (const batch of store.stream(series(200_000))) {
        rows += batch.rows.length;
        for (const [n] of batch.rows) sum += Number(n);
        most = Math.max(most, process.memoryUsage().rss - before);
      }
      expect([rows, sum]).toEqual([200_000, 20_000_100_000]);
      // The rows together are 200 MB and more.
      expect(most).toBeLessThan(130e6);
    });

    it('may be left early, again and again', async () => {
      const { store } = kit;
      for (let i = 0; i < 20; i++) {
        for await (const { rows } of store.stream(series(1_000_000), [], { batchRows: 10 })) {
          expect(rows).toHaveLength(10);
          break;
        }
      }
      const failing = (async () => {
        for await (const { rows } of store.stream(series(1_000_000)))
          throw new Error(`no more than ${rows.length}`);
      })();
      await expect(failing).rejects.toThrow(/no more than \d+/);
    });

    it('may be left when all of it has come already', async () => {
      const { store } = kit;
      for (let i = 0; i < 10; i++) {
        let seen = 0;
        for await (const { rows } of store.stream(series(50), [], { batchRows: 1 })) {
          seen += rows.length;
          await sleep(5);
          break;
        }
        expect(seen).toBe(1);
        expect((await store.query(series(1), [], { timeoutMs: 5_000 })).rows).toHaveLength(1);
      }
    });

    it('fails with the code of its statement', async () => {
      const { store } = kit;
      expect(await codeOf(rowsOf(store.stream('SELECT id FROM SY_NOWHERE')))).toBe('NO_TABLE');
      expect(await codeOf(rowsOf(store.stream('SELEC 1')))).toBe('SYNTAX');
      expect(await codeOf(rowsOf(store.stream(series(1), [1])))).toBe('BIND');
      const table = await kit.table(`id ${types.integer}`);
      expect(await codeOf(rowsOf(store.stream(`DELETE FROM ${table}`)))).toBe('SYNTAX');
    });

    it('ends when it is given up', async () => {
      const { store } = kit;
      const stop = new AbortController();
      const reading = (async () => {
        for await (const { rows } of store.stream(series(10_000_000), [], { signal: stop.signal }))
          if (rows.length > 0) stop.abort();
      })();
      expect(await codeOf(reading)).toBe('CANCELLED');
      expect(await rowsOf(store.stream(series(10)))).toHaveLength(10);
    });
  });
}
