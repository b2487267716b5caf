/** Part of the store contract: values, statements and what goes wrong with them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asObjects } from '../../src/store/driver.js';
import { codeOf, failureOf, type Kit } from './contract.js';

export function valueContract(kit: Kit): void {
  const { types, emptyIsNull = false } = kit.options;

  describe('values', () => {
    it('keep NULL apart from the empty text', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}, v ${types.text(20)}`);
      await store.execute(`INSERT INTO ${table} (id, v) VALUES (?, ?)`, [1, null]);
      await store.execute(`INSERT INTO ${table} (id, v) VALUES (?, ?)`, [2, '']);
      expect((await store.query(`SELECT id, v FROM ${table} ORDER BY id`)).rows).toEqual([
        [1, null],
        [2, emptyIsNull ? null : ''],
      ]);
    });

    it('of integers keep every digit: numbers where exact, bigints beyond', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}, v ${types.bigint}`);
      const given = [0, -1, 2 ** 53 - 1, 2n ** 53n + 1n, -(2n ** 63n), 2n ** 63n - 1n];
      for (const [i, value] of given.entries())
        await store.execute(`INSERT INTO ${table} (id, v) VALUES (?, ?)`, [i, value]);
      expect((await store.query(`SELECT v FROM ${table} ORDER BY id`)).rows.flat()).toEqual(given);
    });

    it('of decimals are the text the database prints, with every digit', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}, v ${types.decimal}`);
      const given = ['12345678901234567890.1234567891', '-99999999999999999999.9999999999', '7.1234567891'];
      for (const [i, value] of given.entries())
        await store.execute(`INSERT INTO ${table} (id, v) VALUES (?, ?)`, [i, value]);
      expect((await store.query(`SELECT v FROM ${table} ORDER BY id`)).rows.flat()).toEqual(given);
    });

    it('of floats come back exactly', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}, v ${types.float}`);
      await fc.assert(
        fc.asyncProperty(
          fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e300, max: 1e300 }),
          async (given) => {
            await store.execute(`DELETE FROM ${table}`);
            await store.execute(`INSERT INTO ${table} (id, v) VALUES (1, ?)`, [given]);
            const [got] = (await store.query(`SELECT v FROM ${table}`)).rows[0] ?? [];
            // Not every database knows a negative zero.
            expect(Number(got) + 0).toBe(given + 0);
          },
        ),
        { numRuns: 50 },
      );
    });

    it('of times keep their fraction', async () => {
      const { store } = kit;
      const table = await kit.table(`v ${types.time}`);
      await store.execute(`INSERT INTO ${table} (v) VALUES (?)`, [types.timeText]);
      expect((await store.query(`SELECT v FROM ${table}`)).rows).toEqual([[types.timeText]]);
    });

    it('of text come back unchanged, whatever they hold', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}, v ${types.text(200)}`);
      const control = Array.from({ length: 31 }, (_, i) => String.fromCharCode(i + 1)).join('');
      const given = ['汉字 𝄞 😀', control, `'; DROP TABLE ${table}; --`, '\\N \\ \t\r\n "`?$1', ' blanks '];
      for (const [i, value] of given.entries())
        await store.execute(`INSERT INTO ${table} (id, v) VALUES (?, ?)`, [i, value]);
      expect((await store.query(`SELECT v FROM ${table} ORDER BY id`)).rows.flat()).toEqual(given);
      expect((await store.query(`SELECT id FROM ${table} WHERE v = ?`, [given[2] ?? ''])).rows).toEqual([
        [2],
      ]);
    });

    it('of bytes come back unchanged', async () => {
      const { store } = kit;
      const table = await kit.table(`v ${types.bytes}`);
      const all = Uint8Array.from({ length: 1024 }, (_, i) => i & 255);
      await store.execute(`INSERT INTO ${table} (v) VALUES (?)`, [all]);
      const [got] = (await store.query(`SELECT v FROM ${table}`)).rows[0] ?? [];
      expect(got).toBeInstanceOf(Uint8Array);
      expect(Array.from(got as Uint8Array)).toEqual(Array.from(all));
    });

    it('are refused when no database could keep them, and when their number is wrong', async () => {
      const { store } = kit;
      const table = await kit.table(`v ${types.text(20)}`);
      const select = `SELECT v FROM ${table} WHERE v = ?`;
      for (const bad of [undefined, Number.NaN, true, {}, [1]])
        expect(await codeOf(store.query(select, [bad as never]))).toBe('BIND');
      expect(await codeOf(store.query(select, []))).toBe('BIND');
      expect(await codeOf(store.query(select, ['a', 'b']))).toBe('BIND');
      expect(await codeOf(store.execute(`DELETE FROM ${table}`, ['a']))).toBe('BIND');
    });

    it('are not looked for inside literals and comments', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}, v ${types.text(20)}`);
      await store.execute(`INSERT INTO ${table} (id, v) VALUES (1, '?')`);
      const { rows } = await store.query(
        `SELECT v /* why? */ FROM ${table} -- really?
         WHERE v = '?' AND id = ?`,
        [1],
      );
      expect(rows).toEqual([['?']]);
    });
  });

  describe('statements', () => {
    it('tell how many rows they changed', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.integer}`);
      for (const id of [1, 2, 3])
        expect(await store.execute(`INSERT INTO ${table} (id, v) VALUES (?, 0)`, [id])).toBe(1);
      expect(await store.execute(`UPDATE ${table} SET v = 1 WHERE id > ?`, [1])).toBe(2);
      // Also when they were as they should be.
      expect(await store.execute(`UPDATE ${table} SET v = 1 WHERE id > ?`, [1])).toBe(2);
      expect(await store.execute(`UPDATE ${table} SET v = 1 WHERE id > ?`, [9])).toBe(0);
      expect(await store.execute(`DELETE FROM ${table}`)).toBe(3);
    });

    it('give columns also without rows, in order, by the name the statement gives them', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}, v ${types.integer}`);
      const { columns, rows } = await store.query(`SELECT v AS b, id AS a, v AS b FROM ${table}`);
      expect([columns.map((name) => name.toLowerCase()), rows]).toEqual([['b', 'a', 'b'], []]);
    });

    it('fail with a code that says whose fault it is, and leave the connection usable', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.integer} NOT NULL`);
      const insert = `INSERT INTO ${table} (id, v) VALUES (?, ?)`;
      await store.execute(insert, [1, 1]);
      expect(await codeOf(store.execute(insert, [1, 2]))).toBe('DUPLICATE');
      expect(await codeOf(store.execute(insert, [2, null]))).toBe('CONSTRAINT');
      expect(await codeOf(store.query(`SELEC 1`))).toBe('SYNTAX');
      expect(await codeOf(store.query(`SELECT nothing FROM ${table}`))).toBe('SYNTAX');
      expect(await codeOf(store.query('SELECT v FROM SY_NOWHERE'))).toBe('NO_TABLE');
      expect(await codeOf(store.execute('DELETE FROM SY_NOWHERE'))).toBe('NO_TABLE');
      expect(await codeOf(store.query(`DELETE FROM ${table}`))).toBe('SYNTAX');
      expect(
        asObjects(await store.query(`SELECT id AS "id" FROM ${table}`.replaceAll('"', ''))),
      ).toHaveLength(1);
    });

    it('of several in one text are refused', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}`);
      const both = `INSERT INTO ${table} (id) VALUES (1); INSERT INTO ${table} (id) VALUES (2)`;
      expect((await failureOf(store.execute(both))).code).toBe('SYNTAX');
    });

    it('bring no more rows than asked for', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}`);
      for (const id of [1, 2, 3]) await store.execute(`INSERT INTO ${table} (id) VALUES (?)`, [id]);
      const select = `SELECT id FROM ${table} ORDER BY id`;
      expect(await codeOf(store.query(select, [], { maxRows: 2 }))).toBe('TOO_MANY_ROWS');
      expect((await store.query(select, [], { maxRows: 3 })).rows).toHaveLength(3);
      expect((await store.query(store.dialect.limit(select, 2))).rows).toEqual([[1], [2]]);
    });
  });
}
