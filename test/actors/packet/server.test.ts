import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PacketCommand } from '../../../src/actors/packet/command.js';
import type { PacketValues } from '../../../src/actors/packet/keys.js';
import { COMMANDS } from '../../../src/actors/packet/commands/index.js';
import { createPacketServer, PacketServer } from '../../../src/actors/packet/server.js';
import { encodePacket, writeLogin, writeRegister } from '../../../src/protocol/packet.js';
import { Client, PacketContext, values } from './harness.js';

const PING = '0008000000000000';
/** From the wire description, bytes made by the reference. */
const GOLDEN_REGISTER = `006c00056a4370cd00000064616c696365${'00'.repeat(51)}736563726574${'00'.repeat(34)}`;
const GOLDEN_LOGIN = `00680006f3ddf1d4616c696365${'00'.repeat(51)}736563726574${'00'.repeat(34)}`;
const REFUSED = `00680006baf465ae${'00'.repeat(96)}`;

/** Body sizes of the reference's commands; and codes that have no command, whatever was added since. */
const SIZES: Readonly<Record<number, number>> = { 0: 0, 5: 100, 6: 96 };
const isUnknown = (code: number): boolean => COMMANDS.every((command) => command.code !== code);

const login = (username: string, password: string): Buffer =>
  encodePacket(6, writeLogin({ username, password }));
const register = (username: string, password: string): Buffer =>
  encodePacket(5, writeRegister({ type: 0, username, password }));
const accepted = (username: string): string => login(username, '').toString('hex');
const registered = (type: number, username: string): string =>
  encodePacket(5, writeRegister({ type, username, password: '' })).toString('hex');

let folder: string;
let context: PacketContext;
let server: PacketServer;
let slots = 0;

async function start(change: Partial<PacketValues> = {}): Promise<void> {
  context = new PacketContext(values(`sqlite:${join(folder, 'a.db')}`, change), 'packet');
  server = (await createPacketServer(context)) as PacketServer;
}

const connect = (): Client => new Client(server, context, ++slots);

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'packet-'));
  await start();
});

afterEach(async () => {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('the packet server on the wire', () => {
  it('sends a ping back, at once', () => {
    const client = connect();
    client.send(PING, PING);
    expect(client.replies).toEqual([PING, PING]);
  });

  it('answers the golden register and login with the request layout, and never with the password', async () => {
    const client = connect();
    client.send(GOLDEN_REGISTER, GOLDEN_LOGIN);
    expect(await client.answered(2)).toEqual([registered(0, 'alice'), accepted('alice')]);
    expect(client.replies.join('')).not.toContain(Buffer.from('secret').toString('hex'));
  });

  it('answers a login that is refused with zeros', async () => {
    const client = connect();
    client.send(GOLDEN_LOGIN);
    expect(await client.answered(1)).toEqual([REFUSED]);
  });

  it('tells in iType why a registration failed', async () => {
    const client = connect();
    client.send(
      register('bob', 'secret'),
      register('bob', 'secret'),
      register('a b', 'secret'),
      register('eve', 'x'),
    );
    expect(await client.answered(4)).toEqual([
      registered(0, 'bob'),
      registered(1, ''),
      registered(2, ''),
      registered(3, ''),
    ]);
  });

  it('drops what it has no answer for, counts it, logs little, and goes on', async () => {
    const client = connect();
    const bad = [
      encodePacket(0, Buffer.from('x')),
      ...[1, 2, 3, 4, 7, 8, 255, 65_535]
        .filter(isUnknown)
        .flatMap((code) => [encodePacket(code), encodePacket(code, Buffer.alloc(96))]),
      encodePacket(5),
      encodePacket(6),
      encodePacket(5, Buffer.alloc(96)),
      encodePacket(6, Buffer.alloc(100)),
      encodePacket(6, Buffer.alloc(95)),
      encodePacket(6, Buffer.alloc(97)),
    ];
    client.send(...bad, '0008000000000001', '0007000000000000', '7149000600000000', PING);
    expect(await client.answered(1)).toEqual([PING]);
    expect(client.closed).toBeUndefined();
    expect(context.counters.get('packet_dropped_total')).toBe(bad.length);
    expect(context.log.named('packet.dropped')).toHaveLength(1);
  });

  it('takes any packet without falling over, and replies only by the table', async () => {
    const body = fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ minLength: 96, maxLength: 96 }), fc.uint8Array({ minLength: 100, maxLength: 100 })); // prettier-ignore
    const code = fc.oneof(fc.nat(10), fc.nat(65_535)).filter((n) => n in SIZES || isUnknown(n));
    const packet = fc.tuple(code, body);
    await server.stop();
    await start({ connection_failures: 0 });
    await fc.assert(
      fc.asyncProperty(fc.array(packet, { maxLength: 12 }), async (packets) => {
        const client = connect();
        client.send(...packets.map(([code, bytes]) => encodePacket(code, bytes)));
        const expected = packets
          .filter(([code, bytes]) => SIZES[code] === bytes.length)
          .map(([code]) => code);
        const replies = (await client.answered(expected.length)).map((hex) => Buffer.from(hex, 'hex'));
        expect(replies.map((reply) => reply.readUInt16BE(2))).toEqual(expected);
        expect(replies.every((reply) => reply.length === 8 + (SIZES[reply.readUInt16BE(2)] ?? -1))).toBe(
          true,
        );
      }),
      { numRuns: 60 },
    );
  });
});

