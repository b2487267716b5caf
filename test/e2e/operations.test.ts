import { existsSync, readFileSync, renameSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { PacketClient } from '../support/packet-client.js';
import { BASE, confText, freePort, packetSections, useWorkspace, type Program } from '../support/program.js';
import type { Sections } from '../support/program.js';

const workspace = useWorkspace();
const clients: PacketClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

async function client(program: Program, listener = 'packet'): Promise<PacketClient> {
  const opened = await PacketClient.open(program.port(listener));
  clients.push(opened);
  return opened;
}

const STATIONS = '省,站号,站名,纬度,经度,海拔高度\n安徽,58015,砀山,34.27,116.2,44.2\n';

/** A stage that only runs when it is told to. */
const GENERATE: Sections = {
  'stage generate': { type: 'generate', stations: 'stations.csv', out: 'out', formats: 'csv', every: '1d' },
};

describe('ctl', () => {
  it('shows and steers everything that runs', { timeout: 60_000 }, async () => {
    workspace().write('stations.csv', STATIONS);
    workspace().conf(packetSections(), GENERATE);
    const program = await workspace().start();
    await program.seen('stage.done', { actor: 'generate' });
    const one = await client(program);
    await one.ping();

    const ps = await program.ctl('ps');
    expect(ps).toMatchObject({ code: 0, err: '' });
    expect(ps.out).toMatch(/^ACTOR +STATE/);
    expect(ps.out).toMatch(/^packet +running +main/m);
    expect(ps.out).toMatch(/^generate +running +main/m);
    const queues = JSON.parse((await program.ctl('queues', '--json')).out) as { name: string }[];
    expect(queues.map(({ name }) => name).sort()).toEqual(['generate', 'packet']);
    const conns = JSON.parse((await program.ctl('conns', 'listener=packet', '--json')).out) as {
      id: string;
      packetsIn: number;
    }[];
    expect(conns).toMatchObject([{ listener: 'packet', remoteAddress: '127.0.0.1', packetsIn: 1 }]);
    expect((await program.ctl('stages')).out).toMatch(/^generate +idle .* ok /m);
    expect((await program.ctl('runs', 'generate', '5')).out).toMatch(/^ *1 +generate .* ok /m);
    expect(JSON.parse((await program.ctl('dead', '--json')).out)).toEqual([]);

    const [before] = await program.ask<{ thread: number; restarts: number }[]>('ps');
    expect(before?.restarts).toBe(0);
    expect(await program.ctl('restart', 'packet')).toMatchObject({ code: 0, out: 'packet restarted\n' });
    expect((await program.ask<{ restarts: number }[]>('ps'))[0]?.restarts).toBe(1);
    // The connection has not noticed.
    await one.ping();

    expect(await program.ctl('pause', 'generate')).toMatchObject({ code: 0 });
    expect((await program.ctl('stages')).out).toMatch(/^generate +paused/m);
    expect(await program.ctl('resume', 'generate')).toMatchObject({ code: 0 });
    expect((await program.ctl('stages')).out).toMatch(/^generate +idle/m);
    expect(await program.ctl('run', 'generate')).toMatchObject({ code: 0 });
    await expect.poll(() => program.ask('runs generate'), { timeout: 15_000 }).toHaveLength(2);

    expect(await program.ctl('kick', conns[0]?.id ?? '')).toMatchObject({ code: 0 });
    await one.gone();
    expect(await program.ctl('kick', '99.99')).toMatchObject({ code: 1 });
    expect(await program.ctl('restart', 'nobody')).toMatchObject({ code: 1 });
    expect(await program.ctl('restart')).toMatchObject({ code: 1 });

    expect(await program.ctl('log', 'level', 'debug', 'packet')).toMatchObject({ code: 0 });
    expect(await program.ask('log')).toMatchObject({ packet: 'debug' });
    const dump = JSON.parse((await program.ctl('dump')).out) as Record<string, unknown>;
    expect(Object.keys(dump)).toEqual(
      expect.arrayContaining(['conf', 'tree', 'actors', 'queues', 'connections', 'stages', 'runs', 'log']),
    );
    expect(JSON.stringify(dump)).not.toContain(workspace().read('var/admin.token').trim());
    expect((await program.ctl('metrics')).out).toMatch(/^switchyard_ready 1$/m);
    expect((await program.ctl('help')).out).toContain('restart');
    expect((await program.ctl('nonsense')).code).toBe(1);

    expect(await program.ctl('shutdown')).toMatchObject({ code: 0 });
    expect(await program.exited).toMatchObject({ code: 0 });
    expect(await program.ctl('ps')).toMatchObject({ code: 69 });
  });

  it('drains: no new clients, the present ones are served until they leave', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    const one = await client(program);
    await one.ping();
    expect(await program.ctl('drain')).toMatchObject({ code: 0 });
    const refused = await PacketClient.open(program.port('packet')).catch(() => undefined);
    await refused?.gone();
    expect((await program.page('/readyz')).status).toBe(503);
    await one.ping();
    one.close();
    expect(await program.exited).toMatchObject({ code: 0 });
  });
});

