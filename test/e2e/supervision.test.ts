/** What the supervision tree of the program does when an actor fails for good, with a database that is broken under it. */
import { renameSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { PacketClient } from '../support/packet-client.js';
import { freePort, packetSections, useWorkspace, type Program, type Sections } from '../support/program.js';

const workspace = useWorkspace();
const clients: PacketClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

async function connect(port: number): Promise<PacketClient> {
  const client = await PacketClient.open(port);
  clients.push(client);
  return client;
}

const quick = (intensity: number): Sections => ({
  supervisor: { intensity, period: '60s', backoff_min: '20ms', backoff_max: '200ms' },
});

/** The next start of the packet actor fails, and every further one. */
async function breakAccounts(program: Program): Promise<void> {
  // Stopped first, so that nothing of the good file is still in its -wal.
  expect((await program.admin('stop packet')).ok).toBe(true);
  renameSync(workspace().file('var/accounts.db'), workspace().file('accounts.good'));
  workspace().write('var/accounts.db', 'no database at all\n'.repeat(200));
  expect((await program.admin('start packet')).ok).toBe(false);
}

function mendAccounts(): void {
  renameSync(workspace().file('accounts.good'), workspace().file('var/accounts.db'));
}

describe('the supervision tree of the program', () => {
  it('keeps clients connected through a restart that succeeds at the second try', async () => {
    workspace().conf(packetSections(), quick(1000));
    const program = await workspace().start();
    const one = await connect(program.port('packet'));
    await one.register('alice', 'secret');
    await breakAccounts(program);
    expect((await program.page('/readyz')).status).toBe(503);
    // It waits in the mailbox.
    const answer = one.ask(0);
    await sleep(300);
    mendAccounts();
    expect(await answer).toMatchObject({ code: 0 });
    expect(await one.login('alice', 'secret')).toBe(true);
    await expect.poll(async () => (await program.page('/readyz')).status, { timeout: 10_000 }).toBe(200);
    expect(await program.stop()).toBe(0);
  });

  it('escalates: the front is closed and opened again on its port when the actors are well', async () => {
    const port = await freePort();
    workspace().conf(packetSections({ address: `127.0.0.1:${port}` }), quick(4));
    const program = await workspace().start();
    const one = await connect(port);
    await one.register('alice', 'secret');
    await breakAccounts(program);
    await program.seen('supervisor.escalated', { supervisor: 'actors' });
    // A client is not left hanging on an actor that is gone.
    await one.gone();
    mendAccounts();
    const from = program.logged('listener.listening').length;
    await expect
      .poll(() => program.logged('listener.listening').length, { timeout: 15_000 })
      .toBeGreaterThan(Math.max(1, from - 1));
    await expect.poll(async () => (await program.page('/readyz')).status, { timeout: 10_000 }).toBe(200);
    expect(await (await connect(port)).login('alice', 'secret')).toBe(true);
    expect((await program.page('/livez')).status).toBe(200);
    expect(await program.stop()).toBe(0);
  });

  it('gives up in the end: the process leaves with 70, and says what failed', async () => {
    const port = await freePort();
    workspace().conf(packetSections({ address: `127.0.0.1:${port}` }), quick(2));
    const program = await workspace().start();
    expect(await (await connect(port)).register('alice', 'secret')).toBe(0);
    await breakAccounts(program);
    expect(await program.exited).toMatchObject({ code: 70 });
    const [failed] = program.logged('tree.failed');
    expect(failed?.level).toBe('fatal');
    expect(String(failed?.['reason'])).toContain('packet');
    expect(program.logged('supervisor.escalated', { supervisor: 'actors' }).length).toBeGreaterThan(0);
    expect(program.logged('process.exit', { exitCode: 70 })).toHaveLength(1);
    await expect(connect(port)).rejects.toThrow('ECONNREFUSED');
    // Nothing acknowledged was lost by it.
    mendAccounts();
    const again = await workspace().start();
    expect(await (await connect(port)).login('alice', 'secret')).toBe(true);
    expect(await again.stop()).toBe(0);
  });
});
