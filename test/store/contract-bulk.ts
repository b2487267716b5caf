/** Part of the store contract: bulk loads. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tabLine, type TabValue } from '../../src/protocol/tab-text.js';
import type { BulkOptions, BulkResult, SqlRunner } from '../../src/store/driver.js';
import { codeOf, countOf, failureOf, type Kit } from './contract.js';

type Rows = readonly (readonly TabValue[])[];

/** Loads rows, as one chunk. */
function load(
  store: SqlRunner,
  table: string,
  columns: readonly string[],
  rows: Rows,
  options?: BulkOptions,
): Promise<BulkResult> {
  return store.bulk(table, columns, [Buffer.from(rows.map(tabLine).join(''))], options);
}

export function bulkContract(kit: Kit): void {
  const { types, looseTypes = false, emptyIsNull = false } = kit.options;

  describe('a bulk load', () => {
    it('brings values unchanged, wherever the chunks are cut', async () => {
      const { store } = kit;
      const table = await kit.table(
        `id ${types.integer}, b ${types.bigint}, d ${types.decimal}, t ${types.time}, s ${types.text(100)}, f ${types.float}`,
      );
      const columns = ['id', 'b', 'd', 't', 's', 'f'];
      const rows: Rows = [
        [
          1,
          2n ** 62n + 1n,
          '12345678901234567890.1234567891',
          types.timeText,
          'tab\t lf\n cr\r back\\slash \\N \\t',
          0.1,
        ],
        [2, null, null, null, null, null],
        [3, -5, '-7.1234567891', types.timeText, '汉字 𝄞 😀 \u0001\u001f "quoted" \'', -1.5e300],
        [4, 0, '0.0000000001', null, '\\', 0],
        [5, 1, '1.0000000000', null, 'x'.repeat(100), 1],
      ];
      const text = Buffer.from(rows.map(tabLine).join(''));
      const { rows: found } = await load(store, table, columns, rows).then(() =>
        store.query(`SELECT id, b, d, t, s, f FROM ${table} ORDER BY id`),
      );
      expect(found).toEqual(rows);
      await fc.assert(
        fc.asyncProperty(fc.array(fc.nat(text.length), { maxLength: 20 }), async (cuts) => {
          await store.execute(`DELETE FROM ${table}`);
          const at = [0, ...cuts.sort((a, b) => a - b), text.length];
          const chunks = at.slice(1).map((end, i) => text.subarray(at[i], end));
          expect(await store.bulk(table, columns, chunks)).toEqual({
            rows: 5,
            inserted: 5,
            updated: 0,
            skipped: 0,
          });
          expect((await store.query(`SELECT id, b, d, t, s, f FROM ${table} ORDER BY id`)).rows).toEqual(
            rows,
          );
        }),
        { numRuns: 15 },
      );
    });

    it('tells NULL from the empty text, and takes a last line without its end', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}, s ${types.text(10)}`);
      await store.bulk(table, ['id', 's'], [Buffer.from('1\t\\N\n2\t\n3\tlast')]);
      expect((await store.query(`SELECT s FROM ${table} ORDER BY id`)).rows.flat()).toEqual([null, emptyIsNull ? null : '', 'last']); // prettier-ignore
    });

    it('of nothing is nothing', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY`);
      for (const onDuplicate of ['error', 'skip', 'update'] as const)
        expect(await store.bulk(table, ['id'], [], { onDuplicate, keys: ['id'] })).toEqual({ rows: 0, inserted: 0, updated: 0, skipped: 0 }); // prettier-ignore
    });

    it('reads bytes from hexadecimal digits', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}, x ${types.bytes}`);
      const bytes = Uint8Array.of(0, 9, 10, 13, 39, 92, 255);
      for (const onDuplicate of ['error', 'skip'] as const)
        await load(store, table, ['x', 'id'], [[bytes, 1], [null, 2]], { hex: ['x'], onDuplicate }); // prettier-ignore
      const { rows } = await store.query(`SELECT x FROM ${table} ORDER BY id`);
      expect(rows.map(([x]) => (x instanceof Uint8Array ? Array.from(x) : x))).toEqual([[...bytes], [...bytes], null, null]); // prettier-ignore
    });

    it('ends at a duplicate, names the row where the database does, and leaves nothing', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.integer}`);
      await store.execute(`INSERT INTO ${table} (id, v) VALUES (7, 0)`);
      const failure = await failureOf(load(store, table, ['id', 'v'], [[1, 1], [7, 1], [8, 1]])); // prettier-ignore
      expect(failure.code).toBe('DUPLICATE');
      expect([1, undefined]).toContain(failure.row);
      expect((await store.query(`SELECT id, v FROM ${table}`)).rows).toEqual([[7, 0]]);
    });

    it('skips the rows whose key is there, of equal ones given the first stays', async () => {
      const { store } = kit;
      const table = await kit.table(
        `a ${types.integer}, b ${types.text(5)}, v ${types.integer}, PRIMARY KEY (a, b)`,
      );
      await store.execute(`INSERT INTO ${table} (a, b, v) VALUES (1, 'x', 0)`);
      const options: BulkOptions = { onDuplicate: 'skip', keys: ['a', 'b'] };
      const rows: Rows = [[1, 'y', 1], [1, 'x', 2], [1, 'y', 3], [2, 'x', 4]]; // prettier-ignore
      expect(await load(store, table, ['a', 'b', 'v'], rows, options)).toEqual({ rows: 4, inserted: 2, updated: 0, skipped: 2 }); // prettier-ignore
      expect((await store.query(`SELECT v FROM ${table} ORDER BY a, b`)).rows.flat()).toEqual([0, 1, 4]);
    });

    it('updates the rows whose key is there, of equal ones given the last stays', async () => {
      const { store } = kit;
      const table = await kit.table(
        `a ${types.integer}, b ${types.text(5)}, v ${types.integer}, w ${types.integer}, u ${types.text(30)}, PRIMARY KEY (a, b)`,
      );
      await store.execute(`INSERT INTO ${table} (a, b, v, w) VALUES (1, 'x', 0, 9)`);
      await store.execute(`INSERT INTO ${table} (a, b, v, w) VALUES (5, 'x', 0, 9)`);
      const options: BulkOptions = { onDuplicate: 'update', keys: ['a', 'b'] };
      const columns = ['a', 'b', 'v'];
      expect(await load(store, table, columns, [[1, 'x', 1], [2, 'x', 2]], options)).toEqual({ rows: 2, inserted: 1, updated: 1, skipped: 0 }); // prettier-ignore
      const twice = await load(store, table, columns, [[3, 'x', 1], [1, 'x', 7], [3, 'x', 8]], options); // prettier-ignore
      expect([twice.rows, twice.inserted + twice.updated]).toEqual([3, 3]);
      const found = await store.query(`SELECT a, v, w FROM ${table} ORDER BY a`);
      expect(found.rows).toEqual([[1, 7, 9], [2, 2, null], [3, 8, null], [5, 0, 9]]); // prettier-ignore
    });

    it('touches columns of rows it updates', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.integer}, u ${types.time}`);
      for (const id of [1, 2])
        await store.execute(`INSERT INTO ${table} (id, v, u) VALUES (?, 0, ?)`, [id, types.timeText]);
      const options: BulkOptions = { onDuplicate: 'update', keys: ['id'], touch: ['u'] };
      await load(store, table, ['id', 'v'], [[2, 1]], options);
      const [before, after] = (await store.query(`SELECT u FROM ${table} ORDER BY id`)).rows.flat();
      expect(before).toBe(types.timeText);
      expect(String(after)).toMatch(/^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d/);
      expect(after).not.toBe(types.timeText);
    });

    it('cuts and rounds nothing', async () => {
      const { store } = kit;
      const table = await kit.table(
        `id ${types.integer} NOT NULL, s ${types.text(5)}, t ${types.time}, p ${types.price ?? types.decimal}`,
      );
      const bad: (readonly TabValue[])[] = [[null, 'a', null, null], [1, 'a', null]]; // prettier-ignore
      if (!looseTypes)
        bad.push([1, 'abcdef', null, null], [1, '汉字汉字汉字', null, null], [1, 'a', 'yesterdayish', null], [1, 'a', '2023-02-30 00:00:00', null], [10 ** 12, 'a', null, null], ['x', 'a', null, null]); // prettier-ignore
      if (types.price !== undefined) bad.push([1, 'a', null, '1.234'], [1, 'a', null, '12345.00']);
      for (const options of [{}, { onDuplicate: 'skip' }] as const) {
        for (const row of bad) {
          const good = [5, 'abcde', types.timeText, '1.25'];
          const failure = await failureOf(
            load(store, table, ['id', 's', 't', 'p'], [good, good, row, good], options),
          );
          expect(['BIND', 'CONSTRAINT'], `${row.join()}: ${failure.message}`).toContain(failure.code);
          expect([2, undefined]).toContain(failure.row);
          expect(await countOf(store, table)).toBe(0);
        }
      }
      expect(await load(store, table, ['id', 's', 't', 'p'], [[5, 'abcde', types.timeText, '1.250']])).toMatchObject({ inserted: 1 }); // prettier-ignore
    });

    it('says when there is no such table or column', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}`);
      expect(await codeOf(load(store, 'SY_NOWHERE', ['id'], [[1]]))).toBe('NO_TABLE');
      expect(await codeOf(load(store, table, ['nothing'], [[1]]))).toBe('SYNTAX');
    });

    it('leaves nothing when its source fails, and passes the failure on', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}`);
      async function* broken(): AsyncGenerator<Uint8Array> {
        for (let i = 0; i < 1000; i++) yield Buffer.from(`${i}\n`);
        await Promise.resolve();
        throw new Error('the disk is gone');
      }
      await expect(store.bulk(table, ['id'], broken())).rejects.toThrow('the disk is gone');
      expect(await countOf(store, table)).toBe(0);
    });

    it('is given up at its deadline although its source never comes, and the store goes on', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}`);
      async function* hanging(): AsyncGenerator<Uint8Array> {
        yield Buffer.from('1\n');
        await new Promise(() => undefined);
      }
      expect(await codeOf(store.bulk(table, ['id'], hanging(), { timeoutMs: 300 }))).toBe('TIMEOUT');
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 100);
      expect(await codeOf(store.bulk(table, ['id'], hanging(), { signal: stop.signal }))).toBe('CANCELLED');
      expect(await countOf(store, table)).toBe(0);
      expect(await load(store, table, ['id'], [[1]])).toMatchObject({ inserted: 1 });
    });

    it('inside a transaction is undone alone when it fails, and several go one after the other', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.integer}`);
      const columns = ['id', 'v'];
      await store.transaction(async (tx) => {
        await tx.execute(`INSERT INTO ${table} (id, v) VALUES (1, 1)`);
        expect(await codeOf(load(tx, table, columns, [[2, 1], [1, 1]]))).toBe('DUPLICATE'); // prettier-ignore
        const options: BulkOptions = { onDuplicate: 'update', keys: ['id'] };
        expect(await load(tx, table, columns, [[1, 2], [3, 2]], options)).toMatchObject({ inserted: 1, updated: 1 }); // prettier-ignore
        expect(await codeOf(load(tx, table, columns, [[4, 1], ['x', 1]], options))).not.toBe('fulfilled'); // prettier-ignore
        expect(await load(tx, table, columns, [[5, 3], [3, 3]], options)).toMatchObject({ rows: 2, inserted: 1, updated: 1 }); // prettier-ignore
      });
      const found = await store.query(`SELECT id, v FROM ${table} ORDER BY id`);
      expect(found.rows).toEqual([[1, 2], [3, 3], [5, 3]]); // prettier-ignore
    });

    it('takes 100,000 rows from a source that is read no faster than they go in', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.text(100)}`);
      function* many(from: number): Generator<Uint8Array> {
        for (let i = from; i < from + 100_000; i += 1000) {
          let text = '';
          for (let id = i; id < i + 1000; id++) text += `${id}\tvalue of row ${id}\n`;
          yield Buffer.from(text);
        }
      }
      const options = { timeoutMs: 60_000 };
      expect(await store.bulk(table, ['id', 'v'], many(0), options)).toMatchObject({ inserted: 100_000 });
      const half = { ...options, onDuplicate: 'update', keys: ['id'] } as const;
      expect(await store.bulk(table, ['id', 'v'], many(50_000), half)).toEqual({ rows: 100_000, inserted: 50_000, updated: 50_000, skipped: 0 }); // prettier-ignore
      expect(await countOf(store, table)).toBe(150_000);
    });
  });
}
