/** SIGKILL of the database server at random moments of the stage `load`: every row once, whatever the server had said. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { createStage } from '../../src/actors/pipeline/load.js';
import { runOnce, type RunResult } from '../../src/actors/pipeline/stage/run.js';
import { file, LoadFixture, names, record } from '../support/load-fixture.js';
import { have, ownMariadb, ownPostgres, type OwnServer } from '../support/servers.js';

const KILLS = 5;
const FILES = 60;
const ROWS = 500;

let f: LoadFixture | undefined;
let server: OwnServer | undefined;
afterEach(async () => {
  await f?.remove();
  await server?.stop();
  f = server = undefined;
});

const SERVERS = [
  ['MariaDB', have.mariadb, ownMariadb],
  ['PostgreSQL', have.postgres, ownPostgres],
] as const;
const WAYS = [
  ['groups of files', { group_files: '8' }],
  ['files that are streams', { group_bytes: '1k' }],
] as const;

async function fill(on: LoadFixture, round: number): Promise<void> {
  for (let i = 0; i < FILES; i++) {
    const first = (round * FILES + i) * ROWS;
    const records = Array.from({ length: ROWS }, (_, n) => record({ obtid: first + n, t: n }));
    await on.put(`A_${round}_${String(i).padStart(3, '0')}.xml`, file(...records));
  }
}

/** Some file is claimed. */
async function underWay(on: LoadFixture): Promise<void> {
  const claimed = async (): Promise<string[]> =>
    (await readdir(join(on.inbox, '.claimed'), { recursive: true }).catch(() => [])).filter((name) =>
      name.endsWith('.xml'),
    );
  await expect.poll(claimed, { interval: 2, timeout: 10_000 }).not.toEqual([]);
}

for (const [name, there, own] of SERVERS) {
  describe.skipIf(!there)(`the load stage and a ${name} that is killed`, { timeout: 240_000 }, () => {
    it.each(WAYS)('loses no row and brings none twice, by %s', async (_, written) => {
      server = await own();
      f = await LoadFixture.make(server.url);
      // No key: a file loaded twice would show.
      await f.sql('CREATE TABLE T_OBS (obtid VARCHAR(10), ddatetime TIMESTAMP, t INT, name VARCHAR(40))');
      // The stage lives on, as in its actor: it has to notice that its connections are dead.
      const env = f.env({ mode: 'insert', ...written });
      const stage = createStage(env);
      const keep = { run: stage.run.bind(stage) };
      const load = (): Promise<RunResult> =>
        runOnce(() => keep, env, { dryRun: false, ledgerUrl: undefined });
      let failed = 0;
      try {
        for (let round = 0; round < KILLS; round++) {
          await fill(f, round);
          const running = load();
          await underWay(f);
          await sleep(Math.random() * 150);
          await server.kill();
          // Killed between two transactions, the next one waits for the server.
          await server.restart();
          const result = await running;
          if (result.state === 'failed') {
            failed++;
            expect(result.retryable).toBe(true);
          }
        }
        await expect.poll(async () => (await load()).state).toBe('ok');
      } finally {
        await stage.close?.();
      }
      expect(failed).toBeGreaterThan(0);
      const [row] = await f.sql('SELECT count(*), count(DISTINCT obtid) FROM T_OBS');
      expect(row?.map(Number)).toEqual([KILLS * FILES * ROWS, KILLS * FILES * ROWS]);
      expect(await names(f.inbox)).toEqual([]);
      expect(await names(`${f.inbox}-done`)).toHaveLength(KILLS * FILES);
      expect(await names(`${f.inbox}-errors`)).toEqual([]);
    });
  });
}
