import { spawn } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { encodePacket, createPacketCodec } from '../../src/protocol/packet.js';
import { connectionRoom } from '../../src/runtime/descriptors.js';
import { SwitchyardError } from '../../src/runtime/errors.js';
import type { Client } from '../support/reactor-fixture.js';
import {
  EchoSink,
  eventually,
  listenerValues,
  openClient,
  PING,
  reactorValues,
  startReactor,
  type Fixture,
} from '../support/reactor-fixture.js';

const login = encodePacket(6, Buffer.alloc(96));

describe('a reactor', () => {
  let fixture: Fixture;
  afterEach(() => fixture.stop());

  it('survives clients that pipeline requests and reset the connection', async () => {
    fixture = await startReactor();
    fixture.sink.record = false;
    const burst = Buffer.concat(Array.from({ length: 5000 }, (_, i) => (i % 3 === 0 ? login : PING)));
    for (let i = 0; i < 50; i++) {
      const client = await fixture.client();
      client.socket.write(burst.subarray(0, burst.length - i));
      if (i % 2 === 0) await client.take(i * 10);
      client.socket.resetAndDestroy();
    }
    await eventually(() => expect(fixture.reactor.connections).toBe(0));
    expect(fixture.sink.closedWith).toHaveLength(50);
    expect(fixture.reactor.totals()).toMatchObject({ connections: 0, sendQueueBytes: 0, timers: 0 });
    const client = await fixture.client();
    client.socket.write(PING);
    expect(await client.take(8)).toEqual(PING);
  });

  const room = connectionRoom();
  if (room < 10_500) {
    console.warn(
      `SKIPPED: 5,000 clients at once need 10,500 open files; there is room for ${room} (ulimit -n)`,
    );
  }
  it.skipIf(room < 10_500)(
    'serves 5,000 clients at once',
    async () => {
      fixture = await startReactor();
      fixture.sink.record = false;
      const clients: Client[] = [];
      for (let i = 0; i < 5000; i += 250) {
        clients.push(...(await Promise.all(Array.from({ length: 250 }, () => fixture.client()))));
      }
      for (let round = 0; round < 3; round++) {
        for (const client of clients) client.socket.write(login);
        let wrong = 0;
        for (const client of clients) if (!(await client.take(login.length)).equals(login)) wrong++;
        expect(wrong).toBe(0);
      }
      expect(fixture.reactor.totals()).toMatchObject({ connections: 5000, refused: 0, packetsOut: 15_000 });
      for (const client of clients) client.socket.destroy();
      await eventually(() => expect(fixture.reactor.connections).toBe(0));
    },
    120_000,
  );

  const ipv6 = Object.values(networkInterfaces()).some((all) =>
    all?.some(({ address }) => address === '::1'),
  );
  if (!ipv6) console.warn('SKIPPED: this machine has no IPv6 loopback address');

  it.skipIf(!ipv6)('listens on every address, IPv4 and IPv6, when only a port is given', async () => {
    fixture = await startReactor({ values: { address: '0' } });
    for (const host of ['127.0.0.1', '::1']) {
      const client = await fixture.client(host);
      client.socket.write(PING);
      expect(await client.take(8)).toEqual(PING);
    }
    const addresses = fixture.reactor.conns({ limit: 9 }).map((row) => row.remoteAddress);
    expect(addresses).toEqual(['127.0.0.1', '::1']);
  });

  it.skipIf(!ipv6)('listens on one IPv6 address', async () => {
    fixture = await startReactor({ values: { address: '[::1]:0' } });
    const client = await fixture.client('::1');
    client.socket.write(PING);
    expect(await client.take(8)).toEqual(PING);
    await expect(openClient(fixture.port, '127.0.0.1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('has several listeners that count for themselves', async () => {
    fixture = await startReactor();
    const sink = new EchoSink();
    sink.reactor = fixture.reactor;
    const second = await fixture.reactor.listen({
      name: 'second',
      values: listenerValues({ actor: 'other' }),
      codec: createPacketCodec(),
      sink,
    });
    const client = await openClient(second.port);
    client.socket.write(PING);
    expect(await client.take(8)).toEqual(PING);
    expect([...fixture.reactor.connectionsOf('other')]).toHaveLength(1);
    expect(second.counters.packetsIn).toBe(1);
    expect(fixture.listener.counters.packetsIn).toBe(0);
    fixture.reactor.closeListener('second');
    expect(await client.rest()).toHaveLength(0);
    await eventually(() => expect(sink.closedWith.map((c) => c.reason)).toEqual(['drained']));
    expect([...fixture.reactor.listeners]).toHaveLength(1);
  });
});

describe('an address that cannot be used', () => {
  let fixture: Fixture;
  afterEach(() => fixture.stop());
  const failure = async (address: string): Promise<SwitchyardError> => {
    const options = { name: 'b', codec: createPacketCodec(), sink: fixture.sink };
    const values = listenerValues({ address });
    const error: unknown = await fixture.reactor.listen({ ...options, values }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof SwitchyardError)) throw new Error(`no SwitchyardError: ${String(error)}`);
    return error;
  };

  it('ends with exit code 69 when taken', async () => {
    fixture = await startReactor();
    const error = await failure(`127.0.0.1:${fixture.port}`);
    expect(error.code).toBe('NET_ADDRESS_TAKEN');
    expect(error.exitCode).toBe(69);
    expect(error.message).toBe(`listener b: 127.0.0.1:${fixture.port} is already in use`);
  });

  it.each(['203.0.113.7:0', 'no-such-host.invalid:0'])(
    'ends with exit code 78 when it is %s',
    async (address) => {
      fixture = await startReactor();
      const error = await failure(address);
      expect(error.code).toBe('NET_ADDRESS');
      expect(error.exitCode).toBe(78);
      expect(error.message).toContain(address);
    },
  );
});

describe('a reactor in another process', () => {
  const harness = fileURLToPath(new URL('../support/harness/reactor-descriptors.mjs', import.meta.url));
  interface Line {
    readonly event: string;
    readonly port: number;
    readonly connections: number;
    readonly accepted: number;
    readonly refused: number;
    readonly descriptorsExhausted: number;
  }

  async function run(
    limit: number,
    room: string,
    inherited: number | undefined,
    use: (port: number, lines: Line[], ask: () => Promise<Line>) => Promise<void>,
  ): Promise<void> {
    const fd = inherited === undefined ? {} : { fd: 3 };
    const argument = JSON.stringify({ listener: listenerValues(), reactor: reactorValues(), room, ...fd });
    const child = spawn(
      'sh',
      ['-c', `ulimit -n ${limit}; exec "$0" "$@"`, process.execPath, harness, argument],
      {
        stdio: ['pipe', 'pipe', 'inherit', inherited ?? 'ignore'],
      },
    );
    const { stdin, stdout } = child;
    if (stdin === null || stdout === null) throw new Error('no pipes');
    const lines: Line[] = [];
    createInterface(stdout).on('line', (line) => lines.push(JSON.parse(line) as Line));
    const find = (event: string, from: number): Line | undefined =>
      lines.slice(from).find((line) => line.event === event);
    try {
      await eventually(() => expect(find('ready', 0)).toBeDefined());
      await use(find('ready', 0)!.port, lines, async () => {
        const from = lines.length;
        stdin.write('?');
        await eventually(() => expect(find('counters', from)).toBeDefined());
        return find('counters', from)!;
      });
    } finally {
      stdin.end();
      await new Promise((resolve) => child.once('exit', resolve));
    }
  }

  it(
    'goes on accepting without descriptors, says so in the log and counts it',
    { timeout: 60_000 },
    async () => {
      await run(64, 'unlimited', undefined, async (port, lines, ask) => {
        const clients = await Promise.all(Array.from({ length: 100 }, () => openClient(port)));
        await eventually(() => expect(lines.map((l) => l.event)).toContain('reactor.descriptors_exhausted'));
        const open = clients.filter((client) => !client.ended);
        expect(open.length).toBeGreaterThan(5);
        expect(open.length).toBeLessThan(64);
        for (const client of open) client.socket.write(PING);
        for (const client of open) expect(await client.take(8)).toEqual(PING);
        for (const client of clients) client.socket.destroy();
        await eventually(() => expect(clients.every((client) => client.ended)).toBe(true));
        const after = await openClient(port);
        after.socket.write(PING);
        expect(await after.take(8)).toEqual(PING);
        expect((await ask()).descriptorsExhausted).toBeGreaterThan(0);
        after.socket.destroy();
      });
    },
  );

  it('refuses clients before it runs out of descriptors', { timeout: 60_000 }, async () => {
    await run(160, 'measured', undefined, async (port, lines, ask) => {
      const clients = await Promise.all(Array.from({ length: 200 }, () => openClient(port)));
      await eventually(() => expect(clients.filter((client) => client.ended).length).toBeGreaterThan(100));
      let answer = await ask();
      while (answer.accepted < 200) answer = await ask();
      const { connections, refused, descriptorsExhausted } = answer;
      expect(refused).toBe(200 - connections);
      expect(connections).toBeGreaterThan(20);
      expect(descriptorsExhausted).toBe(0);
      expect(lines.map((line) => line.event)).toContain('listener.refused');
      for (const client of clients) client.socket.destroy();
    });
  });

  it('serves a listening descriptor that it was given', { timeout: 60_000 }, async () => {
    const owner = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => owner.once('listening', resolve));
    const { fd } = (owner as unknown as { _handle: { fd: number } })._handle;
    const shared = (owner.address() as AddressInfo).port;
    await run(256, 'measured', fd, async (port) => {
      expect(port).toBe(shared);
      // From here on only the other process accepts.
      owner.close();
      const client = await openClient(port);
      client.socket.write(PING);
      expect(await client.take(8)).toEqual(PING);
      client.socket.destroy();
    });
  });
});