describe('the admin HTTP listener', () => {
  it('says whether it lives, is ready, and what it counts', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    expect(await program.page('/livez')).toMatchObject({ status: 200 });
    expect(await program.page('/readyz')).toEqual({ status: 200, body: 'ready\n' });
    expect((await program.page('/metrics')).body).toMatch(/^switchyard_build_info\{/m);
    await program.admin('stop packet');
    // Stopped on purpose is no failure.
    expect((await program.page('/readyz')).status).toBe(200);
    expect((await program.page('/nothing')).status).toBe(404);
  });
});

describe('reload', () => {
  it('applies the difference by HUP and leaves the rest alone', { timeout: 60_000 }, async () => {
    const extra = await freePort();
    const write = (...parts: Sections[]): unknown => workspace().conf(packetSections(), ...parts);
    write();
    const program = await workspace().start();
    const one = await client(program);
    await one.register('alice', 'secret');
    const reloaded = async (event = 'reload.done'): Promise<void> => {
      const from = program.events.length;
      program.signal('SIGHUP');
      await program.seen(event, {}, from);
    };

    // A live key: in force at once, for the connection that is open too.
    write({ 'listener packet': { on_bad_packet: 'close' } });
    await reloaded();
    await program.seen('reload.change');
    const bad = await client(program);
    bad.send(Buffer.from('0008000000000001', 'hex'));
    await bad.gone();
    await one.ping();

    // A key of an actor: that actor is restarted, the connection stays.
    write({ 'actor packet': { min_password: 12 } });
    await reloaded();
    await program.seen('actor.restarted', { actor: 'packet' });
    expect(await one.register('bob', 'elevenchars')).toBe(3);
    expect(await one.login('alice', 'secret')).toBe(true);

    // A section that is new, and one that is gone.
    write({ 'listener second': { protocol: 'packet', address: `127.0.0.1:${extra}`, actor: 'packet' } });
    await reloaded();
    const other = await client(program, 'second');
    await other.ping();
    write();
    await reloaded();
    await other.gone();
    await expect(PacketClient.open(extra)).rejects.toThrow('ECONNREFUSED');
    await one.ping();

    // With any error nothing changes.
    write({ 'listener packet': { idle_timeout: 'soon' }, 'actor packet': { min_password: 20 } });
    await reloaded('reload.refused');
    expect(JSON.stringify(program.logged('reload.refused').at(-1))).toMatch(/switchyard\.conf:\d+/);
    expect(await one.register('carol', 'eightchr')).toBe(0);
    const refused = await program.ctl('reload');
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.err).toContain('idle_timeout');

    write({ process: { data_dir: 'elsewhere' } });
    const told = await program.ctl('reload');
    expect(told.out).toMatch(/data_dir var -> elsewhere \(process\)/);
    expect(existsSync(workspace().file('elsewhere'))).toBe(false);
    expect(await program.ctl('reload')).toMatchObject({ code: 0 });
    await one.ping();
    expect(await program.stop()).toBe(0);
  });
});

