import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { encodePacket, writeLogin } from '../../src/protocol/packet.js';
import { PacketClient, PING } from '../support/packet-client.js';
import { freePort, packetSections, useWorkspace, type Program } from '../support/program.js';

const REGISTER_ALICE = Buffer.from(
  `006c00056a4370cd00000064616c696365${'00'.repeat(51)}736563726574${'00'.repeat(34)}`,
  'hex',
);
const LOGIN_ALICE = Buffer.from(
  `00680006f3ddf1d4616c696365${'00'.repeat(51)}736563726574${'00'.repeat(34)}`,
  'hex',
);
/** Accepted: the same layout with the user name alone. */
const ACCEPTED = encodePacket(6, writeLogin({ username: 'alice', password: '' }));
const REFUSED = encodePacket(6, Buffer.alloc(96));

const workspace = useWorkspace();
const clients: PacketClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

async function client(program: Program, host?: string): Promise<PacketClient> {
  const opened = await PacketClient.open(program.port('packet'), host);
  clients.push(opened);
  return opened;
}

/** Bytes in, bytes back: `count` packets, encoded again. */
async function exchange(on: PacketClient, bytes: Buffer, count: number): Promise<string> {
  on.send(bytes);
  const packets = await on.take(count);
  return packets.map(({ code, body }) => encodePacket(code, body).toString('hex')).join(' ');
}

const hex = (...packets: readonly Buffer[]): string => packets.map((one) => one.toString('hex')).join(' ');

describe('the packet server, byte by byte', () => {
  it('answers the golden packets', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    const one = await client(program);
    expect(await exchange(one, PING, 1)).toBe('0008000000000000');
    expect(await exchange(one, LOGIN_ALICE, 1)).toBe(hex(REFUSED));
    const registered = await exchange(one, REGISTER_ALICE, 1);
    expect(registered).toBe(
      hex(encodePacket(5, Buffer.concat([Buffer.alloc(4), writeLogin({ username: 'alice', password: '' })]))),
    );
    expect(await exchange(one, LOGIN_ALICE, 1)).toBe(hex(ACCEPTED));
    expect(await one.register('alice', 'another-secret')).toBe(1);
    expect(await one.register('bob', 'short')).toBe(3);
    expect(await one.register('no spaces', 'good-password')).toBe(2);
    expect(await one.login('alice', 'secret2')).toBe(false);
    expect(await program.stop()).toBe(0);
    expect(JSON.stringify(program.events)).not.toContain('secret');
  });

  it('drops what is wrong, counts it, and goes on with the next packet', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    const wrongCrc = Buffer.from(LOGIN_ALICE);
    wrongCrc.writeUInt32BE(1, 4);
    const one = await client(program);
    one.send(
      Buffer.from('0008000000000001', 'hex'), // ping with a CRC
      Buffer.from('0007000000000000', 'hex'), // length 7
      Buffer.from('7149000600000000', 'hex'), // length 29,001
      wrongCrc,
      encodePacket(0, Buffer.from('body')), // ping with a body
      encodePacket(6, Buffer.alloc(95)),
      encodePacket(5, Buffer.alloc(101)),
      ...[1, 2, 3, 4, 7, 65_535].map((code) => encodePacket(code)),
      encodePacket(9, Buffer.alloc(28_992)), // the largest that is taken
    );
    await one.ping();
    expect(one.packets).toEqual([]);
    // Counters of workers come with their next report.
    const metrics = () => expect.poll(async () => (await program.page('/metrics')).body, { timeout: 15_000 });
    await metrics().toMatch(/^switchyard_packets_bad_total 4$/m);
    await metrics().toMatch(/^\w*packet_dropped_total\{.*reason="unknown-code".*\} 7$/m);
    await metrics().toMatch(/^\w*packet_dropped_total\{.*reason="body-size".*\} 3$/m);
  });

  it('closes at a bad packet when told so', async () => {
    workspace().conf(packetSections({ on_bad_packet: 'close' }));
    const program = await workspace().start();
    const one = await client(program);
    one.send(PING, Buffer.from('0008000000000001', 'hex'), PING);
    await one.gone();
    expect(one.packets.length).toBeLessThan(2);
    await (await client(program)).ping();
  });

  it('waits for a body that never comes only so long', async () => {
    workspace().conf(packetSections({ partial_timeout: '300ms' }));
    const program = await workspace().start();
    const [stuck, slow] = [await client(program), await client(program)];
    stuck.send(Buffer.from('7148000600000000', 'hex'));
    // A byte now and then does not buy more time.
    for (const byte of LOGIN_ALICE.subarray(0, 10)) {
      slow.send(Buffer.of(byte));
      await sleep(60);
    }
    await Promise.all([stuck.gone(), slow.gone()]);
    await (await client(program)).ping();
  });
});

