import { afterEach, describe, expect, it } from 'vitest';
import { encodePacket } from '../../src/protocol/packet.js';
import { nextLook, overdue, type ConnectionTimes } from '../../src/runtime/connection-timers.js';
import type { Client, Fixture, ListenerChanges } from '../support/reactor-fixture.js';
import { eventually, listenerValues, PING, startReactor } from '../support/reactor-fixture.js';

const SECOND = 1000;
const opened = (changes: Partial<ConnectionTimes> = {}): ConnectionTimes => ({
  openedAt: 0,
  lastReceivedAt: 0,
  lastBeatAt: 0,
  partialSince: Infinity,
  blockedSince: Infinity,
  readPaused: false,
  nextHeartbeatAt: Infinity,
  ...changes,
});

describe('the time-outs of a connection', () => {
  /** Looks only when asked to, as the wheel does. @returns when and why a client that is silent from now on is closed */
  function life(values: ListenerChanges, times: ConnectionTimes, until = 1e7): [number, string] | undefined {
    const all = listenerValues({ idle_timeout: 0, ...values });
    for (let now = 0; now < until;) {
      now = nextLook(times, all, now);
      if (now === Infinity) return undefined;
      const reason = overdue(times, all, now);
      if (reason !== undefined) return [now, reason];
    }
    return undefined;
  }

  it('close a silent client at the first check after 3x + 10 s', () => {
    const values = { heartbeat: true, heartbeat_interval: 5 * SECOND };
    expect(life(values, opened({ nextHeartbeatAt: 5 * SECOND }))).toEqual([30 * SECOND, 'heartbeat']);
  });

  it('use 2x + 10 s when asked', () => {
    const values = { heartbeat: true, heartbeat_interval: 20 * SECOND, heartbeat_factor: 2 };
    expect(life(values, opened({ nextHeartbeatAt: 20 * SECOND }))).toEqual([60 * SECOND, 'heartbeat']);
  });

  it('take an interval under 5 s as 5 s', () => {
    const values = { heartbeat: true, heartbeat_interval: 1 };
    expect(life(values, opened({ nextHeartbeatAt: 5 * SECOND }))?.[0]).toBe(30 * SECOND);
  });

  it('kick every client after x with timeout_kick, unless active ones are spared', () => {
    const values = { heartbeat: true, heartbeat_interval: 6 * SECOND, timeout_kick: true };
    const times = { lastReceivedAt: 5 * SECOND, nextHeartbeatAt: 6 * SECOND };
    expect(life(values, opened(times))).toEqual([6 * SECOND, 'timeout-kick']);
    const spared = { ...values, timeout_kick_spares_active: true };
    expect(life(spared, opened(times))).toEqual([12 * SECOND, 'timeout-kick']);
  });

  it('do nothing when all are off', () => {
    expect(life({}, opened())).toBeUndefined();
  });

  it('close an idle client, an unfinished packet and a blocked write each after its own time', () => {
    expect(life({ idle_timeout: 600 * SECOND }, opened({ lastReceivedAt: 7 }))).toEqual([
      600_007,
      'idle-timeout',
    ]);
    expect(life({ partial_timeout: SECOND }, opened({ partialSince: 50 }))).toEqual([
      1050,
      'partial-timeout',
    ]);
    expect(life({ send_timeout: SECOND }, opened({ blockedSince: 60 }))).toEqual([1060, 'send-timeout']);
  });

  it('hold still while we do not read, but for the blocked write', () => {
    const values = { idle_timeout: 1, partial_timeout: 100, heartbeat: true, send_timeout: 5 * SECOND };
    const paused = opened({ readPaused: true, partialSince: 0, nextHeartbeatAt: 1 });
    expect(life(values, paused, 100 * SECOND)).toBeUndefined();
    expect(life(values, { ...paused, blockedSince: 0 })).toEqual([5 * SECOND, 'send-timeout']);
  });
});

