import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { encodePacket } from '../../src/protocol/packet.js';
import { eventually, pause, PING, startReactor, type Fixture } from '../support/reactor-fixture.js';

let fixture: Fixture;
afterEach(() => fixture.stop());

const packet = (code: number, size: number): Buffer => encodePacket(code, Buffer.alloc(size, code));

describe('a connection', () => {
  it('takes three packets cut at every byte and answers them in order', async () => {
    fixture = await startReactor();
    const stream = Buffer.concat([PING, packet(5, 100), packet(6, 96)]);
    const client = await fixture.client();
    for (let cut = 1; cut < stream.length; cut++) {
      client.socket.write(stream.subarray(0, cut));
      await pause(1);
      client.socket.write(stream.subarray(cut));
      expect(await client.take(stream.length)).toEqual(stream);
    }
    const { counters } = fixture.listener;
    expect(counters.packetsIn).toBe(3 * (stream.length - 1));
    expect(counters.packetsOut).toBe(counters.packetsIn);
    expect(counters.bytesIn).toBe(stream.length * (stream.length - 1));
  }, 60_000);

  it('takes a stream byte by byte', async () => {
    fixture = await startReactor();
    const client = await fixture.client();
    const stream = Buffer.concat([packet(9, 3), PING, packet(6, 20)]);
    for (const byte of stream) {
      client.socket.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
    expect(await client.take(stream.length)).toEqual(stream);
  });

  it('takes any packets in any pieces, bad ones between, and loses and reorders nothing', async () => {
    fixture = await startReactor();
    const size = fc.oneof(fc.nat(200), fc.constantFrom(0, 1, 2000, 28991, 28992));
    const part = fc.record({ size, bad: fc.integer({ min: 0, max: 5 }) });
    const pieces = fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 6 });
    const client = await fixture.client();
    let code = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 12 }), pieces, async (parts, cuts) => {
        const sent: Buffer[] = [];
        const good: Buffer[] = [];
        for (const { size: bytes, bad } of parts) {
          const next = packet((code = (code + 1) & 0xffff), bytes);
          if (bad === 0) next[4]! ^= 1;
          else good.push(next);
          sent.push(next);
        }
        const stream = Buffer.concat(sent);
        for (let at = 0, i = 0; at < stream.length; i++) {
          const end = at + cuts[i % cuts.length]!;
          client.socket.write(stream.subarray(at, end));
          await new Promise(setImmediate);
          at = end;
        }
        const expected = Buffer.concat(good);
        expect((await client.take(expected.length)).equals(expected)).toBe(true);
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  it('offers packets that arrived together as one run of at most 64 KiB', async () => {
    fixture = await startReactor();
    const client = await fixture.client();
    const stream = Buffer.concat(Array.from({ length: 20_000 }, () => PING));
    client.socket.write(stream);
    expect((await client.take(stream.length)).equals(stream)).toBe(true);
    const { runs } = fixture.sink;
    expect(runs.reduce((sum, run) => sum + run.count, 0)).toBe(20_000);
    expect(Math.max(...runs.map((run) => run.bytes.length))).toBeLessThanOrEqual(64 * 1024);
    expect(runs.length).toBeLessThan(200);
  });

  it('keeps memory for a large announced packet only as far as it has arrived', async () => {
    fixture = await startReactor();
    const client = await fixture.client();
    client.socket.write(packet(6, 28992).subarray(0, 20));
    await eventually(() => expect(fixture.listener.counters.bytesIn).toBe(20));
    const { table } = fixture.reactor as unknown as { table: Iterable<{ partial: Buffer }> };
    expect([...table].map((connection) => connection.partial.length < 1000)).toEqual([true]);
  });

  it('skips the 8 bytes of a bad length, then goes on', async () => {
    fixture = await startReactor();
    const client = await fixture.client();
    client.socket.write(Buffer.from('0007000000000000', 'hex'));
    client.socket.write(Buffer.from('7149000600000000', 'hex'));
    client.socket.write(Buffer.from('0008000000000001', 'hex'));
    client.socket.write(PING);
    expect(await client.take(8)).toEqual(PING);
    expect(fixture.listener.counters.bad).toEqual({ length: 2, crc: 0, 'header-crc': 1, syntax: 0 });
  });

  it('stops reading when the mailbox is full, keeps what it has and goes on in order', async () => {
    fixture = await startReactor();
    fixture.sink.full = true;
    const client = await fixture.client();
    const stream = Buffer.concat(Array.from({ length: 400 }, (_, i) => packet(i, i * 50)));
    client.socket.write(stream);
    await eventually(() => expect(fixture.sink.waiting).toHaveLength(1));
    await pause(100);
    // One refusal, not one per chunk: nothing is read while it waits.
    expect(fixture.sink.waiting).toHaveLength(1);
    expect(fixture.listener.counters.bytesIn).toBeLessThan(stream.length);
    expect(fixture.reactor.conns({ limit: 1 })[0]?.paused).toBe(true);
    fixture.sink.makeRoom();
    expect((await client.take(stream.length)).equals(stream)).toBe(true);
    expect(fixture.listener.counters.pausedForMailbox).toBe(1);
    expect(fixture.reactor.conns({ limit: 1 })[0]?.paused).toBe(false);
  });

  it('goes on in order when every single offer is refused once', async () => {
    fixture = await startReactor();
    const { sink } = fixture;
    const offer = sink.offer.bind(sink);
    let turn = 0;
    sink.offer = (...run) => turn++ % 2 === 1 && offer(...run);
    sink.whenRoom = (resume) => void setImmediate(resume);
    const client = await fixture.client();
    const stream = Buffer.concat(Array.from({ length: 300 }, (_, i) => packet(i, (i * 37) % 3000)));
    for (let at = 0; at < stream.length; at += 7001) client.socket.write(stream.subarray(at, at + 7001));
    expect((await client.take(stream.length)).equals(stream)).toBe(true);
  });

  it('answers a client that has closed its sending side, then closes', async () => {
    fixture = await startReactor();
    const client = await fixture.client();
    client.socket.end(Buffer.concat([PING, packet(6, 96), PING]));
    expect(await client.rest()).toEqual(Buffer.concat([PING, packet(6, 96), PING]));
    await eventually(() => expect(fixture.listener.counters.closed['peer-closed']).toBe(1));
  });

  it('is closed at once by an actor after what was sent before has gone out', async () => {
    fixture = await startReactor();
    fixture.sink.silent = true;
    const client = await fixture.client();
    await eventually(() => expect(fixture.sink.openedWith).toHaveLength(1));
    const { slot, generation } = fixture.sink.openedWith[0]!.connection;
    const bye = packet(7, 5000);
    fixture.reactor.send(slot, generation, bye, 1);
    fixture.reactor.close(slot, generation, 'banned');
    fixture.reactor.send(slot, generation, PING, 1);
    fixture.reactor.flush();
    expect(await client.rest()).toEqual(bye);
    await eventually(() => expect(fixture.sink.closedWith.map((c) => c.reason)).toEqual(['banned']));
    expect(fixture.listener.counters.closed.actor).toBe(1);
    expect(fixture.listener.counters.discarded).toBe(1);
  });
});

