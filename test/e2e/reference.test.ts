/** What the references got wrong as whole programs: docs/protocols/differences.md names these tests. */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { encodePacket, writeLogin } from '../../src/protocol/packet.js';
import { PacketClient, PING } from '../support/packet-client.js';
import { packetSections, useWorkspace, type Program, type Sections } from '../support/program.js';

const workspace = useWorkspace();
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

const HTTP: Sections = {
  'http fast': { address: '127.0.0.1:0', engine: 'uws', root: 'www' },
  'http full': { address: '127.0.0.1:0', engine: 'node', root: 'www' },
};
const REQUEST = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

async function startAll(wrapper: readonly string[] = []): Promise<Program> {
  workspace().write('www/index.html', 'home');
  workspace().conf(packetSections(), HTTP);
  return workspace().start(undefined, { wrapper });
}

interface Asked {
  answer: string;
  connected: boolean;
  closed: boolean;
}

/** Connects and asks without waiting for anything. */
function ask(port: number, text: string | Buffer): Asked {
  const asked: Asked = { answer: '', connected: false, closed: false };
  const socket = connect(port, '127.0.0.1', () => {
    asked.connected = true;
    socket.write(text);
  });
  socket.on('data', (bytes) => (asked.answer += bytes.toString('latin1')));
  socket.on('error', () => undefined);
  socket.on('close', () => (asked.closed = true));
  sockets.push(socket);
  return asked;
}

/** Processor time used so far by all threads, in seconds. */
function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function residentMegabytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

const somaxconn = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));

describe('a burst of new connections', () => {
  it.each([
    ['packet', 2000, PING],
    ['full', 2000, REQUEST],
    ['fast', 400, REQUEST],
  ])(
    'at %s waits in the backlog, %i at once, while the program is busy',
    { timeout: 60_000 },
    async (name, count, text) => {
      const program = await startAll();
      const port = program.port(name);
      // As busy as can be: it accepts nothing at all.
      program.signal('SIGSTOP');
      const burst = Math.min(count, somaxconn);
      const asked = Array.from({ length: burst }, () => ask(port, text));
      try {
        await expect.poll(() => asked.filter((one) => one.connected).length, { timeout: 20_000 }).toBe(burst);
      } finally {
        program.signal('SIGCONT');
      }
      await expect
        .poll(() => asked.filter((one) => one.answer !== '').length, { timeout: 20_000 })
        .toBe(burst);
    },
  );
});

describe('a flood', () => {
  it('gets every reply that was due, then an orderly end', async () => {
    const flood = { flood_guard: 'yes', flood_packets: 10, flood_interval: '10s' };
    workspace().conf(packetSections(flood));
    const program = await workspace().start();
    const client = await PacketClient.open(program.port('packet'));
    sockets.push(client.socket);
    const errors: Error[] = [];
    client.socket.on('error', (error) => errors.push(error));
    const login = encodePacket(6, writeLogin({ username: 'nobody', password: 'wrong-one' }));
    client.send(login, ...Array.from({ length: 29 }, () => PING));
    await client.gone();
    expect(client.packets.map(({ code }) => code)).toEqual([6, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(errors).toEqual([]);
  });
});

describe('a program without work', () => {
  it(
    'uses next to no processor time and little memory, also after it had work',
    { timeout: 60_000 },
    async () => {
      const program = await startAll();
      const client = await PacketClient.open(program.port('packet'));
      sockets.push(client.socket);
      for (let n = 0; n < 200; n++) await client.ping();
      for (const name of ['fast', 'full']) {
        const asked = ask(program.port(name), REQUEST);
        await expect.poll(() => asked.answer).toContain('home');
      }
      await sleep(2000);
      const before = processorSeconds(program.pid);
      await sleep(5000);
      // A thread that polls would use five seconds.
      expect(processorSeconds(program.pid) - before).toBeLessThan(1);
      expect(residentMegabytes(program.pid)).toBeLessThan(200);
    },
  );
});

describe('too few descriptors', () => {
  it.each([
    ['packet', PING],
    ['full', REQUEST],
    ['fast', REQUEST],
  ])(
    'at %s neither stop the program nor keep it busy, and end with the clients',
    { timeout: 60_000 },
    async (name, text) => {
      const program = await startAll(['prlimit', '--nofile=120:120']);
      const port = program.port(name);
      const many = Array.from({ length: 300 }, () => ask(port, text));
      await expect.poll(() => many.filter((one) => one.answer !== '').length).toBeGreaterThan(5);
      await sleep(1000);
      const before = processorSeconds(program.pid);
      await sleep(3000);
      const used = processorSeconds(program.pid) - before;
      for (const socket of sockets.splice(0)) socket.destroy();
      await expect
        .poll(
          async () => {
            const again = ask(port, text);
            await sleep(100);
            return again.answer;
          },
          { timeout: 20_000 },
        )
        .not.toBe('');
      expect(used).toBeLessThan(1.5);
      if (name !== 'fast') return;
      expect(program.logged('http.descriptors_exhausted')).not.toEqual([]);
      expect(program.logged('http.listening_again')).not.toEqual([]);
    },
  );
});
