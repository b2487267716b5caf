import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cli } from '../../src/cli.js';
import { Ledger } from '../../src/store/ledger.js';
import { openStore } from '../../src/store/driver.js';

let folder: string;
let conf: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'stage-'));
  conf = join(folder, 'a.conf');
});
afterEach(() => rmSync(folder, { recursive: true }));

async function stage(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const input = (async function* () {
    yield '';
  })();
  const io = {
    out: (text: string) => void (out += text),
    err: (text: string) => void (err += text),
    env: {},
    input,
  };
  const code = await cli(['stage', ...args, '--once', conf], io);
  return { code, out, err };
}

function writeConf(stations = `${folder}/stations.csv`): void {
  writeFileSync(
    join(folder, 'stations.csv'),
    'province,obtid,name,lat,lon,height\nAnhui,58015,Dangshan,34.27,116.2,442\n',
  );
  const keys = [
    'type = generate',
    `stations = ${stations}`,
    `out = ${folder}/out`,
    `ledger = sqlite:${folder}/ledger.db`,
  ];
  writeFileSync(conf, `[log]\nlevel = error\n[stage make]\n${keys.join('\n')}\n`);
  mkdirSync(join(folder, 'out'), { recursive: true });
}

async function runs(): Promise<readonly string[]> {
  if (!existsSync(join(folder, 'ledger.db'))) return [];
  const store = await openStore(`sqlite:${folder}/ledger.db`);
  const ledger = await Ledger.open(store);
  const list = await ledger.list({ limit: 10 });
  await store.close();
  return list.map((run) => `${run.stage} ${run.state}`);
}

describe('switchyard stage --once', () => {
  it('runs the stage, records it and says what was done', async () => {
    writeConf();
    const { code, out } = await stage('make', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ stage: 'make', state: 'ok', errors: 0 });
    expect(readdirSync(join(folder, 'out')).length).toBeGreaterThan(0);
    expect(await runs()).toEqual(['make ok']);
  });

  it('changes nothing when dry', async () => {
    writeConf();
    const { code, out } = await stage('make', '--dry-run');
    expect(code).toBe(0);
    expect(out).toMatch(/^make: ok after/);
    expect(readdirSync(join(folder, 'out'))).toEqual([]);
    expect(await runs()).toEqual([]);
  });

  it('tells a failure by its exit code and reason, and records it', async () => {
    writeConf(`${folder}/none.csv`);
    const { code, err } = await stage('make');
    expect([1, 75]).toContain(code);
    expect(err).toContain('none.csv');
    expect(await runs()).toEqual(['make failed']);
  });

  it('names the nearest stage for an unknown one', async () => {
    writeConf();
    const { code, err } = await stage('maek');
    expect(code).toBe(64);
    expect(err).toContain('did you mean make?');
  });
});