describe('order', () => {
  it('answers a mix of fast and slow packets in one segment in their order', async () => {
    workspace().conf(packetSections({}, { hash_cost: 13 }));
    const program = await workspace().start();
    const one = await client(program);
    await exchange(one, REGISTER_ALICE, 1);
    const pings = Array.from({ length: 5 }, () => PING);
    for (let round = 0; round < 3; round++) {
      expect(await exchange(one, Buffer.concat([...pings, LOGIN_ALICE, PING, LOGIN_ALICE, PING]), 9)).toBe(
        hex(...pings, ACCEPTED, PING, ACCEPTED, PING),
      );
    }
  });

  it('keeps the order of each client among many that log in at once', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    await (await client(program)).register('alice', 'secret');
    const many = await Promise.all(Array.from({ length: 40 }, () => client(program)));
    const script = Buffer.concat([PING, LOGIN_ALICE, PING, PING, LOGIN_ALICE]);
    const answers = await Promise.all(many.map((each) => exchange(each, script, 5)));
    expect(new Set(answers)).toEqual(new Set([hex(PING, ACCEPTED, PING, PING, ACCEPTED)]));
  });

  it('survives resets in mid-pipeline, and gives nobody the answers of another', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    await (await client(program)).register('alice', 'secret');
    const burst = Buffer.concat([...Array.from({ length: 200 }, () => PING), LOGIN_ALICE, LOGIN_ALICE]);
    for (let round = 0; round < 30; round++) {
      const dying = await client(program);
      dying.send(burst);
      if (round % 2 === 0) await dying.take(1);
      dying.reset();
      // Most likely in the same slot.
      const next = await client(program);
      next.send(PING);
      expect(await next.take(1)).toEqual([{ code: 0, body: Buffer.alloc(0) }]);
      await sleep(3);
      expect(next.packets).toEqual([]);
      next.close();
    }
    await expect.poll(() => program.ask('conns'), { timeout: 10_000 }).toHaveLength(1);
    expect(program.logged('supervisor.child_terminated')).toEqual([]);
  });
});

describe('kicks', () => {
  it('closes a client that floods, and no other', async () => {
    workspace().conf(packetSections({ flood_guard: 'yes', flood_packets: 10, flood_interval: '100ms' }));
    const program = await workspace().start();
    const [flooding, calm] = [await client(program), await client(program)];
    flooding.send(...Array.from({ length: 50 }, () => PING));
    await flooding.gone();
    expect(flooding.packets.length).toBeLessThan(11);
    for (let n = 0; n < 3; n++) {
      await calm.ping();
      await sleep(150);
    }
    expect(program.logged('conn.closing', { reason: 'flood' })).toHaveLength(1);
  });

  it('closes a client without a heartbeat, and keeps the one that pings', { timeout: 60_000 }, async () => {
    // Less than 5 s counts as 5 s, so the limit is 1 x 5 + 10 s, looked at every 5 s.
    workspace().conf(packetSections({ heartbeat: 'yes', heartbeat_interval: '5s', heartbeat_factor: 1 }));
    const program = await workspace().start();
    const [silent, alive] = [await client(program), await client(program)];
    const begin = performance.now();
    const pinging = setInterval(() => alive.send(PING), 1000);
    try {
      while (!silent.closed && performance.now() - begin < 40_000) await sleep(200);
      expect(silent.closed).toBe(true);
      // Never before its limit.
      expect(performance.now() - begin).toBeGreaterThan(14_000);
      await alive.ping();
    } finally {
      clearInterval(pinging);
    }
  });

  it('closes an idle client', async () => {
    workspace().conf(packetSections({ idle_timeout: '1s' }));
    const program = await workspace().start();
    const [idle, busy] = [await client(program), await client(program)];
    const pinging = setInterval(() => busy.send(PING), 200);
    await idle.gone().finally(() => clearInterval(pinging));
    await sleep(300);
    expect(busy.closed).toBe(false);
  });

  it('tells clients beyond the limit by closing, and takes new ones when there is room', async () => {
    workspace().conf(packetSections({ max_connections: 3 }));
    const program = await workspace().start();
    const inside = await Promise.all([1, 2, 3].map(() => client(program)));
    await Promise.all(inside.map((each) => each.ping()));
    await (await client(program)).gone();
    inside[0]?.close();
    await expect.poll(() => program.ask('conns'), { timeout: 10_000 }).toHaveLength(2);
    await (await client(program)).ping();
  });
});

