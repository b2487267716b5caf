import { afterEach, describe, expect, it } from 'vitest';
import { loadUws } from '../../../src/runtime/http-uws.js';
import {
  ask,
  ENGINES,
  get,
  memoryLog,
  RawClient,
  start,
  startRoutes,
  stopAll,
  type LoggedEvent,
} from './support.js';
import type { TestRoutes } from './support.js';

afterEach(stopAll);

const routes: TestRoutes = {
  'GET /hello': (x) => x.end('hello'),
  'POST /echo': (x) => x.end(String(x.body.length)),
};

describe.each(ENGINES)('limits of an HTTP listener on the %s engine', (engine) => {
  it('refuses a header block that is too large with 431', async () => {
    const { port } = await startRoutes(engine, routes, { maxHeader: 4_096 });
    expect((await ask(port, get('/hello', [`X-Large: ${'a'.repeat(6_000)}`])))?.status).toBe(431);
    const many = Array.from({ length: 45 }, (_, n) => `X-${n}: ${'a'.repeat(100)}`);
    expect((await ask(port, get('/hello', many)))?.status).toBe(431);
    expect((await ask(port, get('/hello', [`X-Fits: ${'a'.repeat(3_000)}`])))?.status).toBe(200);
  });

  it('refuses a target that is too long with 414', async () => {
    const { port } = await startRoutes(engine, routes, { maxTarget: 500, maxHeader: 4_096 });
    expect((await ask(port, get(`/hello?${'q'.repeat(600)}`)))?.status).toBe(414);
    expect((await ask(port, get(`/hello?${'q'.repeat(400)}`)))?.status).toBe(200);
  });

  it('refuses a body that is too large with 413, announced or chunked, and serves on', async () => {
    const { port, counters } = await startRoutes(engine, routes, { maxBody: 1_000 });
    const client = await RawClient.open(port);
    client.send(`${get('/echo', ['Content-Length: 1001'], 'POST')}${'x'.repeat(1_001)}`);
    expect((await client.answer())?.status).toBe(413);
    client.send(`${get('/echo', ['Content-Length: 1000'], 'POST')}${'x'.repeat(1_000)}`);
    expect((await client.answer())?.body.toString()).toBe('1000');
    client.send(get('/echo', ['Transfer-Encoding: chunked'], 'POST'));
    for (let n = 0; n < 5; n++) client.send(`190\r\n${'y'.repeat(400)}\r\n`);
    client.send('0\r\n\r\n');
    expect((await client.answer())?.status).toBe(413);
    client.close();
    expect(counters.badRequests).toBe(2);
  });

  it('ends a body that does not come with 408', async () => {
    const { port, counters } = await startRoutes(engine, routes, { bodyTimeout: 500, headerTimeout: 500 });
    const client = await RawClient.open(port);
    client.send(`${get('/echo', ['Content-Length: 100'], 'POST')}abc`);
    expect((await client.answer())?.status).toBe(408);
    await client.untilClosed();
    expect(counters.timeouts).toBe(1);
  });

  it('refuses what is over the connection limit with 503 and counts it', async () => {
    let release: (() => void) | undefined;
    const server = await startRoutes(
      engine,
      { 'GET /hold': (x) => void (release = () => x.end('held')), 'GET /hello': (x) => x.end('hello') },
      { maxConnections: 1 },
    );
    const first = await RawClient.open(server.port);
    first.send(get('/hold'));
    await expect.poll(() => release).toBeDefined();
    expect(server.connections()).toBe(1);
    expect((await ask(server.port, get('/hello')))?.status).toBe(503);
    release?.();
    expect((await first.answer())?.body.toString()).toBe('held');
    first.close();
    await expect.poll(() => server.connections()).toBe(0);
    expect((await ask(server.port, get('/hello')))?.status).toBe(200);
    expect(server.counters.refused).toBe(1);
  });

  it('forgets a client that resets in the middle of anything', async () => {
    const held: (() => boolean)[] = [];
    const server = await startRoutes(engine, {
      ...routes,
      'GET /hold': (x) => void held.push(() => x.aborted),
    });
    for (const part of [
      '',
      'GE',
      'GET /hello HTTP/1.1\r\nHo',
      get('/echo', ['Content-Length: 9'], 'POST') + 'abc',
      get('/hold'),
    ]) {
      const client = await RawClient.open(server.port);
      client.send(part);
      await new Promise((resolve) => setTimeout(resolve, 20));
      client.socket.resetAndDestroy();
    }
    await expect.poll(() => held[0]?.()).toBe(true);
    await expect.poll(() => server.connections()).toBe(0);
    expect((await ask(server.port, get('/hello')))?.status).toBe(200);
  });

  it('closes a connection whose header never ends', { timeout: 40_000 }, async () => {
    const { port } = await startRoutes(engine, routes, { headerTimeout: 1_000 });
    const client = await RawClient.open(port);
    client.send('GET /hello HTTP/1.1\r\nHost: x\r\n');
    // One header byte now and then does not keep it open.
    const drip = setInterval(() => client.send('X'), 300);
    await client.untilClosed();
    clearInterval(drip);
    const silent = await RawClient.open(port);
    await silent.untilClosed();
  });

  it('serves 300 clients with a connection per request, all at once', async () => {
    const { port } = await startRoutes(engine, routes);
    const one = async (): Promise<void> => {
      for (let n = 0; n < 5; n++) {
        const client = await RawClient.open(port);
        client.send(get('/hello', ['Connection: close']));
        expect((await client.answer())?.body.toString()).toBe('hello');
        await client.untilClosed();
      }
    };
    await Promise.all(Array.from({ length: 300 }, one));
  });
});

