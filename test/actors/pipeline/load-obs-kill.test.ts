import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inventObservation } from '../../../src/actors/pipeline/generate.js';
import { keys } from '../../../src/actors/pipeline/load-obs.js';
import { formatObservations } from '../../../src/protocol/observations.js';
import { openStore } from '../../../src/store/driver.js';
import { Ledger } from '../../../src/store/ledger.js';
import { paramsOf } from '../../support/stage-params.js';

const HARNESS = fileURLToPath(new URL('../../support/run-stage.mjs', import.meta.url));
const KILLS = 10;
const FILES = 60;
const STATIONS = 50;

let root = '';
let child: ChildProcess | undefined;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'load-kill-'));
});
afterEach(async () => {
  child?.kill('SIGKILL');
  await rm(root, { recursive: true, force: true });
});

function start(mode: 'once' | 'loop'): ChildProcess {
  const params = paramsOf(keys, {
    path: join(root, 'in'),
    store: `sqlite:${join(root, 'data.db')}`,
    ledger: `sqlite:${join(root, 'ledger.db')}`,
    batch_rows: '20',
  });
  return spawn(process.execPath, [HARNESS, 'load-obs', JSON.stringify(params), mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Every second file ends with two bad rows, which have to end up in a reject file. */
async function fill(round: number): Promise<void> {
  for (let i = 0; i < FILES; i++) {
    const minute = String(i).padStart(2, '0');
    const time = `20260101${String(round).padStart(2, '0')}${minute}00`;
    const records = Array.from({ length: STATIONS }, (_, n) => inventObservation(String(10_000 + n), time));
    const format = i % 2 === 0 ? 'csv' : 'xml';
    const text = formatObservations(format, records) + (format === 'csv' ? 'bad1\nbad2\n' : '');
    await writeFile(join(root, 'in', `S_${time}.${format}`), text);
  }
}

describe('load-obs under SIGKILL', () => {
  it('loses no row, brings none twice and leaves no file', { timeout: 120_000 }, async () => {
    await mkdir(join(root, 'in'));
    let killedAtWork = 0;
    for (let round = 0; round < KILLS; round++) {
      await fill(round);
      child = start('loop');
      const exit = once(child, 'exit');
      if (child.stdout) await once(child.stdout, 'data');
      // From before its first file to after its last: a whole round takes about half a second.
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 600));
      child.kill('SIGKILL');
      await exit;
      const left = (await readdir(join(root, 'in'), { recursive: true })).filter((name) =>
        /\.(csv|xml)$/.test(name),
      );
      if (left.length > 0) killedAtWork++;
    }
    child = start('once');
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(0);

    expect(await readdir(join(root, 'in'))).toEqual([]);
    const store = await openStore(`sqlite:${join(root, 'data.db')}`);
    const { rows } = await store.query(
      'SELECT count(*), count(DISTINCT obtid || ddatetime), sum(t IS NULL) FROM T_ZHOBTMIND',
    );
    await store.close();
    expect(rows[0]).toEqual([KILLS * FILES * STATIONS, KILLS * FILES * STATIONS, 0]);
    const rejects = await readdir(join(root, 'in-errors'));
    expect(rejects.filter((name) => name.endsWith('.reject'))).toHaveLength((KILLS * FILES) / 2);

    const ledgerStore = await openStore(`sqlite:${join(root, 'ledger.db')}`);
    const runs = await (await Ledger.open(ledgerStore)).list({ limit: 10_000 });
    await ledgerStore.close();
    expect(runs[0]).toMatchObject({ stage: 'load-obs', state: 'ok' });
    expect(runs.filter((run) => run.state === 'running')).toEqual([]);
    // Otherwise the kills came too early or too late to prove anything.
    expect(killedAtWork).toBeGreaterThan(0);
  });
});
