import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createRawServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { hasCompiler, native } from '../../bench/lib/native.js';
import { freePort } from '../../bench/lib/server-process.js';

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  readonly good: number;
  readonly bad: number;
  readonly failures: Readonly<Record<string, number>>;
}

const CLOSING = /\nSpeed=(\d+) pages\/min, (\d+) bytes\/sec\.\nRequests: (\d+) susceed, (\d+) failed\.\n/;
let server: Server | undefined;

async function run(...args: readonly string[]): Promise<Outcome> {
  const child = spawn(native('http-load'), args);
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  const json = out.split('\n').find((line) => line.startsWith('{')) ?? '{}';
  const { failures = {} } = JSON.parse(json) as { failures?: Record<string, number> };
  const [, , , good, bad] = CLOSING.exec(out) ?? [];
  return { code, out, err, good: Number(good), bad: Number(bad), failures };
}

async function listen(made: Server): Promise<string> {
  server = made;
  await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve));
  const address = made.address();
  return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}/`;
}

const web = (listener: RequestListener): Promise<string> => listen(createServer(listener));

describe.skipIf(!hasCompiler())('http-load', () => {
  beforeAll(() => void native('http-load'));
  afterEach(() => server?.close());

  it('ends with the two closing lines of webbench, the speed counting failures too', async () => {
    const url = await web((_, response) => response.end('page'));
    const { code, out, good, bad } = await run('-c', '2', '-t', '0.5', url);
    const [whole, speed, bytes] = CLOSING.exec(out) ?? [];
    expect(whole).toBe(out);
    expect(code).toBe(0);
    expect(good).toBeGreaterThan(0);
    expect(bad).toBe(0);
    expect(Number(speed)).toBe((good + bad) * 120);
    expect(Number(bytes)).toBeGreaterThan(0);
  });

  it('sends HTTP/1.0 by default, 1.1 with -2 and -k, and says close only when it closes', async () => {
    const seen = new Set<string>();
    const url = await web((request, response) => {
      seen.add(`${request.method} ${request.httpVersion} ${request.headers.connection ?? '-'}`);
      response.end('page');
    });
    for (const flag of ['-1', '-2', '-k', '--head', '--options']) await run('-t', '0.1', flag, url);
    expect([...seen].sort()).toEqual([
      'GET 1.0 -',
      'GET 1.1 -',
      'GET 1.1 close',
      'HEAD 1.0 -',
      'OPTIONS 1.1 close',
    ]);
  });

  it('reuses connections with -k and opens one for each request without', async () => {
    const connections = new Set<Socket>();
    const url = await web((request, response) => {
      connections.add(request.socket);
      response.end('page');
    });
    const kept = await run('-k', '-c', '3', '-t', '0.3', url);
    expect(kept.good).toBeGreaterThan(3);
    expect(connections.size).toBe(4); // three clients and the request before the load
    connections.clear();
    const closed = await run('-2', '-c', '3', '-t', '0.3', url);
    expect(connections.size).toBeGreaterThanOrEqual(closed.good);
  });

  it('counts an answer with another status as failed', async () => {
    const url = await web((_, response) => response.writeHead(404).end('no'));
    const wrong = await run('-t', '0.2', '--json', url);
    expect(wrong.good).toBe(0);
    expect(wrong.bad).toBeGreaterThan(0);
    expect(wrong.failures['status']).toBe(wrong.bad);
    const wanted = await run('-t', '0.2', '--status', '404', url);
    expect(wanted.bad).toBe(0);
  });

  it('compares each body with the first one, or with a file', async () => {
    let count = 0;
    const url = await web((_, response) => response.end(++count % 2 === 0 ? 'even' : 'odd!'));
    const mixed = await run('-k', '-t', '0.2', '--json', url);
    expect(mixed.good).toBeGreaterThan(0);
    expect(mixed.failures['body']).toBe(mixed.bad);
    expect(mixed.bad).toBeGreaterThan(0);
    const dir = mkdtempSync(join(tmpdir(), 'http-load-'));
    writeFileSync(join(dir, 'body'), 'neither');
    const none = await run('-k', '-t', '0.2', '--body', join(dir, 'body'), url);
    rmSync(dir, { recursive: true });
    expect(none.good).toBe(0);
    expect((await run('-k', '-t', '0.2', '--any-body', url)).bad).toBe(0);
  });

  it('reads chunked answers, also when they come byte by byte', async () => {
    const answer =
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\nA;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n';
    const url = await listen(
      createRawServer({ noDelay: true }, (socket) => {
        socket.on('error', () => undefined);
        socket.on('data', () => {
          for (const byte of Buffer.from(answer)) socket.write(Buffer.of(byte));
        });
      }),
    );
    const { good, bad } = await run('-k', '-t', '0.3', url);
    expect(good).toBeGreaterThan(0);
    expect(bad).toBe(0);
  });

  it('counts an answer that is cut short and one that never comes', async () => {
    const cut = await listen(
      createRawServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort'));
      }),
    );
    const short = await run('-t', '0.2', '--json', cut);
    expect(short.good).toBe(0);
    expect(short.failures['closed']).toBe(short.bad);
    server?.close();
    const silent = await listen(createRawServer((socket) => socket.on('error', () => undefined).resume()));
    const late = await run('-t', '0.6', '--timeout', '0.2', '--json', silent);
    expect(late.good).toBe(0);
    expect(late.failures['timeout']).toBeGreaterThan(0);
  }, 30_000);

  it('sends the whole URL to a proxy', async () => {
    let asked = '';
    const url = await web((request, response) => {
      asked = `${request.url} ${request.headers.host} ${request.headers.pragma}`;
      response.end('page');
    });
    await run('-r', '-p', url.slice(7, -1), '-t', '0.1', 'http://example.test/a');
    expect(asked).toBe('http://example.test/a example.test no-cache');
  });

  it('has the exit codes of webbench: 1 not reachable, 2 bad parameter', async () => {
    const unreachable = await run(`http://127.0.0.1:${await freePort()}/`);
    expect(unreachable.code).toBe(1);
    expect(unreachable.err).toContain('Connect to server failed');
    for (const wrong of [
      ['-c', '0', 'http://a/'],
      ['-t', 'x', 'http://a/'],
      ['--nonsense', 'http://a/'],
      [],
      ['a/'],
    ]) {
      expect((await run(...wrong)).code).toBe(2);
    }
    for (const flag of ['-?', '-h', '-V']) expect((await run(flag)).code).toBe(0);
  });
});
