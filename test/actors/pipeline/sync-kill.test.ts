/**
 * SIGKILL of the process that syncs, again and again, while the source changes; and servers that die in the middle of a batch. FULL=1:
 * 60 kills of each stage, else 8.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as compare from '../../../src/actors/pipeline/compare.js';
import * as increment from '../../../src/actors/pipeline/sync-increment.js';
import * as refresh from '../../../src/actors/pipeline/sync-refresh.js';
import * as trigger from '../../../src/actors/pipeline/sync-trigger.js';
import { openStore } from '../../../src/store/driver.js';
import { have, ownMariadb, type OwnServer } from '../../support/servers.js';
import { paramsOf } from '../../support/stage-params.js';
import { numbers, PAIRS, usePair, type Pair } from './sync-fixture.js';

const KILLS = process.env['FULL'] === '1' ? 60 : 8;
const ROWS = 6_000;
const runner = fileURLToPath(new URL('../../support/run-stage.mjs', import.meta.url));

const STAGES = {
  'sync-refresh': { stage: refresh, written: { batch_rows: '300' } },
  'sync-increment': {
    stage: increment,
    written: {
      target_key: 'keyid',
      batch_rows: '300',
      overlap: '100000',
      delete: 'detect',
      delete_every: '0s',
    },
  },
  'sync-trigger': { stage: trigger, written: { install: 'yes', batch_rows: '200' } },
};

function launch(pair: Pair, name: keyof typeof STAGES): ChildProcess {
  const { stage, written } = STAGES[name];
  const { source, target } = pair.urls;
  const given = { source, target, source_table: 'src', target_table: 'dst', ...written };
  const params = paramsOf(stage.keys, { ...given, ledger: `sqlite:${join(pair.root, 'ledger.db')}` });
  return spawn(process.execPath, [runner, name, JSON.stringify(params)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}

const ended = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve) => child.once('exit', resolve));

/** Some inserts, updates and deletes, all over the table. */
async function disturb(pair: Pair, round: number): Promise<void> {
  await pair.put(pair.source, 'src', numbers(ROWS + round * 40, ROWS + round * 40 + 40));
  await pair.source.execute('UPDATE src SET t = ? WHERE keyid % 17 = ?', [round, round % 17]);
  await pair.source.execute('DELETE FROM src WHERE keyid % 501 = ?', [round * 3]);
}

const wanted: readonly string[] = ['mysql,mysql', 'mysql,postgres', 'sqlite,sqlite'];
const pairs = PAIRS.filter((kinds) => wanted.includes(kinds.join()));

describe.each(pairs)('killed again and again between %s and %s', (from, to) => {
  const pair = usePair([from, to]);

  it.each(Object.keys(STAGES) as (keyof typeof STAGES)[])(
    '%s leaves both sides equal in the end',
    { timeout: 60_000 + KILLS * 20_000 },
    async (name) => {
      await pair.tables(numbers(0, ROWS), numbers(0, ROWS / 2));
      let killed = 0;
      for (let round = 0; round < KILLS; round++) {
        const child = launch(pair, name);
        const over = ended(child);
        await new Promise((resolve) => child.stdout?.once('data', resolve));
        await disturb(pair, round);
        await sleep(Math.random() * 500);
        if (child.exitCode === null) killed++;
        child.kill('SIGKILL');
        await over;
      }
      expect(killed).toBe(KILLS);
      const { stage, written } = STAGES[name];
      await pair.ok(stage, written, { name });
      await pair.expectEqual();
      await pair.ok(compare, {});
    },
  );
});

describe.skipIf(!have.mariadb)('a server that dies in the middle of a batch', () => {
  let server: OwnServer;
  const pair = usePair(['mysql', 'mysql']);
  beforeAll(async () => {
    server = await ownMariadb();
  }, 300_000);
  afterAll(() => server.stop());

  it.each(['target', 'source'] as const)(
    'the %s: the run fails, the next one makes both sides equal',
    { timeout: 240_000 },
    async (side) => {
      const url: Record<string, string> = side === 'target' ? { target: server.url } : { source: server.url };
      await pair[side].close();
      pair[side] = await openStore(server.url);
      await pair[side].execute('DROP TABLE IF EXISTS src');
      await pair[side].execute('DROP TABLE IF EXISTS dst');
      await pair.tables(numbers(0, 20_000), numbers(0, 10_000));
      let failed = 0;
      for (let round = 0; round < 4; round++) {
        await pair.source.execute('UPDATE src SET t = ?', [round]);
        const settings = { ...url, batch_rows: '200' };
        const running = pair.run(refresh, settings);
        await sleep(100 + Math.random() * 500);
        await server.kill();
        // A call that finds the server away waits for it until its deadline; one that was under way fails.
        await sleep(200);
        await server.restart();
        const result = await running;
        if (result.state === 'failed') {
          failed++;
          expect([String(result.error), result.retryable]).toEqual([expect.any(String), true]);
        }
        await pair.ok(refresh, settings);
        await pair.expectEqual();
      }
      // Otherwise the kills came too late to prove anything. A small source may have sent all its rows before it died.
      if (side === 'target') expect(failed).toBeGreaterThan(0);
    },
  );
});
