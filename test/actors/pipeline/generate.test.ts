import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStage, inventObservation, keys } from '../../../src/actors/pipeline/generate.js';
import { runOnce, type RunResult } from '../../../src/actors/pipeline/stage/run.js';
import { formatObservations } from '../../../src/protocol/observations.js';
import { FakeLog } from '../../support/fake-context.js';
import { paramsOf } from '../../support/stage-params.js';

let folder = '';
let log = new FakeLog();
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'generate-'));
  log = new FakeLog();
  await writeFile(
    join(folder, 'stations.csv'),
    '省份,站号,站名,纬度,经度,海拔高度\n安徽,58015,砀山,34.27,116.2,44.2\n安徽,58102,亳州,33.88,115.77,37.7',
  );
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function run(written: Record<string, string> = {}, dryRun = false): Promise<RunResult> {
  const params = paramsOf(keys, {
    stations: join(folder, 'stations.csv'),
    out: join(folder, 'out'),
    ...written,
  });
  const env = { name: 'generate', params, log, signal: new AbortController().signal };
  return runOnce(createStage, env, { dryRun, ledgerUrl: undefined });
}

describe('the generate stage', () => {
  it('writes one file of each format with one record for each station', async () => {
    const time = '20230706154300';
    expect(await run({ time })).toMatchObject({ state: 'ok', counts: { rowsIn: 2, rowsOut: 6, files: 3 } });
    const records = [inventObservation('58015', time), inventObservation('58102', time)];
    const names = (['csv', 'json', 'xml'] as const).map(
      (format) => [`SURF_ZH_${time}_${process.pid}.${format}`, format] as const,
    );
    expect((await readdir(join(folder, 'out'))).sort()).toEqual(names.map(([name]) => name));
    for (const [name, format] of names) {
      expect(await readFile(join(folder, 'out', name), 'utf8')).toBe(formatObservations(format, records));
    }
  });

  it('takes the present minute without seconds', async () => {
    await run({ formats: 'CSV' });
    const [name = ''] = await readdir(join(folder, 'out'));
    expect(name).toMatch(/^SURF_ZH_\d{12}00_\d+\.csv$/);
    const minute = new Date(
      Number(name.slice(8, 12)),
      Number(name.slice(12, 14)) - 1,
      Number(name.slice(14, 16)),
      Number(name.slice(16, 18)),
      Number(name.slice(18, 20)),
    );
    expect(Date.now() - minute.getTime()).toBeLessThan(120_000);
  });

  it('writes nothing in a dry run', async () => {
    expect(await run({}, true)).toMatchObject({ state: 'ok', counts: { files: 3 } });
    expect(await readdir(folder)).toEqual(['stations.csv']);
  });

  it('removes what a killed writer left', async () => {
    await mkdir(join(folder, 'out'));
    const temp = join(folder, 'out', 'SURF_ZH_1_2.csv.2-1.tmp');
    await writeFile(temp, 'half');
    await utimes(temp, 1, 1);
    await run({ formats: 'csv' });
    expect((await readdir(join(folder, 'out'))).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('tells what is wrong with its list and its parameters', async () => {
    expect((await run({ stations: join(folder, 'missing') })).error).toMatchObject({ retryable: false });
    await writeFile(join(folder, 'stations.csv'), 'header\nx,y\n');
    expect(String((await run()).error)).toContain('holds no station');
    expect(log.named('generate.bad-station')[0]?.fields).toMatchObject({ line: 2 });
    await expect(run({ formats: 'pdf' })).rejects.toThrow('formats: "pdf"');
    await expect(run({ time: '20230230000000' })).rejects.toThrow('time');
  });
});

describe('an invented observation', () => {
  it('depends on station and time alone and stays in the ranges', () => {
    const seen = new Set<string>();
    for (let minute = 0; minute < 2_000; minute++) {
      const time = `2023070615${String(minute % 60).padStart(2, '0')}00`;
      const one = inventObservation(String(10_000 + minute), time);
      expect(inventObservation(one.obtid, time)).toEqual(one);
      const inside = (text: string, low: number, high: number): boolean =>
        /^\d+\.\d$/.test(text) && Number(text) >= low && Number(text) <= high;
      expect(inside(one.t, 0, 34.9) && inside(one.p, 1_000, 1_026.4) && inside(one.wf, 0, 14.9)).toBe(true);
      expect(inside(one.r, 0, 1.5) && inside(one.vis, 10_000, 10_500)).toBe(true);
      expect(
        /^\d+$/.test(one.u) && Number(one.u) <= 100 && /^\d+$/.test(one.wd) && Number(one.wd) <= 359,
      ).toBe(true);
      seen.add(one.t);
    }
    expect(seen.size).toBeGreaterThan(300);
  });
});
