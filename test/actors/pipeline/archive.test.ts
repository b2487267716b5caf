import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStage, keys } from '../../../src/actors/pipeline/archive.js';
import type { Stage } from '../../../src/actors/pipeline/stage/run.js';
import { createLike } from '../../../src/store/create-like.js';
import { openStore, type Store } from '../../../src/store/driver.js';
import { FakeLog } from '../../support/fake-context.js';
import { fakeRun } from '../../support/fake-run.js';
import { paramsOf } from '../../support/stage-params.js';
import { databases, TableFixture } from './table-fixture.js';

const ROWS = 'obtid, ddatetime, t, r, raw, twice, keyid';

const present = databases.filter(({ missing }) => !missing);

describe.each(present)('archive on $name', (database) => {
  let fixture: TableFixture;
  let stage: Stage | undefined;
  let other: Store | undefined;

  beforeEach(async () => {
    fixture = await TableFixture.make(database);
  }, 240_000);

  afterEach(async () => {
    await stage?.close?.();
    await other?.close();
    stage = undefined;
    other = undefined;
    await fixture.close();
  });

  function make(written: Record<string, string>): Stage {
    const params = paramsOf(keys, { store: fixture.url, table: 'OBS', ...written });
    stage = createStage({ name: 'a', params, log: new FakeLog(), signal: new AbortController().signal });
    return stage;
  }

  const all = async (table: string) => fixture.rows(`SELECT ${ROWS} FROM ${table} ORDER BY keyid`);

  it('moves what matches, every value and number as it was, into a table like the source', async () => {
    await fixture.fill(2_000);
    const before = await all('OBS');
    for (const [key, rows] of [
      ['', '50000'],
      ['keyid', '100'],
      ['obtid,ddatetime', '77'],
    ] as const) {
      const run = fakeRun();
      const limit = { '': 500, keyid: 1_000, 'obtid,ddatetime': 1_500 }[key];
      await make({ key, batch_rows: rows, where: `where t < ${limit}` }).run(run);
      await stage?.close?.();
      expect(run.counts).toMatchObject({ rowsIn: 500, rowsOut: 500, rowsRejected: 0 });
      expect(await all('OBS')).toEqual(before.slice(limit));
      expect(await all('OBS_HIS')).toEqual(before.slice(0, limit));
    }
    const source = await fixture.store.columns('OBS');
    const history = await fixture.store.columns('OBS_HIS');
    expect(history.columns.map(({ name, type }) => [name, type])).toEqual(
      source.columns.map(({ name, type }) => [name, type]),
    );
    expect(history.primaryKey).toEqual(source.primaryKey);
    expect(history.uniqueKeys).toEqual(source.uniqueKeys);
  });

  it('makes a table for each month or year', async () => {
    await fixture.fill(2_000);
    await make({ split: 'monthly', date_column: 'ddatetime', where: 'where t < 1900' }).run(fakeRun());
    await stage?.close?.();
    const months = await Promise.all(['OBS_202501', 'OBS_202502'].map((table) => fixture.count(table)));
    expect(months).toEqual([31 * 48, 1_900 - 31 * 48]);
    expect(await fixture.count('OBS_202502', "ddatetime < '2025-02-01'")).toBe(0);
    await make({
      split: 'yearly',
      date_column: 'ddatetime',
      target_table: 'Y{yyyy}_OBS',
      where: 'where 1=1',
    }).run(fakeRun());
    expect(await fixture.count('Y2025_OBS')).toBe(100);
    expect(await fixture.count('OBS')).toBe(0);
  });

  it('deletes a row whose equal is in the history, and leaves one alone whose key stands there with other values', async () => {
    await fixture.fill(3_000);
    // As a copy that was not deleted any more would have left it, and two that are different.
    await fixture.store.execute('CREATE TABLE keep_keys (k BIGINT)');
    await fixture.store.execute('INSERT INTO keep_keys (k) SELECT keyid FROM OBS WHERE t % 100 = 0');
    const overriding = database.name === 'postgres' ? 'OVERRIDING SYSTEM VALUE ' : '';
    // There it is a plain column.
    const columns = `obtid, ddatetime, t, r, raw, keyid${database.name === 'postgres' ? ', twice' : ''}`;
    await createLike(fixture.store, 'OBS', 'OBS_HIS');
    await fixture.store.execute(
      `INSERT INTO OBS_HIS (${columns}) ${overriding}SELECT ${columns} FROM OBS WHERE keyid IN (SELECT k FROM keep_keys)`,
    );
    await fixture.store.execute('UPDATE OBS_HIS SET t = -1 WHERE t IN (500, 2500)');
    const run = fakeRun();
    await make({ key: 'keyid', where: 'where 1=1' }).run(run);
    expect(run.counts).toMatchObject({ rowsIn: 3_000, rowsOut: 2_998, rowsRejected: 2 });
    expect((await fixture.rows('SELECT t FROM OBS ORDER BY t')).flat()).toEqual([500, 2_500]);
    expect(await fixture.count('OBS_HIS')).toBe(3_000);
    const stays = (run.log as FakeLog).events.filter(({ event }) => event === 'archive.row-stays');
    expect(stays.map(({ fields }) => String(fields?.['key'])).sort()).toEqual(['2501', '501']);
  });

  it('leaves a row alone that the history table does not take, and moves the others', async () => {
    await fixture.fill(100);
    await createLike(fixture.store, 'OBS', 'OBS_HIS');
    if (database.name === 'sqlite')
      await fixture.store.execute(
        "CREATE TRIGGER no BEFORE INSERT ON OBS_HIS WHEN new.t = 42 BEGIN SELECT RAISE(ABORT, 'no 42'); END",
      );
    else await fixture.store.execute('ALTER TABLE OBS_HIS ADD CONSTRAINT no42 CHECK (t <> 42)');
    const run = fakeRun();
    await make({ where: 'where 1=1' }).run(run);
    expect(run.counts).toMatchObject({ rowsOut: 99, rowsRejected: 1 });
    expect((await fixture.rows('SELECT t FROM OBS')).flat()).toEqual([42]);
    expect(await fixture.count('OBS_HIS')).toBe(99);
  });

  it('refuses a history table that would lose a column, is missing, or is the table itself', async () => {
    await fixture.fill(10);
    await fixture.store.execute('CREATE TABLE SMALL_HIS (obtid VARCHAR(10), ddatetime VARCHAR(30), t INT)');
    const error = async (written: Record<string, string>) => {
      const reason = make({ where: 'where 1=1', ...written }).run(fakeRun());
      return reason.then(() => 'fulfilled', String).finally(() => stage?.close?.());
    };
    expect(await error({ target_table: 'SMALL_HIS' })).toMatch(/has no column r: its values would be lost/);
    expect(await error({ create: 'no' })).toMatch(/OBS_HIS is missing and create = no/);
    expect(await error({ target_table: 'obs' })).toMatch(/the table itself/);
    expect(await error({ split: 'monthly' })).toMatch(/needs date_column/);
    expect(await error({ split: 'monthly', date_column: 't' })).toMatch(/no date column t/);
    expect(await error({ split: 'monthly', date_column: 'ddatetime', target_table: 'H_{yyyy}' })).toMatch(
      /needs \{mm\}/,
    );
    expect(await fixture.count('OBS')).toBe(10);
  });

  it('only counts in a dry run', async () => {
    await fixture.fill(100);
    const run = fakeRun({ dryRun: true });
    await make({ where: 'where t < 40' }).run(run);
    expect(run.counts).toMatchObject({ rowsIn: 40, rowsOut: 0 });
    await expect(fixture.store.columns('OBS_HIS')).rejects.toThrow(/no such table/);
  });

  it.each(present)(
    'moves rows into a database of $name, a second time without doubling them',
    async (away) => {
      const target =
        away.name === 'sqlite' ? `sqlite:${fixture.folder}/away.db` : await away.url(fixture.folder);
      other = await openStore(target);
      const sameKind = away.name === database.name && away.name !== 'postgres';
      const key = 'obtid VARCHAR(10) NOT NULL, ddatetime';
      const types = {
        sqlite: ['DATETIME', 'BLOB'],
        mariadb: ['DATETIME', 'VARBINARY(20)'],
        postgres: ['TIMESTAMP', 'BYTEA'],
      }[away.name];
      const ddl = `CREATE TABLE OBS_HIS (${key} ${types[0]} NOT NULL, t INT, r DECIMAL(8,2), raw ${types[1]}, keyid BIGINT NOT NULL, PRIMARY KEY (obtid, ddatetime))`;
      if (!sameKind) await other.execute(ddl);
      await fixture.fill(2_500);
      const run = fakeRun();
      await make({ target, where: 'where t < 2000', key: 'keyid' }).run(run);
      expect(run.counts).toMatchObject({ rowsOut: 2_000, rowsRejected: 0 });
      expect(await fixture.count('OBS')).toBe(500);
      const sums = 'SELECT COUNT(*), SUM(t), SUM(keyid), COUNT(r), COUNT(raw) FROM ';
      const moved = (await other.query(`${sums} OBS_HIS`)).rows[0];
      expect(moved?.map(Number)).toEqual([2_000, 1_999_000, 2_001_000, 1_600, 1_714]);
      // As after a kill between the copy and the deletion, with one row changed since.
      await fixture.store.execute(`DELETE FROM OBS`);
      await fixture.fill(2_000);
      await fixture.store.execute('UPDATE OBS SET r = 1.5 WHERE t = 77');
      const again = fakeRun();
      await make({ target, where: 'where 1=1', key: 'keyid' }).run(again);
      expect(again.counts).toMatchObject({ rowsOut: 1_999, rowsRejected: 1 });
      expect((await fixture.rows('SELECT t FROM OBS')).flat()).toEqual([77]);
      expect(Number((await other.query('SELECT COUNT(*) FROM OBS_HIS')).rows[0]?.[0])).toBe(2_000);
    },
  );
});
