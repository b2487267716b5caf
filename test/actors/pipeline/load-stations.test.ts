import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStage, keys } from '../../../src/actors/pipeline/load-stations.js';
import { runOnce, type RunResult } from '../../../src/actors/pipeline/stage/run.js';
import { openStore, type SqlRow } from '../../../src/store/driver.js';
import { FakeLog } from '../../support/fake-context.js';
import { paramsOf } from '../../support/stage-params.js';

let folder = '';
const log = new FakeLog();
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stations-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function load(list: string, dryRun = false): Promise<RunResult> {
  await writeFile(join(folder, 'stations.csv'), list);
  const params = paramsOf(keys, {
    stations: join(folder, 'stations.csv'),
    store: `sqlite:${join(folder, 'data.db')}`,
  });
  const env = { name: 'load-stations', params, log, signal: new AbortController().signal };
  return runOnce(createStage, env, { dryRun, ledgerUrl: undefined });
}

async function table(): Promise<readonly SqlRow[]> {
  const store = await openStore(`sqlite:${join(folder, 'data.db')}`);
  const { rows } = await store.query(
    'SELECT obtid, cityname, provname, lat, lon, height, keyid FROM T_ZHOBTCODE ORDER BY obtid',
  );
  await store.close();
  return rows;
}

describe('the load-stations stage', () => {
  it('inserts new stations and updates those that are there, keeping their keyid', async () => {
    expect(
      await load('省,站号\n安徽,58015,砀山,34.27,116.2,44.2\n安徽,58102,亳州,33.88,115.77,37.7\n'),
    ).toMatchObject({
      state: 'ok',
      counts: { rowsIn: 2, rowsOut: 2 },
    });
    expect(log.named('load-stations.done').at(-1)?.fields).toMatchObject({
      total: 2,
      inserted: 2,
      updated: 0,
    });
    await load('北京,54511,北京,39.8,116.47,31.3\n安徽,58102,亳州市,-33.885,115.77,-37.75\nbroken\n');
    expect(log.named('load-stations.done').at(-1)?.fields).toMatchObject({
      total: 2,
      inserted: 1,
      updated: 1,
    });
    expect(log.named('load-stations.bad-line')[0]?.fields).toMatchObject({ line: 3 });
    expect(await table()).toEqual([
      ['54511', '北京', '北京', 3980, 11647, 313, expect.any(Number)],
      ['58015', '砀山', '安徽', 3427, 11620, 442, 1],
      ['58102', '亳州市', '安徽', -3389, 11577, -378, 2],
    ]);
  });

  it('changes nothing in a dry run', async () => {
    await load('安徽,58015,砀山,34.27,116.2,44.2\n');
    expect(await load('安徽,58015,other,1,1,1\n', true)).toMatchObject({
      state: 'ok',
      counts: { rowsIn: 1, rowsOut: 0 },
    });
    expect((await table())[0]?.[1]).toBe('砀山');
  });
});
