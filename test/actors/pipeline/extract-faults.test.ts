import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { watch } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FolderLock } from '../../../src/actors/pipeline/extract/lock.js';
import { Extracting, range } from '../../support/extracting.js';

const HARNESS = fileURLToPath(new URL('../../support/run-stage.mjs', import.meta.url));

let ex: Extracting;
beforeEach(async () => {
  ex = await Extracting.open();
});
afterEach(() => ex.close());

const ALL = { sql: 'select keyid, v from r', fields: 'keyid,v' };
const INC = { sql: 'select keyid, v from r where keyid>:1', fields: 'keyid,v', inc_field: 'keyid' };
const hidden = (name: string): string => join(ex.out, '.extract-ex', name);

describe('an out folder', () => {
  it('that nobody empties makes the stage wait, with its heart beating, until there is room', async () => {
    await ex.fill(1, 100);
    const waiting = ex.run({ ...INC, file_rows: '10', max_waiting_files: '3', room_wait: '60s' });
    const end = performance.now() + 15_000;
    while ((await ex.files()).length < 3 && performance.now() < end) await sleep(20);
    await sleep(800);
    expect(await ex.files()).toHaveLength(3);
    const seen: number[] = [];
    const take = async (): Promise<void> => {
      seen.push(...(await ex.numbers()));
      for (const name of await ex.files()) await rm(join(ex.out, name));
    };
    let result: unknown;
    void waiting.then((value) => (result = value));
    while (result === undefined && performance.now() < end) {
      await take();
      await sleep(50);
    }
    await take();
    expect(result).toMatchObject({ state: 'ok', counts: { files: 10, rowsOut: 100 } });
    expect(seen.sort((a, b) => a - b)).toEqual(range(1, 100));
    expect(ex.log.named('extract.waits').length).toBeGreaterThan(0);
    expect(ex.log.named('extract.waits').length).toBe(ex.log.named('extract.goes-on').length);
  });

  it('is full by bytes, too', async () => {
    await ex.fill(1, 100);
    const result = await ex.run({ ...INC, file_rows: '10', max_waiting_bytes: '1000', room_wait: '0' });
    expect(String(result.error)).toContain('1000 bytes wait in it');
    // The file that goes beyond the limit is the last one.
    expect((await ex.files()).length).toBeLessThan(4);
    await ex.well({ ...INC, file_rows: '10' });
    expect(await ex.numbers()).toEqual(range(1, 100));
  });

  it('that is a file is refused in plain words', async () => {
    await ex.fill(1, 5);
    await writeFile(ex.out, 'x');
    const result = await ex.run(ALL);
    expect(result).toMatchObject({ state: 'failed', retryable: false });
    expect(String(result.error)).toContain('it must be a folder writable for this program');
  });

  it('keeps a file of the same name that is there already', async () => {
    await ex.fill(1, 5);
    await mkdir(ex.out);
    const stamp = (s: number): string => {
      const d = new Date(Date.now() + s * 1_000);
      const two = (n: number): string => String(n).padStart(2, '0');
      return `${d.getFullYear()}${two(d.getMonth() + 1)}${two(d.getDate())}${two(d.getHours())}${two(d.getMinutes())}${two(d.getSeconds())}`;
    };
    for (let s = 0; s < 15; s++) await writeFile(join(ex.out, `P_${stamp(s)}_s_1.xml`), 'somebody else');
    await ex.well(ALL);
    const names = await ex.files();
    expect(names).toHaveLength(16);
    const ours = names.find((name) => name.endsWith('_1-2.xml')) ?? '';
    expect((await ex.readFile(ours)).toString()).toContain('<keyid>5</keyid>');
    for (const name of names)
      if (name !== ours) expect((await ex.readFile(name)).toString()).toBe('somebody else');
  });

  const canMount = process.getuid?.() === 0 && mountable();
  it.skipIf(!canMount)(
    'without space fails the run, and the next one goes on',
    { timeout: 30_000 },
    async () => {
      await ex.fill(1, 20_000);
      await mkdir(ex.out);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'none', ex.out]);
      try {
        const file = join(ex.root, 'last.txt');
        const conf = { ...INC, file_rows: '100', step_files: '5', inc_file: file, min_free: '0' };
        const result = await ex.run(conf);
        expect(result).toMatchObject({ state: 'failed', retryable: true });
        expect(String(result.error)).toContain('ENOSPC');
        const first = await ex.numbers();
        expect(first).toEqual(range(1, first.length));
        expect(await readFile(file, 'latin1')).toBe(String(first.length));
        expect((await ex.traces()).filter((name) => name.startsWith('step'))).toEqual([]);
        for (const name of await ex.files()) await rm(join(ex.out, name));
        execFileSync('mount', ['-o', 'remount,size=8m', ex.out]);
        await ex.well(conf);
        expect([...first, ...(await ex.numbers())]).toEqual(range(1, 20_000));
      } finally {
        execFileSync('umount', [ex.out]);
      }
    },
  );
});

