import { mkdir, mkdtemp, readFile, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createAtomic, sweepTemps, writeFileAtomic } from '../../src/runtime/atomic-file.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'atomic-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('a file written atomically', () => {
  it('appears only at commit, in folders that did not exist', async () => {
    const path = join(folder, 'a', 'b', 'x.csv');
    const file = await createAtomic(path);
    await file.handle.write('hello');
    expect((await readdir(join(folder, 'a', 'b'))).every((name) => name.endsWith('.tmp'))).toBe(true);
    await file.commit();
    expect(await readdir(join(folder, 'a', 'b'))).toEqual(['x.csv']);
    expect(await readFile(path, 'utf8')).toBe('hello');
  });

  it('replaces the older one and leaves nothing behind when discarded', async () => {
    const path = join(folder, 'x.csv');
    await writeFileAtomic(path, 'one');
    await writeFileAtomic(path, 'two');
    const file = await createAtomic(path);
    await file.handle.write('three');
    await file.discard();
    expect(await readFile(path, 'utf8')).toBe('two');
    expect(await readdir(folder)).toEqual(['x.csv']);
  });

  it('leaves nothing behind when it cannot get its name', async () => {
    await mkdir(join(folder, 'taken', 'inside'), { recursive: true });
    await expect(writeFileAtomic(join(folder, 'taken'), 'x')).rejects.toThrow();
    expect(await readdir(folder)).toEqual(['taken']);
  });
});

describe('sweeping temporary files', () => {
  it('removes what a killed writer left, and nothing else', async () => {
    const old = new Date(Date.now() - 7_200_000);
    for (const name of ['S_1.csv.9-1.tmp', 'S_2.csv.9-2.tmp', 'S_3.csv', 'other.tmp']) {
      await writeFile(join(folder, name), '');
      if (!name.startsWith('S_2')) await utimes(join(folder, name), old, old);
    }
    expect(await sweepTemps(folder, 'S_', 3_600_000)).toBe(1);
    expect((await readdir(folder)).sort()).toEqual(['S_2.csv.9-2.tmp', 'S_3.csv', 'other.tmp']);
    expect(await sweepTemps(join(folder, 'missing'), 'S_', 0)).toBe(0);
  });
});