describe('signals', () => {
  it('USR1 opens the log file again after it was moved', async () => {
    workspace().conf(packetSections(), { log: { file: 'log/s.log' } });
    const program = workspace().launch();
    const log = (name = 'log/s.log'): string =>
      existsSync(workspace().file(name)) ? workspace().read(name) : '';
    await expect.poll(log, { timeout: 20_000 }).toContain('process.ready');
    renameSync(workspace().file('log/s.log'), workspace().file('log/moved.log'));
    program.signal('SIGUSR1');
    await expect.poll(() => existsSync(workspace().file('log/s.log')), { timeout: 10_000 }).toBe(true);
    expect(await program.stop()).toBe(0);
    expect(log()).toContain('process.exit');
    expect(log('log/moved.log')).not.toContain('process.exit');
    const lines = (log('log/moved.log') + log()).trimEnd().split('\n');
    for (const line of lines) JSON.parse(line);
  });

  it('USR2 serves the clients that are there and leaves when they have', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    const one = await client(program);
    await one.register('alice', 'secret');
    program.signal('SIGUSR2');
    await expect.poll(async () => (await program.page('/readyz')).status, { timeout: 10_000 }).toBe(503);
    expect(await one.login('alice', 'secret')).toBe(true);
    one.close();
    expect(await program.exited).toMatchObject({ code: 0 });
  });

  it('a second TERM ends at once with 143, whatever is under way', async () => {
    workspace().conf(packetSections({}, { hash_cost: 16, hash_concurrency: 1 }));
    const program = await workspace().start();
    const one = await client(program);
    await one.register('alice', 'secret');
    for (let n = 0; n < 3; n++) {
      const other = await client(program);
      // Nobody waits for the answers.
      void other.login('alice', 'secret').catch(() => undefined);
    }
    await one.ping();
    program.signal('SIGTERM');
    await program.seen('signal.stop');
    program.signal('SIGTERM');
    expect(await program.exited).toMatchObject({ code: 143 });
    expect(program.logged('signal.second')).toHaveLength(1);
  });

  it('TERM lets a login under way be answered', async () => {
    workspace().conf(packetSections({}, { hash_cost: 15 }));
    const program = await workspace().start();
    const one = await client(program);
    await one.register('alice', 'secret');
    const answer = one.login('alice', 'secret');
    await expect
      .poll(async () => (await program.ask<{ packetsIn: number }[]>('conns'))[0]?.packetsIn)
      .toBe(2);
    program.signal('SIGTERM');
    expect(await answer).toBe(true);
    expect(await program.exited).toMatchObject({ code: 0 });
  });
});

describe('a start that fails', () => {
  it.each([
    ['a listener', (port: number): Sections => packetSections({ address: `127.0.0.1:${port}` })],
    [
      'an http listener of uws',
      (port: number): Sections => ({ 'http a': { address: `127.0.0.1:${port}`, engine: 'uws' } }),
    ],
    [
      'an http listener of node',
      (port: number): Sections => ({ 'http a': { address: `127.0.0.1:${port}`, engine: 'node' } }),
    ],
    ['the admin port', (port: number): Sections => ({ admin: { address: `127.0.0.1:${port}` } })],
    [
      'the admin HTTP listener',
      (port: number): Sections => ({ admin: { http_address: `127.0.0.1:${port}` } }),
    ],
  ])('says which port is taken and ends with 69: %s', async (_, sections) => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as { port: number };
    try {
      workspace().conf(packetSections(), sections(port));
      const program = workspace().launch();
      expect(await program.exited).toMatchObject({ code: 69 });
      const reason = String(program.logged('start.failed')[0]?.['reason']);
      expect(reason).toContain(String(port));
      expect(reason).toMatch(/in use|taken|hold the port/);
    } finally {
      holder.close();
    }
  });

  it.each([
    [
      'unknown key',
      '[listener packet]\nprotocol = packet\naddress = 1\nadress = 2\n',
      4,
      'did you mean address',
    ],
    ['unknown section', '[lisener packet]\nx = 1\n', 1, 'did you mean'],
    ['value of the wrong kind', '[log]\nkeep = many\n', 2, 'keep'],
    ['value out of bounds', '[log]\n\nkeep = 100000\n', 3, 'keep'],
    ['missing key', '[listener packet]\nprotocol = packet\n', 1, 'needs the key address'],
    ['key set twice', '[log]\nkeep = 1\nkeep = 2\n', 3, 'already set'],
    ['key before any section', 'keep = 1\n', 1, 'before any'],
    ['no key = value', '[log]\nwhat is this\n', 2, ''],
    ['unknown variable', '[log]\nfile = ${NO_SUCH_VARIABLE_HERE}\n', 2, 'NO_SUCH_VARIABLE_HERE'],
    ['missing secret file', '[admin]\ntoken = file:nowhere\n', 2, 'nowhere'],
    ['unknown actor type', '[actor a]\ntype = paket\n', 2, 'did you mean'],
    ['unknown enum word', '[log]\nlevel = loud\n', 2, 'level'],
    ['not UTF-8', Buffer.from('[log]\nfile = \xff\xfe\n', 'latin1'), 0, 'UTF-8'],
  ])('is told with file and line, exit 78: %s', async (_, text, line, words) => {
    workspace().write('bad.conf', text);
    for (const args of [['bad.conf'], ['--check', 'bad.conf']]) {
      const result = await workspace().cli(...args);
      expect(result.code).toBe(78);
      expect(result.err).toContain(line > 0 ? `bad.conf:${line}: ` : 'bad.conf');
      expect(result.err).toContain(words);
    }
  });

  it('checks good files with 0, and refuses wrong words with 64', async () => {
    workspace().conf(packetSections());
    expect(await workspace().cli('--check', 'switchyard.conf')).toMatchObject({ code: 0, err: '' });
    const verb = await workspace().cli('chekc', 'switchyard.conf');
    expect(verb).toMatchObject({ code: 64 });
    expect(verb.err).toContain('did you mean "check"');
    expect(await workspace().cli('--chek', 'switchyard.conf')).toMatchObject({ code: 64 });
    expect(await workspace().cli()).toMatchObject({ code: 64 });
    expect(await workspace().cli('nowhere.conf')).toMatchObject({ code: 78 });
    expect(existsSync(workspace().file('var'))).toBe(false);
  });

  it('names the actor that did not start', async () => {
    workspace().write(
      'var/accounts.db',
      'this is no database at all, but long enough to be one\n'.repeat(100),
    );
    workspace().conf(packetSections());
    const program = workspace().launch();
    const { code } = await program.exited;
    expect([69, 70]).toContain(code);
    expect(String(program.logged('start.failed')[0]?.['reason'])).toMatch(
      /packet did not start.*accounts\.db/,
    );
  });
});

