/** What a client was told is on the disk, whenever the power fails. FULL=1: 30 kills, else 8. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { PacketClient } from '../support/packet-client.js';
import { packetSections, useWorkspace } from '../support/program.js';

const KILLS = process.env['FULL'] === '1' ? 30 : 8;
const CLIENTS = 12;
const LONGEST_LIFE_MS = 700;

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

/** Registers one account after the other until the server is gone. @returns what was acknowledged, what was asked */
async function registerAll(
  port: number,
  prefix: string,
): Promise<{ acknowledged: string[]; asked: string[] }> {
  const acknowledged: string[] = [];
  const asked: string[] = [];
  try {
    const client = await connect(port);
    for (let n = 0; ; n++) {
      const name = `${prefix}-${n}`;
      asked.push(name);
      if ((await client.register(name, `password of ${name}`)) !== 0) throw new Error(`${name} was refused`);
      acknowledged.push(name);
    }
  } catch (thrown) {
    if (!/closed without|ECONN|EPIPE/.test(String(thrown))) throw thrown;
  }
  return { acknowledged, asked };
}

it(`keeps every acknowledged account through ${KILLS} kills`, { timeout: KILLS * 20_000 }, async () => {
  workspace().conf(packetSections({}, { hash_concurrency: 2 }));
  const acknowledged: string[] = [];
  let unanswered: string[] = [];
  for (let round = 0; round < KILLS; round++) {
    const program = await workspace().start();
    const port = program.port('packet');
    // An account that was asked for but not answered may be there or not; it is never half there.
    const asker = await connect(port);
    for (const name of unanswered)
      expect([0, 1]).toContain(await asker.register(name, `password of ${name}`));
    acknowledged.push(...unanswered);
    const working = Promise.all(
      Array.from({ length: CLIENTS }, (_, n) => registerAll(port, `user-${round}-${n}`)),
    );
    await sleep(100 + Math.random() * LONGEST_LIFE_MS);
    await program.kill();
    const results = await working;
    acknowledged.push(...results.flatMap((result) => result.acknowledged));
    unanswered = results.flatMap(({ asked, acknowledged: got }) => asked.slice(got.length));
  }
  const program = await workspace().start();
  const workers = await Promise.all(Array.from({ length: 8 }, () => connect(program.port('packet'))));
  expect(acknowledged.length).toBeGreaterThan(KILLS * 10);
  expect(new Set(acknowledged).size).toBe(acknowledged.length);
  const lost: string[] = [];
  await Promise.all(
    workers.map(async (worker, at) => {
      for (let n = at; n < acknowledged.length; n += workers.length) {
        const name = acknowledged[n] ?? '';
        if (!(await worker.login(name, `password of ${name}`))) lost.push(name);
      }
    }),
  );
  expect(lost).toEqual([]);
  const listed = await workspace().cli('user', 'list', '10000', '--json', 'switchyard.conf');
  const names = (JSON.parse(listed.out) as { name: string }[]).map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(await program.stop()).toBe(0);
});
