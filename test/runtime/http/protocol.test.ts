import { afterEach, describe, expect, it } from 'vitest';
import {
  ask,
  ENGINES,
  get,
  memoryLog,
  RawClient,
  startRoutes,
  stopAll,
  type LoggedEvent,
} from './support.js';

afterEach(stopAll);

describe.each(ENGINES)('an HTTP listener on the %s engine', (engine) => {
  const echo = {
    'GET /hello': (x) => x.end('hello'),
    'POST /echo': (x) => x.end(x.body),
    'GET /who': (x) => x.end(JSON.stringify([x.method, x.path, x.query, x.headers['x-a'], x.remoteAddress])),
    'GET /tree/*': (x) => x.end(x.path),
  } satisfies import('./support.js').TestRoutes;

  it('runs as the engine that was asked for', async () => {
    expect((await startRoutes(engine, echo)).engine).toBe(engine);
  });

  it('answers with status, length, date, server and a request id', async () => {
    const { port } = await startRoutes(engine, echo);
    const answer = await ask(port, get('/hello'));
    expect(answer).toMatchObject({ status: 200, headers: { 'content-length': '5', server: 'switchyard' } });
    expect(answer?.body.toString()).toBe('hello');
    expect(answer?.headers['x-request-id']).toMatch(/^[\w-]{5,}$/);
    expect(Number.isNaN(Date.parse(answer?.headers['date'] ?? ''))).toBe(false);
    expect(Object.keys(answer?.headers ?? {})).not.toContain('uwebsockets');
  });

  it('echoes a sane request id and replaces a bad one', async () => {
    const { port } = await startRoutes(engine, echo);
    const id = async (sent: string): Promise<string | undefined> =>
      (await ask(port, get('/hello', [`X-Request-Id: ${sent}`])))?.headers['x-request-id'];
    expect(await id('abc-1.2:3')).toBe('abc-1.2:3');
    expect(await id('a b<c>')).not.toBe('a b<c>');
    expect(await id('x'.repeat(200))).not.toContain('xxx');
  });

  it('decodes the path, keeps the query raw and lowers header names', async () => {
    const { port } = await startRoutes(engine, echo);
    const answer = await ask(port, get('/%77ho?a=%20b&c', ['X-A: 1', 'X-a: 2']));
    expect(JSON.parse(answer?.body.toString() ?? '')).toEqual([
      'GET',
      '/who',
      'a=%20b&c',
      '1, 2',
      '127.0.0.1',
    ]);
    expect((await ask(port, get('/tree/a%2Fb%E4%BD%A0')))?.body.toString()).toBe('/tree/a/b你');
  });

  it('keeps the connection for the next request and closes it when asked', async () => {
    const { port } = await startRoutes(engine, echo);
    const client = await RawClient.open(port);
    for (let n = 0; n < 3; n++) {
      client.send(get('/hello'));
      expect((await client.answer())?.body.toString()).toBe('hello');
    }
    client.send(get('/hello', ['Connection: close']));
    expect(await client.answer()).toMatchObject({ status: 200, headers: { connection: 'close' } });
    await client.untilClosed();
  });

  it('answers 500 pipelined requests in order, whole or cut anywhere', async () => {
    const { port } = await startRoutes(engine, { 'GET /n/*': (x) => x.end(x.path) });
    const all = Array.from({ length: 500 }, (_, n) => get(`/n/${n}`)).join('');
    for (const step of [all.length, 1_000, 37]) {
      const client = await RawClient.open(port);
      for (let at = 0; at < all.length; at += step) {
        client.send(all.slice(at, at + step));
        if (step < 1_000) await new Promise(setImmediate);
      }
      for (let n = 0; n < 500; n++) expect((await client.answer())?.body.toString()).toBe(`/n/${n}`);
      client.close();
    }
  });

  it('takes a request in single bytes', async () => {
    const { port } = await startRoutes(engine, echo);
    const client = await RawClient.open(port);
    for (const byte of `POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc`) {
      client.send(byte);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect((await client.answer())?.body.toString()).toBe('abc');
    client.close();
  });

  it('reads bodies of known and of chunked length, and an empty one', async () => {
    const { port } = await startRoutes(engine, echo);
    const body = Buffer.alloc(90_000, 'z');
    const head = `POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: ${body.length}\r\n\r\n`;
    expect((await ask(port, Buffer.concat([Buffer.from(head), body])))?.body.equals(body)).toBe(true);
    const chunked = `POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n`;
    expect((await ask(port, chunked))?.body.toString()).toBe('abcde');
    expect((await ask(port, get('/echo', ['Content-Length: 0'], 'POST')))?.headers['content-length']).toBe(
      '0',
    );
  });

  it('serves a request behind a GET that carried a body', async () => {
    const { port } = await startRoutes(engine, echo);
    const client = await RawClient.open(port);
    client.send(`${get('/hello', ['Content-Length: 4'])}XXXX${get('/who')}`);
    expect((await client.answer())?.body.toString()).toBe('hello');
    expect((await client.answer())?.body.toString()).toContain('/who');
    client.close();
  });

  it('says 100 Continue to who waits for it', async () => {
    const { port } = await startRoutes(engine, echo);
    const client = await RawClient.open(port);
    client.send(get('/echo', ['Content-Length: 2', 'Expect: 100-continue'], 'POST'));
    expect((await client.answer())?.status).toBe(100);
    client.send('ok');
    expect((await client.answer())?.body.toString()).toBe('ok');
    client.close();
  });

  it('answers HEAD with the length and no body', async () => {
    const { port } = await startRoutes(engine, echo);
    const client = await RawClient.open(port);
    client.send(get('/hello', [], 'HEAD') + get('/hello'));
    const head = await client.answer(true);
    expect(head).toMatchObject({ status: 200, headers: { 'content-length': '5' } });
    expect((await client.answer())?.body.toString()).toBe('hello');
    client.close();
  });

  it('answers OPTIONS and a wrong method with Allow, an unknown path with 404', async () => {
    const { port } = await startRoutes(engine, echo);
    expect(await ask(port, get('/hello', [], 'OPTIONS'))).toMatchObject({
      status: 204,
      headers: { allow: 'GET, HEAD, OPTIONS' },
    });
    const wrong = await ask(port, get('/hello', ['Content-Length: 2'], 'POST') + 'ab');
    expect(wrong).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD, OPTIONS' } });
    const missing = await ask(port, get('/nowhere', ['X-Request-Id: r1']));
    expect(JSON.parse(missing?.body.toString() ?? '')).toEqual({
      code: 'HTTP_404',
      message: 'not found',
      requestId: 'r1',
    });
  });

  it.each([
    ['a malformed escape', '/a%zz'],
    ['a cut escape', '/a%2'],
    ['bytes that are not UTF-8', '/%ff%fe'],
    ['a NUL', '/a%00b'],
    ['a line feed', '/a%0ab'],
    ['a dot segment', '/a/../b'],
    ['an escaped dot segment', '/a/%2e%2E/b'],
    ['an escaped slash behind dots', '/..%2fb'],
    ['a backslash', '/a%5c..%5cb'],
  ])('refuses %s in the path', async (_, path) => {
    const { port } = await startRoutes(engine, { 'GET /*': (x) => x.end('reached') });
    expect((await ask(port, get(path)))?.status).toBe(400);
  });

  it('refuses HTTP/1.1 without Host and a repeated or doubled length', async () => {
    const { port, counters } = await startRoutes(engine, echo);
    const hostless = await ask(port, 'GET /hello HTTP/1.1\r\nAccept: x\r\n\r\n');
    expect(hostless?.status).toBe(engine === 'uws' ? undefined : 400); // uws closes without a word
    const twice = get('/echo', ['Content-Length: 3', 'Content-Length: 4'], 'POST');
    expect((await ask(port, `${twice}abcd`))?.status).toBe(400);
    const both = get('/echo', ['Content-Length: 3', 'Transfer-Encoding: chunked'], 'POST');
    const answer = await ask(port, `${both}0\r\n\r\nabc`);
    expect(answer === undefined || answer.status === 400).toBe(true);
    expect(counters.badRequests).toBeGreaterThanOrEqual(1);
  });

  it('turns a failing handler into 500 and serves on', async () => {
    const events: LoggedEvent[] = [];
    const failing = {
      'GET /throw': () => {
        throw new Error('boom');
      },
      'GET /reject': async () => Promise.reject(new Error('boom later')),
      'GET /inject': (x) => x.head(200, { 'X-Evil': 'a\r\nSet-Cookie: b' }),
      'GET /fine': (x) => x.end('fine'),
    } satisfies import('./support.js').TestRoutes;
    const { port } = await startRoutes(engine, failing, { log: memoryLog(events) });
    for (const path of ['/throw', '/reject', '/inject']) {
      const answer = await ask(port, get(path));
      expect(answer?.status).toBe(500);
      expect(answer?.body.toString()).not.toContain('boom');
      expect(answer?.headers['set-cookie']).toBeUndefined();
    }
    expect((await ask(port, get('/fine')))?.status).toBe(200);
    expect(events.filter(({ event }) => event === 'http.handler_failed')).toHaveLength(3);
  });

  it('logs an access event when asked to', async () => {
    const events: LoggedEvent[] = [];
    const { port } = await startRoutes(engine, echo, { log: memoryLog(events), accessLog: true });
    await ask(port, get('/hello', ['X-Request-Id: q7']));
    expect(events).toContainEqual({
      event: 'http.access',
      fields: expect.objectContaining({ path: '/hello', status: 200, bytes: 5, requestId: 'q7' }) as unknown,
    });
  });

  it('refuses a port that is taken, by name', async () => {
    const { port } = await startRoutes(engine, echo);
    await expect(startRoutes(engine, echo, { port })).rejects.toMatchObject({
      code: 'HTTP_LISTEN',
      exitCode: 69,
      message: expect.stringContaining(String(port)) as unknown,
    });
  });

  it('lets running requests finish at close and refuses new connections', async () => {
    let release: (() => void) | undefined;
    const server = await startRoutes(engine, {
      'GET /slow': async (x) => {
        await new Promise<void>((resolve) => (release = resolve));
        x.end('done');
      },
    });
    const { port } = server;
    const client = await RawClient.open(port);
    const idle = await RawClient.open(port);
    client.send(get('/slow'));
    await expect.poll(() => release).toBeDefined();
    expect(server.connections()).toBeGreaterThan(0);
    const closed = server.close(10_000);
    await expect(RawClient.open(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    release?.();
    expect((await client.answer())?.body.toString()).toBe('done');
    await closed;
    await client.untilClosed();
    await idle.untilClosed();
  });
});
