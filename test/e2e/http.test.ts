import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/driver.js';
import { dataApiSections, useWorkspace, type Program, type Workspace } from '../support/program.js';

const workspace = useWorkspace();
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

const ROWS = 60_000;
/** Of which one at a time fits in the small heap of the worker, and dozens do not. */
const WIDE = 'select obtid, hex(randomblob(10000)) from T_ZHOBTMIND';
/** More than any worker should be given. */
const HUGE = 'select hex(zeroblob(100000000))';
const LISTENERS = ['fast', 'full'] as const;

/** The demo user with an interface of many rows and one that breaks its worker. */
async function prepare(within: Workspace): Promise<void> {
  const store = await openStore(`sqlite:${within.file('var/data.db')}`);
  try {
    await store.execute(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
       INSERT INTO T_ZHOBTMIND (obtid, ddatetime, t, p) SELECT '50001', datetime(1700000000 + i * 60, 'unixepoch'), i, i FROM n`,
    );
    for (const [name, sql] of [
      ['all', 'select obtid, ddatetime, t, p from T_ZHOBTMIND order by ddatetime'],
      ['wide', WIDE],
      ['huge', HUGE],
    ] as const) {
      const columns = { all: 'obtid,ddatetime,t,p', wide: 'obtid,text', huge: 'text' }[name];
      await store.execute(
        `INSERT INTO T_INTERCFG (intername, typeid, intercname, selectsql, colstr) VALUES (?, '0102', '', ?, ?)`,
        [name, sql, columns],
      );
      await store.execute(`INSERT INTO T_USERANDINTER (intername, username) VALUES (?, 'demo')`, [name]);
    }
  } finally {
    await store.close();
  }
}

async function start(actor: Record<string, string | number> = {}): Promise<Program> {
  workspace().conf(dataApiSections(actor), {
    'pool main': { max_heap: '16m' },
    supervisor: { backoff_min: '10ms' },
  });
  const program = await workspace().start();
  await prepare(workspace());
  return program;
}

const path = (intername: string): string =>
  `/api?username=demo&passwd=demo&format=ndjson&intername=${intername}`;

function get(program: Program, listener: string, intername: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${program.port(listener)}${path(intername)}`, {
    signal: AbortSignal.timeout(15_000),
  });
}

/** Asks over a bare socket that reads nothing until told. */
async function asker(program: Program, listener: string, intername: string): Promise<Socket> {
  const socket = connect({ port: program.port(listener), host: '127.0.0.1' });
  sockets.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET ${path(intername)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  return socket;
}

/** The head of an answer whose body waits until somebody reads it. */
async function slowReader(program: Program, listener: string, intername: string): Promise<IncomingMessage> {
  const asking = request({ port: program.port(listener), host: '127.0.0.1', path: path(intername) }).end();
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  sockets.push(response.socket);
  return response;
}

/** Status of an answer whose body nobody wants; 0 when the connection ended without one. */
async function statusOf(program: Program, listener: string, intername: string): Promise<number> {
  try {
    const response = await slowReader(program, listener, intername);
    response.on('error', () => undefined);
    return response.statusCode ?? 0;
  } catch {
    return 0;
  }
}

describe.each(LISTENERS)('the data service behind the listener %s', (listener) => {
  it('streams a long answer whole to a client that reads slowly, and serves others meanwhile', async () => {
    const program = await start();
    const slow = await slowReader(program, listener, 'all');
    expect(slow.statusCode).toBe(200);
    let text = '';
    for (let n = 0; n < 10; n++) {
      await sleep(100);
      text += (slow.read() as Buffer | null)?.toString() ?? '';
      const quick = await get(program, listener, 'getzhobtcode');
      expect(quick.status).toBe(200);
      await quick.text();
    }
    // Otherwise it was not slow.
    expect(text.match(/\n/g)?.length).toBeLessThan(ROWS);
    for await (const chunk of slow) text += String(chunk);
    const lines = text.trimEnd().split('\n');
    expect(lines).toHaveLength(ROWS);
    expect(lines.every((line, at) => (JSON.parse(line) as { t: number }).t === at + 1)).toBe(true);
    expect(await program.ask<object[]>('dead')).toEqual([]);
  });

  it('is not hurt by clients that leave in mid-stream', async () => {
    const program = await start({ max_requests: 4 });
    for (let n = 0; n < 12; n++) {
      const leaving = await asker(program, listener, 'all');
      await once(leaving.resume(), 'data');
      leaving.resetAndDestroy();
      // Its place among the requests under way is free again soon.
      await expect
        .poll(async () => (await get(program, listener, 'getzhobtcode')).status, { timeout: 10_000 })
        .toBe(200);
    }
    const whole = await (await get(program, listener, 'all')).text();
    expect(whole.split('\n')).toHaveLength(ROWS + 1);
    expect(program.logged('supervisor.child_terminated')).toEqual([]);
  });

  it('refuses more requests than may be under way, and says so', async () => {
    const program = await start({ max_requests: 2 });
    await asker(program, listener, 'all');
    await asker(program, listener, 'all');
    await expect
      .poll(async () => (await get(program, listener, 'getzhobtcode')).status, { timeout: 10_000 })
      .toBe(503);
    for (const socket of sockets.splice(0)) socket.destroy();
    await expect
      .poll(async () => (await get(program, listener, 'getzhobtcode')).status, { timeout: 15_000 })
      .toBe(200);
  });

  it('answers 503 while the actor is stopped by the operator', async () => {
    const program = await start();
    expect(await program.admin('stop data-api')).toMatchObject({ ok: true });
    const refused = await get(program, listener, 'getzhobtcode');
    expect(refused.status).toBe(503);
    await refused.text();
    expect(await program.admin('start data-api')).toMatchObject({ ok: true });
    expect((await get(program, listener, 'getzhobtcode')).status).toBe(200);
  });

  it('refuses a row that no worker should hold, and lives', async () => {
    const program = await start();
    const refused = await get(program, listener, 'huge');
    expect(refused.status).toBe(422);
    expect(await refused.text()).toContain('is larger than');
    expect((await get(program, listener, 'getzhobtcode')).status).toBe(200);
    expect(program.logged('supervisor.child_terminated')).toEqual([]);
  });

  it('answers every request when the actor dies under them, and the next one works', async () => {
    const program = await start();
    const dozens = await Promise.all(Array.from({ length: 60 }, () => statusOf(program, listener, 'wide')));
    await program.seen('supervisor.child_terminated', { child: 'data-api' });
    // 200: the head was out already; such an answer breaks off. Nobody is left without one.
    const refused = dozens.filter((status) => status >= 500);
    expect(dozens.filter((status) => status !== 200 && status < 500)).toEqual([]);
    expect(refused.length).toBeGreaterThan(0);
    await expect
      .poll(async () => (await get(program, listener, 'getzhobtcode')).status, { timeout: 15_000 })
      .toBe(200);
    expect((await program.ask<{ restarts: number }[]>('ps'))[0]?.restarts).toBeGreaterThan(0);
  });

  it('breaks off an answer in a way the client sees when the actor dies under it', async () => {
    const program = await start();
    const broken = await slowReader(program, listener, 'all');
    await Promise.all(Array.from({ length: 60 }, () => statusOf(program, listener, 'wide')));
    await program.seen('supervisor.child_terminated', { child: 'data-api' });
    const reading = async (): Promise<number> => {
      let bytes = 0;
      for await (const chunk of broken) bytes += (chunk as Buffer).length;
      return bytes;
    };
    await expect(reading()).rejects.toThrow(/aborted/);
  });
});