describe('the node engine', () => {
  it('answers HTTP/1.0 and closes, or keeps the connection when asked', async () => {
    const { port } = await startRoutes('node', routes);
    const webbench = await RawClient.open(port);
    webbench.send('GET /hello HTTP/1.0\r\nUser-Agent: WebBench 1.5\r\nHost: 127.0.0.1\r\n\r\n');
    expect((await webbench.answer())?.body.toString()).toBe('hello');
    await webbench.untilClosed();
    const kept = await RawClient.open(port);
    for (let n = 0; n < 2; n++) {
      kept.send('GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
      expect((await kept.answer())?.body.toString()).toBe('hello');
    }
    kept.close();
  });

  it('answers 1,000 clients with a connection per HTTP/1.0 request', { timeout: 60_000 }, async () => {
    const { port, counters } = await startRoutes('node', routes);
    const one = async (): Promise<void> => {
      for (let n = 0; n < 3; n++) {
        const client = await RawClient.open(port);
        client.send('GET /hello HTTP/1.0\r\n\r\n');
        expect((await client.answer())?.status).toBe(200);
        await client.untilClosed();
      }
    };
    await Promise.all(Array.from({ length: 1_000 }, one));
    expect(counters.responses[2]).toBe(3_000);
    expect(counters.refused).toBe(0);
  });

  it.each([
    ['garbage', '\u0001\u0002\u0003\r\n\r\n', 400],
    ['an unknown method', 'FROB /hello HTTP/1.1\r\nHost: x\r\n\r\n', 501],
    ['an unknown version', 'GET /hello HTTP/2.7\r\nHost: x\r\n\r\n', 505],
    ['a header without a colon', 'GET /hello HTTP/1.1\r\nHost: x\r\nnocolon\r\n\r\n', 400],
    ['a space before the colon', 'GET /hello HTTP/1.1\r\nHost : x\r\n\r\n', 400],
    ['a length that is no number', 'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n', 400],
    ['a negative length', 'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n', 400],
    ['a bad chunk', 'POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 400],
    ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n', 501],
    ['a target beyond the whole header limit', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\n\r\n`, 414],
  ])('refuses %s and closes', async (_, text, status) => {
    const { port } = await startRoutes('node', routes);
    const client = await RawClient.open(port);
    client.send(text);
    const answer = await client.answer();
    expect(answer?.status).toBe(status);
    expect(JSON.parse(answer?.body.toString() ?? '')).toMatchObject({ code: `HTTP_${status}` });
    await client.untilClosed();
  });

  it('takes an absolute target and OPTIONS *', async () => {
    const { port } = await startRoutes('node', routes);
    expect((await ask(port, get('http://test:80/hello?a')))?.body.toString()).toBe('hello');
    expect((await ask(port, get('*', [], 'OPTIONS')))?.status).toBe(204);
  });

  it('answers 408 to a header that does not come, and closes an idle connection', async () => {
    const { port, counters } = await startRoutes('node', routes, { headerTimeout: 500, idleTimeout: 500 });
    const client = await RawClient.open(port);
    client.send('GET /hel');
    expect((await client.answer())?.status).toBe(408);
    await client.untilClosed();
    expect(counters.timeouts).toBe(1);
    const idle = await RawClient.open(port);
    idle.send(get('/hello'));
    expect((await idle.answer())?.status).toBe(200);
    await idle.untilClosed();
  });

  it('answers earlier requests before a bad one closes the connection', async () => {
    const { port } = await startRoutes('node', routes);
    const client = await RawClient.open(port);
    client.send(`${get('/hello')}NONSENSE\r\n\r\n`);
    expect((await client.answer())?.body.toString()).toBe('hello');
    await client.untilClosed();
  });
});

describe('the uws engine', () => {
  it('closes an HTTP/1.0 client within a quarter of a minute', { timeout: 40_000 }, async () => {
    const { port } = await startRoutes('uws', routes);
    const client = await RawClient.open(port);
    const before = performance.now();
    client.send('GET /hello HTTP/1.0\r\n\r\n');
    await client.untilClosed();
    expect(performance.now() - before).toBeLessThan(20_000);
  });

  it('never mixes answers when a request is pipelined behind a slow one: it closes', async () => {
    const { port } = await startRoutes('uws', {
      ...routes,
      'GET /slow': (x) => void setTimeout(() => x.end('slow'), 50),
    });
    const client = await RawClient.open(port);
    client.send(get('/slow') + get('/hello'));
    await client.untilClosed();
    expect(client.received).toHaveLength(0);
  });

  it('gives way to the node engine when its module does not load, and says so', async () => {
    const events: LoggedEvent[] = [];
    const platform = Object.getOwnPropertyDescriptor(process, 'platform') as PropertyDescriptor;
    Object.defineProperty(process, 'platform', { ...platform, value: 'plan9' });
    try {
      expect(loadUws()).toContain('uws_plan9_');
      const server = await start('uws', (x) => x.end('fine'), { log: memoryLog(events) });
      expect(server.engine).toBe('node');
      expect((await ask(server.port, get('/')))?.body.toString()).toBe('fine');
    } finally {
      Object.defineProperty(process, 'platform', platform);
    }
    expect(events).toContainEqual({
      event: 'http.engine_fallback',
      fields: expect.objectContaining({ wanted: 'uws', using: 'node' }) as unknown,
    });
  });
});
