import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStage, keys } from '../../../src/actors/pipeline/purge.js';
import type { Stage } from '../../../src/actors/pipeline/stage/run.js';
import { StoreError } from '../../../src/store/driver.js';
import { FakeLog } from '../../support/fake-context.js';
import { fakeRun } from '../../support/fake-run.js';
import { paramsOf } from '../../support/stage-params.js';
import { databases, TableFixture } from './table-fixture.js';

describe.each(databases.filter(({ missing }) => !missing))('purge on $name', (database) => {
  let fixture: TableFixture;
  let stage: Stage | undefined;

  beforeEach(async () => {
    fixture = await TableFixture.make(database);
  }, 240_000);

  afterEach(async () => {
    await stage?.close?.();
    stage = undefined;
    await fixture.close();
  });

  function make(written: Record<string, string>): Stage {
    const given = { store: fixture.url, table: 'OBS', ...written };
    const params = paramsOf(keys, given);
    stage = createStage({ name: 'p', params, log: new FakeLog(), signal: new AbortController().signal });
    return stage;
  }

  it('deletes what matches and nothing else, by any key, in batches of any size', async () => {
    await fixture.fill(3_000);
    for (const [key, rows, where, left] of [
      ['', '7', 'where t < 100', 2_900],
      ['keyid', '100', 'WHERE t >= 2900', 2_800],
      ['obtid,ddatetime', '333', "obtid = 'a' and t < 1000", 2_350],
      ['ddatetime', '50', 'where t % 3 = 0', 1_567],
      ['obtid', '500', "where obtid = 'b'", 633],
      ['keyid', '1', 'where t between 2000 and 2010', 629],
      ['', '50000', 'where 1=1', 0],
    ] as const) {
      const run = fakeRun();
      const before = await fixture.count('OBS');
      await make({ key, batch_rows: rows, where: where.replaceAll('%', '%%') }).run(run);
      await stage?.close?.();
      expect([where, await fixture.count('OBS')]).toEqual([where, left]);
      expect([where, await fixture.count('OBS', where.replace(/^where/i, ''))]).toEqual([where, 0]);
      expect(run.counts).toMatchObject({ rowsIn: before - left, rowsOut: before - left, rowsRejected: 0 });
    }
  });

  it('only counts in a dry run, shows what would go, and tells what it works on', async () => {
    await fixture.fill(100);
    const run = fakeRun({ dryRun: true });
    const one = make({ key: 'keyid', where: 'where t < 40' });
    await one.run(run);
    expect(run.counts).toMatchObject({ rowsIn: 40, rowsOut: 0 });
    const preview = await one.preview?.(3);
    const t = preview?.columns.indexOf('t') ?? -1;
    expect(preview?.rows.map((row) => row[t])).toEqual([0, 1, 2]);
    expect(await one.check?.()).toEqual([
      expect.stringMatching(/^store: \w+ \d/),
      'table: OBS by keyid where t < 40',
    ]);
    expect(await fixture.count('OBS')).toBe(100);
  });

  it('ends between two batches when it is told to stop', async () => {
    await fixture.fill(1_000);
    const controller = new AbortController();
    const run = fakeRun({
      signal: controller.signal,
      progress: () => void (run.counts.rowsOut > 0 && controller.abort()),
    });
    await make({ where: 'where 1=1', batch_rows: '100', writers: '1' }).run(run);
    expect(await fixture.count('OBS')).toBe(900);
    expect(run.counts.rowsOut).toBe(100);
  });

  it('takes rows in the order of a key of several columns, also where its texts are equal in other letters', async () => {
    await fixture.fill(600);
    await fixture.store.execute("UPDATE OBS SET obtid = SUBSTR('xYzXyZ', t % 6 + 1, 1)");
    const ordered = (await fixture.rows('SELECT t FROM OBS ORDER BY obtid, ddatetime')).flat();
    const controller = new AbortController();
    const run = fakeRun({
      signal: controller.signal,
      progress: () => void (run.counts.rowsOut >= 280 && controller.abort()),
    });
    await make({ where: 'where 1=1', batch_rows: '70', key: 'obtid,ddatetime', writers: '1' }).run(run);
    expect(run.counts.rowsOut).toBeLessThan(350);
    const left = (await fixture.rows('SELECT t FROM OBS ORDER BY obtid, ddatetime')).flat();
    expect(left).toEqual(ordered.slice(run.counts.rowsOut));
  });

  it('leaves alone what is added behind the end while it works', async () => {
    await fixture.fill(500);
    const { store } = fixture;
    const pending: Promise<number>[] = [];
    // A row for each batch: without an end this would never come to one.
    const overriding = database.name === 'postgres' ? 'OVERRIDING SYSTEM VALUE ' : '';
    const insert = `INSERT INTO OBS (obtid, ddatetime, keyid) ${overriding}VALUES (?, ?, ?)`;
    const progress = (): void => {
      const at = `2030-01-01 00:00:${String(10 + pending.length)}`;
      pending.push(store.execute(insert, ['z', at, 1_000 + pending.length]));
    };
    await make({ where: 'where 1=1', batch_rows: '100', key: 'keyid' }).run(fakeRun({ progress }));
    await Promise.all(pending);
    expect(pending.length).toBeGreaterThan(3);
    expect(await fixture.count('OBS')).toBe(pending.length);
  });

  it('says what is wrong with its conf', async () => {
    await expect(make({ where: 'where' }).run(fakeRun())).rejects.toThrow(/where is empty/);
    await expect(make({ where: 'where 1=1', key: 'nope' }).run(fakeRun())).rejects.toThrow(/no column nope/);
    await expect(make({ where: 'where 1=1', key: 't' }).run(fakeRun())).rejects.toThrow(/OBS\.t may be NULL/);
    await expect(make({ where: 'where t = :1' }).run(fakeRun())).rejects.toThrow(/":1" has no value/);
    const none = await make({ where: 'where 1=1', table: 'missing' })
      .run(fakeRun())
      .catch((error: unknown) => error);
    expect((none as StoreError).code).toBe('NO_TABLE');
  });

  it.skipIf(database.name === 'sqlite')(
    'waits for a lock in smaller batches',
    async () => {
      await fixture.fill(400);
      const log = new FakeLog();
      let release: () => void = () => undefined;
      const held = new Promise<void>((resolve) => (release = resolve));
      const locking = fixture.store.transaction(async (tx) => {
        await tx.execute('UPDATE OBS SET t = t WHERE t = 150');
        setTimeout(() => release(), 3_000);
        await held;
      });
      const run = fakeRun({ log });
      await make({
        store: `${fixture.url}?lock_wait=1`,
        where: 'where 1=1',
        batch_rows: '100',
        key: 'keyid',
      }).run(run);
      await locking;
      expect(await fixture.count('OBS')).toBe(0);
      expect(log.events.filter(({ event }) => event === 'batch.conflict').length).toBeGreaterThan(0);
    },
    60_000,
  );
});
