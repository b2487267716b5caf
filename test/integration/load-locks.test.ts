/** The stage `load` and rows that another connection holds: it gives up, loses nothing, blames no row, and comes through later. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { createStage } from '../../src/actors/pipeline/load.js';
import { runOnce, type RunResult, type Stage } from '../../src/actors/pipeline/stage/run.js';
import { openStore, type Store } from '../../src/store/driver.js';
import { deadlocked } from '../support/deadlock.js';
import { file, LoadFixture, names, OBS_TABLE, record } from '../support/load-fixture.js';
import { have, mariadb, postgres } from '../support/servers.js';

let f: LoadFixture | undefined;
let stage: Stage | undefined;
let other: Store | undefined;
afterEach(async () => {
  await stage?.close?.();
  await other?.close();
  await f?.remove();
  f = stage = other = undefined;
});

/** Rows 'a' to 'z': the load comes to the first before the last. */
const there = (...ids: readonly string[]): string =>
  `INSERT INTO T_OBS (obtid, ddatetime, t) VALUES ${ids.map((id) => `('${id}', '2023-07-06 15:43:00', -1)`).join(', ')}`;
const lock = (id: string): string => `UPDATE T_OBS SET t = -2 WHERE obtid = '${id}'`;

interface Way {
  readonly written: Readonly<Record<string, string>>;
  /** What is in the table before. */
  readonly before: readonly string[];
  /** What the other one does to the last and then to the first row. */
  readonly last: string;
  readonly first: string;
}
const WAYS: readonly (readonly [string, Way])[] = [
  ['an insert', { written: { mode: 'insert' }, before: ['x'], last: there('z'), first: there('a') }],
  ['an upsert', { written: {}, before: ['a', 'z'], last: lock('z'), first: lock('a') }],
  [
    'a file that is a stream',
    { written: { group_bytes: '1k' }, before: ['a', 'z'], last: lock('z'), first: lock('a') },
  ],
  [
    'the SQL before a file',
    {
      written: { before_sql: "update T_OBS set t = 0 where obtid in ('a', 'z')" },
      before: ['a', 'z'],
      last: lock('z'),
      first: lock('a'),
    },
  ],
  [
    'rows behind the SQL before a file',
    {
      written: { before_sql: "update T_OBS set t = 0 where obtid = 'a'", mode: 'insert' },
      before: ['a'],
      last: there('z'),
      first: lock('a'),
    },
  ],
];

for (const [server, present, fresh] of [
  ['MariaDB', have.mariadb, mariadb],
  ['PostgreSQL', have.postgres, postgres],
] as const) {
  describe.skipIf(!present)(`the load stage on ${server}`, { timeout: 60_000 }, () => {
    /** @param settings of the URL */
    async function begin(
      way: Way,
      settings: string,
    ): Promise<{ on: LoadFixture; load: () => Promise<RunResult> }> {
      const url = await fresh();
      const on = (f = await LoadFixture.make(url + settings));
      await on.sql(OBS_TABLE, there(...way.before));
      other = await openStore(url);
      const env = on.env(way.written);
      stage = createStage(env);
      const keep = { run: stage.run.bind(stage) };
      return { on, load: () => runOnce(() => keep, env, { dryRun: false, ledgerUrl: undefined }) };
    }

    async function isLoadedOnce(on: LoadFixture, count: number): Promise<void> {
      const [all] = await on.sql('SELECT count(*), count(DISTINCT obtid), sum(t) FROM T_OBS');
      expect(all?.slice(0, 2).map(Number)).toEqual([count, count]);
      const files = await on.sql(
        'SELECT file_name, rows_in, rows_rejected FROM switchyard_files ORDER BY file_name',
      );
      expect(files.map((row) => row.map(String))).toEqual([
        ['A_1.xml', '2', '0'],
        ['A_2.xml', '2', '0'],
      ]);
      expect(await names(on.inbox)).toEqual([]);
      expect(await names(`${on.inbox}-errors`)).toEqual([]);
      expect([
        ...on.events('load.bad-row'),
        ...on.events('load.bad-file'),
        ...on.events('load.careful'),
      ]).toEqual([]);
    }

    const files = async (on: LoadFixture): Promise<void> => {
      await on.put('A_1.xml', file(record({ obtid: 'a', t: 1 }), record({ obtid: 'm', t: 2 })));
      await on.put('A_2.xml', file(record({ obtid: 'n', t: 3 }), record({ obtid: 'z', t: 4 })));
    };

    describe('is the victim of a deadlock', () => {
      it.each(WAYS)(
        'in %s: the run is retried, every row is there once, and none is blamed',
        async (_, way) => {
          const { on, load } = await begin(way, '');
          // In one file, so that one transaction has the first row when it comes to the last.
          if (way.written['group_bytes'] !== undefined || way.written['before_sql'] !== undefined) {
            await on.put('A_1.xml', file(...['a', 'z'].map((obtid, t) => record({ obtid, t }))));
            await on.put('A_2.xml', file(record({ obtid: 'm', t: 2 }), record({ obtid: 'n', t: 3 })));
          } else await files(on);
          const result = await deadlocked(on.url, way, load);
          expect(result).toMatchObject({ state: 'failed', retryable: true });
          expect(String(result.error)).toMatch(/deadlock/i);
          expect(await on.sql('SELECT * FROM switchyard_files')).toEqual([]);
          expect(await load()).toMatchObject({
            state: 'ok',
            counts: { files: 2, rowsIn: 4, rowsRejected: 0 },
          });
          await isLoadedOnce(on, way.before.includes('x') ? 5 : 4);
        },
      );

      it('while it looks for a bad row: only that one is blamed', async () => {
        const [, way] = WAYS[1] ?? [];
        const { on, load } = await begin(way as Way, '');
        const many = Array.from({ length: 20_000 }, (_, n) => record({ obtid: n, t: 1 }));
        const bad = record({ obtid: 'bad', t: 950 });
        await on.put('A.xml', file(record({ obtid: 'a', t: 1 }), bad, ...many, record({ obtid: 'z', t: 4 })));
        const locks = { last: lock('z'), first: lock('a') };
        const result = await deadlocked(on.url, locks, load, async () => {
          while (on.events('load.careful').length === 0) await sleep(1);
        });
        expect(result).toMatchObject({ state: 'failed', retryable: true });
        expect(String(result.error)).toMatch(/deadlock/i);
        expect(await load()).toMatchObject({
          state: 'ok',
          counts: { files: 1, rowsIn: 20_003, rowsRejected: 1 },
        });
        expect((await on.sql('SELECT count(*) FROM T_OBS')).map(Number)).toEqual([20_002]);
        expect(on.events('load.bad-row').map(({ at }) => at)).toEqual(['A.xml:3']);
      });
    });

    it.each(WAYS)('gives up waiting for a row in %s, and comes through later', async (_, way) => {
      const { on, load } = await begin(way, '?lock_wait=1');
      await files(on);
      const undone = new Error('undone');
      const holding = (other as Store).transaction(async (tx) => {
        await tx.execute(way.last);
        // An upsert more often than a file that fails in other ways is tried.
        for (let i = 0; i < (way === WAYS[1]?.[1] ? 4 : 1); i++) {
          const result = await load();
          expect(result).toMatchObject({ state: 'failed', retryable: true });
          expect(String(result.error)).toMatch(/lock/i);
        }
        throw undone;
      });
      await expect(holding).rejects.toBe(undone);
      expect(await load()).toMatchObject({ state: 'ok', counts: { rowsRejected: 0 } });
      await isLoadedOnce(on, way.before.includes('x') ? 5 : 4);
    });
  });
}