describe('a reactor with a clock of its own', () => {
  let fixture: Fixture;
  let clock = 0;
  afterEach(() => fixture.stop());

  async function start(values: ListenerChanges): Promise<Client> {
    clock = 0;
    fixture = await startReactor({ values: { idle_timeout: 0, ...values }, reactor: { now: () => clock } });
    const client = await fixture.client();
    await eventually(() => expect(fixture.sink.openedWith).toHaveLength(1));
    return client;
  }
  function pass(seconds: number): void {
    for (let i = 0; i < seconds * 10; i++) {
      clock += 100;
      fixture.reactor.tick();
    }
  }
  async function exchange(client: Client, packet: Buffer): Promise<void> {
    client.socket.write(packet);
    expect(await client.take(packet.length)).toEqual(packet);
  }
  const reasons = (): string[] => fixture.sink.closedWith.map((c) => c.reason);
  const login = encodePacket(6, Buffer.alloc(96));

  it('closes a silent client and keeps one that pings', async () => {
    const client = await start({ heartbeat: true, heartbeat_interval: 5000 });
    for (let i = 0; i < 12; i++) {
      pass(4);
      await exchange(client, PING);
    }
    expect(reasons()).toEqual([]);
    pass(25);
    expect(reasons()).toEqual([]);
    pass(8);
    expect(reasons()).toEqual(['heartbeat']);
    expect(fixture.listener.counters.closed.heartbeat).toBe(1);
  });

  it('takes any valid packet for a sign of life', async () => {
    const client = await start({ heartbeat: true, heartbeat_interval: 5000 });
    for (let i = 0; i < 20; i++) {
      pass(2);
      await exchange(client, login);
    }
    expect(reasons()).toEqual([]);
  });

  it('takes only a ping for one with heartbeat_refresh = ping, as the reference does', async () => {
    const client = await start({ heartbeat: true, heartbeat_interval: 5000, heartbeat_refresh: 'ping' });
    for (let i = 0; i < 14; i++) {
      pass(2);
      await exchange(client, i === 3 ? Buffer.concat([login, PING]) : login);
    }
    pass(4);
    expect(reasons()).toEqual([]);
    pass(6);
    expect(reasons()).toEqual(['heartbeat']);
  });

  it('kicks an active client with timeout_kick', async () => {
    const client = await start({ heartbeat: true, heartbeat_interval: 6000, timeout_kick: true });
    for (let i = 0; i < 5; i++) {
      pass(1);
      await exchange(client, PING);
    }
    pass(2);
    expect(reasons()).toEqual(['timeout-kick']);
  });

  it('closes a client that dribbles a packet, however often a byte comes', async () => {
    const client = await start({ partial_timeout: 10_000 });
    for (let i = 0; i < 9; i++) {
      client.socket.write(login.subarray(i, i + 1));
      await eventually(() => expect(fixture.listener.counters.bytesIn).toBe(i + 1));
      pass(1);
    }
    expect(reasons()).toEqual([]);
    pass(2);
    expect(reasons()).toEqual(['partial-timeout']);
  });

  it('counts the partial time anew for each packet', async () => {
    const client = await start({ partial_timeout: 10_000 });
    for (let i = 0; i < 10; i++) {
      client.socket.write(
        Buffer.concat([i === 0 ? Buffer.alloc(0) : login.subarray(50), login.subarray(0, 50)]),
      );
      await eventually(() => expect(fixture.listener.counters.bytesIn).toBe(i * 104 + 50));
      pass(6);
    }
    expect(reasons()).toEqual([]);
    expect(fixture.listener.counters.packetsIn).toBe(9);
  });

  it('closes a client that takes nothing of what is sent', async () => {
    const client = await start({ send_timeout: 5000, send_queue_bytes: 1e9, send_queue_packets: 1e9 });
    client.socket.pause();
    const { slot, generation } = fixture.sink.openedWith[0]!.connection;
    await eventually(() => {
      fixture.reactor.send(slot, generation, Buffer.alloc(500_000), 1);
      fixture.reactor.flush();
      expect(fixture.reactor.totals().sendQueueBytes).toBeGreaterThan(0);
    });
    pass(4);
    expect(reasons()).toEqual([]);
    pass(2);
    expect(reasons()).toEqual(['send-timeout']);
  });

  it('applies new limits to connections that are open', async () => {
    await start({ idle_timeout: 0 });
    pass(100);
    expect(fixture.reactor.totals().timers).toBe(0);
    fixture.listener.apply(
      listenerValues({ idle_timeout: 30_000, heartbeat: true, heartbeat_interval: 5000 }),
    );
    pass(1);
    expect(reasons()).toEqual(['idle-timeout']);
  });
});
