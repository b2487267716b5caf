import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import * as gzipFiles from '../../../src/actors/pipeline/gzip-files.js';
import type { StageRun } from '../../../src/actors/pipeline/stage/run.js';
import { CpuPool } from '../../../src/runtime/cpu-pool.js';
import type { CpuJobName } from '../../../src/runtime/cpu-jobs.js';
import { FakeLog } from '../../support/fake-context.js';
import { fakeRun } from '../../support/fake-run.js';
import { paramsOf } from '../../support/stage-params.js';

const HARNESS = fileURLToPath(new URL('../../support/run-stage.mjs', import.meta.url));

let root = '';
let log: FakeLog;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidy-'));
  log = new FakeLog();
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** @param age in minutes */
async function put(name: string, age: number, content: string | Uint8Array = 'x'): Promise<string> {
  const path = join(root, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  const time = new Date(Date.now() - age * 60_000);
  await utimes(path, time, time);
  return path;
}

const tree = async (): Promise<string[]> => (await readdir(root, { recursive: true })).sort();

describe('gzip-files', () => {
  let pool: CpuPool;
  beforeEach(() => (pool = new CpuPool({ maxThreads: 2 })));
  afterEach(() => pool.close());

  async function pack(written: Record<string, string> = {}): Promise<StageRun> {
    const params = paramsOf(gzipFiles.keys, {
      path: root,
      match: '*.log.20*',
      older_than: '30m',
      ...written,
    });
    const run = fakeRun({ log });
    const cpu = (job: string, data: unknown, options: { timeoutMs: number }): Promise<unknown> =>
      pool.run(job as CpuJobName, data as never, options);
    const env = { name: 'pack', params, log, signal: run.signal, cpu };
    await gzipFiles.createStage(env).run(run);
    return run;
  }

  it('makes FILE.gz of each old file, with its time and rights, and gzip reads it', async () => {
    const content = 'a line of a log\n'.repeat(5_000);
    for (let i = 0; i < 30; i++) await put(`d${i % 3}/x.log.202611${10 + i}`, 60, content + i);
    const young = await put('x.log.20261121', 5);
    const first = await stat(join(root, 'd0/x.log.20261110'));
    const { counts } = await pack();
    expect(counts).toMatchObject({ files: 30, errors: 0 });
    const names = (await tree()).filter((name) => name.includes('.log.'));
    expect(names.filter((name) => !name.endsWith('.gz'))).toEqual(['x.log.20261121']);
    expect(young).toContain(names.find((name) => !name.endsWith('.gz')));
    const packed = join(root, 'd0/x.log.20261110.gz');
    expect(gunzipSync(await readFile(packed)).toString()).toBe(content + '0');
    expect(execFileSync('gzip', ['-dc', packed]).toString()).toBe(content + '0');
    const info = await stat(packed);
    expect([Math.floor(info.mtimeMs), info.mode]).toEqual([Math.floor(first.mtimeMs), first.mode]);
    expect((await pack()).counts.files).toBe(0);
  });

  it('takes names as names, replaces an older .gz and streams a large file', async () => {
    const evil = await put('a.log.20;touch owned', 60, 'evil');
    const large = await put('big.log.2026', 60, 'y'.repeat(20 << 20));
    await put('big.log.2026.gz', 90, 'old');
    expect((await pack()).counts.files).toBe(2);
    expect(gunzipSync(await readFile(`${evil}.gz`)).toString()).toBe('evil');
    expect(gunzipSync(await readFile(`${large}.gz`)).length).toBe(20 << 20);
    expect(await tree()).toEqual(['a.log.20;touch owned.gz', 'big.log.2026.gz']);
  });

  it('removes what a killed process left half done, but nothing that may still be at work', async () => {
    const large = await put('d/big.log.2026', 60, randomBytes(64 << 20));
    const params = paramsOf(gzipFiles.keys, {
      path: root,
      match: '*.log.20*',
      older_than: '30m',
      ledger: `sqlite:${join(root, 'ledger.db')}`,
    });
    const child = spawn(process.execPath, [HARNESS, 'gzip-files', JSON.stringify(params), 'once'], {
      stdio: 'ignore',
    });
    const exit = once(child, 'exit');
    const temps = async (): Promise<string[]> => (await tree()).filter((name) => name.endsWith('.tmp'));
    await expect.poll(temps, { timeout: 15_000, interval: 5 }).toHaveLength(1);
    child.kill('SIGKILL');
    await exit;
    expect(await readdir(dirname(large))).toContain('big.log.2026');
    // As a process that is alive leaves it just before it gives it its name: with the time of the original.
    const [half = ''] = await temps();
    await utimes(join(root, half), 1, 1);
    await put('d/other.gz.12-ab.tmp', 60);

    expect((await pack()).counts).toMatchObject({ files: 1, errors: 0 });
    expect(await temps()).toEqual([half, 'd/other.gz.12-ab.tmp'].sort());
    expect(gunzipSync(await readFile(`${large}.gz`)).length).toBe(64 << 20);

    const later = Date.now() + 11 * 60_000;
    const clock = vi.spyOn(Date, 'now').mockReturnValue(later);
    try {
      await pack();
    } finally {
      clock.mockRestore();
    }
    expect(await temps()).toEqual(['d/other.gz.12-ab.tmp']);
    expect(log.named('gzip-files.swept').map(({ fields }) => fields)).toMatchObject([
      { file: join(root, half) },
    ]);
  });
});
