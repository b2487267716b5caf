/** SIGKILL of the process at random moments of the stage `load`: every row once, every file in one place. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { file, LoadFixture, names, record } from '../support/load-fixture.js';
import { have, mariadb } from '../support/servers.js';

const HARNESS = fileURLToPath(new URL('../support/run-stage.mjs', import.meta.url));
const KILLS = 12;
const FILES = 60;
const ROWS = 200;

let f: LoadFixture | undefined;
const children = new Set<ChildProcess>();
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
  await f?.remove();
  f = undefined;
});

function start(
  on: LoadFixture,
  mode: 'once' | 'loop',
  written: Readonly<Record<string, string>>,
): ChildProcess {
  const ledger = `sqlite:${join(on.root, 'ledger.db')}`;
  const { params } = on.env({ mode: 'insert', group_files: '7', ledger, ...written });
  const child = spawn(process.execPath, [HARNESS, 'load', JSON.stringify(params), mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  return child;
}

/** Every fifth file has a row that is bad by itself and one that the database refuses. */
async function fill(on: LoadFixture, round: number): Promise<void> {
  for (let i = 0; i < FILES; i++) {
    const first = (round * FILES + i) * ROWS;
    const records = Array.from({ length: ROWS }, (_, n) => record({ obtid: first + n, t: n }));
    if (i % 5 === 0)
      records.splice(7, 0, record({ obtid: 'x', t: 'bad' }), record({ obtid: 'toolong', t: 5_000 }));
    await on.put(`A_${round}_${String(i).padStart(2, '0')}.xml`, file(...records));
  }
}

async function survive(on: LoadFixture, written: Readonly<Record<string, string>>): Promise<void> {
  // No key: a file loaded twice would show.
  await on.sql('CREATE TABLE T_OBS (obtid VARCHAR(10), ddatetime TIMESTAMP, t INTEGER, CHECK (t < 1000))');
  let atWork = 0;
  for (let round = 0; round < KILLS; round++) {
    await fill(on, round);
    // Two processes on one folder, both killed.
    const pair = [start(on, 'loop', written), start(on, 'loop', written)];
    const exits = pair.map((child) => once(child, 'exit'));
    await Promise.all(pair.map((child) => once(child.stdout ?? child, 'data')));
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 900));
    for (const child of pair) child.kill('SIGKILL');
    await Promise.all(exits);
    const left = (await readdir(on.inbox, { recursive: true })).filter((name) => name.endsWith('.xml'));
    if (left.length > 0) atWork++;
  }
  const child = start(on, 'once', written);
  expect(await once(child, 'exit')).toEqual([0, null]);

  const total = KILLS * FILES * ROWS;
  const [row] = await on.sql('SELECT count(*), count(DISTINCT obtid) FROM T_OBS');
  expect(row?.map(Number)).toEqual([total, total]);
  const bad = (KILLS * FILES) / 5;
  const [sums] = await on.sql('SELECT count(*), sum(rows_in), sum(rows_rejected) FROM switchyard_files');
  expect(sums?.map(Number)).toEqual([KILLS * FILES, total, bad * 2]);
  expect(await names(on.inbox)).toEqual([]);
  expect(await names(`${on.inbox}-done`)).toHaveLength(KILLS * FILES);
  // A kill may leave a temporary file beside them.
  const rejects = (await names(`${on.inbox}-errors`)).filter((name) => name.endsWith('.reject'));
  expect(rejects).toHaveLength(bad);
  const text = await readFile(join(`${on.inbox}-errors`, rejects[0] ?? ''), 'utf8');
  expect(text.split('<endl/>')).toHaveLength(3);
  // Otherwise the kills came too early or too late to prove anything.
  expect(atWork).toBeGreaterThan(0);
}

describe('the load stage under SIGKILL, two processes on one folder,', { timeout: 300_000 }, () => {
  it('loads every row once into SQLite', async () => {
    f = await LoadFixture.make();
    await survive(f, {});
  });

  it('loads every row once into SQLite when each file is a stream', async () => {
    f = await LoadFixture.make();
    await survive(f, { group_bytes: '1k' });
  });

  it.skipIf(!have.mariadb)('loads every row once into MariaDB', async () => {
    f = await LoadFixture.make(await mariadb());
    await survive(f, {});
  });
});
