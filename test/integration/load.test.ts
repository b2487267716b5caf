/** The stage `load` on real servers: what the unit tests show on SQLite, and what only a server can do to it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createStage } from '../../src/actors/pipeline/load.js';
import { runOnce } from '../../src/actors/pipeline/stage/run.js';
import { openStore } from '../../src/store/driver.js';
import { file, LoadFixture, names, OBS_TABLE, record } from '../support/load-fixture.js';
import { have, mariadb, postgres } from '../support/servers.js';

let f: LoadFixture | undefined;
afterEach(async () => {
  await f?.remove();
  f = undefined;
});

const SERVERS = [
  ['MariaDB', have.mariadb, mariadb],
  ['PostgreSQL', have.postgres, postgres],
] as const;

for (const [server, there, fresh] of SERVERS) {
  describe.skipIf(!there)(`the load stage on ${server}`, { timeout: 120_000 }, () => {
    const begin = async (...statements: readonly string[]): Promise<LoadFixture> => {
      f = await LoadFixture.make(await fresh());
      await f.sql(OBS_TABLE, ...statements);
      return f;
    };
    const rows = async (on: LoadFixture): Promise<unknown> =>
      (await on.sql('SELECT obtid, t, name FROM T_OBS ORDER BY obtid, ddatetime')).map((row) =>
        row.map((value) => (value === null ? null : String(value))),
      );

    it('inserts, updates, rejects what it must and leaves nothing out', async () => {
      const on = await begin(
        `INSERT INTO T_OBS (obtid, ddatetime, t) VALUES ('1', '2023-07-06 15:43:00', -1)`,
      );
      await on.put(
        'A_1.xml',
        file(record({ obtid: 1, t: 10, name: 'a' }), record({ obtid: 2, t: '', name: '站点&lt;\\' })),
      );
      await on.put(
        'A_2.xml',
        file(
          record({ obtid: 3, t: '3.25' }),
          record({ obtid: 4, t: 950 }),
          record({ obtid: 5, t: 5 }),
          record({ obtid: 6, t: 6 }),
        ),
      );
      await on.put('A_3.xml', file(record({ obtid: 1, t: 11.5, name: 'b' })));
      expect(await on.load()).toMatchObject({
        state: 'ok',
        counts: { files: 3, rowsIn: 7, rowsOut: 5, rowsRejected: 2, errors: 0 },
      });
      expect(await rows(on)).toEqual([
        ['1', '11.5', 'b'],
        ['2', null, '站点<\\'],
        ['5', '5.0', null],
        ['6', '6.0', null],
      ]);
      const [reject = ''] = await names(`${on.inbox}-errors`);
      const text = await readFile(join(`${on.inbox}-errors`, reject), 'utf8');
      expect(text).toMatch(/line 2: t "3.25" has more than 1 decimals/);
      expect(text).toMatch(/line 3: the database refuses it: /);
      const [[touched] = []] = await on.sql(
        `SELECT count(*) FROM T_OBS WHERE obtid = '1' AND upttime > '2020-01-01'`,
      );
      expect(Number(touched)).toBe(1);
      const files = await on.sql(
        'SELECT file_name, rows_in, rows_rejected, moved FROM switchyard_files ORDER BY file_name',
      );
      expect(files.map((row) => row.map(String))).toEqual([
        ['A_1.xml', '2', '0', '1'],
        ['A_2.xml', '2', '2', '1'],
        ['A_3.xml', '1', '0', '1'],
      ]);
    });

    it('takes the last of rows with one key when they stand in one group', async () => {
      const on = await begin();
      const one = (t: number): string => record({ obtid: 1, t });
      await on.put('A_1.xml', file(one(1), one(2), one(3)));
      await on.put('A_2.xml', file(one(4), record({ obtid: 2, t: 0 }), one(5)));
      expect(await on.load()).toMatchObject({ state: 'ok', counts: { files: 2, rowsIn: 6 } });
      expect(await rows(on)).toEqual([
        ['1', '5.0', null],
        ['2', '0.0', null],
      ]);
    });

    it('counts duplicates of an insert and keeps what is there', async () => {
      const on = await begin();
      await on.put('A_1.xml', file(record({ obtid: 1, t: 1 }), record({ obtid: 2, t: 2 })));
      await on.put('A_2.xml', file(record({ obtid: 2, t: 99 }), record({ obtid: 3, t: 3 })));
      expect(await on.load({ mode: 'insert' })).toMatchObject({
        state: 'ok',
        counts: { rowsIn: 4, rowsOut: 3 },
      });
      expect(await rows(on)).toEqual([
        ['1', '1.0', null],
        ['2', '2.0', null],
        ['3', '3.0', null],
      ]);
    });

    it('finds the rows that break another key, and only those', async () => {
      const on = await begin('CREATE UNIQUE INDEX u_name ON T_OBS (name)');
      const records = Array.from({ length: 3_000 }, (_, i) =>
        record({ obtid: i, t: 1, name: i % 1_000 === 999 ? 'same' : '' }),
      );
      await on.put('A_1.xml', file(...records));
      expect(await on.load()).toMatchObject({ state: 'ok', counts: { rowsOut: 2_998, rowsRejected: 2 } });
      expect(
        (await on.sql(`SELECT obtid FROM T_OBS WHERE name = 'same'`)).map((row) => row.map(String)),
      ).toEqual([['999']]);
      expect(on.events('load.bad-row').map(({ at }) => at)).toEqual(['A_1.xml:2001', 'A_1.xml:3001']);
    });

    it('streams a large file in one transaction', async () => {
      const on = await begin();
      const records = Array.from({ length: 50_000 }, (_, i) => record({ obtid: i, t: i % 500 }));
      await on.put('A_1.xml', file(...records));
      expect(await on.load({ group_bytes: '64k' })).toMatchObject({
        state: 'ok',
        counts: { rowsIn: 50_000, rowsOut: 50_000 },
      });
      await on.put('A_2.xml', file(...records.slice(0, 30_000), '<obtid>'));
      expect(await on.load({ group_bytes: '64k', strict: 'yes', max_rejects: '0' })).toMatchObject({
        counts: { files: 0, errors: 1 },
      });
      await on.put('A_3.xml', `${file(...records)}<obtid>${'9'.repeat(2_000_000)}`);
      expect(await on.load({ group_bytes: '64k' })).toMatchObject({
        state: 'ok',
        counts: { files: 0, errors: 1 },
      });
      expect(on.events('load.bad-file')[1]?.['reason']).toMatch(/^its record at line 50002 is longer than/);
    });

    it('waits for a lock of somebody else, gives up as retryable, and comes through later', async () => {
      const on = await begin(`INSERT INTO T_OBS (obtid, ddatetime) VALUES ('1', '2023-07-06 15:43:00')`);
      await on.put('A_1.xml', file(record({ obtid: 1, t: 7 }), record({ obtid: 2, t: 8 })));
      const other = await openStore(on.url);
      try {
        await other.transaction(async (tx) => {
          await tx.execute(`UPDATE T_OBS SET t = 1 WHERE obtid = '1'`);
          expect(await on.load({ file_timeout: '2s' })).toMatchObject({ state: 'failed', retryable: true });
        });
      } finally {
        await other.close();
      }
      expect(await on.load()).toMatchObject({ state: 'ok', counts: { rowsOut: 2 } });
      expect(await rows(on)).toEqual([
        ['1', '7.0', null],
        ['2', '8.0', null],
      ]);
    });

    it('follows a table that changes under it', async () => {
      const on = await begin();
      const env = on.env();
      const stage = createStage(env);
      const keep = { run: stage.run.bind(stage) };
      const run = (): Promise<unknown> => runOnce(() => keep, env, { dryRun: false, ledgerUrl: undefined });
      await on.put('A_1.xml', file(record({ obtid: 1, t: 1, name: 'x' })));
      expect(await run()).toMatchObject({ state: 'ok', counts: { rowsOut: 1 } });
      await on.sql('ALTER TABLE T_OBS DROP COLUMN name');
      await on.put('A_2.xml', file(record({ obtid: 2, t: 2, name: 'x' })));
      expect(await run()).toMatchObject({ state: 'ok', counts: { rowsOut: 1, errors: 0 } });
      await on.sql('DROP TABLE T_OBS');
      await on.put('A_3.xml', file(record({ obtid: 3 })));
      expect(await run()).toMatchObject({ state: 'ok', counts: { rowsOut: 0, errors: 1 } });
      expect(on.events('load.bad-file')[0]?.['reason']).toBe('the table T_OBS does not exist');
      await stage.close?.();
    });
  });
}
