import { spawn } from 'node:child_process';
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { holdConnections } from '../../bench/lib/load.js';
import { hasCompiler, native } from '../../bench/lib/native.js';
import { freePort } from '../../bench/lib/server-process.js';

interface Outcome {
  readonly code: number | null;
  readonly err: string;
  readonly sent: number;
  readonly received: number;
  readonly perSecond: number;
  readonly failed: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly latencyUs: Readonly<Record<string, number>>;
}

let server: Server | undefined;

/** @param answer gets whatever arrives on a connection */
async function listen(answer: (socket: Socket, bytes: Buffer) => void): Promise<number> {
  const made = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => answer(socket, bytes));
  });
  server = made;
  await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve));
  const address = made.address();
  return typeof address === 'object' && address ? address.port : 0;
}

async function run(port: number, ...args: readonly string[]): Promise<Outcome> {
  const times = ['--seconds', '0.3', '--warmup', '0.1'];
  const env = { ...process.env, PACKET_LOAD_PASSWORD: 'secret' };
  const child = spawn(native('packet-load'), ['--port', String(port), ...times, ...args], { env });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { ...(JSON.parse(out || '{}') as Outcome), code, err };
}

describe.skipIf(!hasCompiler())('packet-load', () => {
  beforeAll(() => void native('packet-load'));
  afterEach(() => server?.close());

  it.each(['0', '5', '6', '0,6,0,5'])(
    'finds every reply to codes %s right, in pieces of any size',
    async (codes) => {
      const port = await listen((socket, bytes) => {
        for (let i = 0; i < bytes.length; i += 37) socket.write(bytes.subarray(i, i + 37));
      });
      const result = await run(port, '--code', codes, '--connections', '3', '--window', '7');
      expect(result.err).toBe('');
      expect(result.code).toBe(0);
      expect(result.failed).toBe(0);
      expect(result.received).toBe(result.sent);
      expect(result.perSecond).toBeGreaterThan(0);
      const { p50 = 0, p99 = 0, max = 0 } = result.latencyUs;
      expect(p50).toBeGreaterThan(0);
      expect(p99).toBeGreaterThanOrEqual(p50);
      expect(max).toBeGreaterThanOrEqual(p99);
    },
  );

  it('sends the golden login packet of the specification', async () => {
    let seen = Buffer.alloc(0);
    const port = await listen((socket, bytes) => {
      seen = Buffer.concat([seen, bytes]).subarray(0, 8 + 104);
      socket.write(bytes);
    });
    await run(port, '--code', '6', '--user', 'alice');
    expect(seen.subarray(0, 8).toString('hex')).toBe('0008000000000000'); // asked before the load begins
    expect(seen.subarray(8, 12).toString('hex')).toBe('00680006');
    expect(seen.subarray(16, 21).toString()).toBe('alice');
    expect(seen.subarray(72, 78).toString()).toBe('secret');
    expect(seen.subarray(12, 16).toString('hex')).toBe('f3ddf1d4');
  });

  it('notices replies in another order than the requests', async () => {
    const port = await listen((socket, bytes) => {
      // A whole window is a ping and a login; answer the login first.
      socket.write(bytes.length === 112 ? Buffer.concat([bytes.subarray(8), bytes.subarray(0, 8)]) : bytes);
    });
    const result = await run(port, '--code', '0,6', '--window', '2');
    expect(result.code).toBe(3);
    expect(result.failures['code']).toBe(1);
  }, 30_000);

  it('notices a wrong CRC', async () => {
    const port = await listen((socket, bytes) => {
      if (bytes.length > 8) bytes.writeUInt8(bytes.readUInt8(50) ^ 1, 50);
      socket.write(bytes);
    });
    const result = await run(port, '--code', '6');
    expect(result.code).toBe(3);
    expect(result.failures['crc']).toBe(1);
  }, 30_000);

  it('counts replies that the server owes when it closes', async () => {
    let pings = 0;
    const port = await listen((socket, bytes) => {
      if (++pings > 5) socket.destroy();
      else socket.write(bytes);
    });
    const result = await run(port, '--window', '4');
    expect(result.code).toBe(3);
    expect(result.failures['closed']).toBe(1);
    expect(result.failures['missing']).toBe(4);
  }, 30_000);

  it('holds idle connections and then asks each one', async () => {
    const port = await listen((socket, bytes) => void socket.write(bytes));
    const held = await holdConnections(port, 300);
    expect(await held.release()).toBe(300);
  });

  it('says what is wrong with its options or its server', async () => {
    const port = await freePort();
    expect(await run(port)).toMatchObject({
      code: 1,
      err: expect.stringContaining('cannot connect') as string,
    });
    for (const wrong of [['--code', '3'], ['--code', 'x'], ['--window', '0'], ['--nonsense'], ['stray']]) {
      expect((await run(port, ...wrong)).code).toBe(2);
    }
  });
});