describe('many clients', () => {
  const CLIENTS = 5000;
  // Each client is a descriptor here and one in the program.
  const limit = Number(execFileSync('sh', ['-c', 'ulimit -n']).toString().replace('unlimited', '1000000'));
  const enough = limit >= CLIENTS + 500;
  if (!enough) console.error(`!!! ulimit -n is ${limit}: the test of ${CLIENTS} clients is skipped`);

  it.runIf(enough)(`serves ${CLIENTS} at once`, { timeout: 90_000 }, async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    const connecting = Array.from({ length: CLIENTS }, () => client(program));
    const all = await Promise.all(connecting);
    await Promise.all(all.map((each) => each.ping()));
    await Promise.all(all.map((each) => exchange(each, Buffer.concat([PING, PING, PING]), 3)));
    expect(await program.ask<unknown[]>('conns limit=10000')).toHaveLength(CLIENTS);
    for (const each of all) each.reset();
    await expect.poll(() => program.ask('conns'), { timeout: 30_000 }).toHaveLength(0);
    expect(program.logged('supervisor.child_terminated')).toEqual([]);
    expect(await program.stop()).toBe(0);
  });
});

describe('accounts', () => {
  it('survive an ordered restart and a kill -9', async () => {
    workspace().conf(packetSections());
    let program = await workspace().start();
    expect(await (await client(program)).register('alice', 'secret')).toBe(0);
    expect(await program.stop()).toBe(0);
    program = await workspace().start();
    const one = await client(program);
    expect(await one.login('alice', 'secret')).toBe(true);
    expect(await one.register('bob', 'bobs-secret')).toBe(0);
    await program.kill();
    program = await workspace().start();
    const two = await client(program);
    expect(await two.login('alice', 'secret')).toBe(true);
    expect(await two.login('bob', 'bobs-secret')).toBe(true);
    expect(await two.login('bob', 'secret')).toBe(false);
    expect(await two.register('bob', 'stolen-name')).toBe(1);
  });

  it('lock after repeated failures, whichever client tries', async () => {
    workspace().conf(packetSections({}, { lock_after: 3, lock_time: '2s', connection_failures: 2 }));
    const program = await workspace().start();
    await (await client(program)).register('alice', 'secret');
    const first = await client(program);
    expect(await first.login('alice', 'wrong1')).toBe(false);
    expect(await first.login('alice', 'wrong2')).toBe(false);
    await first.gone();
    const second = await client(program);
    expect(await second.login('alice', 'wrong3')).toBe(false);
    expect(await second.login('alice', 'secret')).toBe(false);
    await expect
      .poll(async () => (await client(program)).login('alice', 'secret'), { timeout: 15_000, interval: 500 })
      .toBe(true);
  });
});

describe("the packet server's own nginx.conf", () => {
  it('is accepted as it is', async () => {
    const port = await freePort();
    const lines = [
      '# comment', '[Log]', 'Log=error.log', 'LogLevel = 8', '[Proc]', 'WorkerProcesses = 2', 'Daemon = 0',
      'ProcMsgRecvWorkThreadCount = 100', '[Net]', 'ListenPortCount = 1', `listenport0 = ${port}`,
      'worker_connections = 2048', 'Sock_RecyConnectionWaitTime = 90', 'Sock_WaitTimeEnable = 1',
      'Sock_MaxWaitTime = 20', 'Sock_TimeOutKick = 0', 'Sock_FloodAttackKickEnable = 1',
      'Sock_FloodTimeInterval = 100', 'Sock_FloodKickCounter = 10', 'DBInfo = 127.0.0.1;3306;root;topsecret;db',
    ]; // prettier-ignore
    workspace().write('nginx.conf', lines.join('\n'));
    const env = { SWITCHYARD_ADMIN_ADDRESS: '127.0.0.1:0', SWITCHYARD_ADMIN_HTTP_ADDRESS: '127.0.0.1:0' };
    const program = workspace().launch(['nginx.conf'], { env });
    const log = (): string => workspace().read('error.log');
    await expect.poll(log, { timeout: 20_000 }).toContain('process.ready');
    const one = await PacketClient.open(port);
    clients.push(one);
    await one.ping();
    const flooding = await PacketClient.open(port);
    clients.push(flooding);
    flooding.send(...Array.from({ length: 30 }, () => PING));
    await flooding.gone();
    expect(await program.stop()).toBe(0);
    expect(log() + program.text.join('\n')).not.toContain('topsecret');
    expect(program.text.join('\n')).toMatch(/nginx\.conf:20: .*DBInfo/);
  });
});
