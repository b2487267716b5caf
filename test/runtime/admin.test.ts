import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AdminClient, WrongToken } from '../../src/runtime/admin-client.js';
import { ADMIN_COMMANDS } from '../../src/runtime/admin-commands/index.js';
import { ensureToken, startAdmin, type AdminOptions, type AdminServer } from '../../src/runtime/admin.js';
import { fakeControlPlane, memoryLogger, type FakeControlPlane } from '../support/fake-control-plane.js';

const token = 'correct-horse-battery-staple';
let control: FakeControlPlane;
let log: ReturnType<typeof memoryLogger>;
let servers: AdminServer[];
let sockets: Socket[];

async function open(extra: Partial<AdminOptions> = {}): Promise<AdminServer> {
  const server = await startAdmin({
    host: '127.0.0.1',
    port: 0,
    token,
    control,
    log,
    wrongTokenDelayMs: 1,
    ...extra,
  });
  servers.push(server);
  return server;
}

interface Raw {
  readonly socket: Socket;
  readonly text: () => string;
  readonly until: (part: string) => Promise<void>;
}

/** A bare socket: everything received, as text, and its end. */
async function raw(port: number): Promise<Raw> {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => undefined);
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(socket, 'connect');
  const until = async (part: string): Promise<void> => {
    while (!text.includes(part)) await once(socket, 'data');
  };
  return { socket, text: () => text, until };
}

const login = (server: AdminServer): Promise<AdminClient> =>
  AdminClient.connect({ host: server.host, port: server.port, token, timeoutMs: 5000 });

beforeEach(() => {
  control = fakeControlPlane();
  log = memoryLogger();
  servers = [];
  sockets = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await Promise.all(servers.map((server) => server.close()));
});

