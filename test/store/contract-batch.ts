/** Part of the store contract: batches. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SqlRow } from '../../src/store/driver.js';
import { codeOf, countOf, type Kit } from './contract.js';

export function batchContract(kit: Kit): void {
  const { types } = kit.options;

  describe('a batch', () => {
    it('tells the fate of every row and keeps the good ones', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.integer} NOT NULL`);
      const rows = [[1, 1], [1, 2], [2, null], [3, undefined], [4], [5, 5]] as unknown as SqlRow[]; // prettier-ignore
      const result = await store.batch(`INSERT INTO ${table} (id, v) VALUES (?, ?)`, rows);
      expect(result.done).toBe(2);
      expect(result.duplicates).toEqual([]);
      expect(result.errors.map(({ row, code }) => [row, code])).toEqual([[1, 'DUPLICATE'], [2, 'CONSTRAINT'], [3, 'BIND'], [4, 'BIND']]); // prettier-ignore
      for (const { message } of result.errors) expect(message).toBeTruthy();
      expect((await store.query(`SELECT id, v FROM ${table} ORDER BY id`)).rows).toEqual([[1, 1], [5, 5]]); // prettier-ignore
    });

    it('lists duplicates apart when they are to be skipped', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.integer} NOT NULL`);
      const insert = `INSERT INTO ${table} (id, v) VALUES (?, ?)`;
      await store.execute(insert, [2, 0]);
      const rows = [[1, 1], [2, 2], [3, null], [1, 4], [5, 5]] as const; // prettier-ignore
      const result = await store.batch(insert, rows, { onDuplicate: 'skip' });
      expect(result).toMatchObject({ done: 2, duplicates: [1, 3] });
      expect(result.errors.map(({ row, code }) => [row, code])).toEqual([[2, 'CONSTRAINT']]);
      const found = await store.query(`SELECT id, v FROM ${table} ORDER BY id`);
      expect(found.rows).toEqual([[1, 1], [2, 0], [5, 5]]); // prettier-ignore
    });

    it('gives the same result wherever the bad rows are', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.integer} NOT NULL`);
      const kind = fc.constantFrom('good', 'good', 'good', 'null', 'duplicate');
      await fc.assert(
        fc.asyncProperty(fc.array(kind, { maxLength: 300 }), fc.boolean(), async (kinds, skip) => {
          await store.execute(`DELETE FROM ${table}`);
          await store.execute(`INSERT INTO ${table} (id, v) VALUES (-1, 0)`);
          const rows = kinds.map((one, i): SqlRow => [
            one === 'duplicate' ? -1 : i,
            one === 'null' ? null : i,
          ]);
          const onDuplicate = skip ? 'skip' : 'error';
          const result = await store.batch(`INSERT INTO ${table} (id, v) VALUES (?, ?)`, rows, {
            onDuplicate,
          });
          const at = (wanted: string): number[] => kinds.flatMap((one, i) => (one === wanted ? [i] : []));
          expect(result.duplicates).toEqual(skip ? at('duplicate') : []);
          const bad = new Map(result.errors.map(({ row, code }) => [row, code]));
          for (const row of at('null')) expect(bad.get(row)).toBe('CONSTRAINT');
          if (!skip) for (const row of at('duplicate')) expect(bad.get(row)).toBe('DUPLICATE');
          expect(result.done).toBe(at('good').length);
          const stored = await store.query(`SELECT id FROM ${table} WHERE id >= 0 ORDER BY id`);
          expect(stored.rows.flat()).toEqual(at('good'));
        }),
        { numRuns: 15 },
      );
    });

    it('takes many rows and any statement', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.text(40)}`);
      const rows = Array.from({ length: 5_000 }, (_, id): SqlRow => [id, `row ${id}`]);
      expect(await store.batch(`INSERT INTO ${table} (id, v) VALUES (?, ?)`, rows)).toMatchObject({
        done: 5_000,
      });
      const changes = rows.map(([id]): SqlRow => ['changed', id ?? null]);
      const update = `UPDATE ${table} SET v = ? WHERE id = ? AND v LIKE '%row%'`;
      expect(await store.batch(update, changes)).toMatchObject({ done: 5_000, errors: [] });
      expect((await store.query(`SELECT count(*) FROM ${table} WHERE v = 'changed'`)).rows).toEqual([
        [5_000],
      ]);
      expect(await store.batch(update, [])).toEqual({ done: 0, duplicates: [], errors: [] });
    });

    it('keeps values of all kinds', async () => {
      const { store } = kit;
      const table = await kit.table(
        `id ${types.integer}, b ${types.bigint}, d ${types.decimal}, t ${types.time}, s ${types.text(50)}, x ${types.bytes}`,
      );
      const row = [1, 2n ** 60n, '12345678901234567890.1234567891', types.timeText, "it's \\ 😀\n", Uint8Array.of(0, 39, 92, 255)]; // prettier-ignore
      const empty = [2, null, null, null, null, null];
      const insert = `INSERT INTO ${table} (id, b, d, t, s, x) VALUES (?, ?, ?, ?, ?, ?)`;
      expect(await store.batch(insert, [row, empty])).toMatchObject({ done: 2 });
      const { rows } = await store.query(`SELECT id, b, d, t, s, x FROM ${table} ORDER BY id`);
      expect(rows.map((one) => one.map((v) => (v instanceof Uint8Array ? Array.from(v) : v)))).toEqual([
        [...row.slice(0, 5), [0, 39, 92, 255]],
        empty,
      ]);
    });

    it.skipIf(kit.options.looseTypes === true)('refuses what a column cannot hold, row by row', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}, s ${types.text(5)}, t ${types.time}`);
      const insert = `INSERT INTO ${table} (id, s, t) VALUES (?, ?, ?)`;
      const rows = [[1, 'abcde', types.timeText], [2, 'abcdef', null], [10 ** 12, 'a', null], [4, 'a', 'no date'], ['x', 'a', null], [6, 'ok', null]] as const; // prettier-ignore
      const { done, errors } = await store.batch(insert, rows);
      expect([done, errors.map(({ row }) => row)]).toEqual([2, [1, 2, 3, 4]]);
      for (const { code } of errors) expect(['BIND', 'CONSTRAINT']).toContain(code);
    });

    it('as a whole fails for a statement that cannot be run, without a trace', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}`);
      expect(await codeOf(store.batch('INSERT INTO SY_NOWHERE (id) VALUES (?)', [[1], [2]]))).toBe(
        'NO_TABLE',
      );
      expect(await codeOf(store.batch(`INSERT INTO ${table} (nothing) VALUES (?)`, [[1]]))).toBe('SYNTAX');
      expect(await countOf(store, table)).toBe(0);
    });

    it('inside a transaction reports bad rows and is undone with it', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY`);
      const insert = `INSERT INTO ${table} (id) VALUES (?)`;
      await store.transaction(async (tx) => {
        expect(await tx.batch(insert, [[1], [1], [2]])).toMatchObject({ done: 2, errors: [{ row: 1 }] });
        expect(await tx.batch(insert, [[2], [3]], { onDuplicate: 'skip' })).toMatchObject({
          done: 1,
          duplicates: [0],
        });
      });
      expect(await countOf(store, table)).toBe(3);
      const failed = store.transaction(async (tx) => {
        await tx.batch(insert, [[4], [4], [5]]);
        throw new Error('no');
      });
      await expect(failed).rejects.toThrow('no');
      expect(await countOf(store, table)).toBe(3);
    });
  });
}
