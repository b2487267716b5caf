/**
 * The stage `load` and disks that are full: that of the database, and those of its own folders. Nothing is lost, nothing comes twice, and
 * all of it is there as soon as there is room. Needs to mount a tmpfs, thus root; skipped loudly otherwise.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createStage } from '../../src/actors/pipeline/load.js';
import { reasonOf } from '../../src/runtime/errors.js';
import { runOnce, type RunResult, type Stage } from '../../src/actors/pipeline/stage/run.js';
import { file, LoadFixture, names, record } from '../support/load-fixture.js';
import { have, ownMariadb, ownPostgres, type OwnServer } from '../support/servers.js';
import { fillDisk, makeRoom, mayMount, mountDisk, unmountAll } from '../support/small-disk.js';

const FILES = 10;
const ROWS = 4_000;
/** No key, so that what is loaded twice shows. */
const TABLE =
  'CREATE TABLE T_OBS (obtid VARCHAR(10), ddatetime TIMESTAMP, t INTEGER, name VARCHAR(90), CHECK (t < 1000))';
const WAYS = [
  ['groups of files', { mode: 'insert' }],
  ['files that are streams', { mode: 'insert', group_bytes: '1k' }],
] as const;

let f: LoadFixture | undefined;
let stage: Stage | undefined;
let server: OwnServer | undefined;
afterEach(async () => {
  await stage?.close?.();
  await server?.stop();
  unmountAll();
  await f?.remove();
  f = stage = server = undefined;
});

/** The stage lives from run to run, as in its actor. */
function loader(on: LoadFixture, written: Readonly<Record<string, string>>): () => Promise<RunResult> {
  const env = on.env(written);
  const made = (stage = createStage(env));
  const keep = { run: made.run.bind(made) };
  return () => runOnce(() => keep, env, { dryRun: false, ledgerUrl: undefined });
}

/** @param bad rows in the middle of each that no database takes */
async function put(on: LoadFixture, bad: number, from = 0): Promise<void> {
  for (let i = from; i < FILES; i++) {
    const records = Array.from({ length: ROWS }, (_, n) =>
      record({ obtid: i * ROWS + n, t: n % 900, name: 'x'.repeat(80) }),
    );
    for (let n = 0; n < bad; n++) records.splice(ROWS / 2, 0, record({ obtid: 'bad', t: 5_000 }));
    await on.put(`A_${i}.xml`, file(...records));
    if (i === 0 && from === 0) return;
  }
}

async function isLoadedOnce(on: LoadFixture, bad: number): Promise<void> {
  const [row] = await on.sql('SELECT count(*), count(DISTINCT obtid) FROM T_OBS');
  expect(row?.map(Number)).toEqual([FILES * ROWS, FILES * ROWS]);
  const [sums] = await on.sql('SELECT count(*), sum(rows_in), sum(rows_rejected) FROM switchyard_files');
  expect(sums?.map(Number)).toEqual([FILES, FILES * ROWS, FILES * bad]);
  expect(await names(on.inbox)).toEqual([]);
  expect(await names(`${on.inbox}-done`)).toHaveLength(FILES);
  expect(await names(`${on.inbox}-errors`)).toHaveLength(bad > 0 ? FILES : 0);
  for (const { at } of on.events('load.bad-row')) expect(at).toMatch(new RegExp(`:${ROWS / 2 + 2}$`));
  expect(on.events('load.bad-file')).toEqual([]);
}

const able = mayMount();

/** One file while there is room, then no room at all, then a little, then enough. */
async function fillsUp(
  on: LoadFixture,
  disk: string,
  written: Readonly<Record<string, string>>,
): Promise<void> {
  await on.sql(TABLE);
  const load = loader(on, written);
  await put(on, 1);
  expect(await load()).toMatchObject({ state: 'ok', counts: { rowsOut: ROWS, rowsRejected: 1 } });
  await put(on, 1, 1);
  for (const left of [0, 0, 400_000, 0]) {
    fillDisk(disk, left);
    const result = await load();
    expect(result).toMatchObject({ state: 'failed', retryable: true });
    expect(reasonOf(result.error)).toMatch(/^the database .+ is full: .+; make room on its disk, then/s);
    expect(reasonOf(result.error)).not.toMatch(/root:/);
    if (left > 0) makeRoom(disk);
  }
  makeRoom(disk);
  expect(await load()).toMatchObject({ state: 'ok' });
  await isLoadedOnce(on, 1);
}

const SERVERS = [
  ['MariaDB', have.mariadb, ownMariadb, 220],
  ['PostgreSQL', have.postgres, ownPostgres, 140],
] as const;

