/**
 * Databases, arriving files and the log on a small disk that fills up. Needs to mount a tmpfs, thus root; skipped loudly
 * otherwise.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { inventObservation } from '../../src/actors/pipeline/generate.js';
import { formatObservations } from '../../src/protocol/observations.js';
import { openStore } from '../../src/store/driver.js';
import { PacketClient } from '../support/packet-client.js';
import { fillDisk, makeRoom, mayMount, mountDisk, unmountAll } from '../support/small-disk.js';
import { packetSections, useWorkspace, type Sections, type Workspace } from '../support/program.js';

const ROWS = 30_000;
const TIME = '20260101000000';

const able = mayMount();

const workspace = useWorkspace();
const clients: PacketClient[] = [];
// Registered later than the workspace's, so it runs before it: a mount point cannot be removed.
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  unmountAll();
});

const LOAD: Sections = {
  'stage load-obs': {
    type: 'load-obs',
    path: 'small/in',
    store: 'sqlite:small/data.db',
    ledger: 'sqlite:small/ledger.db',
    every: '200ms',
    retry_wait: '100ms',
    retry_max_wait: '500ms',
    retries: 100,
  },
};

async function countRows(within: Workspace): Promise<unknown> {
  const store = await openStore(`sqlite:${within.file('small/data.db')}`);
  try {
    return (await store.query('SELECT count(*), count(DISTINCT obtid) FROM T_ZHOBTMIND')).rows[0];
  } finally {
    await store.close();
  }
}

describe.runIf(able)('a full disk', () => {
  it(
    'fails a load with a clear reason, loses no row, and goes on when there is room',
    { timeout: 90_000 },
    async () => {
      const small = workspace().file('small');
      mountDisk(small, 24);
      mkdirSync(join(small, 'in'));
      workspace().conf(packetSections({}, { store: 'sqlite:small/accounts.db' }), LOAD);
      const program = await workspace().start();
      // Everything is made before the disk fills: also the tables, which the first file brings.
      const first = [inventObservation('first', TIME)];
      writeFileSync(join(small, 'in/A.csv'), formatObservations('csv', first));
      await program.seen('load-obs.file', { file: 'A.csv' });
      const records = Array.from({ length: ROWS }, (_, n) => inventObservation(String(10_000 + n), TIME));
      writeFileSync(join(small, 'in', 'B.csv.tmp'), formatObservations('csv', records.slice(0, ROWS / 2)));
      writeFileSync(join(small, 'in', 'C.xml.tmp'), formatObservations('xml', records.slice(ROWS / 2)));
      fillDisk(small);
      expect(statfsSync(small).bavail).toBe(0);
      spawnSync('sh', ['-c', 'cd "$0" && mv B.csv.tmp B.csv && mv C.xml.tmp C.xml', join(small, 'in')]);

      const failed = await program.seen('stage.failed', { actor: 'load-obs' });
      expect(String(failed['reason'])).toMatch(/full|no space/i);
      // An account that cannot be kept is not acknowledged.
      const one = await PacketClient.open(program.port('packet'));
      clients.push(one);
      await expect(one.register('alice', 'secret')).rejects.toThrow('closed without an answer');
      // What needs no disk goes on.
      const two = await PacketClient.open(program.port('packet'));
      clients.push(two);
      await two.ping();
      expect((await program.page('/livez')).status).toBe(200);
      await sleep(1_000);
      expect(program.logged('load-obs.bad-file')).toEqual([]);
      expect(program.logged('supervisor.child_terminated')).toEqual([]);

      makeRoom(small);
      await program.seen('load-obs.file', { file: 'B.csv' });
      await program.seen('load-obs.file', { file: 'C.xml' });
      expect(await two.register('alice', 'secret')).toBe(0);
      await expect
        .poll(() => readdirSync(join(small, 'in')).filter((name) => !name.startsWith('.')), {
          timeout: 20_000,
        })
        .toEqual([]);
      expect(await program.stop()).toBe(0);
      expect(await countRows(workspace())).toEqual([ROWS + 1, ROWS + 1]);
      const ledger = await openStore('sqlite:' + join(small, 'ledger.db'));
      const { rows } = await ledger.query(
        `SELECT DISTINCT state FROM runs WHERE state NOT IN ('ok', 'failed')`,
      );
      await ledger.close();
      // A run whose end could not be written down is buried by the next one.
      expect(rows.filter(([state]) => state !== 'interrupted')).toEqual([]);
    },
  );

  it('that fills up in the middle of a file leaves nothing of it behind', { timeout: 90_000 }, async () => {
    const small = workspace().file('small');
    mountDisk(small, 6);
    mkdirSync(join(small, 'in'));
    workspace().conf(LOAD, { 'stage load-obs': { path: 'in' } });
    mkdirSync(workspace().file('in'));
    const records = Array.from({ length: 5 * ROWS }, (_, n) => inventObservation(String(10_000 + n), TIME));
    workspace().write('in/A.csv', formatObservations('csv', records.slice(0, 100)));
    workspace().write('in/B.csv', formatObservations('csv', records.slice(100)));
    const program = await workspace().start();
    await program.seen('load-obs.file', { file: 'A.csv' });
    const failed = await program.seen('stage.failed', { actor: 'load-obs' });
    expect(String(failed['reason'])).toMatch(/full|no space/i);
    expect(await program.stop()).toBe(0);
    expect(await countRows(workspace())).toEqual([100, 100]);
    spawnSync('mount', ['-o', 'remount,size=64m', small]);
    const again = await workspace().start();
    await again.seen('load-obs.file', { file: 'B.csv' });
    expect(await again.stop()).toBe(0);
    expect(await countRows(workspace())).toEqual([5 * ROWS, 5 * ROWS]);
    expect(readdirSync(workspace().file('in'))).toEqual([]);
  });

  it('under the log costs log lines only, and the log says how many', { timeout: 60_000 }, async () => {
    const small = workspace().file('small');
    mountDisk(small, 1);
    workspace().conf(packetSections(), {
      log: { file: 'small/s.log', level: 'debug', buffer: '64k' },
    });
    const program = workspace().launch();
    const log = (): string => workspace().read('small/s.log');
    await expect.poll(() => readdirSync(small), { timeout: 20_000 }).toContain('s.log');
    await expect.poll(log, { timeout: 20_000 }).toContain('process.ready');
    fillDisk(small);
    for (let n = 0; n < 600; n++)
      expect((await program.admin(`log level debug nobody-${n % 7}`)).ok).toBe(true);
    const dump = await program.ask<{ log: { failing: boolean; dropped: number } }>('dump');
    expect(dump.log.failing).toBe(true);
    expect(dump.log.dropped).toBeGreaterThan(0);
    makeRoom(small);
    await expect.poll(log, { timeout: 20_000 }).toContain('log.caught_up');
    expect(await program.stop()).toBe(0);
    const lines = log().trimEnd().split('\n');
    for (const line of lines) JSON.parse(line);
    const told = lines.map((line) => JSON.parse(line) as { event: string; dropped?: number });
    const dropped = told.filter(({ event }) => event === 'log.caught_up').map((line) => line.dropped ?? 0);
    expect(dropped.reduce((sum, one) => sum + one, 0)).toBeGreaterThanOrEqual(dump.log.dropped);
    expect(told.at(-1)?.event).toBe('process.exit');
  });

  it('refuses to start on it and says why', async () => {
    const small = workspace().file('small');
    mountDisk(small, 1);
    fillDisk(small);
    workspace().conf(packetSections({}, { store: 'sqlite:small/accounts.db' }));
    const program = workspace().launch();
    expect((await program.exited).code).toBeGreaterThan(0);
    expect(String(program.logged('start.failed')[0]?.['reason'])).toMatch(/full|no space|ENOSPC/i);
  });
});
