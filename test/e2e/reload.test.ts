/** Reloads that go beyond a changed value: shards, engines, things that cannot be applied, and several at once. */
import { createServer } from 'node:net';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { encodePacket } from '../../src/protocol/packet.js';
import { PacketClient, PING } from '../support/packet-client.js';
import { dataApiSections, freePort, packetSections, useWorkspace } from '../support/program.js';
import type { Program, Sections } from '../support/program.js';

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

const listenerOn = (port: number): Sections => ({
  'listener second': { protocol: 'packet', address: `127.0.0.1:${port}`, actor: 'packet' },
});

describe('a reload', () => {
  it('says each time what only a new process brings, and leaves that section as it is', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    const one = await client(program);
    for (const min_password of [7, 20]) {
      workspace().conf(packetSections({}, { shards: 3, min_password }));
      const told = await program.admin('reload');
      expect(told.ok).toBe(true);
      expect(told.body).toContain('shards 1 -> 3 (process)');
      expect(told.body).toContain('[actor packet] takes effect with the next start of the process');
      expect((await program.ask<{ ref: string }[]>('ps')).map(({ ref }) => ref)).toEqual(['packet']);
    }
    workspace().conf(packetSections({}, { min_password: 20 }));
    expect(await program.admin('reload')).toMatchObject({ ok: true });
    expect(await one.register('alice', 'nineteen characters')).toBe(3);
  });

  it('moves an http listener to the other engine on the same port', async () => {
    const port = await freePort();
    const http = (engine: string): Sections => ({ 'http fast': { address: `127.0.0.1:${port}`, engine } });
    workspace().conf(dataApiSections(), http('uws'));
    const program = await workspace().start();
    const ask = async (): Promise<string> => {
      const url = `http://127.0.0.1:${port}/api?username=demo&passwd=demo&intername=getzhobtcode`;
      return (await fetch(url, { headers: { connection: 'close' } })).text();
    };
    for (const engine of ['node', 'uws', 'node']) {
      workspace().conf(dataApiSections(), http(engine));
      const from = program.events.length;
      expect(await program.admin('reload')).toMatchObject({ ok: true });
      await program.seen('http.listening', { engine, port }, from);
      expect(await ask()).toContain('<retcode>0</retcode>');
    }
    expect(await program.stop()).toBe(0);
  });

  it('tries again what could not be applied', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as { port: number };
    try {
      workspace().conf(packetSections());
      const program = await workspace().start();
      workspace().conf(packetSections(), listenerOn(port));
      const refused = await program.admin('reload');
      expect(refused.ok).toBe(false);
      expect(refused.body).toContain(String(port));
      await (await client(program)).ping();
      holder.close();
      await once(holder, 'close');
      expect(await program.admin('reload')).toMatchObject({ ok: true });
      clients.push(await PacketClient.open(port));
      await clients.at(-1)?.ping();
      workspace().conf(packetSections());
      expect(await program.admin('reload')).toMatchObject({ ok: true });
      await expect(PacketClient.open(port)).rejects.toThrow('ECONNREFUSED');
    } finally {
      holder.close();
    }
  });

  it('reads what was written while another one was under way', async () => {
    const [first, second] = [await freePort(), await freePort()];
    workspace().conf(packetSections());
    const program = await workspace().start();
    workspace().conf(packetSections({}, { min_password: 7 }), listenerOn(first));
    const running = program.admin('reload');
    await program.seen('admin.command', { command: 'reload' });
    workspace().conf(packetSections({}, { min_password: 8 }), listenerOn(second));
    const next = program.admin('reload');
    expect(await running).toMatchObject({ ok: true });
    expect(await next).toMatchObject({ ok: true });
    await (await PacketClient.open(second)).ping();
    await expect(PacketClient.open(first)).rejects.toThrow('ECONNREFUSED');
  });

  it('refuses to take the actor of a listener away', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    const one = await client(program);
    const text = workspace().read('switchyard.conf');
    workspace().write('switchyard.conf', text.replace(/\[actor packet\][^[]*/, ''));
    const refused = await program.admin('reload');
    expect(refused.ok).toBe(false);
    expect(refused.body).toMatch(/switchyard\.conf:\d+: .*no actor packet/);
    await one.ping();
    expect(await workspace().cli('check', 'switchyard.conf')).toMatchObject({ code: 78 });
  });

  it('refuses a conf that is empty, as while it is being written', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    const one = await client(program);
    workspace().write('switchyard.conf', '');
    expect(await program.admin('reload')).toMatchObject({ ok: false });
    await one.ping();
    expect((await program.page('/readyz')).status).toBe(200);
  });

  it('takes a listener and its actor away together, and brings them back', async () => {
    const more: Sections = {
      'listener second': { protocol: 'packet', address: '127.0.0.1:0', actor: 'second' },
      'actor second': { type: 'packet', store: 'sqlite:var/second.db', hash_cost: 13 },
    };
    workspace().conf(packetSections());
    const program = await workspace().start();
    for (let round = 0; round < 3; round++) {
      workspace().conf(packetSections(), more);
      const from = program.events.length;
      expect(await program.admin('reload')).toMatchObject({ ok: true });
      await program.seen('listener.listening', { listener: 'second' }, from);
      const other = await client(program, 'second');
      expect(await other.register(`user-${round}`, 'secret')).toBe(0);
      // What was sent before is answered.
      const pings = 500;
      other.send(...Array.from({ length: pings }, () => PING), encodePacket(6, Buffer.alloc(96)));
      await other.take(1);
      workspace().conf(packetSections());
      expect(await program.admin('reload')).toMatchObject({ ok: true });
      await other.gone();
      expect(other.packets.map(({ code }) => code)).toEqual([...Array<number>(pings - 1).fill(0), 6]);
      expect((await program.ask<{ ref: string }[]>('ps')).map(({ ref }) => ref)).toEqual(['packet']);
    }
    expect(await program.stop()).toBe(0);
  });

  it('in a storm of signals loses nobody', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    const one = await client(program);
    for (let n = 0; n < 30; n++) {
      workspace().conf(packetSections({}, { min_password: 6 + (n % 5) }));
      program.signal('SIGHUP');
      await one.ping();
    }
    workspace().conf(packetSections({}, { min_password: 20 }));
    program.signal('SIGHUP');
    await expect
      .poll(async () => (await program.ask<{ conf: object }>('dump')).conf, { timeout: 15_000 })
      .toMatchObject({ 'actor packet': { min_password: '20' } });
    expect(await one.register('alice', 'nineteen characters')).toBe(3);
    expect(program.logged('actor.crashed')).toEqual([]);
    expect(await program.stop()).toBe(0);
  });
});
