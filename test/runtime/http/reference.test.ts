/** What the small web server got wrong, on both engines: docs/protocols/differences.md names these tests. */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { ask, ENGINES, get, RawClient, startRoutes, stopAll, type TestRoutes } from './support.js';

afterEach(stopAll);

const routes: TestRoutes = {
  'GET /hello': (x) => x.end('hello'),
  'POST /echo': (x) => x.end(String(x.body.length)),
};

describe.each(ENGINES)('the %s engine, unlike the reference,', (engine) => {
  it('answers 404 for what is not there and 200 for an empty body', async () => {
    const { port } = await startRoutes(engine, { 'GET /empty': (x) => x.end('') });
    expect((await ask(port, get('/nowhere')))?.status).toBe(404);
    expect(await ask(port, get('/empty'))).toMatchObject({ status: 200, headers: { 'content-length': '0' } });
  });

  it('does not let a request with bare line feeds wait', { timeout: 40_000 }, async () => {
    const { port } = await startRoutes(engine, routes, { headerTimeout: 1_000, idleTimeout: 1_000 });
    const client = await RawClient.open(port);
    client.send('GET /hello HTTP/1.1\nHost: x\n\n');
    await client.untilClosed();
    expect((await ask(port, get('/hello')))?.status).toBe(200);
  });

  it(
    'keeps the connection without being asked to, and closes it when it is idle',
    { timeout: 40_000 },
    async () => {
      const { port } = await startRoutes(engine, routes, { headerTimeout: 1_000, idleTimeout: 1_000 });
      const client = await RawClient.open(port);
      for (let n = 0; n < 2; n++) {
        client.send(get('/hello'));
        expect((await client.answer())?.body.toString()).toBe('hello');
      }
      await client.untilClosed();
      expect(client.received).toHaveLength(0);
    },
  );

  it('takes header names in any case', async () => {
    const { port } = await startRoutes(engine, routes);
    for (const name of ['content-length', 'Content-Length', 'CONTENT-LENGTH']) {
      const answer = await ask(port, `${get('/echo', [`${name}: 3`], 'POST')}abc`);
      expect(answer?.body.toString()).toBe('3');
    }
  });

  it('gives each refusal a length, and a body that says why', async () => {
    const { port } = await startRoutes(engine, routes, { maxTarget: 100 });
    for (const [text, status] of [
      [get('/a%zz'), 400],
      [get('/../../etc/passwd'), 400],
      [get(`/${'a'.repeat(200)}`), 414],
      [get('/echo', ['Content-Length: 200000'], 'POST'), 413],
    ] as const) {
      const answer = await ask(port, text);
      expect(answer?.status).toBe(status);
      expect(answer?.headers['content-length']).toBe(String(answer?.body.length));
      expect(JSON.parse(answer?.body.toString() ?? '')).toMatchObject({ code: `HTTP_${status}` });
    }
  });

  it('lives on after any bytes', { timeout: 120_000 }, async () => {
    const { port } = await startRoutes(engine, routes, { maxHeader: 4_096, maxBody: 4_096 });
    const field = fc.constantFrom(
      'user=',
      'password=',
      '&',
      'Content-Length: ',
      'Host: ',
      '\r\n',
      '\n',
      ' ',
      '\0',
    );
    const piece = fc.oneof(
      field.map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      fc.integer({ min: 100, max: 3_000 }).map((size) => Buffer.alloc(size, 'A')),
      fc
        .constantFrom('GET /hello HTTP/1.1\r\n', 'POST /echo HTTP/1.1\r\n', '\r\n\r\n')
        .map((text) => Buffer.from(text)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
        const client = await RawClient.open(port);
        for (const bytes of pieces) client.send(bytes);
        await new Promise<void>((resolve) => client.socket.end(() => resolve()));
        client.close();
        expect((await ask(port, get('/hello')))?.body.toString()).toBe('hello');
      }),
      { numRuns: 300 },
    );
  });
});
