import { afterEach, describe, expect, it } from 'vitest';
import { encodePacket } from '../../src/protocol/packet.js';
import { floodAllowance, floodRecord } from '../../src/runtime/flood-guard.js';
import type { Client } from '../support/reactor-fixture.js';
import {
  eventually,
  listenerValues,
  pause,
  PING,
  startReactor,
  type Fixture,
} from '../support/reactor-fixture.js';

let fixture: Fixture;
afterEach(() => fixture.stop());

const pings = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, () => PING));

async function served(client: Client): Promise<boolean> {
  client.socket.write(PING);
  return (await client.take(8)).length === 8;
}

describe('a client over a limit', () => {
  it('is accepted, closed and counted when the listener is full; the others are served', async () => {
    fixture = await startReactor({ values: { max_connections: 2 } });
    const [a, b] = [await fixture.client(), await fixture.client()];
    expect(await served(a)).toBe(true);
    const c = await fixture.client();
    expect(await c.rest()).toHaveLength(0);
    expect(await served(b)).toBe(true);
    expect(fixture.listener.counters.refused['listener-full']).toBe(1);
    expect(fixture.listener.counters.accepted).toBe(3);
    a.socket.destroy();
    await eventually(() => expect(fixture.listener.online).toBe(1));
    expect(await served(await fixture.client())).toBe(true);
  });

  it('is told so when the protocol has a message for it', async () => {
    const words = encodePacket(99, Buffer.from('full'));
    fixture = await startReactor({ values: { max_connections: 1 }, listener: { refusal: () => words } });
    await fixture.client();
    expect(await (await fixture.client()).rest()).toEqual(words);
  });

  it('is refused by address without harm to other addresses', async () => {
    fixture = await startReactor({ values: { max_per_ip: 1, address: '0' } });
    expect(await served(await fixture.client('127.0.0.1'))).toBe(true);
    expect(await (await fixture.client('127.0.0.1')).rest()).toHaveLength(0);
    expect(await served(await fixture.client('127.0.0.1', '127.0.0.2'))).toBe(true);
    expect(fixture.listener.counters.refused['address-full']).toBe(1);
  });

  it('is refused by the total of the process and by the open-file limit', async () => {
    fixture = await startReactor({ shared: { max_connections: 2 }, reactor: { connectionRoom: 1 } });
    await fixture.client();
    expect(await (await fixture.client()).rest()).toHaveLength(0);
    expect(fixture.listener.counters.refused.descriptors).toBe(1);
    expect(fixture.reactor.totals()).toMatchObject({
      connections: 1,
      connectionLimit: 1,
      refused: 1,
      accepted: 2,
    });
  });

  it('does not lock everyone out after thousands of short connections', async () => {
    fixture = await startReactor({ values: { max_connections: 5 } });
    for (let i = 0; i < 200; i++) {
      const client = await fixture.client();
      expect(await served(client)).toBe(true);
      client.socket.destroy();
      await eventually(() => expect(fixture.listener.online).toBe(0));
    }
  }, 60_000);
});

describe('the flood guard', () => {
  const flood = { flood_guard: true, flood_interval: 10_000, flood_packets: 10 };

  it('answers ten packets of a burst of thirty, then closes', async () => {
    fixture = await startReactor({ values: flood });
    const client = await fixture.client();
    client.socket.write(pings(30));
    expect(await client.rest()).toEqual(pings(10));
    await eventually(() => expect(fixture.listener.counters.closed.flood).toBe(1));
    expect(fixture.events.map((e) => e.event)).toContain('conn.closing');
  });

  it('answers ten packets sent one by one; the eleventh closes', async () => {
    fixture = await startReactor({ values: flood });
    const client = await fixture.client();
    for (let i = 0; i < 10; i++) expect(await served(client)).toBe(true);
    client.socket.write(PING);
    expect(await client.rest()).toHaveLength(0);
    expect(fixture.listener.counters.packetsIn).toBe(10);
  });

  it('sends the due replies even when the client goes on flooding', async () => {
    fixture = await startReactor({ values: flood });
    const client = await fixture.client();
    const writer = setInterval(() => client.socket.write(pings(100)), 1);
    const received = await client.rest();
    clearInterval(writer);
    expect(received).toEqual(pings(10));
  });

  it('counts whole packets with a wrong sum', async () => {
    fixture = await startReactor({ values: flood });
    const client = await fixture.client();
    client.socket.write(
      Buffer.concat(Array.from({ length: 11 }, () => Buffer.from('0008000000000001', 'hex'))),
    );
    expect(await client.rest()).toHaveLength(0);
    await eventually(() => expect(fixture.listener.counters.closed.flood).toBe(1));
  });

  it('lets packets pass that are further apart than the interval', () => {
    const state = { floodCount: 0, lastPacketAt: -Infinity };
    for (let now = 0; now < 10_000; now += 120) {
      expect(floodAllowance(state, 1, now, 100, 10)).toBe(1);
      floodRecord(state, 1, now, 100);
    }
    for (let i = 0; i < 9; i++) floodRecord(state, 1, 10_000 + i * 20, 100);
    expect(floodAllowance(state, 1, 10_180, 100, 10)).toBe(0);
    expect(floodAllowance(state, 3, 10_260, 100, 10)).toBe(3);
  });
});

