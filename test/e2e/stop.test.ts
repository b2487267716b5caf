/** An ordered stop, whatever goes on at that moment: it ends in time, with 0, and nothing is lost. */
import { once } from 'node:events';
import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { inventObservation } from '../../src/actors/pipeline/generate.js';
import { formatObservations } from '../../src/protocol/observations.js';
import { openStore, type SqlRow } from '../../src/store/driver.js';
import { PacketClient, PING } from '../support/packet-client.js';
import { dataApiSections, packetSections, useWorkspace } from '../support/program.js';
import type { Program, Sections, Workspace } from '../support/program.js';

const workspace = useWorkspace();
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

const DEADLINE_MS = 3_000;
const SOON: Sections = { process: { stop_deadline: `${DEADLINE_MS}ms` } };
/** The deadline, what follows it at most, and a slow machine. */
const LATEST_MS = DEADLINE_MS + 7_000;

async function expectStop(program: Program): Promise<void> {
  const begin = performance.now();
  expect(await program.stop()).toBe(0);
  expect(performance.now() - begin).toBeLessThan(LATEST_MS);
  expect(program.logged('process.exit')).toHaveLength(1);
}

/** Sends and never reads. */
async function mute(port: number, bytes: string | Buffer): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').pause();
  sockets.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(bytes);
  return socket;
}

async function query(within: Workspace, sql: string): Promise<readonly SqlRow[]> {
  const store = await openStore(`sqlite:${within.file('var/data.db')}`);
  try {
    return (await store.query(sql)).rows;
  } finally {
    await store.close();
  }
}

describe('TERM', () => {
  it.each(['fast', 'full'])('with an answer half read by a client of the listener %s', async (listener) => {
    workspace().conf(dataApiSections(), SOON);
    const program = await workspace().start();
    const store = await openStore(`sqlite:${workspace().file('var/data.db')}`);
    await store.execute(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
       INSERT INTO T_ZHOBTMIND (obtid, ddatetime) SELECT '50001', datetime(i * 60, 'unixepoch') FROM n`,
    );
    await store.close();
    const path = '/api?username=demo&passwd=demo&intername=getzhobtmind1&obtid=50001';
    for (let n = 0; n < 3; n++) await mute(program.port(listener), `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await expect
      .poll(async () => JSON.stringify((await program.ask<{ http: unknown }>('dump')).http))
      .not.toBe('[]');
    await sleep(500);
    await expectStop(program);
  });

  it('with clients that take no answers', async () => {
    workspace().conf(packetSections(), SOON);
    const program = await workspace().start();
    const burst = Buffer.concat(Array.from({ length: 200_000 }, () => PING));
    for (let n = 0; n < 4; n++) await mute(program.port('packet'), burst);
    await expect
      .poll(async () => (await program.ask<{ totals: { packetsIn: number } }>('dump')).totals.packetsIn)
      .toBeGreaterThan(1000);
    await expectStop(program);
  });

  it(
    'while a long file is being loaded: the file waits for the next start',
    { timeout: 60_000 },
    async () => {
      const rows = 120_000;
      mkdirSync(workspace().file('in'));
      const records = Array.from({ length: rows }, (_, n) =>
        inventObservation(String(10_000 + n), '20260101000000'),
      );
      workspace().write('in/A.csv', formatObservations('csv', records));
      workspace().conf(SOON, { 'stage load-obs': { type: 'load-obs', path: 'in', every: '100ms' } });
      const program = await workspace().start();
      await expect
        .poll(() => readdirSync(workspace().file('in')).includes('A.csv'), { interval: 5 })
        .toBe(false);
      await expectStop(program);
      expect(program.logged('load-obs.file')).toEqual([]);
      expect(readdirSync(workspace().file('in'))).toEqual(['A.csv']);
      expect(await query(workspace(), 'SELECT count(*) FROM T_ZHOBTMIND')).toEqual([[0]]);
      const again = await workspace().start();
      await again.seen('load-obs.file', { file: 'A.csv', inserted: rows });
      await expectStop(again);
      expect(await query(workspace(), 'SELECT count(*) FROM T_ZHOBTMIND')).toEqual([[rows]]);
    },
  );

  it('while an actor waits for its next try, with messages in front of it', async () => {
    workspace().conf(packetSections(), SOON, {
      supervisor: { intensity: 1000, backoff_min: '2s', backoff_max: '20s' },
    });
    const program = await workspace().start();
    const one = await PacketClient.open(program.port('packet'));
    sockets.push(one.socket);
    await one.ping();
    await program.admin('stop packet');
    renameSync(workspace().file('var/accounts.db'), workspace().file('away.db'));
    workspace().write('var/accounts.db', 'no database at all\n'.repeat(200));
    await program.admin('start packet');
    one.send(PING, PING);
    await expect
      .poll(async () => (await program.ask<{ depth: number }[]>('queues'))[0]?.depth)
      .toBeGreaterThan(0);
    await expectStop(program);
  });

  it('while it starts', async () => {
    workspace().conf(packetSections(), dataApiSections(), SOON);
    for (const event of ['process.start', 'admin.http.listening', 'actor.started', 'listener.listening']) {
      const program = workspace().launch();
      await program.seen(event);
      const begin = performance.now();
      expect(await program.stop()).toBe(0);
      expect(performance.now() - begin).toBeLessThan(LATEST_MS);
    }
    // Nothing is left behind that would be in the way of the next start.
    await expectStop(await workspace().start());
  });

  it('after a drain that waits for a client who stays', async () => {
    workspace().conf(packetSections(), SOON);
    const program = await workspace().start();
    const one = await PacketClient.open(program.port('packet'));
    sockets.push(one.socket);
    await one.ping();
    program.signal('SIGUSR2');
    await expect.poll(async () => (await program.page('/readyz')).status).toBe(503);
    await one.ping();
    await expectStop(program);
    await one.gone();
  });

  it('during a reload', async () => {
    workspace().conf(packetSections(), SOON);
    const program = await workspace().start();
    for (let n = 0; n < 5; n++) {
      workspace().conf(packetSections({}, { min_password: 7 + n }), SOON);
      program.signal('SIGHUP');
    }
    await expectStop(program);
    expect(program.logged('process.uncaught')).toEqual([]);
  });
});

describe('a log reader that goes away', () => {
  it('costs nobody the service', async () => {
    workspace().conf(packetSections(), { log: { level: 'debug' }, process: { statistics_every: '100ms' } });
    const program = await workspace().start();
    const port = program.port('packet');
    program.child.stderr?.destroy();
    program.child.stdout?.destroy();
    const one = await PacketClient.open(port);
    sockets.push(one.socket);
    for (let n = 0; n < 5; n++) {
      await one.ping();
      await sleep(200);
    }
    expect(await program.stop()).toBe(0);
  });
});
