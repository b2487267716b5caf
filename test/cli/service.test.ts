import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const harness = join(root, 'test/support/harness/service.mjs');
const main = join(root, 'dist/main.js');

let folder: string;
let conf: string;
let pids: number[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'service-'));
  conf = join(folder, 'a.conf');
  pids = [];
});
afterEach(() => {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has left
    }
  }
  rmSync(folder, { recursive: true, force: true });
});

function writeConf(processKeys: readonly string[] = [], adminAddress = '127.0.0.1:0'): void {
  const lines = [
    '[process]',
    `data_dir = ${folder}/var`,
    `pid_file = ${folder}/pid`,
    ...processKeys,
    '[log]',
    `file = ${folder}/log`,
    'format = json',
    '[admin]',
    `address = ${adminAddress}`,
    'http_address = 127.0.0.1:0',
  ];
  writeFileSync(conf, `${lines.join('\n')}\n`);
}

interface Finished {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function launch(
  args: readonly string[],
  env: Record<string, string> = {},
): { child: ChildProcess; done: Promise<Finished> } {
  const child = spawn(process.execPath, args, { cwd: folder, env: { ...process.env, ...env } });
  pids.push(child.pid ?? 0);
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const done = once(child, 'close').then(([code]: (number | null)[]) => ({ code: code ?? null, out, err }));
  return { child, done };
}

interface LogLine {
  readonly event: string;
  readonly [field: string]: unknown;
}

function logLines(): LogLine[] {
  if (!existsSync(join(folder, 'log'))) return [];
  const text = readFileSync(join(folder, 'log'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as LogLine);
}
const logged = (event: string): LogLine | undefined => logLines().find((line) => line.event === event);
const seen = (event: string): Promise<void> =>
  expect.poll(() => logged(event), { timeout: 15_000, interval: 50 }).toBeDefined();
const ctl = (...args: string[]): Promise<Finished> => launch([main, 'ctl', ...args]).done;

describe('the service', () => {
  it('runs, serves ctl and HTTP, and leaves cleanly with 0 on TERM', async () => {
    writeConf();
    const { child, done } = launch([harness, conf]);
    await seen('process.ready');
    expect(readFileSync(join(folder, 'pid'), 'utf8')).toBe(`${child.pid}\n`);
    expect(readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')).toContain(`switchyard: main ${conf}`);
    await seen('statistics');
    const port = logged('admin.http.listening')?.['port'];
    expect((await fetch(`http://127.0.0.1:${String(port)}/readyz`)).status).toBe(200);
    const text = await (await fetch(`http://127.0.0.1:${String(port)}/metrics`)).text();
    expect(text).toContain('switchyard_build_info{version="1.2.3"');

    expect(await ctl('log', 'level', 'debug')).toMatchObject({ code: 0, out: 'level debug\n' });
    expect(await ctl('queues', '--json', conf)).toMatchObject({ code: 0, out: '[]\n' });
    const dump = await ctl('dump', '--json');
    expect((JSON.parse(dump.out) as { padding: string }).padding).toHaveLength(4 << 20);
    expect(await ctl('kick', '1.1')).toMatchObject({ code: 1, err: 'no such connection\n' });
    const title = (): string => readFileSync(`/proc/${child.pid}/cmdline`, 'utf8').replaceAll('\0', '');
    child.kill('SIGHUP');
    await seen('reload.change');
    expect(title()).toBe('another title');
    child.kill('SIGTERM');
    expect((await done).code).toBe(0);
    expect(logLines().at(-1)).toMatchObject({ event: 'process.exit', exitCode: 0 });
    for (const left of ['pid', 'var/admin.address']) expect(existsSync(join(folder, left)), left).toBe(false);
    expect(JSON.stringify(logLines())).not.toContain(
      readFileSync(join(folder, 'var/admin.token'), 'utf8').trim(),
    );
  });

  it('tells ctl 69 when no server answers and 77 when the token is another', async () => {
    writeConf();
    expect(await ctl('ps')).toMatchObject({ code: 69 });
    const { done } = launch([harness, conf]);
    await seen('process.ready');
    writeFileSync(join(folder, 'var/admin.token'), 'another-token-than-the-right-one\n');
    const refused = await ctl('ps');
    expect(refused.code).toBe(77);
    expect(refused.err).toContain('refused the token');
    process.kill(pids[1] ?? 0, 'SIGUSR2');
    expect((await done).code).toBe(0);
    writeFileSync(join(folder, 'var/admin.address'), '127.0.0.1:1\n');
    expect(await ctl('ps')).toMatchObject({ code: 69 });
  });

  it('refuses a second process with the same pid file and leaves the first alone', async () => {
    writeConf();
    const first = launch([harness, conf]);
    await seen('process.ready');
    const second = await launch([harness, conf]).done;
    expect(second.code).toBe(75);
    expect(logged('start.failed')?.['reason']).toContain(`process ${first.child.pid} is running`);
    expect(readFileSync(join(folder, 'pid'), 'utf8')).toBe(`${first.child.pid}\n`);
    first.child.kill('SIGINT');
    expect((await first.done).code).toBe(0);
  });

  it('ends with 69 when a port is taken, and with the code of the error when the tree fails', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as AddressInfo;
    writeConf([], `127.0.0.1:${port}`);
    expect((await launch([harness, conf]).done).code).toBe(69);
    expect(logged('start.failed')?.['reason']).toContain(`127.0.0.1:${port} is taken`);
    taken.close();
    writeConf();
    expect((await launch([harness, conf], { TREE: 'fail' }).done).code).toBe(70);
    expect(existsSync(join(folder, 'pid'))).toBe(false);
  });
});

describe('the service while it starts', () => {
  it('says not ready, and leaves with 0 on TERM without a trace', async () => {
    writeConf();
    const { child, done } = launch([harness, conf], { TREE: 'slow' });
    await seen('admin.http.listening');
    const port = String(logged('admin.http.listening')?.['port']);
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(503);
    child.kill('SIGTERM');
    expect((await done).code).toBe(0);
    expect(existsSync(join(folder, 'pid'))).toBe(false);
  });

  it('logs an uncaught error of a child it just started, and leaves with 70', async () => {
    writeConf();
    const { done } = launch([harness, conf], { TREE: 'throw' });
    expect((await done).code).toBe(70);
    expect(logged('process.uncaught')?.['reason']).toBe('thrown by a timer');
    expect(existsSync(join(folder, 'pid'))).toBe(false);
  });
});

describe('daemon mode', () => {
  const daemonPid = (out: string): number => {
    const { pid } = JSON.parse(out) as { pid: number };
    pids.push(pid);
    return pid;
  };

  it('returns 0 when the child listens; the child has its own session and no terminal', async () => {
    writeConf(['daemon = yes']);
    const started = await launch([harness, conf]).done;
    expect(started).toMatchObject({ code: 0, err: '' });
    const pid = daemonPid(started.out);
    expect(logged('process.ready')).toBeDefined();
    expect(readFileSync(join(folder, 'pid'), 'utf8')).toBe(`${pid}\n`);
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [, , , session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    expect(session).toBe(String(pid));
    expect(await ctl('drain')).toMatchObject({ code: 0 });
    await seen('process.exit');
    await expect.poll(() => existsSync(`/proc/${pid}/fd/0`), { timeout: 10_000 }).toBe(false);
  });

  it.each([
    ['fail', 70, 'packet did not start'],
    ['crash', 3, 'ended with code 3 before it was listening'],
    ['slow', 75, 'not listening after 8000 ms'],
  ])('reports the error of a child that cannot start (%s)', async (tree, code, text) => {
    writeConf(['daemon = yes']);
    const started = await launch([harness, conf], { TREE: tree }).done;
    expect(started.code).toBe(code);
    expect((JSON.parse(started.out) as { text: string }).text).toContain(text);
    await expect
      .poll(() => existsSync(`/proc/${daemonPid(started.out)}/fd/0`), { timeout: 10_000 })
      .toBe(false);
  });
});
