import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { ENGINES, get, RawClient, ask, startRoutes, stopAll } from './support.js';

afterEach(stopAll);

/** Bytes whose position can be told. */
function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(at, at);
  return bytes;
}

describe.each(ENGINES)('a streamed response on the %s engine', (engine) => {
  it('is chunked when its length is not known and exact when it is', async () => {
    const { port } = await startRoutes(engine, {
      'GET /chunked': async (x) => {
        x.head(201, { 'Content-Type': 'text/plain' });
        for (const part of ['a', 'bc', '', 'def']) {
          x.write(part);
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        x.end('g');
      },
      'GET /known': async (x) => {
        x.head(200, { 'Content-Length': '6' });
        x.write('abc');
        await new Promise((resolve) => setTimeout(resolve, 5));
        x.end('def');
      },
      'GET /parts': (x) => {
        x.write('one');
        x.write('two');
        x.end();
      },
    });
    const chunked = await ask(port, get('/chunked'));
    expect(chunked).toMatchObject({ status: 201, headers: { 'transfer-encoding': 'chunked' } });
    expect(chunked?.body.toString()).toBe('abcdefg');
    const known = await ask(port, get('/known'));
    expect(known?.headers['content-length']).toBe('6');
    expect(known?.body.toString()).toBe('abcdef');
    const client = await RawClient.open(port);
    for (let n = 0; n < 3; n++) {
      client.send(get('/parts'));
      const answer = await client.answer();
      expect(answer?.body.toString()).toBe('onetwo');
      expect(answer?.headers['content-length']).toBe('6'); // it ended in the same turn
    }
    client.close();
  });

  it.each([
    ['chunked', undefined],
    ['known length', String(20_000_000)],
  ])('arrives whole through a slow reader and stays bounded (%s)', { timeout: 60_000 }, async (_, length) => {
    const block = pattern(100_000);
    let written = 0;
    const { port } = await startRoutes(engine, {
      'GET /': async (x) => {
        x.head(200, length === undefined ? {} : { 'Content-Length': length });
        for (let n = 0; n < 200; n++) {
          written += block.length;
          if (!x.write(block)) await x.whenDrained();
        }
        x.end();
      },
    });
    const client = await RawClient.open(port);
    client.socket.pause();
    client.send(get('/'));
    await expect.poll(() => written).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const whilePaused = written;
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(written).toBe(whilePaused); // the writer waits
    expect(written).toBeLessThan(15_000_000); // what fits into the system's socket buffers and one piece
    client.socket.resume();
    const answer = await client.answer();
    expect(answer?.body.length).toBe(20_000_000);
    for (let n = 0; n < 200; n++) {
      expect(answer?.body.subarray(n * 100_000, (n + 1) * 100_000).equals(block)).toBe(true);
    }
    client.send(get('/'));
    expect((await client.answer())?.body.length).toBe(20_000_000);
    client.close();
  });

  it('goes out to the end even if the writer pauses behind a slow reader', { timeout: 30_000 }, async () => {
    const block = Buffer.alloc(1_000_000, 'p');
    let ended: (() => void) | undefined;
    const { port } = await startRoutes(engine, {
      'GET /': async (x) => {
        for (let n = 0; n < 12; n++) if (!x.write(block)) await x.whenDrained();
        x.write('LAST');
        ended = () => x.end();
      },
    });
    const client = await RawClient.open(port);
    client.socket.pause();
    client.send(get('/'));
    await new Promise((resolve) => setTimeout(resolve, 300));
    client.socket.resume();
    // Nothing more is written: what was written must arrive nevertheless.
    await expect.poll(() => client.received.subarray(-10).toString(), { timeout: 10_000 }).toContain('LAST');
    ended?.();
    expect((await client.answer())?.body.length).toBe(12_000_004);
    client.close();
  });

  it('tells the handler when the client goes in the middle', async () => {
    const seen: string[] = [];
    const server = await startRoutes(engine, {
      'GET /': async (x) => {
        x.onAbort(() => seen.push('told'));
        while (!x.aborted) {
          if (!x.write(Buffer.alloc(50_000))) await x.whenDrained();
          await new Promise(setImmediate);
        }
        x.end('ignored');
        seen.push('ended');
      },
      'GET /quiet': (x) => x.onAbort(() => seen.push('quiet')),
    });
    const client = await RawClient.open(server.port);
    client.send(get('/'));
    await once(client.socket, 'data');
    client.close();
    await expect.poll(() => seen).toEqual(['told', 'ended']);
    const quiet = await RawClient.open(server.port);
    quiet.send(get('/quiet'));
    await expect.poll(() => server.connections()).toBe(1);
    quiet.close();
    await expect.poll(() => seen).toContain('quiet');
    expect(server.counters.aborted).toBe(2);
    await expect.poll(() => server.connections()).toBe(0);
  });

  it('cuts the connection when the body has another length than announced', async () => {
    const { port } = await startRoutes(engine, {
      'GET /short': async (x) => {
        x.head(200, { 'Content-Length': '10' });
        x.write('abc');
        await new Promise((resolve) => setTimeout(resolve, 10));
        x.end();
      },
      'GET /late-failure': async (x) => {
        x.write('abc');
        await new Promise((resolve) => setTimeout(resolve, 10));
        throw new Error('in the middle');
      },
      'GET /early-failure': (x) => {
        x.write('abc');
        throw new Error('nothing was sent yet');
      },
    });
    for (const path of ['/short', '/late-failure']) expect(await ask(port, get(path))).toBeUndefined();
    const early = await ask(port, get('/early-failure'));
    expect(early?.status).toBe(500);
    expect(early?.body.toString()).not.toContain('abc');
  });

  it('sends no body for HEAD, 204 and 304, streamed or not', async () => {
    const { port } = await startRoutes(engine, {
      'GET /stream': (x) => {
        x.head(200, { 'Content-Length': '6' });
        x.write('abc');
        x.end('def');
      },
      'GET /none': (x) => {
        x.head(204);
        x.end();
      },
      'GET /same': (x) => {
        x.head(304, { ETag: '"a"' });
        x.end('never sent');
      },
    });
    const client = await RawClient.open(port);
    client.send(get('/stream', [], 'HEAD'));
    expect((await client.answer(true))?.headers['content-length']).toBe('6');
    client.send(get('/none'));
    expect((await client.answer())?.status).toBe(204);
    client.send(get('/same'));
    expect(await client.answer()).toMatchObject({ status: 304, headers: { etag: '"a"' } });
    client.send(get('/stream'));
    expect((await client.answer())?.body.toString()).toBe('abcdef');
    expect(client.received).toHaveLength(0);
    client.close();
  });

  it('holds little for a client that pipelines much and reads nothing', { timeout: 60_000 }, async () => {
    const page = Buffer.alloc(60_000, 'q');
    const server = await startRoutes(engine, { 'GET /p': (x) => x.end(page) });
    const before = process.memoryUsage().rss;
    const client = await RawClient.open(server.port);
    client.socket.pause();
    const burst = get('/p').repeat(500);
    for (let n = 0; n < 40 && !client.closed; n++) {
      client.send(burst);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    // 20,000 answers of 60 KB were asked for: 1.2 GB.
    expect(process.memoryUsage().rss - before).toBeLessThan(300_000_000);
    client.close();
    await expect.poll(() => server.connections(), { timeout: 10_000 }).toBe(0);
  });

  it('cuts a client that floods with HEAD and reads nothing, and serves others meanwhile', async () => {
    const { port } = await startRoutes(engine, { 'GET /p': (x) => x.end('page') });
    const client = await RawClient.open(port);
    client.socket.pause();
    for (let n = 0; n < 200 && !client.socket.closed; n++) {
      client.send(get('/p', [], 'HEAD').repeat(5_000));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    client.socket.resume();
    await client.untilClosed();
    const honest = await RawClient.open(port);
    honest.send(get('/p', [], 'HEAD').repeat(100));
    for (let n = 0; n < 100; n++) expect((await honest.answer(true))?.status).toBe(200);
    honest.close();
  });
});
