/**
 * Operators, reloads and pauses of the machine while clients are at work: what a client sends is answered in order, or its
 * connection ends; never a wrong, a missing or a foreign answer in between. FULL=1: a minute, else a few seconds.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { encodePacket, writeLogin } from '../../src/protocol/packet.js';
import { PacketClient, PING } from '../support/packet-client.js';
import { packetSections, useWorkspace, type Program } from '../support/program.js';

const WORK_MS = process.env['FULL'] === '1' ? 60_000 : 6_000;
const CLIENTS = 16;

const workspace = useWorkspace();
const clients = new Set<PacketClient>();
afterEach(() => {
  for (const client of clients) client.close();
  clients.clear();
});

interface Tally {
  answered: number;
  closed: number;
  readonly wrong: string[];
}

/** Pings with a login now and then; each client has its own account, so a foreign answer shows. */
async function work(port: number, name: string, until: () => boolean, tally: Tally): Promise<void> {
  const password = `secret of ${name}`;
  const accepted = writeLogin({ username: name, password: '' });
  const login = encodePacket(6, writeLogin({ username: name, password }));
  while (!until()) {
    const client = await PacketClient.open(port).catch(() => undefined);
    if (client === undefined) {
      await sleep(20);
      continue;
    }
    clients.add(client);
    while (!until() && !client.closed) {
      const script = Array.from({ length: 1 + Math.floor(Math.random() * 40) }, () => Math.random() < 0.1);
      client.send(...script.map((isLogin) => (isLogin ? login : PING)));
      const replies = await client.take(script.length);
      replies.forEach(({ code, body }, at) => {
        const good = script[at] === true ? code === 6 && body.equals(accepted) : code === 0;
        if (!good) tally.wrong.push(`${name}: ${code} ${body.toString('latin1').replaceAll('\0', '')}`);
      });
      tally.answered += replies.length;
      if (replies.length < script.length) tally.closed++;
    }
    client.close();
    clients.delete(client);
  }
}

async function underLoad(program: Program, disturb: (round: number) => Promise<void>): Promise<Tally> {
  const port = program.port('packet');
  const names = Array.from({ length: CLIENTS }, (_, n) => `client-${n}`);
  const first = await PacketClient.open(port);
  clients.add(first);
  for (const name of names) expect(await first.register(name, `secret of ${name}`)).toBe(0);
  first.close();
  const tally: Tally = { answered: 0, closed: 0, wrong: [] };
  let over = false;
  const working = Promise.all(names.map((name) => work(port, name, () => over, tally)));
  const end = performance.now() + WORK_MS;
  try {
    for (let round = 0; performance.now() < end; round++) await disturb(round);
    // It works at the end, not only before.
    const before = tally.answered;
    await expect.poll(() => tally.answered, { timeout: 15_000 }).toBeGreaterThan(before + CLIENTS * 10);
  } finally {
    over = true;
    await working;
  }
  return tally;
}

it('restarts, kicks and reloads under load', { timeout: WORK_MS + 60_000 }, async () => {
  workspace().conf(packetSections());
  const program = await workspace().start();
  const actions = [
    () => program.admin('restart packet'),
    async () => {
      const all = await program.ask<{ id: string }[]>('conns');
      const victim = all[Math.floor(Math.random() * all.length)];
      if (victim !== undefined) await program.admin(`kick ${victim.id}`);
    },
    async (round: number) => {
      workspace().conf(packetSections({ idle_timeout: `${300 + round}s` }, { lock_after: 100 + round }));
      expect(await program.admin('reload')).toMatchObject({ ok: true });
    },
    async () => {
      await program.admin('stop packet');
      await sleep(50);
      expect(await program.admin('start packet')).toMatchObject({ ok: true });
    },
    () => program.admin('dump'),
  ];
  const tally = await underLoad(program, async (round) => {
    await actions[round % actions.length]?.(round);
    await sleep(Math.random() * 100);
  });
  expect(tally.wrong).toEqual([]);
  expect(tally.closed).toBeGreaterThan(0);
  expect(program.logged('actor.crashed')).toEqual([]);
  expect(program.logged('process.uncaught')).toEqual([]);
  expect(await program.ask('conns')).toEqual([]);
  expect(await program.stop()).toBe(0);
});

it(
  'takes nobody for hung after the machine stood still for longer than a heartbeat',
  { timeout: WORK_MS + 60_000 },
  async () => {
    workspace().conf(packetSections({}, { heartbeat: '1s' }));
    const program = await workspace().start();
    const tally = await underLoad(program, async () => {
      program.signal('SIGSTOP');
      await sleep(1_800);
      program.signal('SIGCONT');
      await sleep(700);
    });
    expect(tally.wrong).toEqual([]);
    // Nobody hung: everybody stood still.
    expect(program.logged('actor.hang')).toEqual([]);
    expect(tally.closed).toBe(0);
    expect(await program.stop()).toBe(0);
  },
);