describe('bad packets', () => {
  const bad = Buffer.from('0008000000000001', 'hex');

  it('close the client with on_bad_packet = close, after the replies due', async () => {
    fixture = await startReactor({ values: { on_bad_packet: 'close' } });
    const client = await fixture.client();
    client.socket.write(Buffer.concat([pings(3), bad, pings(3)]));
    expect(await client.rest()).toEqual(pings(3));
    await eventually(() => expect(fixture.listener.counters.closed['bad-packet']).toBe(1));
    expect(fixture.listener.counters.bad['header-crc']).toBe(1);
  });

  it('close a client that sends nothing else', async () => {
    fixture = await startReactor({ values: { bad_packet_limit: 50 } });
    const client = await fixture.client();
    client.socket.write(Buffer.alloc(8 * 49));
    expect(await served(client)).toBe(true);
    client.socket.write(Buffer.alloc(8));
    await client.rest();
    expect(fixture.listener.counters.bad.length).toBe(50);
  });
});

describe('the send queue', () => {
  /** A client that does not read, and a server that has filled the kernel's buffers for it. */
  async function blocked(values: Parameters<typeof listenerValues>[0] = {}, count = 1): Promise<Client[]> {
    fixture = await startReactor({ values });
    fixture.sink.silent = true;
    const clients: Client[] = [];
    for (let i = 0; i < count; i++) {
      const client = await fixture.client();
      client.socket.pause();
      await eventually(() => expect(fixture.sink.openedWith).toHaveLength(i + 1));
      clients.push(client);
      await eventually(() => {
        for (let n = 0; n < 20; n++) send(i, encodePacket(1, Buffer.alloc(20_000)), 1);
        expect(waitingOf(i)).toBeGreaterThan(0);
      });
    }
    return clients;
  }
  function send(index: number, bytes: Buffer, packets: number): void {
    const { slot, generation } = fixture.sink.openedWith[index]!.connection;
    fixture.reactor.send(slot, generation, bytes, packets);
    fixture.reactor.flush();
  }
  function waitingOf(index: number): number {
    const { slot, generation } = fixture.sink.openedWith[index]!.connection;
    const row = fixture.reactor.conns({ limit: 100 }).find((c) => c.id === `${slot}.${generation}`);
    return row?.sendQueueBytes ?? -1;
  }

  it('discards what comes after more than 400 waiting packets, counts it and closes the client', async () => {
    await blocked();
    for (let i = 0; i < 600 && fixture.sink.closedWith.length === 0; i++) send(0, Buffer.from(PING), 1);
    expect(fixture.sink.closedWith.map((c) => c.reason)).toEqual(['send-queue']);
    const { counters } = fixture.listener;
    expect(counters.closed['send-queue']).toBe(1);
    // The one that was too much and the more than 400 that waited.
    expect(counters.discarded).toBeGreaterThan(401);
    expect(counters.discarded).toBeLessThan(500);
    expect(fixture.events.find((e) => e.event === 'conn.send_queue_full')?.fields).toMatchObject({
      reason: 'send-queue',
      remote: '127.0.0.1',
    });
    expect(fixture.reactor.totals().sendQueueBytes).toBe(0);
  });

  it('is bounded in bytes', async () => {
    await blocked({ send_queue_packets: 1_000_000, send_queue_bytes: 1_000_000 });
    for (let i = 0; i < 100 && waitingOf(0) >= 0; i++) {
      expect(waitingOf(0)).toBeLessThanOrEqual(1_000_000);
      send(0, encodePacket(1, Buffer.alloc(28_000)), 1);
    }
    expect(fixture.listener.counters.closed['send-queue']).toBe(1);
  });

  it('closes the client that would pass the limit of all clients, and only that one', async () => {
    await blocked({}, 2);
    const waiting = fixture.reactor.totals().sendQueueBytes;
    fixture.reactor.apply({
      max_connections: 100,
      send_queue_packets: 50_000,
      send_queue_bytes: waiting + 1000,
    });
    send(1, encodePacket(1, Buffer.alloc(2000)), 1);
    expect(fixture.sink.closedWith).toEqual([
      { connection: fixture.sink.openedWith[1]!.connection, reason: 'send-queue-total' },
    ]);
    expect(waitingOf(0)).toBeGreaterThan(0);
  });

  it('pauses reading above the mark and goes on when the client has taken everything', async () => {
    const [client] = await blocked({ send_pause_bytes: 0 });
    expect(fixture.reactor.conns({ limit: 1 })[0]?.paused).toBe(true);
    client!.socket.write(PING);
    await pause(50);
    expect(fixture.sink.runs).toHaveLength(0);
    client!.socket.resume();
    await eventually(() => expect(fixture.sink.runs).toHaveLength(1));
    expect(fixture.reactor.totals().sendQueueBytes).toBe(0);
    expect(fixture.reactor.conns({ limit: 1 })[0]).toMatchObject({ paused: false, sendQueueBytes: 0 });
    expect(fixture.listener.counters.pausedForSending).toBe(1);
    const { budget } = fixture.reactor as unknown as { budget: { packets: number } };
    expect(budget.packets).toBe(0);
  });

  it('never kicks a client that reads, however much it is sent at a time', async () => {
    fixture = await startReactor();
    fixture.sink.record = false;
    const client = await fixture.client();
    const stream = Buffer.concat(Array.from({ length: 5000 }, (_, i) => encodePacket(i, Buffer.alloc(96))));
    client.socket.write(stream);
    expect((await client.take(stream.length)).equals(stream)).toBe(true);
  });
});

