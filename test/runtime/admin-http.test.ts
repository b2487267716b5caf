import { connect } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startAdminHttp, type AdminHttpServer } from '../../src/runtime/admin-http.js';
import type { ControlPlane } from '../../src/runtime/control-plane.js';
import { fakeControlPlane, memoryLogger, type FakeControlPlane } from '../support/fake-control-plane.js';

let control: FakeControlPlane;
let current: ControlPlane | undefined;
let server: AdminHttpServer;
const log = memoryLogger();

beforeEach(async () => {
  control = fakeControlPlane();
  current = control;
  server = await startAdminHttp({
    host: '127.0.0.1',
    port: 0,
    control: () => current,
    log,
    version: '1.2.3',
    maxConnections: 8,
  });
});
afterEach(() => server.close());

const get = (path: string, init?: RequestInit): Promise<Response> =>
  fetch(`http://127.0.0.1:${server.port}${path}`, init);

describe('the admin HTTP address', () => {
  it('says live and not ready while the tree starts', async () => {
    current = undefined;
    expect((await get('/livez')).status).toBe(200);
    const ready = await get('/readyz');
    expect(ready.status).toBe(503);
    expect(await ready.text()).toBe('not ready: starting\nthe tree is starting\n');
    expect((await get('/metrics')).status).toBe(503);
  });

  it('says why it is not ready while draining', async () => {
    expect((await get('/readyz')).status).toBe(200);
    control.ready = () => ({ ready: false, state: 'draining', reasons: ['12 messages are being finished'] });
    const ready = await get('/readyz');
    expect(ready.status).toBe(503);
    expect(await ready.text()).toBe('not ready: draining\n12 messages are being finished\n');
    const health = await get('/healthz?verbose');
    expect(health.status).toBe(503);
    expect(await health.json()).toMatchObject({
      live: true,
      ready: false,
      state: 'draining',
      version: '1.2.3',
    });
  });

  it('serves metrics in the Prometheus type', async () => {
    const metrics = await get('/metrics');
    expect(metrics.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await metrics.text()).toContain('switchyard_connections 1');
  });

  it('answers HEAD without a body, other methods with 405, other paths with 404', async () => {
    const head = await get('/readyz', { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    const post = await get('/readyz', { method: 'POST', body: 'x'.repeat(100_000) });
    expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    for (const path of ['/', '/__proto__', '/constructor', '/livez/', '/../livez%00']) {
      expect((await get(path)).status, path).toBe(404);
    }
  });

  it('turns a failure into 500 and goes on', async () => {
    control.ready = () => {
      throw new Error('boom');
    };
    expect((await get('/readyz')).status).toBe(500);
    expect(log.events.at(-1)).toMatchObject({ level: 'error', event: 'admin.http.failed' });
    expect((await get('/livez')).status).toBe(200);
  });

  it('refuses large heads and more connections than its limit', async () => {
    const socket = connect(server.port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString())).on('error', () => undefined);
    socket.write(`GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`);
    await once(socket, 'close');
    expect(text).toContain('431');
    const idle = Array.from({ length: 9 }, () => connect(server.port, '127.0.0.1'));
    const closed = Promise.race(
      idle.map((s) =>
        once(
          s.on('error', () => undefined),
          'close',
        ),
      ),
    );
    await closed;
    for (const s of idle) s.destroy();
    await expect.poll(async () => (await get('/livez')).status).toBe(200);
  });
});