describe('daemon mode', () => {
  it('returns when everything listens, and leaves by ctl', async () => {
    workspace().conf(packetSections(), { log: { file: 'var/s.log' } });
    const started = await workspace().cli('--daemon', '--pid-file', 'var/s.pid', 'switchyard.conf');
    const pid = Number(/pid (\d+)/.exec(started.out)?.[1]);
    try {
      expect(started).toMatchObject({ code: 0, err: '' });
      expect(workspace().read('var/s.pid')).toBe(`${pid}\n`);
      expect(await workspace().cli('ctl', 'ps')).toMatchObject({ code: 0 });
      const second = await workspace().cli('--pid-file', 'var/s.pid', 'switchyard.conf');
      expect(second.code).toBe(75);
      expect(await workspace().cli('ctl', 'shutdown')).toMatchObject({ code: 0 });
      await expect.poll(() => existsSync(`/proc/${pid}/fd/0`), { timeout: 15_000 }).toBe(false);
      expect(existsSync(workspace().file('var/s.pid'))).toBe(false);
    } finally {
      if (existsSync(`/proc/${pid}/fd/0`)) process.kill(pid, 'SIGKILL');
    }
  });

  it('gives the error and its code to the terminal', async () => {
    workspace().conf(packetSections({ address: '192.0.2.1:1' }), { log: { file: 'var/s.log' } });
    const started = await workspace().cli('--daemon', 'switchyard.conf');
    expect([69, 78]).toContain(started.code);
    expect(started.err).toContain('192.0.2.1:1');
  });
});

describe('the log', () => {
  it('on a full disk costs nobody the service', async () => {
    workspace().conf(packetSections(), { log: { file: '/dev/full', buffer: '64k', level: 'debug' } });
    const program = workspace().launch();
    const address = (): string => readFileSync(workspace().file('var/admin.address'), 'utf8');
    await expect
      .poll(() => existsSync(workspace().file('var/admin.address')), { timeout: 20_000 })
      .toBe(true);
    expect(address()).toMatch(/^127\.0\.0\.1:\d+\n$/);
    const dumped = await program.ctl('dump');
    const { log } = JSON.parse(dumped.out) as { log: { failing: boolean } };
    expect(log.failing).toBe(true);
    for (let n = 0; n < 20; n++) expect((await program.ctl('ps')).code).toBe(0);
    expect(await program.stop()).toBe(0);
  });

  it('can be written as text for people', async () => {
    workspace().write('switchyard.conf', confText(BASE, packetSections(), { log: { format: 'text' } }));
    const program = workspace().launch();
    await expect.poll(() => program.text.join('\n'), { timeout: 20_000 }).toContain('process.ready');
    expect(await program.stop()).toBe(0);
    expect(program.text[0]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} notice +main +process\.start /);
  });
});
