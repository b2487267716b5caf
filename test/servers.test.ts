/** The database servers of the tests themselves: private, fresh, killed and restarted. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { afterAll, describe, expect, it } from 'vitest';
import { removeRun, sweepRuns } from './support/server-process.js';
import { have, mariadb, ownMariadb, ownPostgres, postgres, redis } from './support/servers.js';

interface Left {
  readonly folder: string;
  readonly child: ChildProcess;
  readonly exited: Promise<unknown>;
}

async function ask(url: string, ...statements: readonly string[]): Promise<unknown[]> {
  if (url.startsWith('mysql:')) {
    const connection = await mysql.createConnection({ uri: url, rowsAsArray: true });
    try {
      let rows: unknown[] = [];
      for (const sql of statements) [rows] = (await connection.query(sql)) as unknown as [unknown[]];
      return rows;
    } finally {
      await connection.end();
    }
  }
  const client = new pg.Client(url);
  await client.connect();
  try {
    let rows: unknown[] = [];
    for (const text of statements) rows = (await client.query({ text, rowMode: 'array' })).rows;
    return rows;
  } finally {
    await client.end();
  }
}

const SERVERS = [
  ['mariadb', have.mariadb, mariadb, ownMariadb],
  ['postgres', have.postgres, postgres, ownPostgres],
] as const;

for (const [name, present, fresh, own] of SERVERS) {
  describe.skipIf(!present)(`a ${name} for tests`, { timeout: 120_000 }, () => {
    const owned: { stop(): Promise<void> }[] = [];
    afterAll(async () => {
      for (const server of owned) await server.stop();
    });

    it('gives databases that know nothing of each other', async () => {
      const [a, b] = await Promise.all([fresh(), fresh()]);
      expect(new URL(a).port).toBe(new URL(b).port);
      await ask(a, 'CREATE TABLE one (n int)', 'INSERT INTO one VALUES (1)');
      await ask(b, 'CREATE TABLE one (n int)');
      expect(await ask(b, 'SELECT * FROM one')).toEqual([]);
      expect(await ask(a, 'SELECT * FROM one')).toEqual([[1]]);
    });

    it('keeps what was committed when it is killed and started again', async () => {
      const server = await own();
      owned.push(server);
      await ask(server.url, 'CREATE TABLE one (n int)', 'INSERT INTO one VALUES (1)');
      await server.kill();
      await expect(ask(server.url, 'SELECT 1')).rejects.toThrow(/ECONNREFUSED/);
      await server.restart();
      expect(await ask(server.url, 'SELECT * FROM one')).toEqual([[1]]);
    });
  });
}

describe.skipIf(!have.redis)('a redis for tests', () => {
  it('gives databases of different numbers', async () => {
    const [a, b] = await Promise.all([redis(), redis()]);
    expect(new URL(a).port).toBe(new URL(b).port);
    expect(a).not.toBe(b);
  });
});

describe('servers of a test run that was killed', () => {
  it('are ended by the next run, with their folder, and nobody else is', async () => {
    const [stale, alive] = [2 ** 22 + 1, process.pid].map((pid) => {
      const folder = mkdtempSync(join(tmpdir(), `switchyard-servers-${String(pid)}-`));
      const server = join(folder, 'server');
      mkdirSync(server);
      const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', server], {
        stdio: 'ignore',
      });
      writeFileSync(join(server, 'process'), String(child.pid));
      return { folder, child, exited: once(child, 'exit') };
    }) as [Left, Left];
    try {
      sweepRuns();
      await stale.exited;
      expect([existsSync(stale.folder), existsSync(alive.folder)]).toEqual([false, true]);
      expect(alive.child.exitCode ?? alive.child.signalCode).toBeNull();
    } finally {
      removeRun(alive.folder);
      await alive.exited;
    }
    expect(existsSync(alive.folder)).toBe(false);
  });
});
