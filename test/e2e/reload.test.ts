/** Reloads that go beyond a changed value: shards, engines, things that cannot be applied, and several at once. */
import { createServer } from 'node:net';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { PacketClient } from '../support/packet-client.js';
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
  it('changes the number of shards, up and down, under clients that stay', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    const early = await Promise.all([1, 2, 3, 4].map(() => client(program)));
    for (const each of early) await each.ping();
    for (const shards of [3, 1, 2]) {
      workspace().conf(packetSections({}, { shards }));
      expect(await program.admin('reload')).toMatchObject({ ok: true });
      const actors = await program.ask<{ ref: string; state: string }[]>('ps');
      expect(actors.map(({ state }) => state)).toEqual(Array<string>(shards).fill('running'));
      const late = await Promise.all(Array.from({ length: 8 }, () => client(program)));
      for (const each of [...early, ...late]) await each.ping();
    }
    expect(await program.stop()).toBe(0);
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
      expect(await program.admin('reload')).toMatchObject({ ok: true });
      expect(program.logged('http.listening').at(-1)).toMatchObject({ engine, port });
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
      await (await client(program, 'second')).ping();
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

  it('does not leave clients without an answer when their actor is taken away', async () => {
    workspace().conf(packetSections());
    const program = await workspace().start();
    const one = await client(program);
    await one.ping();
    workspace().write(
      'switchyard.conf',
      workspace()
        .read('switchyard.conf')
        .replace(/\[actor packet\][^[]*/, ''),
    );
    await program.admin('reload');
    one.send(Buffer.from('0008000000000000', 'hex'));
    await one.gone();
    // Back again: the listener that stayed serves as before.
    workspace().conf(packetSections());
    expect(await program.admin('reload')).toMatchObject({ ok: true });
    await (await client(program)).ping();
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
      .toMatchObject({ 'actor packet': { min_password: 20 } });
    expect(await one.register('alice', 'nineteen characters')).toBe(3);
    expect(program.logged('actor.crashed')).toEqual([]);
    expect(await program.stop()).toBe(0);
  });
});