describe('after a crash', () => {
  const memory = { name: { time: '20240101000000', serial: 2 } };

  it('a step that counts is carried out, one that does not is removed', async () => {
    await ex.fill(1, 10);
    const file = join(ex.root, 'last.txt');
    for (const folder of ['step-1-a-1', 'step-1-a-2']) await mkdir(hidden(folder), { recursive: true });
    const content = (key: number): string => `<data>\n<keyid>${key}</keyid><v>row</v><endl/>\n</data>\n`;
    await writeFile(hidden('step-1-a-1/P_20240101000000_s_1.xml'), content(1));
    await writeFile(hidden('step-1-a-1/P_20240101000000_s_2.xml'), content(2));
    await writeFile(hidden('step-1-a-2/P_20240101000000_s_3.xml'), content(3));
    await writeFile(hidden('step.json.77-1.tmp'), '{"ver');
    const step = { version: 1, folder: 'step-1-a-1', rows: 2, position: '2', memory };
    await writeFile(hidden('step.json'), JSON.stringify(step));
    const result = await ex.well({ ...INC, inc_file: file });
    expect(result.counts).toMatchObject({ rowsIn: 8, rowsOut: 10, files: 3 });
    expect(await ex.numbers()).toEqual(range(1, 10));
    expect(await ex.files()).toContain('P_20240101000000_s_2.xml');
    expect(await readFile(file, 'latin1')).toBe('10');
    expect(await ex.traces()).toEqual([]);
  });

  it('a step whose files are out already stores its position', async () => {
    await ex.fill(1, 10);
    const file = join(ex.root, 'last.txt');
    await mkdir(hidden('.'), { recursive: true });
    const step = { version: 1, folder: 'step-1-a-1', rows: 4, position: '4', memory };
    await writeFile(hidden('step.json'), JSON.stringify(step));
    await ex.well({ ...INC, inc_file: file });
    expect(await ex.numbers()).toEqual(range(5, 10));
  });

  it.each(['step.json', 'last.json'])('a damaged %s stops the stage with a word about it', async (name) => {
    await ex.fill(1, 10);
    await mkdir(hidden('.'), { recursive: true });
    await writeFile(hidden(name), '{"version":1');
    const result = await ex.run(INC);
    expect(result).toMatchObject({ state: 'failed', retryable: false });
    expect(String(result.error)).toContain(`${name} is damaged`);
    expect(await ex.files()).toEqual([]);
  });
});

