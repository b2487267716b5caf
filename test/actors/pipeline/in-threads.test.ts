import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { actorModule, actorTypes } from '../../../src/actors/index.js';
import type { StageStatus } from '../../../src/actors/pipeline/stage.js';
import { openStore } from '../../../src/store/driver.js';
import { Ledger, type Run } from '../../../src/store/ledger.js';
import { paramsOf } from '../../support/stage-params.js';
import { SystemHarness, until } from '../../support/system-harness.js';

let root = '';
let harness: SystemHarness;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'threads-'));
  harness = new SystemHarness();
});
afterEach(async () => {
  await harness.close();
  await rm(root, { recursive: true, force: true });
});

async function start(name: string, written: Record<string, string>): Promise<void> {
  const type = actorTypes.find((known) => known.type === name);
  if (type === undefined) throw new Error(`no type ${name}`);
  const params = paramsOf(type.keys, { ledger: `sqlite:${join(root, 'ledger.db')}`, ...written });
  await harness.start(name, type.factory, {
    module: actorModule(type),
    kind: type.kind,
    params,
    heartbeatMs: 20_000,
  });
}

async function count(table: string): Promise<number> {
  const store = await openStore(`sqlite:${join(root, 'data.db')}`);
  try {
    const { rows } = await store.query(`SELECT count(*) FROM ${table}`);
    return Number(rows[0]?.[0]);
  } catch {
    // The stage has not made it yet.
    return 0;
  } finally {
    await store.close();
  }
}

async function runs(stage: string): Promise<Run[]> {
  const store = await openStore(`sqlite:${join(root, 'ledger.db')}`);
  const list = await (await Ledger.open(store)).list({ stage });
  await store.close();
  return list;
}

describe('the pipeline in worker threads', () => {
  it('makes files, loads them, records its runs and obeys the operator', async () => {
    await writeFile(
      join(root, 'stations.csv'),
      'header\n安徽,58015,砀山,34.27,116.2,44.2\n安徽,58102,亳州,33.88,115.77,37.7\n',
    );
    const data = `sqlite:${join(root, 'data.db')}`;
    await start('load-stations', { stations: join(root, 'stations.csv'), store: data });
    await start('generate', {
      stations: join(root, 'stations.csv'),
      out: join(root, 'in'),
      formats: 'csv,xml',
      every: '1h',
    });
    await start('load-obs', { path: join(root, 'in'), store: data, every: '100ms' });
    await until('the rows are loaded', async () => (await count('T_ZHOBTMIND')) >= 2);
    await until('the stations are loaded', async () => (await count('T_ZHOBTCODE')) === 2);
    await until('the folder is empty', async () =>
      (await readdir(join(root, 'in'))).every((name) => name.startsWith('.')),
    );
    expect((await runs('generate'))[0]).toMatchObject({ state: 'ok', rowsIn: 2, files: 2 });
    const loaded = async (): Promise<number> =>
      (await runs('load-obs')).reduce((sum, run) => sum + run.rowsOut, 0);
    await until('the ledger has counted them', async () => (await loaded()) === (await count('T_ZHOBTMIND')));

    const ask = (type: string): Promise<StageStatus> =>
      harness.ask('load-obs', { type }, 10_000) as Promise<StageStatus>;
    expect(await ask('pause')).toMatchObject({
      stage: 'load-obs',
      paused: true,
      failures: 0,
      lastRun: { state: 'ok' },
    });
    const before = (await runs('load-obs')).length;
    expect(await ask('run-now')).toMatchObject({ paused: true });
    expect((await runs('load-obs')).length).toBe(before + 1);
    expect(await ask('resume')).toMatchObject({ paused: false });
    await until('it runs again', async () => (await runs('load-obs')).length > before + 1);
    await until('the counters arrive', () =>
      [...harness.counters.keys()].some((key) => key.includes('stage_runs_total')),
    );
    expect(harness.exits).toEqual([]);
  });
});