describe('an operator', () => {
  it('sees the connections and closes one of them, or all of an address', async () => {
    fixture = await startReactor();
    const clients = [await fixture.client(), await fixture.client(), await fixture.client()];
    for (const client of clients) expect(await served(client)).toBe(true);
    const rows = fixture.reactor.conns({ limit: 10 });
    expect(rows).toHaveLength(3);
    expect(rows[0]).toMatchObject({
      listener: 'packet',
      packetsIn: 1,
      packetsOut: 1,
      bytesIn: 8,
      bytesOut: 8,
    });
    expect(fixture.reactor.conns({ limit: 10, ip: '10.0.0.1' })).toEqual([]);
    expect(fixture.reactor.conns({ limit: 2 })).toHaveLength(2);
    expect(fixture.reactor.kick(rows[1]!.id)).toBe(1);
    expect(fixture.reactor.kick(rows[1]!.id)).toBe(0);
    expect(await clients[1]!.rest()).toHaveLength(0);
    expect(fixture.reactor.kick('127.0.0.1')).toBe(2);
    expect(fixture.reactor.connections).toBe(0);
    expect(fixture.listener.counters.closed.kicked).toBe(3);
  });

  it('drains: nobody new, replies due go out, then the connections end', async () => {
    fixture = await startReactor();
    const client = await fixture.client();
    expect(await served(client)).toBe(true);
    fixture.reactor.stopAccepting();
    expect(await served(client)).toBe(true);
    await expect(fixture.client()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    const stopped = fixture.reactor.stop(5000);
    expect(await client.rest()).toHaveLength(0);
    client.socket.destroy();
    await stopped;
    expect(fixture.sink.closedWith.map((c) => c.reason)).toEqual(['drained']);
  });
});