describe('order', () => {
  it('of replies is the order of requests, also behind a slow login', async () => {
    const client = connect();
    client.send(
      PING,
      PING,
      login('nobody', 'secret'),
      PING,
      register('bob', 'secret'),
      login('bob', 'secret'),
      PING,
    );
    expect(client.replies).toEqual([PING, PING]);
    expect(await client.answered(7)).toEqual([
      PING,
      PING,
      REFUSED,
      PING,
      registered(0, 'bob'),
      accepted('bob'),
      PING,
    ]);
  });

  it('of one connection is no other one’s business', async () => {
    const [slow, quick] = [connect(), connect()];
    slow.send(login('nobody', 'secret'));
    quick.send(PING);
    expect(quick.replies).toEqual([PING]);
    expect(slow.replies).toEqual([]);
    expect(await slow.answered(1)).toEqual([REFUSED]);
  });

  it('holds at once again when the slow one is done', async () => {
    const client = connect();
    client.send(login('nobody', 'secret'));
    await client.answered(1);
    await new Promise((resolve) => setImmediate(resolve));
    client.send(PING);
    expect(client.replies).toEqual([REFUSED, PING]);
  });
});

describe('secrets', () => {
  it('of 300 marked logins come back to nobody', async () => {
    await server.stop();
    await start({ connection_failures: 0, lock_after: 1_000 });
    const [client, other] = [connect(), connect()];
    client.send(register('holder', 'MARK-holder'));
    await client.answered(1);
    for (let i = 0; i < 300; i += 1)
      client.send(login(i % 3 === 0 ? 'holder' : `MARKname${i}`, `MARK-secret-${i}`));
    other.send(
      ...Array.from({ length: 100 }, () => Buffer.concat([login('x', 'MARK'), register('', 'MARKreg')])),
    );
    expect(await client.answered(301)).toHaveLength(301);
    expect(await other.answered(200)).toHaveLength(200);
    const mark = Buffer.from('MARK').toString('hex');
    expect([...client.replies, ...other.replies].filter((reply) => reply.includes(mark))).toEqual([]);
    expect(JSON.stringify(context.log.events)).not.toContain('MARK');
    expect(new Set(client.replies.slice(1))).toEqual(new Set([REFUSED]));
  });

  it('never fill the rest of a reply: after the name there are zeros only', async () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9]{0,54}$/);
    const noise = fc.uint8Array({ minLength: 100, maxLength: 100 });
    await fc.assert(
      fc.asyncProperty(name, noise, async (username, rest) => {
        const client = connect();
        // Behind the NUL of each text the client's own leftovers.
        const body = Buffer.from(rest);
        body.write(`${username}\0`, 4, 'latin1');
        body.write('password\0', 60, 'latin1');
        client.send(encodePacket(5, body), encodePacket(6, body.subarray(4)));
        const [first = '', second] = await client.answered(2);
        expect([registered(0, username), registered(1, '')]).toContain(first);
        if (first === registered(0, username)) expect(second).toBe(accepted(username));
      }),
      { numRuns: 30 },
    );
  });
});

