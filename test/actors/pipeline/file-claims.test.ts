import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import {
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileClaims, putAside, type ClaimedFile } from '../../../src/actors/pipeline/stage/file-claims.js';
import { nameMatcher } from '../../../src/protocol/match-name.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'claims-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (stage = 'load'): Promise<FileClaims> =>
  FileClaims.open({ folder, stage, matches: nameMatcher('*.xml,*.csv'), leaseMs: 60_000 });
const names = async (claims: FileClaims, limit = 100): Promise<string[]> =>
  (await claims.scan(limit, new Set())).map((candidate) => candidate.name);
const put = (...list: string[]): Promise<unknown> =>
  Promise.all(list.map((name) => writeFile(join(folder, name), name)));

async function claimFirst(claims: FileClaims): Promise<ClaimedFile | undefined> {
  const [first] = await claims.scan(1, new Set());
  return first && claims.claim(first);
}

describe('a scan', () => {
  it('lists matching files by name, whatever the order of the folder, up to its limit', async () => {
    await put('c.xml', 'a.csv', 'b.XML', 'd.txt', 'e.csv.tmp', '.hidden.csv', 'f.csv.99-1.tmp');
    await mkdir(join(folder, 'g.csv'));
    const claims = await open();
    expect(await names(claims)).toEqual(['a.csv', 'b.XML', 'c.xml']);
    expect(await names(claims, 2)).toEqual(['a.csv', 'b.XML']);
    expect((await claims.scan(9, new Set(['a.csv']))).map((file) => file.name)).toEqual(['b.XML', 'c.xml']);
  });

  it('keeps the first by name even of very many', async () => {
    await put(...Array.from({ length: 2_500 }, (_, i) => `${String(2_499 - i).padStart(5, '0')}.csv`));
    expect(await names(await open(), 3)).toEqual(['00000.csv', '00001.csv', '00002.csv']);
  });

  it('makes the folder', async () => {
    await rm(folder, { recursive: true });
    expect(await names(await open())).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('a claim', () => {
  it('is given to one of many', async () => {
    await put('a.csv');
    const all = await Promise.all(Array.from({ length: 8 }, (_, i) => open(`s${i}`)));
    const [candidate] = await (all[0] as FileClaims).scan(1, new Set());
    if (candidate === undefined) throw new Error('nothing found');
    const won = (await Promise.all(all.map((claims) => claims.claim(candidate)))).filter(
      (file) => file !== undefined,
    );
    expect(won).toHaveLength(1);
    expect(won[0]).toMatchObject({ name: 'a.csv', size: 5, regular: true });
  });

  it('hides the file from others, but not from the same stage after a restart', async () => {
    await put('a.csv');
    const claimed = await claimFirst(await open());
    expect(await names(await open('other'))).toEqual([]);
    const again = await claimFirst(await open());
    expect(again?.path).toBe(claimed?.path);
  });

  it('of a dead process is taken over, and its folder goes', async () => {
    await put('a.csv');
    const child = spawn('sleep', ['60']);
    const stat = await readFile(`/proc/${child.pid}/stat`, 'utf8');
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const started = `${boot}_${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
    const owner = join(folder, '.claimed', [hostname(), child.pid, started, 'load'].join('~'));
    await mkdir(owner, { recursive: true });
    await rename(join(folder, 'a.csv'), join(owner, 'x-1~a.csv'));
    const claims = await open();
    expect(await names(claims)).toEqual([]);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await claimFirst(claims)).toMatchObject({ name: 'a.csv' });
    await claims.scan(1, new Set());
    expect(await readdir(join(folder, '.claimed'))).toHaveLength(1);
  });

  it('of a pid that is another process by now is taken over', async () => {
    const owner = join(folder, '.claimed', [hostname(), process.pid, 'boot_1', 'load'].join('~'));
    await mkdir(owner, { recursive: true });
    await writeFile(join(owner, 'x-1~a.csv'), '');
    expect(await names(await open())).toEqual(['a.csv']);
  });

  it('of another machine is taken over when its lease has run out', async () => {
    const owner = join(folder, '.claimed', 'elsewhere~1~boot_1~load');
    await mkdir(owner, { recursive: true });
    await writeFile(join(owner, 'x-1~a.csv'), '');
    const claims = await open();
    expect(await names(claims)).toEqual([]);
    await utimes(owner, new Date(Date.now() - 61_000), new Date(Date.now() - 61_000));
    expect(await names(claims)).toEqual(['a.csv']);
  });

  it('is put back by release, but never over a newer file of that name', async () => {
    await put('a.csv', 'b.csv');
    const claims = await open();
    await claimFirst(claims);
    await claimFirst(claims);
    await writeFile(join(folder, 'a.csv'), 'newer');
    await claims.release();
    expect((await readdir(folder)).sort()).toEqual(['.claimed', 'a.csv', 'b.csv']);
    expect(await readFile(join(folder, 'a.csv'), 'utf8')).toBe('newer');
    expect(await names(await open())).toEqual(['a.csv', 'a.csv', 'b.csv']);
  });

  it('tells links from files', async () => {
    await symlink('/etc/passwd', join(folder, 'a.csv'));
    expect(await claimFirst(await open())).toMatchObject({ regular: false });
  });
});

describe('putting aside', () => {
  it('never overwrites', async () => {
    const claims = await open();
    const errors = join(folder, 'errors');
    for (let i = 0; i < 3; i++) {
      await put('a.csv');
      const file = await claimFirst(claims);
      if (file !== undefined) await putAside(file, errors);
    }
    expect((await readdir(errors)).sort()).toEqual(['a.csv', 'a.csv.2', 'a.csv.3']);
  });
});

describe('a file that is put aside', () => {
  it('has one name there, also when the last one to do so was killed half way', async () => {
    await put('a.csv');
    const file = await claimFirst(await open());
    if (file === undefined) throw new Error('nothing claimed');
    const done = join(folder, 'done');
    await mkdir(done);
    await writeFile(join(done, 'a.csv'), 'an older one');
    await link(file.path, join(done, 'a.csv.2'));
    expect(await putAside(file, done)).toBe(join(done, 'a.csv.2'));
    expect((await readdir(done)).sort()).toEqual(['a.csv', 'a.csv.2']);
    expect(await readFile(join(done, 'a.csv.2'), 'utf8')).toBe('a.csv');
    expect(await readdir(join(file.path, '..'))).toEqual([]);
  });

  it.skipIf(!otherDisk())('appears whole on another disk', async () => {
    await writeFile(join(folder, 'a.csv'), Buffer.alloc(24 << 20, 'x'));
    const file = await claimFirst(await open());
    if (file === undefined) throw new Error('nothing claimed');
    const done = await mkdtemp('/dev/shm/claims-');
    try {
      const sizes = new Set<number>();
      let moved = false;
      const moving = putAside(file, done).finally(() => (moved = true));
      while (!moved) {
        const size = await stat(join(done, 'a.csv')).then(
          (info) => info.size,
          () => undefined,
        );
        if (size !== undefined) sizes.add(size);
      }
      await moving;
      sizes.add((await stat(join(done, 'a.csv'))).size);
      expect([...sizes].filter((size) => size !== 24 << 20).length).toBe(0);
      expect(await readdir(done)).toEqual(['a.csv']);
    } finally {
      await rm(done, { recursive: true, force: true });
    }
  });
});

function otherDisk(): boolean {
  try {
    return statSync('/dev/shm').dev !== statSync(tmpdir()).dev;
  } catch {
    return false;
  }
}
