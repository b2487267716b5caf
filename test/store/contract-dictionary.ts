/** Part of the store contract: the data dictionary and the dialect. */
import { describe, expect, it } from 'vitest';
import { codeOf, type Kit } from './contract.js';

export function dictionaryContract(kit: Kit): void {
  const { types, schemas } = kit.options;

  describe('the dictionary', () => {
    it('describes columns in order, with kinds, lengths and keys', async () => {
      const { store } = kit;
      const table = await kit.table(
        `z ${types.text(30)} NOT NULL, a ${types.integer} NOT NULL, b ${types.bigint}, f ${types.float},
         t ${types.time}, x ${types.bytes}, PRIMARY KEY (z, a), UNIQUE (b, a)`,
      );
      const { columns, primaryKey, uniqueKeys } = await store.columns(table);
      const lower = (names: readonly string[]): string[] => names.map((name) => name.toLowerCase());
      expect(lower(columns.map(({ name }) => name))).toEqual(['z', 'a', 'b', 'f', 't', 'x']);
      // Oracle has one type for all numbers.
      const number = store.dialect.name === 'oracle' ? ['decimal', 'decimal'] : ['integer', 'integer'];
      expect(columns.map(({ kind }) => kind)).toEqual(['text', ...number, 'float', 'date', 'bytes']);
      expect(columns[0]).toMatchObject({ length: 30, nullable: false, generated: false });
      expect(columns[2]).toMatchObject({ nullable: true });
      expect(lower(primaryKey)).toEqual(['z', 'a']);
      expect(uniqueKeys.map(lower)).toEqual([['b', 'a']]);
      for (const { type } of columns) expect(type).toBe(type.toLowerCase());
    });

    it('knows which values the database makes', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.counter}, v ${types.integer}`);
      const { columns } = await store.columns(table);
      expect(columns.map(({ generated }) => generated)).toEqual([true, false]);
      for (const v of [1, 2]) await store.execute(`INSERT INTO ${table} (v) VALUES (?)`, [v]);
      const ids = (await store.query(`SELECT id FROM ${table} ORDER BY v`)).rows.flat().map(Number);
      expect(ids[1]).toBeGreaterThan(ids[0] ?? Infinity);
    });

    it.skipIf(schemas === undefined)('keeps tables of one name in two schemas apart', async () => {
      const { store } = kit;
      const [here, there] = (await schemas?.(store)) ?? ['', ''];
      const table = await kit.table(`one ${types.integer} PRIMARY KEY, both_have ${types.integer}`);
      await store.execute(
        `CREATE TABLE ${there}.${table} (both_have ${types.text(9)}, two ${types.integer} PRIMARY KEY)`,
      );
      try {
        const names = async (name: string): Promise<string[]> =>
          (await store.columns(name)).columns.map((column) => column.name.toLowerCase());
        expect(await names(table)).toEqual(['one', 'both_have']);
        expect(await names(`${here}.${table}`)).toEqual(['one', 'both_have']);
        expect(await names(`${there}.${table}`)).toEqual(['both_have', 'two']);
        expect(
          (await store.columns(`${there}.${table}`)).primaryKey.map((name) => name.toLowerCase()),
        ).toEqual(['two']);
        await store.execute(store.dialect.insert(`${there}.${table}`, ['two', 'both_have']), [1, 'text']);
        await store.bulk(`${there}.${table}`, ['two', 'both_have'], [Buffer.from('2\tmore\n')]);
        expect((await store.query(`SELECT both_have FROM ${there}.${table} ORDER BY two`)).rows).toEqual([['text'], ['more']]); // prettier-ignore
      } finally {
        await store.execute(`DROP TABLE ${there}.${table}`);
      }
    });

    it('says when there is no such table', async () => {
      const { store } = kit;
      expect(await codeOf(store.columns('SY_NOWHERE'))).toBe('NO_TABLE');
      expect(await codeOf(store.columns('SY_NOWHERE.SY_NOTHING'))).toBe('NO_TABLE');
    });

    it('tells what the database is', async () => {
      expect(await kit.store.version()).toMatch(/^[A-Z][A-Za-z ]+ \d+(\.\d+)*/);
    });
  });

  describe('the dialect', () => {
    it('writes inserts and upserts, also for names that are words of the language', async () => {
      const { store } = kit;
      const { dialect } = store;
      const [order, from] = [dialect.quoteIdentifier('order'), dialect.quoteIdentifier('from')];
      const table = await kit.table(
        `${order} ${types.integer} PRIMARY KEY, ${from} ${types.integer}, u ${types.time}, w ${types.integer}`,
      );
      await store.execute(dialect.insert(table, ['order', 'from', 'u', 'w']), [1, 2, types.timeText, 5]);
      const upsert = dialect.upsert(table, ['order', 'from'], ['order'], ['u']);
      for (const row of [[1, 3], [2, 4]]) await store.execute(upsert, row); // prettier-ignore
      const found = (await store.query(`SELECT ${order}, ${from}, w, u FROM ${table} ORDER BY ${order}`))
        .rows;
      expect(found.map((row) => row.slice(0, 3))).toEqual([[1, 3, 5], [2, 4, null]]); // prettier-ignore
      expect(found[0]?.[3]).not.toBe(types.timeText);
      await store.execute(dialect.upsert(table, ['order'], ['order']), [2]);
      expect((await store.query(`SELECT ${from} FROM ${table} WHERE ${order} = 2`)).rows).toEqual([[4]]);
    });

    it('refuses names no database could have, and quotes what would be more than a name', async () => {
      const { store } = kit;
      for (const bad of ['', 'a..b', '.a', 'a\0b', 'x'.repeat(300)])
        expect(await codeOf((async () => store.dialect.quoteIdentifier(bad))())).toBe('SYNTAX');
      const evil = 'x; DROP TABLE y';
      const code = await codeOf(store.query(`SELECT 1 FROM ${store.dialect.quoteIdentifier(evil)}`));
      expect(['NO_TABLE', 'SYNTAX', 'DATABASE']).toContain(code);
    });

    it('knows the present time, to the second', async () => {
      const { store } = kit;
      const table = await kit.table(`t ${types.time}`);
      await store.execute(`INSERT INTO ${table} (t) VALUES (${store.dialect.now})`);
      const [now] = (await store.query(`SELECT t FROM ${table}`)).rows[0] ?? [];
      expect(String(now)).toMatch(/^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d(\.0+)?$/);
    });
  });
}