describe('login state', () => {
  it('is kept with the connection, follows it through a restart, and ends with it', async () => {
    const client = connect();
    client.send(register('alice', 'secret'), login('alice', 'secret'));
    await client.answered(2);
    await new Promise((resolve) => setImmediate(resolve));
    const attached = context.attached.get(client.slot);
    expect(attached).toEqual({ user: { id: 1, name: 'alice' }, failures: 0, working: false });
    expect(JSON.stringify(attached)).not.toContain('secret');
    await server.stop();
    await start();
    const again = new Client(server, context, client.slot, 1, attached);
    again.send(PING, login('alice', 'wrong!'));
    expect(await again.answered(2)).toEqual([PING, REFUSED]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(context.attached.get(client.slot)).toEqual({ user: undefined, failures: 1, working: false });
    again.disconnect();
    again.send(PING);
    expect(again.replies).toHaveLength(2);
  });

  it('says when a reply is owed, and the successor of a crashed actor closes that connection', async () => {
    const client = connect();
    client.send(login('nobody', 'secret'), PING);
    const attached = context.attached.get(client.slot);
    expect(attached).toMatchObject({ working: true });
    const crashed = server;
    await start();
    const again = new Client(server, context, client.slot, 1, attached);
    expect(again.closed).toBe('a reply was lost in a restart');
    again.send(PING);
    expect(again.replies).toEqual([]);
    await crashed.stop();
  });

  it('ends with the connection when a command throws, which ends the actor', () => {
    const broken: PacketCommand = {
      code: 9,
      name: 'broken',
      bodyBytes: 0,
      handle: () => {
        throw new Error('a bug');
      },
    };
    const nothing = {} as never;
    const faulty = new PacketServer(context, context.params as PacketValues, [broken], nothing, nothing);
    const [client, other] = [new Client(faulty, context, 70), new Client(faulty, context, 71)];
    expect(() => client.send(encodePacket(9))).toThrow('a bug');
    expect(client.closed).toBe('the command failed');
    expect(other.closed).toBeUndefined();
  });

  it('never reaches the next client of the slot', async () => {
    const first = connect();
    first.send(login('nobody', 'secret'), PING);
    first.disconnect();
    const second = new Client(server, context, first.slot, 2);
    second.send(PING);
    await server.stop();
    // The first one's refusal and ping came to nothing.
    expect(second.replies).toEqual([PING]);
    await start();
  });
});

describe('limits', () => {
  it('close a connection after refusals in a row, behind the last reply', async () => {
    await server.stop();
    await start({ connection_failures: 3 });
    const client = connect();
    client.send(...Array.from({ length: 6 }, () => login('nobody', 'secret')), PING);
    await client.answered(7);
    expect(context.of(client.slot).map(({ kind }) => kind)).toEqual(['send', 'send', 'send', 'close']);
    expect(client.closed).toBe('too many refused logins');
  });

  it('lock an account whoever guesses', async () => {
    await server.stop();
    await start({ lock_after: 4, connection_failures: 3 });
    const owner = connect();
    owner.send(register('alice', 'secret'));
    await owner.answered(1);
    for (let i = 0; i < 2; i += 1) {
      const guesser = connect();
      guesser.send(login('alice', 'wrong1'), login('alice', 'wrong2'));
      await guesser.answered(2);
    }
    owner.send(login('alice', 'secret'));
    expect((await owner.answered(2))[1]).toBe(REFUSED);
  });

  it('close the connection whose packets pile up behind its login', async () => {
    await server.stop();
    await start({ connection_pending: 5 });
    const client = connect();
    client.send(login('nobody', 'secret'), ...Array.from({ length: 5 }, () => PING));
    expect(client.closed).toBeUndefined();
    client.send(PING);
    expect(client.closed).toBe('too many packets wait');
  });

  it('hold for all connections together, and the room comes back', async () => {
    await server.stop();
    await start({ total_pending: 6 });
    const clients = [connect(), connect(), connect()];
    for (const client of clients) client.send(login('nobody', 'secret'), PING, PING, PING);
    expect(clients.map(({ closed }) => closed)).toEqual([undefined, undefined, 'the server is busy']);
    await Promise.all(clients.map((client) => client.answered(4)));
    const later = connect();
    later.send(login('nobody', 'secret'), ...Array.from({ length: 6 }, () => PING));
    expect(await later.answered(7)).toHaveLength(7);
  });

  it('close clients whose password nobody can check in time, instead of leaving them waiting', async () => {
    await server.stop();
    await start({ hash_concurrency: 1, hash_waiting: 1 });
    const clients = Array.from({ length: 8 }, connect);
    for (const client of clients) client.send(login('nobody', 'secret'));
    await Promise.all(clients.map((client) => client.answered(1)));
    const busy = clients.filter(({ closed }) => closed === 'the server is busy');
    const answered = clients.filter(({ replies }) => replies.length === 1);
    expect(answered.length).toBeGreaterThanOrEqual(2);
    expect(busy.length + answered.length).toBe(8);
    expect(busy.length).toBeGreaterThan(0);
  });
});
