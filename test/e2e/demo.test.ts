import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openStore, type SqlRow } from '../../src/store/driver.js';
import { PacketClient } from '../support/packet-client.js';
import { ROOT, useWorkspace, type Program, type Workspace } from '../support/program.js';

const workspace = useWorkspace();

/** The shipped files as they are; only the ports are others, by the environment variables that are documented for it. */
const ENV = {
  SWITCHYARD_LOG_FORMAT: 'json',
  SWITCHYARD_ADMIN_ADDRESS: '127.0.0.1:0',
  SWITCHYARD_ADMIN_HTTP_ADDRESS: '127.0.0.1:0',
  SWITCHYARD_LISTENER_PACKET_ADDRESS: '127.0.0.1:0',
  SWITCHYARD_HTTP_API_ADDRESS: '127.0.0.1:0',
  SWITCHYARD_HTTP_API_HTTP10_ADDRESS: '127.0.0.1:0',
};
const FILES = readdirSync(join(ROOT, 'conf'))
  .filter((name) => name.endsWith('.conf'))
  .map((name) => `conf/${name}`);

function startDemo(within: Workspace): Promise<Program> {
  return within.start(FILES, { env: ENV });
}

async function query(within: Workspace, database: string, sql: string): Promise<readonly SqlRow[]> {
  const store = await openStore(`sqlite:${within.file(`var/${database}.db`)}`);
  try {
    return (await store.query(sql)).rows;
  } finally {
    await store.close();
  }
}

/** The query form of the README, and what it answers. */
async function call(port: number, query: string): Promise<{ type: string | null; text: string }> {
  const response = await fetch(`http://127.0.0.1:${port}/api?${query}`, {
    headers: { authorization: `Basic ${Buffer.from('demo:demo').toString('base64')}` },
  });
  expect(response.status).toBe(200);
  return { type: response.headers.get('content-type'), text: await response.text() };
}

interface Observation {
  readonly obtid: string;
  readonly ddatetime: string;
  readonly t: number;
}

describe('the demo, as it is shipped', () => {
  it('shows data within a minute, through both engines, and goes on where it was after a restart', async () => {
    symlinkSync(join(ROOT, 'conf'), workspace().file('conf'));
    let program = await startDemo(workspace());
    expect(program.port('packet')).not.toBe(10_000);
    await program.seen('load-obs.file');
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    const curl = /curl -u demo:demo 'http:\/\/127\.0\.0\.1:8080\/api\?(\S+)'/.exec(readme)?.[1] ?? '';
    expect(curl).toContain('intername=');
    for (const listener of ['api', 'api-http10']) {
      const port = program.port(listener);
      const json = await call(port, curl);
      expect(json.type).toBe('application/json; charset=utf-8');
      const { data } = JSON.parse(json.text) as { data: Observation[] };
      expect(data.length).toBeGreaterThan(0);
      expect(data[0]).toMatchObject({ obtid: '10001', t: expect.any(Number) as number });
      // The same row as the reference writes it: byte for byte, out of the values in the table.
      const xml = await call(port, 'username=demo&passwd=demo&intername=getzhobtmind1&obtid=10001');
      const rows = await query(
        workspace(),
        'data',
        `SELECT obtid, strftime('%Y%m%d%H%M%S', ddatetime), t, p, u, wd, wf, r, vis
         FROM T_ZHOBTMIND WHERE obtid = '10001' ORDER BY ddatetime`,
      );
      const columns = ['obtid', 'ddatetime', 't', 'p', 'u', 'wd', 'wf', 'r', 'vis'];
      const lines = rows.map(
        (row) => columns.map((name, at) => `<${name}>${String(row[at])}</${name}>`).join('') + '<endl/>\n',
      );
      expect(xml.type).toBe('text/html;charset=utf-8');
      expect(xml.text).toBe(`<retcode>0</retcode><message>ok</message>\n<data>\n${lines.join('')}</data>\n`);
      const refused = await fetch(
        `http://127.0.0.1:${port}/api?username=demo&passwd=no&intername=getzhobtcode`,
      );
      expect(await refused.text()).toBe('<retcode>-1</retcode><message>用户名或密码不正确。</message>');
    }
    const client = await PacketClient.open(program.port('packet'));
    await client.ping();
    client.close();

    expect(await program.stop()).toBe(0);
    expect(program.events.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([]);
    const count = 'SELECT count(*), count(DISTINCT obtid || ddatetime) FROM T_ZHOBTMIND';
    const [before = []] = await query(workspace(), 'data', count);
    expect(before[0]).toBe(before[1]);
    const runsBefore = await query(workspace(), 'ledger', 'SELECT id, state FROM runs ORDER BY id');
    expect(runsBefore.filter(([, state]) => state !== 'ok')).toEqual([]);

    program = await startDemo(workspace());
    expect((await program.admin('run generate')).ok).toBe(true);
    await program.seen('stage.done', { actor: 'generate' });
    // Otherwise a new minute may bring files between the last look and the stop.
    expect((await program.admin('pause generate')).ok).toBe(true);
    expect((await program.admin('run load-obs')).ok).toBe(true);
    await program.seen('load-obs.file');
    // A file that is being loaded is no longer in sight, hence the second condition.
    const idle = async (): Promise<boolean> =>
      readdirSync(workspace().file('var/obs/in')).every((name) => name.startsWith('.')) &&
      (await program.ask<{ result: string }[]>('runs load-obs 1'))[0]?.result === 'ok';
    await expect.poll(idle, { timeout: 15_000 }).toBe(true);
    expect(await program.stop()).toBe(0);
    const [after = []] = await query(workspace(), 'data', count);
    expect(after[0]).toBe(after[1]);
    expect(Number(after[0])).toBeGreaterThanOrEqual(Number(before[0]));
    const runsAfter = await query(workspace(), 'ledger', 'SELECT id, state FROM runs ORDER BY id');
    expect(runsAfter.slice(0, runsBefore.length)).toEqual(runsBefore);
    expect(runsAfter.length).toBeGreaterThan(runsBefore.length);
    expect(readdirSync(workspace().file('var/obs/in'))).toEqual([]);
  });

  it('writes nothing outside of var', async () => {
    mkdirSync(workspace().file('conf'));
    cpSync(join(ROOT, 'conf'), workspace().file('conf'), { recursive: true });
    const program = await startDemo(workspace());
    await program.seen('load-obs.file');
    expect(await program.stop()).toBe(0);
    expect(readdirSync(workspace().path).sort()).toEqual(['conf', 'var']);
    expect(readdirSync(workspace().file('conf'), { recursive: true }).sort()).toEqual(
      readdirSync(join(ROOT, 'conf'), { recursive: true }).sort(),
    );
  });
});