describe('the admin port', () => {
  it('answers nothing before the right token and closes after three wrong ones', async () => {
    const server = await open();
    const { socket, text, until } = await raw(server.port);
    const ended = once(socket, 'close');
    for (const wrong of ['a', 'b', 'c']) {
      socket.write(`auth ${wrong}\n`);
    }
    await until('wrong token');
    await ended;
    expect(text()).toBe('error\nwrong token\n.\n'.repeat(3));
    expect(log.events.filter((e) => e.event === 'admin.refused')).toHaveLength(3);
    expect(JSON.stringify(log.events)).not.toContain(token);
  });

  it('closes at once when the first line is no auth line, as from a browser', async () => {
    const server = await open();
    const { socket, text } = await raw(server.port);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(socket, 'close');
    expect(text()).toBe('error\nthe first line must be: auth TOKEN\n.\n');
  });

  it('closes a connection that never sends the token, and an idle one', async () => {
    const server = await open({ authTimeoutMs: 50, idleTimeoutMs: 150 });
    const silent = await raw(server.port);
    await once(silent.socket, 'close');
    const idle = await raw(server.port);
    idle.socket.write(`auth ${token}\n`);
    await idle.until('ok\n.\n');
    await once(idle.socket, 'close');
    expect(idle.text()).toBe('ok\n.\n');
  });

  it('takes a command in any number of pieces and several commands in one piece', async () => {
    const server = await open();
    const { socket, text, until } = await raw(server.port);
    for (const piece of ['au', `th ${token}\r`, '\nlog', ' level warn\nrestart packet#0\npau']) {
      socket.write(piece);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    socket.write('se load-obs\nquit\nps\n');
    await until('bye');
    await once(socket, 'close');
    expect(text()).toBe(
      'ok\n.\nok\ndid level warn *\n.\nok\ndid restart packet#0\n.\nok\ndid pause load-obs\n.\nok\nbye\n.\n',
    );
  });

  it('refuses a line that is too long and forgets the rest', async () => {
    const server = await open({ maxLineBytes: 64 });
    const { socket, text, until } = await raw(server.port);
    socket.write(`auth ${token}\n`);
    await until('ok');
    socket.write(`restart ${'x'.repeat(5000)}`);
    await once(socket, 'close');
    expect(text()).toContain('error\na line may have 64 bytes\n.\n');
    expect(control.calls).toEqual([]);
  });

  it('holds at most the configured number of connections', async () => {
    const server = await open({ maxConnections: 2 });
    const first = await raw(server.port);
    const second = await raw(server.port);
    const third = await raw(server.port);
    await once(third.socket, 'close');
    expect(third.text()).toContain('too many admin connections (2)');
    first.socket.destroy();
    second.socket.destroy();
    await expect
      .poll(async () => (await login(server).then((client) => (client.close(), 'in'))).valueOf())
      .toBe('in');
  });

  it('survives garbage of every kind and goes on serving', async () => {
    const server = await open();
    for (const bytes of [
      Buffer.alloc(3000, 0xff),
      Buffer.from('\n\n\n'),
      Buffer.from('auth\n'),
      Buffer.of(0),
    ]) {
      const { socket } = await raw(server.port);
      socket.end(bytes);
      await once(socket, 'close');
    }
    const client = await login(server);
    const odd = ['', '   ', 'json', '\u0000\u0001', '__proto__', 'constructor x', 'json json ps', '.', '..'];
    for (const line of odd) expect((await client.request(line)).ok, line).toBe(false);
    expect((await client.request('PS')).ok).toBe(true);
    client.close();
  });

  it('listens on loopback only', async () => {
    await expect(open({ host: '0.0.0.0' })).rejects.toThrow('not loopback');
  });

  it('tells ctl apart: no server, wrong token', async () => {
    const server = await open();
    const options = { host: '127.0.0.1', port: server.port, token: 'no', timeoutMs: 2000 };
    await expect(AdminClient.connect(options)).rejects.toThrow(WrongToken);
    await server.close();
    await expect(AdminClient.connect({ ...options, token })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('delivers a large answer whole to a slow reader', async () => {
    const big = 'x'.repeat(8 << 20);
    control.dump = async () => ({ big });
    const server = await open();
    const client = await login(server);
    const answer = await client.request('json dump');
    expect(JSON.parse(answer.body)).toEqual({ big });
    client.close();
  });
});

describe('admin commands', () => {
  const args: Readonly<Record<string, string>> = {
    log: 'level debug packet#0',
    restart: 'packet#0',
    stop: 'packet#0',
    start: 'packet#0',
    pause: 'load-obs',
    resume: 'load-obs',
    run: 'load-obs',
    kick: '4.2',
    beat: 'extract',
    runs: 'load-obs 5',
    dead: '5',
    conns: 'listener=packet ip=::1 limit=5',
  };

  it.each(ADMIN_COMMANDS.map((c) => c.name))('%s answers in text and in JSON', async (name) => {
    const server = await open();
    const line = `${name} ${args[name] ?? ''}`.trim();
    const client = await login(server);
    const text = await client.request(line);
    expect(text.ok).toBe(true);
    expect(text.body.length).toBeGreaterThan(1);
    client.close();
    const other = await login(server);
    const json = await other.request(`json ${line}`);
    expect(json.ok).toBe(true);
    expect(JSON.parse(json.body)).toBeTruthy();
    other.close();
  });

  it.each(ADMIN_COMMANDS.map((c) => c.name))('%s refuses arguments it does not know', async (name) => {
    const server = await open();
    const client = await login(server);
    const answer = await client.request(`${name} too many words here`);
    expect(answer.ok).toBe(false);
    expect(answer.body).toContain(`usage: ${name}`);
    expect(control.calls).toEqual([]);
    client.close();
  });

  it('prints aligned tables in which hostile text cannot break a line', async () => {
    const server = await open();
    const client = await login(server);
    const { body } = await client.request('ps');
    const lines = body.split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^ACTOR {11}STATE {4}POOL/);
    expect(lines[1]).toMatch(
      /^packet#0 {8}running {2}packet {9}3 {2}3m05s {7}42 {7}7 {9}1 {2}1.3s {2}frame 5/,
    );
    expect(body).not.toContain('\u001b');
    client.close();
  });

  it('passes filters and limits on', async () => {
    const server = await open();
    const client = await login(server);
    await client.request('conns ip=10.0.0.7');
    await client.request('runs - 3');
    await client.request('runs load-obs limit=9');
    await client.request('dead');
    expect(control.calls).toEqual([
      'conns {"ip":"10.0.0.7","limit":100}',
      'runs all 3',
      'runs load-obs 9',
      'dead 20',
    ]);
    for (const line of ['conns limit=0', 'runs - 99999', 'dead x', 'log level loud', 'conns colour=red']) {
      expect((await client.request(line)).ok, line).toBe(false);
    }
    client.close();
  });

  it('says what failed and keeps the data of a refused reload', async () => {
    control.reload = async () => ({ ok: false, changes: [], problems: ['a.conf:3: unknown key "prot"'] });
    control.dump = () => Promise.reject(new Error('the ledger is gone'));
    const server = await open();
    const client = await login(server);
    expect(await client.request('restart missing')).toEqual({ ok: false, body: 'no such thing: missing' });
    const reload = await client.request('reload');
    expect(reload).toEqual({
      ok: false,
      body: 'refused, the old conf still runs:\na.conf:3: unknown key "prot"',
    });
    expect(JSON.parse((await client.request('json reload')).body)).toMatchObject({ ok: false });
    expect(await client.request('dump')).toEqual({ ok: false, body: 'the ledger is gone' });
    expect((await client.request('qeues')).body).toContain('did you mean "queues"?');
    client.close();
  });

  it('switches a connection to JSON and back', async () => {
    const server = await open();
    const client = await login(server);
    expect(await client.request('json on')).toEqual({ ok: true, body: '{"json":true}' });
    expect(JSON.parse((await client.request('nope')).body)).toMatchObject({
      error: expect.any(String) as string,
    });
    await client.request('json off');
    expect((await client.request('queues')).body).toMatch(/^QUEUE/);
    client.close();
  });

  it('writes changing commands to the log, reading ones not', async () => {
    const server = await open();
    const client = await login(server);
    await client.request('ps');
    await client.request('kick 4.2');
    const audit = log.events.filter((e) => e.event === 'admin.command');
    expect(audit).toEqual([
      { level: 'notice', event: 'admin.command', fields: { command: 'kick', args: '4.2' } },
    ]);
    client.close();
  });
});

describe('the admin token', () => {
  let folder: string;
  beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'token-'))));
  afterEach(() => rm(folder, { recursive: true }));

  it('is made once, for the owner only, and read afterwards', async () => {
    const file = join(folder, 'var/admin.token');
    const made = await ensureToken(file);
    expect(made).toMatch(/^[0-9a-f]{64}$/);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await ensureToken(file)).toBe(made);
    expect(await readFile(file, 'utf8')).toBe(`${made}\n`);
  });

  it('is refused when somebody emptied the file', async () => {
    const file = join(folder, 'admin.token');
    await writeFile(file, '\n');
    await expect(ensureToken(file)).rejects.toThrow('shorter than 16');
  });
});