describe('two processes', () => {
  it('do not extract for one stage at the same time', async () => {
    await ex.fill(1, 10);
    const child = spawn(process.execPath, ['-e', 'process.stdout.write("x"); setInterval(() => {}, 1000)'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(child.stdout, 'data');
      const lock = { token: 't', host: hostname(), pid: child.pid, started: '' };
      await mkdir(hidden('.'), { recursive: true });
      await writeFile(hidden('lock'), JSON.stringify(lock));
      const result = await ex.run(INC);
      expect(result).toMatchObject({ state: 'failed', retryable: true });
      expect(String(result.error)).toContain(`process ${child.pid} on`);
      expect(await ex.files()).toEqual([]);
      child.kill('SIGKILL');
      await once(child, 'exit');
      await ex.well(INC);
      expect(await ex.numbers()).toEqual(range(1, 10));
      expect(await ex.traces()).toEqual([]);
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('of another machine are waited for until their lease is over', async () => {
    await ex.fill(1, 10);
    await mkdir(hidden('.'), { recursive: true });
    await writeFile(
      hidden('lock'),
      JSON.stringify({ token: 't', host: 'elsewhere.example', pid: 1, started: 'b/1' }),
    );
    expect(await ex.run(INC)).toMatchObject({ state: 'failed', retryable: true });
    const { utimes } = await import('node:fs/promises');
    const old = new Date(Date.now() - 3_600_000);
    await utimes(hidden('lock'), old, old);
    await ex.well(INC);
    expect(await ex.numbers()).toEqual(range(1, 10));
  });

  it('that run one conf again and again send every row once', { timeout: 60_000 }, async () => {
    await ex.fill(1, 5_000);
    const conf = { ...INC, file_rows: '10', step_files: '2' };
    const start = (): ReturnType<typeof spawn> =>
      spawn(process.execPath, [HARNESS, 'extract', JSON.stringify(ex.params(conf)), 'loop'], {
        stdio: 'ignore',
      });
    const children = [start(), start(), start()];
    try {
      const end = performance.now() + 40_000;
      while ((await ex.files()).length < 500 && performance.now() < end) await sleep(50);
      await ex.fill(5_001, 6_000);
      while ((await ex.files()).length < 600 && performance.now() < end) await sleep(50);
    } finally {
      for (const child of children) child.kill('SIGKILL');
      await Promise.all(children.map((child) => once(child, 'exit')));
    }
    expect(await ex.numbers()).toEqual(range(1, 6_000));
  });

  it('take over from one that was given up, which then does no harm', async () => {
    await ex.fill(1, 10);
    await mkdir(hidden('.'), { recursive: true });
    const stuck = await FolderLock.take(hidden('.'), 10_000);
    await stuck.prove();
    const second = await FolderLock.take(hidden('.'), 10_000);
    await expect(stuck.prove()).rejects.toThrow('another process took this extraction over');
    await stuck.release();
    await second.prove();
    await second.release();
    expect(await readdir(hidden('.'))).toEqual([]);
  });
});

describe('a lock that is taken over', () => {
  it('has only names in between that are swept when a kill leaves them', async () => {
    await mkdir(hidden('.'), { recursive: true });
    const dead = { token: 't', host: hostname(), pid: 999_999_999, started: 'x' };
    await writeFile(hidden('lock'), JSON.stringify(dead));
    const seen = new Set<string>();
    const watcher = watch(hidden('.'), (_, name) => seen.add(name ?? ''));
    try {
      await (await FolderLock.take(hidden('.'), 10_000)).release();
      await expect.poll(() => [...seen].filter((name) => name.includes('stale'))).not.toEqual([]);
    } finally {
      watcher.close();
    }
    seen.delete('lock');
    expect([...seen].filter((name) => !/^lock-.*\.tmp$/.test(name))).toEqual([]);
  });
});

describe('a stop', () => {
  it('in the middle keeps the steps that are done, and the next run goes on', async () => {
    await ex.fill(1, 6_000);
    const stop = new AbortController();
    const conf = { ...INC, file_rows: '10', step_files: '10' };
    const running = ex.run(conf, { signal: stop.signal });
    const end = performance.now() + 15_000;
    while ((await ex.files()).length === 0 && performance.now() < end) await sleep(2);
    stop.abort();
    expect(await running).toMatchObject({ state: 'ok' });
    expect((await ex.numbers()).length).toBeLessThan(6_000);
    await ex.well(conf);
    expect(await ex.numbers()).toEqual(range(1, 6_000));
  });
});

describe('a select', () => {
  it.each([
    [{ sql: 'select keyid from r' }, 'sql brings 1 columns, fields names 2'],
    [{ sql: 'select keyid, v, v from r' }, 'sql brings 3 columns, fields names 2'],
    [{ sql: 'select keyid, nothing from r' }, 'nothing'],
    [{ sql: 'select keyid, v from nowhere' }, 'nowhere'],
    [{ sql: 'select keyid, v from r where keyid>:2' }, ':2 is never given'],
    [{ sql: 'select keyid, v from r where keyid>:1' }, 'set inc_field'],
  ])('%o is refused: %s', async (wrong, message) => {
    await ex.fill(1, 3);
    const result = await ex.run({ ...ALL, ...wrong });
    expect(result).toMatchObject({ state: 'failed', retryable: false });
    expect(String(result.error)).toContain(message);
    expect(await ex.files()).toEqual([]);
  });

  it('with a key that is no integer is refused', async () => {
    await ex.fill(1, 3);
    const result = await ex.run({ ...INC, sql: 'select v, keyid from r', inc_field: 'keyid' });
    expect(String(result.error)).toContain('keyid is "row');
    expect(await ex.files()).toEqual([]);
  });
});

function mountable(): boolean {
  const folder = '/mnt';
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', folder], { stdio: 'ignore' });
    execFileSync('umount', [folder], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
