/** The stages that change tables, as victims of deadlocks: nothing is lost, nothing comes twice, and the work is done in the end. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as archive from '../../../src/actors/pipeline/archive.js';
import * as purge from '../../../src/actors/pipeline/purge.js';
import { runOnce, type RunResult } from '../../../src/actors/pipeline/stage/run.js';
import * as increment from '../../../src/actors/pipeline/sync-increment.js';
import * as refresh from '../../../src/actors/pipeline/sync-refresh.js';
import { deadlocked } from '../../support/deadlock.js';
import { FakeLog } from '../../support/fake-context.js';
import { paramsOf } from '../../support/stage-params.js';
import { numbers, PAIRS, usePair } from './sync-fixture.js';
import { databases, TableFixture } from './table-fixture.js';

const servers = databases.filter(({ name, missing }) => name !== 'sqlite' && !missing);
const pairs = PAIRS.filter(([from, to]) => from === to && from !== 'sqlite');

describe.each(servers)('the victim of a deadlock on $name', { timeout: 60_000 }, (database) => {
  let fixture: TableFixture;
  beforeEach(async () => {
    fixture = await TableFixture.make(database);
    await fixture.fill(300);
  });
  afterEach(() => fixture.close());

  // Of one station, so that the first comes before the last in any order.
  const locks = { last: 'UPDATE OBS SET t = t WHERE t = 250', first: 'UPDATE OBS SET t = t WHERE t = 4' };

  it.each([
    ['purge', purge],
    ['archive', archive],
  ])('%s does the batch again and comes to its end in the same run', async (name, { createStage, keys }) => {
    const log = new FakeLog();
    const params = paramsOf(keys, {
      store: fixture.url,
      table: 'OBS',
      where: 'where t < 280',
      key: 'keyid',
      batch_rows: '400',
    });
    const env = { name, params, log, signal: new AbortController().signal };
    const run = (): Promise<RunResult> => runOnce(createStage, env, { dryRun: false, ledgerUrl: undefined });
    expect(await deadlocked(fixture.url, locks, run)).toMatchObject({
      state: 'ok',
      counts: { rowsOut: 280, rowsRejected: 0 },
    });
    const conflicts = log.named('batch.conflict').map(({ fields }) => String(fields?.['reason']));
    expect(conflicts.filter((reason) => /deadlock/i.test(reason))).not.toEqual([]);
    expect(await fixture.count('OBS')).toBe(20);
    if (name !== 'archive') return;
    const [row] = await fixture.rows('SELECT count(*), count(DISTINCT keyid), min(t), max(t) FROM OBS_HIS');
    expect(row?.map(Number)).toEqual([280, 280, 0, 279]);
  });
});

describe.each(pairs)('the victim of a deadlock in a sync from %s to %s', { timeout: 60_000 }, (from, to) => {
  const pair = usePair([from, to]);

  const reasons = (): string =>
    pair.log
      .named('batch.conflict')
      .map(({ fields }) => String(fields?.['reason']))
      .join('; ');

  async function refreshed(mode: string): Promise<RunResult> {
    await pair.tables(numbers(0, 300), numbers(0, 300), 'keyid');
    await pair.source.execute('UPDATE src SET t = 7000 WHERE keyid IN (5, 250)');
    const lock = (n: number): string => `UPDATE dst SET t = t WHERE keyid = ${n}`;
    const locks = { last: lock(250), first: lock(5) };
    return deadlocked(pair.urls.target, locks, () => pair.run(refresh, { mode }));
  }

  it('sync-refresh in batches does the batch again and comes to its end in the same run', async () => {
    expect(await refreshed('batched')).toMatchObject({ state: 'ok', counts: { rowsIn: 300, rowsOut: 2 } });
    expect(reasons()).toMatch(/deadlock/i);
    await pair.expectEqual();
  });

  it('sync-refresh of the whole is retried', async () => {
    const result = await refreshed('whole');
    expect(result).toMatchObject({ state: 'failed', retryable: true });
    expect(String(result.error)).toMatch(/deadlock/i);
    await pair.ok(refresh, { mode: 'whole' });
    await pair.expectEqual();
  });

  it('sync-increment does the batch again and comes to its end in the same run', async () => {
    await pair.tables(numbers(0, 300), numbers(0, 100), 'keyid');
    const row = (n: number): string =>
      `INSERT INTO dst (obtid, ddatetime, keyid) VALUES ('x', '2026-01-01 00:00:00', ${n})`;
    const locks = { last: row(290), first: row(110) };
    const run = (): Promise<RunResult> => pair.run(increment, { source_key: 'keyid' });
    expect(await deadlocked(pair.urls.target, locks, run)).toMatchObject({
      state: 'ok',
      counts: { rowsIn: 200, rowsOut: 200 },
    });
    expect(reasons()).toMatch(/deadlock/i);
    await pair.expectEqual();
  });
});