describe.runIf(able)('the load stage and a database on a full disk', { timeout: 120_000 }, () => {
  it.each(WAYS)('goes on with SQLite when there is room, by %s', async (_, written) => {
    f = await LoadFixture.make();
    const small = join(f.root, 'small');
    mountDisk(small, 24);
    await fillsUp(f.at(`sqlite:${join(small, 'data.db')}`), small, written);
  });

  it('says so when SQLite cannot even be opened', async () => {
    f = await LoadFixture.make();
    const small = join(f.root, 'small');
    mountDisk(small, 16);
    const on = f.at(`sqlite:${join(small, 'data.db')}`);
    await on.sql(TABLE);
    await put(on, 0);
    const load = loader(on, { mode: 'insert' });
    fillDisk(small);
    const result = await load();
    expect(result).toMatchObject({ state: 'failed', retryable: true });
    expect(reasonOf(result.error)).toMatch(/data\.db is full: .+; make room on its disk/);
    makeRoom(small);
    expect(await load()).toMatchObject({ state: 'ok', counts: { rowsOut: ROWS } });
  });

  for (const [name, there, own, disk] of SERVERS) {
    it.skipIf(!there).each(WAYS)(`goes on with ${name} when there is room, by %s`, async (_, written) => {
      server = await own({ disk });
      f = await LoadFixture.make(server.url);
      await fillsUp(f, server.folder, written);
    });
  }
});

describe.runIf(able)('the load stage and folders on a full disk', { timeout: 60_000 }, () => {
  const small = (on: LoadFixture): string => join(on.root, 'small');
  async function begin(): Promise<LoadFixture> {
    f = await LoadFixture.make();
    mountDisk(small(f), 2);
    await f.sql(TABLE);
    for (let i = 0; i < 3; i++)
      await f.put(`A_${i}.xml`, file(record({ obtid: i, t: 1 }), record({ obtid: 'bad', t: 'x' })));
    return f;
  }
  const count = async (on: LoadFixture): Promise<number[]> =>
    (await on.sql('SELECT count(*), count(DISTINCT obtid) FROM T_OBS'))[0]?.map(Number) ?? [];

  it.each(WAYS)('loads nothing of files whose bad rows cannot be kept, by %s', async (_, written) => {
    const on = await begin();
    const rejects = small(on);
    const load = loader(on, { ...written, reject_path: rejects });
    fillDisk(rejects);
    // More often than a file that fails in other ways is tried.
    for (let i = 0; i < 4; i++) {
      const result = await load();
      expect(result).toMatchObject({ state: 'failed', retryable: true });
      expect(reasonOf(result.error)).toMatch(
        /^the refused rows of A_0.xml cannot be written into .+small: ENOSPC.+; nothing of the file is loaded until/,
      );
      expect(await count(on)).toEqual([0, 0]);
    }
    expect(await names(rejects)).toEqual(['ballast']);
    makeRoom(rejects);
    expect(await load()).toMatchObject({ state: 'ok', counts: { files: 3, rowsRejected: 3 } });
    expect(await count(on)).toEqual([3, 3]);
    expect(await names(rejects)).toHaveLength(3);
    for (const name of await names(rejects))
      expect(await readFile(join(rejects, name), 'utf8')).toMatch(/<obtid>bad<[^]*<\/data>\n$/);
    expect(await names(on.inbox)).toEqual([]);
  });

  it.each(WAYS)('loads files once that cannot be moved away, by %s', async (_, written) => {
    const on = await begin();
    const done = small(on);
    const load = loader(on, { ...written, done_path: done });
    fillDisk(done);
    for (let i = 0; i < 4; i++) {
      const result = await load();
      expect(result).toMatchObject({ state: 'failed', retryable: true });
      expect(reasonOf(result.error)).toMatch(
        /is loaded and cannot be moved to .+small, which has to .+: ENOSPC/,
      );
      // No half of a file either.
      expect(await names(done)).toEqual(['ballast']);
    }
    makeRoom(done);
    expect(await load()).toMatchObject({ state: 'ok' });
    expect(await count(on)).toEqual([3, 3]);
    expect(await names(done)).toEqual(['A_0.xml', 'A_1.xml', 'A_2.xml']);
    expect(await names(on.inbox)).toEqual([]);
    expect(on.events('load.bad-file')).toEqual([]);
  });

  it('puts bad files aside as soon as there is room, and loads the others meanwhile', async () => {
    const on = await begin();
    const errors = small(on);
    await on.put('A_1.xml', 'no row at all');
    const load = loader(on, { mode: 'insert', error_path: errors, reject_path: join(on.root, 'rejects') });
    fillDisk(errors);
    for (let i = 0; i < 2; i++) expect(await load()).toMatchObject({ state: 'ok', counts: { errors: 1 } });
    expect(await count(on)).toEqual([2, 2]);
    expect(await names(errors)).toEqual(['ballast']);
    expect(on.events('load.stuck-file')).toHaveLength(2);
    makeRoom(errors);
    expect(await load()).toMatchObject({ state: 'ok', counts: { errors: 1 } });
    expect(await readFile(join(errors, 'A_1.xml'), 'utf8')).toBe('no row at all');
    expect(await names(on.inbox)).toEqual([]);
  });
});
