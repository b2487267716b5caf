/** What the reference got wrong where it owns sockets: docs/protocols/differences.md names these tests by their number. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { encodePacket } from '../../src/protocol/packet.js';
import type { ReactorValues } from '../../src/runtime/listener-keys.js';
import {
  eventually,
  listenerValues,
  PING,
  reactorValues,
  startReactor,
  type Client,
  type Fixture,
} from '../support/reactor-fixture.js';

let fixture: Fixture;
afterEach(() => fixture.stop());

/** Inner state that no row of `conns` shows. */
interface Inside {
  readonly budget: { readonly packets: number; readonly bytes: number };
  readonly table: Iterable<{ readonly partial: unknown; readonly held: unknown; readonly output: object }>;
}
const inside = (): Inside => fixture.reactor as unknown as Inside;

function send(index: number, bytes: Buffer, packets = 1): void {
  const { slot, generation } = fixture.sink.openedWith[index]!.connection;
  fixture.reactor.send(slot, generation, bytes, packets);
  fixture.reactor.flush();
}

/** Clients that read nothing, each with an unfinished write of `packets` packets. */
async function blockedClients(count: number, packets = 1): Promise<Client[]> {
  const clients: Client[] = [];
  for (let i = 0; i < count; i++) {
    const client = await fixture.client();
    client.socket.pause();
    await eventually(() => expect(fixture.sink.openedWith).toHaveLength(i + 1));
    const before = inside().budget.packets;
    await eventually(() => {
      if (inside().budget.packets === before) send(i, Buffer.alloc(2_000_000), packets);
      expect(inside().budget.packets).toBeGreaterThan(before);
    });
    clients.push(client);
  }
  return clients;
}

describe('the limit of all waiting packets together', () => {
  it('never loses a reply in silence: whoever misses one is closed, and nobody else', async () => {
    fixture = await startReactor({ values: { send_queue_bytes: 1e9, send_queue_packets: 1e9 } });
    fixture.sink.silent = true;
    await blockedClients(3, 10);
    const shared: ReactorValues = reactorValues({ send_queue_packets: inside().budget.packets + 5 });
    fixture.reactor.apply(shared);
    const lost = (): number => fixture.listener.counters.discarded;
    for (let turn = 0; turn < 20; turn++) {
      const before = [lost(), fixture.sink.closedWith.length] as const;
      const index = turn % 3;
      const open = fixture.sink.closedWith.every(
        ({ connection }) => connection !== fixture.sink.openedWith[index]!.connection,
      );
      send(index, Buffer.from(PING));
      const after = [lost(), fixture.sink.closedWith.length] as const;
      if (open) expect(after[0] > before[0]).toBe(after[1] > before[1]);
      expect(inside().budget.packets).toBeLessThanOrEqual(shared.send_queue_packets);
    }
    expect(lost()).toBeGreaterThan(0);
    expect(new Set(fixture.sink.closedWith.map((c) => c.reason))).toEqual(new Set(['send-queue-total']));
    expect(fixture.reactor.connections).toBeGreaterThan(0);
  });

  it('gets back what a blocked client held, however that client ends', async () => {
    fixture = await startReactor({ values: { send_queue_bytes: 1e9, send_queue_packets: 1e9 } });
    fixture.sink.silent = true;
    const [resetting, leaving, kicked, closed, reading] = await blockedClients(5, 7);
    for (let i = 0; i < 5; i++) send(i, encodePacket(1, Buffer.alloc(1000)));
    resetting!.socket.resetAndDestroy();
    leaving!.socket.destroy();
    fixture.reactor.kick(fixture.reactor.conns({ limit: 9 }).at(2)!.id);
    const { slot, generation } = fixture.sink.openedWith[3]!.connection;
    fixture.reactor.close(slot, generation, 'actor');
    closed!.socket.resume();
    reading!.socket.resume();
    await eventually(() => expect(fixture.reactor.connections).toBe(1));
    await eventually(() => expect(inside().budget).toMatchObject({ packets: 0, bytes: 0 }));
    kicked!.socket.resume();
    expect(await kicked!.rest()).not.toHaveLength(0);
    send(4, Buffer.from(PING));
    expect(inside().budget).toMatchObject({ packets: 0, bytes: 0 });
  });
});

describe('a client that takes nothing', () => {
  it('holds nobody else up', async () => {
    fixture = await startReactor();
    const [blocked, other] = [await fixture.client(), await fixture.client()];
    blocked.socket.pause();
    const flood = Buffer.concat(Array.from({ length: 1000 }, () => encodePacket(6, Buffer.alloc(20_000))));
    blocked.socket.write(flood);
    await eventually(() => expect(fixture.listener.counters.pausedForSending).toBeGreaterThan(0));
    for (let n = 0; n < 50; n++) {
      other.socket.write(PING);
      expect(await other.take(8)).toEqual(PING);
    }
    expect(fixture.reactor.totals().sendQueueBytes).toBeGreaterThan(0);
    blocked.socket.resume();
    expect((await blocked.take(flood.length)).equals(flood)).toBe(true);
  });
});

describe('an idle connection', () => {
  it('holds no buffer, whatever it sent before', async () => {
    fixture = await startReactor();
    const large = encodePacket(6, Buffer.alloc(28_992));
    const clients = await Promise.all(Array.from({ length: 20 }, () => fixture.client()));
    for (const client of clients) {
      client.socket.write(large.subarray(0, 20_000));
      client.socket.write(Buffer.concat([large.subarray(20_000), PING]));
      expect((await client.take(large.length + 8)).length).toBe(large.length + 8);
    }
    await eventually(() => {
      for (const connection of inside().table) {
        expect(connection).toMatchObject({ partial: undefined, held: undefined });
        expect(connection.output).toMatchObject({ first: undefined, more: undefined });
      }
    });
    expect([...inside().table]).toHaveLength(20);
  });
});

describe('the wall clock', () => {
  afterEach(() => vi.useRealTimers());

  it('may jump by years either way: nobody is kicked and nobody is spared', async () => {
    const every = {
      heartbeat: true,
      heartbeat_interval: 5000,
      idle_timeout: 60_000,
      partial_timeout: 60_000,
    };
    fixture = await startReactor({ values: every });
    const [quiet, halfway] = [await fixture.client(), await fixture.client()];
    halfway.socket.write(PING.subarray(0, 3));
    await eventually(() => expect(fixture.listener.counters.bytesIn).toBe(3));
    vi.useFakeTimers({ toFake: ['Date'] });
    for (const year of [2090, 1970, 2026]) {
      vi.setSystemTime(new Date(Date.UTC(year, 0, 1)));
      fixture.reactor.tick();
      quiet.socket.write(PING);
      expect(await quiet.take(8)).toEqual(PING);
    }
    expect(fixture.sink.closedWith).toEqual([]);
    vi.setSystemTime(new Date(0));
    fixture.listener.apply(listenerValues({ partial_timeout: 100 }));
    await eventually(() => expect(fixture.sink.closedWith.map((c) => c.reason)).toEqual(['partial-timeout']));
  });
});
