import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type Store } from '../../src/store/driver.js';
import { migrate } from '../../src/store/migrations.js';
import { migrateDataApi } from '../../src/store/schema-data-api.js';
import { migrateWeather } from '../../src/store/schema-weather.js';
import { DATABASES } from '../support/databases.js';

const DIST = new URL('../../dist/store/', import.meta.url);

const everywhere = (...texts: readonly string[]): Record<string, readonly string[]> => ({
  sqlite: texts,
  mysql: texts,
  postgres: texts,
});
const first = { version: 1, statements: everywhere('CREATE TABLE a (x INT)') };
const second = { version: 2, statements: everywhere('ALTER TABLE a ADD y INT') };

for (const { name, present, fresh, clean } of DATABASES) {
  describe.skipIf(!present)(`on ${name}`, () => {
    let url: string;
    let store: Store;

    beforeEach(async () => {
      url = await fresh();
      store = await openStore(url);
    });

    afterEach(async () => {
      await store.close();
      clean();
    });

    describe('migrations', () => {
      it('are applied once each, from where the tables stand', async () => {
        expect(await migrate(store, 'a', [first])).toBe(1);
        expect(await migrate(store, 'a', [first, second])).toBe(2);
        expect(await migrate(store, 'a', [first, second])).toBe(2);
        expect((await store.columns('a')).columns.map(({ name }) => name)).toEqual(['x', 'y']);
      });

      it('leave nothing behind when one fails, but for databases that commit at each CREATE', async () => {
        const broken = { version: 2, statements: everywhere('ALTER TABLE a ADD z INT', 'CREATE NONSENSE') };
        await migrate(store, 'a', [first]);
        await expect(migrate(store, 'a', [first, broken])).rejects.toThrow(/syntax/);
        expect((await store.columns('a')).columns).toHaveLength(store.dialect.name === 'mysql' ? 2 : 1);
        expect((await store.query('SELECT version FROM schema_version')).rows).toEqual([[1]]);
      });

      it('refuse tables of a newer program', async () => {
        await migrate(store, 'a', [first, second]);
        await expect(migrate(store, 'a', [first])).rejects.toThrow(/version 2, this program knows 1/);
      });

      it('of the same owner may be asked for by several threads at once', async () => {
        const source = `
      import { workerData, parentPort } from 'node:worker_threads';
      const { openStore } = await import(workerData.dist + 'driver.js');
      const { migrateWeather } = await import(workerData.dist + 'schema-weather.js');
      const store = await openStore(workerData.url);
      await migrateWeather(store);
      await store.execute("INSERT INTO T_ZHOBTMIND (obtid, ddatetime) VALUES (?, '2023-07-06 15:43:00')", [workerData.n]);
      await store.close();
      parentPort.postMessage('ok');`;
        const results = await Promise.all(
          [1, 2, 3, 4].map(
            (n) =>
              new Promise((resolve, reject) => {
                const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
                  workerData: { dist: DIST.href, url, n },
                });
                worker.once('message', resolve).once('error', reject);
              }),
          ),
        );
        expect(results).toEqual(['ok', 'ok', 'ok', 'ok']);
        expect((await store.query('SELECT count(*) FROM T_ZHOBTMIND')).rows).toEqual([[4]]);
      });
    });

    describe('the shipped tables', () => {
      it('of the weather data hold a station and an observation once', async () => {
        await migrateWeather(store);
        await migrateWeather(store);
        const sql = 'INSERT INTO T_ZHOBTMIND (obtid, ddatetime, t) VALUES (?, ?, ?)';
        const rows = [['58015', '2023-07-06 15:43:00', 301], ['58015', '2023-07-06 15:43:00', 302], ['58015', '2023-07-06 15:44:00', null]] as const; // prettier-ignore
        expect(await store.batch(sql, rows, { onDuplicate: 'skip' })).toMatchObject({
          done: 2,
          duplicates: [1],
        });
        expect(
          (await store.query('SELECT obtid, ddatetime, t FROM T_ZHOBTMIND ORDER BY keyid')).rows,
        ).toEqual([
          ['58015', '2023-07-06 15:43:00', 301],
          ['58015', '2023-07-06 15:44:00', null],
        ]);
        const { columns, primaryKey, uniqueKeys } = await store.columns('T_ZHOBTMIND');
        expect([primaryKey, ...uniqueKeys]).toContainEqual(['obtid', 'ddatetime']);
        expect([primaryKey, ...uniqueKeys]).toContainEqual(['keyid']);
        expect(columns.find(({ name }) => name === 'keyid')).toMatchObject({
          kind: 'integer',
          generated: true,
        });
        const [upttime] = (await store.query('SELECT upttime FROM T_ZHOBTMIND')).rows[0] ?? [];
        expect(upttime).toMatch(/^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d$/);
      });

      it('of the data service keep grants to users and interfaces that exist', async () => {
        await migrateDataApi(store);
        await store.execute(
          `INSERT INTO T_USERINFO (username, passwd, appname) VALUES ('ty', 'hash', 'app')`,
        );
        await store.execute(`INSERT INTO T_DATATYPE (typeid, typename) VALUES ('01', 'stations')`);
        await store.execute(
          `INSERT INTO T_INTERCFG (intername, typeid, intercname, selectsql, colstr) VALUES ('i', '01', 'n', 'select 1', 'a')`,
        );
        const grant = 'INSERT INTO T_USERANDINTER (intername, username) VALUES (?, ?)';
        const result = await store.batch(grant, [['i', 'ty'], ['i', 'nobody'], ['i', 'ty']], { onDuplicate: 'skip' }); // prettier-ignore
        expect(result).toMatchObject({ done: 1, duplicates: [2], errors: [{ row: 1, code: 'CONSTRAINT' }] });
        await store.execute(`DELETE FROM T_INTERCFG WHERE intername = 'i'`);
        expect((await store.query('SELECT count(*) FROM T_USERANDINTER')).rows).toEqual([[0]]);
      });
    });
  });
}
