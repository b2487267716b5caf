import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, StoreError } from '../../src/store/driver.js';

const ROOT = new URL('../../', import.meta.url);
const DIST = new URL('dist/store/', ROOT);

let folder: string;
let url: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'thread-'));
  url = `sqlite:${join(folder, 'a.db')}`;
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a program of its own against the build, so that it may die. */
async function run(source: string): Promise<{ status: unknown; output: string }> {
  const program = `import { Worker } from 'node:worker_threads';
    const { openStore } = await import('${DIST.href}driver.js');
    const url = ${JSON.stringify(url)};
    ${source}`;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--input-type=module', '-e', program],
      { timeout: 60_000 },
      (error, stdout, stderr) => {
        resolve({ status: error === null ? 0 : (error.signal ?? error.code), output: stdout + stderr });
      },
    );
  });
}

describe('the SQLite thread', () => {
  it('that dies takes its calls with it as retryable, and the next call has a new one', async () => {
    const store = await openStore(url);
    await store.execute('CREATE TABLE t (id INTEGER PRIMARY KEY)');
    const { worker } = (store as unknown as { channel: { worker: Worker } }).channel;
    const inTransaction = store.transaction(async (tx) => {
      await tx.execute('INSERT INTO t VALUES (1)');
      await worker.terminate();
      await tx.execute('INSERT INTO t VALUES (2)');
    });
    const waiting = store.query('SELECT 1');
    for (const call of [inTransaction, waiting]) {
      const error: unknown = await call.catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(StoreError);
      expect(error).toMatchObject({ code: 'LOST', retryable: true });
    }
    expect((await store.query('SELECT count(*) FROM t')).rows).toEqual([[0]]);
    await store.transaction(async (tx) => tx.execute('INSERT INTO t VALUES (3)'));
    expect((await store.query('SELECT id FROM t')).rows).toEqual([[3]]);
    await store.close();
  });

  it('ends with the worker that uses it, at any moment, without harm to the process or the file', async () => {
    const worker = `
      import { parentPort } from 'node:worker_threads';
      const { openStore } = await import('${DIST.href}driver.js');
      const store = await openStore(${JSON.stringify(url)});
      await store.execute('CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v TEXT)');
      parentPort.postMessage('ready');
      for (let i = 0; ; i += 1) {
        await store.batch('INSERT INTO t (v) VALUES (?)', Array.from({ length: 1000 }, () => ['x'.repeat(100)]));
        for await (const batch of store.stream('SELECT * FROM t LIMIT 3000')) if (batch.rows.length < 1000) break;
      }`;
    const result = await run(`
      const source = ${JSON.stringify(worker)};
      for (let i = 0; i < 25; i += 1) {
        const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)), { execArgv: [] });
        worker.on('error', (error) => { console.log('worker failed', error); });
        await new Promise((resolve) => worker.once('message', resolve));
        await new Promise((resolve) => setTimeout(resolve, (i * 7) % 60));
        await worker.terminate();
      }
      const store = await openStore(url);
      console.log((await store.query('PRAGMA integrity_check')).rows[0][0]);
      console.log((await store.query('SELECT count(*) % 1000 FROM t')).rows[0][0]);
      await store.close();`);
    expect(result).toEqual({ status: 0, output: 'ok\n0\n' });
  });

  it('lets the process end when nothing is asked of it, closed or not', async () => {
    const result = await run(`
      const store = await openStore(url);
      console.log((await store.query('SELECT 1')).rows[0][0]);`);
    expect(result).toEqual({ status: 0, output: '1\n' });
  });

  it('folds its log back and leaves one file when it is closed', async () => {
    const store = await openStore(url);
    await store.execute('CREATE TABLE t (id INTEGER PRIMARY KEY)');
    await store.close();
    expect(readdirSync(folder)).toEqual(['a.db']);
  });

  it('of two processes share the file without losing a row', async () => {
    const store = await openStore(url);
    await store.execute('CREATE TABLE t (n INT)');
    const other = run(`
      const store = await openStore(url);
      for (let i = 0; i < 50; i += 1) await store.transaction(async (tx) => tx.execute('INSERT INTO t VALUES (2)'));
      await store.close();`);
    for (let i = 0; i < 50; i += 1) await store.execute('INSERT INTO t VALUES (1)');
    expect(await other).toEqual({ status: 0, output: '' });
    expect((await store.query('SELECT count(*) FROM t')).rows).toEqual([[100]]);
    await store.close();
  });

  it('is the only one that imports better-sqlite3', () => {
    const names = readdirSync(new URL('src/', ROOT), { recursive: true }).map(String);
    const users = names.filter(
      (name) =>
        name.endsWith('.ts') &&
        /^import (?!type).*'better-sqlite3'/m.test(readFileSync(new URL(`src/${name}`, ROOT), 'utf8')),
    );
    expect(users).toEqual(['store/sqlite/thread.ts']);
  });
});