describe('a slot that is used again', () => {
  it('has another generation, and late replies, closes and data of the old one are dropped', async () => {
    fixture = await startReactor();
    fixture.sink.silent = true;
    const first = await fixture.client();
    await eventually(() => expect(fixture.sink.openedWith).toHaveLength(1));
    first.socket.destroy();
    await eventually(() => expect(fixture.sink.closedWith).toHaveLength(1));
    const second = await fixture.client();
    await eventually(() => expect(fixture.sink.openedWith).toHaveLength(2));
    const [old, current] = fixture.sink.openedWith.map((o) => o.connection) as [
      { slot: number; generation: number },
      { slot: number; generation: number },
    ];
    expect(current.slot).toBe(old.slot);
    expect(current.generation).toBe(old.generation + 1);
    const { reactor } = fixture;
    reactor.send(old.slot, old.generation, Buffer.from('for somebody else'), 1);
    reactor.attach(old.slot, old.generation, { user: 'old' });
    reactor.close(old.slot, old.generation, 'late');
    reactor.send(current.slot, current.generation, PING, 1);
    reactor.attach(current.slot, current.generation, { user: 'new' });
    reactor.flush();
    expect(await second.take(8)).toEqual(PING);
    await pause(50);
    expect(second.received).toHaveLength(0);
    expect([...reactor.connectionsOf('packet')]).toMatchObject([
      { ref: current, attachment: { user: 'new' }, info: { listener: 'packet', remoteAddress: '127.0.0.1' } },
    ]);
    expect([...reactor.connectionsOf('other')]).toEqual([]);
  });
});
