import { mkdir, mkdtemp, readdir, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as deleteFiles from '../../../src/actors/pipeline/delete-files.js';
import type { StageRun } from '../../../src/actors/pipeline/stage/run.js';
import { freeBytes } from '../../../src/runtime/disk-space.js';
import { FakeLog } from '../../support/fake-context.js';
import { fakeRun } from '../../support/fake-run.js';
import { paramsOf } from '../../support/stage-params.js';

let root = '';
let log: FakeLog;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidy-'));
  log = new FakeLog();
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** @param age in minutes */
async function put(name: string, age: number, content = 'x'): Promise<string> {
  const path = join(root, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  const time = new Date(Date.now() - age * 60_000);
  await utimes(path, time, time);
  return path;
}

const tree = async (): Promise<string[]> => (await readdir(root, { recursive: true })).sort();

async function tidy(written: Record<string, string>, given: Partial<StageRun> = {}): Promise<StageRun> {
  const params = paramsOf(deleteFiles.keys, { path: root, older_than: '30m', ...written });
  const run = fakeRun({ log, ...given });
  const env = { name: 'tidy', params, log, signal: run.signal };
  await deleteFiles.createStage(env).run(run);
  return run;
}

describe('delete-files', () => {
  it('removes what is old and matches, at any depth, and nothing else', async () => {
    await put('a.xml', 40);
    await put('b.xml', 20);
    await put('c.txt', 40);
    await put('sub/deep/d.XML', 40);
    await put('.hidden.xml', 40);
    await symlink('/etc/hostname', join(root, 'link.xml'));
    const { counts } = await tidy({ match: '*.xml' });
    expect(await tree()).toEqual(['.hidden.xml', 'b.xml', 'c.txt', 'link.xml', 'sub', 'sub/deep']);
    expect(counts).toMatchObject({ files: 2, bytes: 2, errors: 0 });
  });

  it('knows the size of a file beyond 32 bits', async () => {
    const path = await put('large', 5);
    await truncate(path, 5 * 2 ** 30);
    const time = new Date(Date.now() - 3_600_000);
    await utimes(path, time, time);
    const { counts } = await tidy({});
    expect(counts).toMatchObject({ files: 1, bytes: 5 * 2 ** 30 });
    expect(await tree()).toEqual([]);
  });

  it('leaves sub-folders alone, or removes the empty ones, as it is told', async () => {
    await put('a', 40);
    await put('sub/deep/b', 40);
    await put('full/young', 1);
    await tidy({ recursive: 'no', empty_folders: 'remove' });
    expect(await tree()).toEqual(['full', 'full/young', 'sub', 'sub/deep', 'sub/deep/b']);
    await tidy({ empty_folders: 'remove' });
    expect(await tree()).toEqual(['full', 'full/young']);
  });

  it('makes room with the oldest files first, and never with the youngest', async () => {
    await put('older', 10, 'x'.repeat(1_000_000));
    await put('old', 5, 'x'.repeat(1_000_000));
    await put('new', 0, 'x');
    // Somebody else may free or take space meanwhile, so a lot is asked for.
    const { counts } = await tidy({ older_than: '1d', keep_free: '1000000g' });
    expect(await tree()).toEqual(['new']);
    expect(counts.files).toBe(2);
    expect(log.named('delete-files.room')).toHaveLength(1);
    await put('enough', 10);
    await tidy({ older_than: '1d', keep_free: '1k' });
    expect(await tree()).toEqual(['enough', 'new']);
  });

  it('changes nothing in a dry run, shows what would go, and does without a folder', async () => {
    await put('a', 40);
    expect((await tidy({}, { dryRun: true })).counts.files).toBe(1);
    expect(await tree()).toEqual(['a']);
    const params = paramsOf(deleteFiles.keys, { path: `${root},${root}/none`, older_than: '30m' });
    const env = { name: 'tidy', params, log, signal: new AbortController().signal };
    const stage = deleteFiles.createStage(env);
    expect((await stage.check?.())?.[1]).toMatch(/MB free$/);
    await stage.run(fakeRun({ log }));
    expect(await tree()).toEqual([]);
  });

  it('refuses to tidy everything', () => {
    const params = paramsOf(deleteFiles.keys, { path: '/', older_than: '1d' });
    const env = { name: 'tidy', params, log, signal: new AbortController().signal };
    expect(() => deleteFiles.createStage(env)).toThrow('too much');
  });
});

describe('free space', () => {
  it('is that of the nearest folder that exists', async () => {
    const below = await freeBytes(join(root, 'not', 'yet', 'there'));
    expect(below).toBeGreaterThan(0);
  });
});
