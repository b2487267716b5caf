import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { StaticFiles } from '../../../src/runtime/http-static.js';
import { ask, ENGINES, get, memoryLog, RawClient, startRoutes, stopAll, type Answer } from './support.js';

let folder: string;
let root: string;
let files: StaticFiles;
const big = Buffer.alloc(3_000_000);
for (let at = 0; at < big.length; at += 4) big.writeUInt32LE(at, at);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-http-'));
  root = join(folder, 'root');
  await mkdir(join(root, 'sub', 'deep'), { recursive: true });
  await mkdir(join(root, '.git'));
  await mkdir(join(root, '.well-known'));
  await mkdir(join(folder, 'root-sibling'));
  const put = (name: string, data: string | Buffer): Promise<void> => writeFile(join(root, name), data);
  await put('index.html', '<p>home</p>');
  await put('page.html', '0123456789');
  await put('style.css', 'a{}');
  await put('app.js', '1');
  await put('data.json', '{}');
  await put('picture.png', 'png');
  await put('noext', 'raw');
  await put('empty.txt', '');
  await put('big.bin', big);
  await put('sub/index.html', 'sub home');
  await put('sub/a b+ü.txt', 'odd name');
  await put('.git/config', 'secret');
  await put('.env', 'secret');
  await put('.well-known/security.txt', 'contact');
  await writeFile(join(folder, 'outside.txt'), 'secret');
  await writeFile(join(folder, 'root-sibling', 'x.txt'), 'secret');
  await symlink(join(folder, 'outside.txt'), join(root, 'leak.txt'));
  await symlink(folder, join(root, 'up'));
  await symlink(join(folder, 'root-sibling'), join(root, 'sibling'));
  await symlink(join(root, 'page.html'), join(root, 'inside.html'));
  await symlink('loop', join(root, 'loop'));
  execFileSync('mkfifo', [join(root, 'pipe')]);
  files = await StaticFiles.open({ root, cacheSize: 1_000_000, log: memoryLog() });
});

afterEach(stopAll);
afterAll(async () => {
  files.close();
  await rm(folder, { recursive: true });
});

describe.each(ENGINES)('static files on the %s engine', (engine) => {
  const serve = async (): Promise<number> => (await startRoutes(engine, {}, {}, files)).port;
  const fetchOne = async (path: string, head: string[] = [], method = 'GET'): Promise<Answer | undefined> =>
    ask(await serve(), get(path, head, method));

  it.each([
    ['/page.html', 'text/html; charset=utf-8'],
    ['/style.css', 'text/css; charset=utf-8'],
    ['/app.js', 'text/javascript; charset=utf-8'],
    ['/data.json', 'application/json; charset=utf-8'],
    ['/picture.png', 'image/png'],
    ['/noext', 'application/octet-stream'],
    ['/big.bin', 'application/octet-stream'],
    ['/empty.txt', 'text/plain; charset=utf-8'],
  ])('gives %s as %s', async (path, type) => {
    const answer = await fetchOne(path);
    expect(answer?.status).toBe(200);
    expect(answer?.headers['content-type']).toBe(type);
    expect(answer?.headers['content-length']).toBe(String(answer?.body.length));
  });

  it('gives index.html for a folder and sends a folder without its slash there', async () => {
    expect((await fetchOne('/'))?.body.toString()).toBe('<p>home</p>');
    expect((await fetchOne('/sub/?x=1'))?.body.toString()).toBe('sub home');
    expect(await fetchOne('/sub?x=1')).toMatchObject({ status: 301, headers: { location: '/sub/?x=1' } });
    expect((await fetchOne('/sub/deep/'))?.status).toBe(404);
    expect((await fetchOne('//sub'))?.headers['location']).toBe('/sub/');
  });

  it('serves names that need escapes', async () => {
    expect((await fetchOne('/sub/a%20b+%C3%BC.txt'))?.body.toString()).toBe('odd name');
  });

  it('streams a large file whole and byte for byte', async () => {
    const answer = await fetchOne('/big.bin');
    expect(answer?.body.equals(big)).toBe(true);
  });

  it('answers HEAD like GET without a body, small and large', async () => {
    const port = await serve();
    const client = await RawClient.open(port);
    client.send(get('/page.html', [], 'HEAD'));
    expect(await client.answer(true)).toMatchObject({ status: 200, headers: { 'content-length': '10' } });
    client.send(get('/big.bin', [], 'HEAD'));
    expect((await client.answer(true))?.headers['content-length']).toBe('3000000');
    client.send(get('/page.html'));
    expect((await client.answer())?.body.toString()).toBe('0123456789');
    client.close();
  });

  it.each(['/page.html', '/big.bin'])('answers 304 for an unchanged %s', async (path) => {
    const first = await fetchOne(path);
    const { etag = '', 'last-modified': modified = '' } = first?.headers ?? {};
    const status = async (...head: string[]): Promise<number | undefined> =>
      (await fetchOne(path, head))?.status;
    expect(await status(`If-None-Match: ${etag}`)).toBe(304);
    expect(await status(`If-None-Match: "other", W/${etag}`)).toBe(304);
    expect(await status('If-None-Match: *')).toBe(304);
    expect(await status('If-None-Match: "other"')).toBe(200);
    expect(await status(`If-Modified-Since: ${modified}`)).toBe(304);
    expect(await status('If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT')).toBe(200);
    expect(await status('If-None-Match: "other"', `If-Modified-Since: ${modified}`)).toBe(200);
    expect(await status('If-Modified-Since: nonsense')).toBe(200);
  });

  it('keeps the connection usable after 304', async () => {
    const port = await serve();
    const client = await RawClient.open(port);
    client.send(get('/page.html', ['If-None-Match: *']) + get('/page.html'));
    expect((await client.answer())?.status).toBe(304);
    expect((await client.answer())?.body.toString()).toBe('0123456789');
    client.close();
  });

  it.each([
    ['bytes=0-3', '0123', 'bytes 0-3/10'],
    ['bytes=8-', '89', 'bytes 8-9/10'],
    ['bytes=-3', '789', 'bytes 7-9/10'],
    ['bytes=-99', '0123456789', 'bytes 0-9/10'],
    ['bytes=5-99', '56789', 'bytes 5-9/10'],
  ])('gives the range %s', async (range, body, shown) => {
    const answer = await fetchOne('/page.html', [`Range: ${range}`]);
    expect(answer).toMatchObject({ status: 206, headers: { 'content-range': shown } });
    expect(answer?.body.toString()).toBe(body);
  });

  it('gives a range of a large file', async () => {
    const answer = await fetchOne('/big.bin', ['Range: bytes=1000001-2000000']);
    expect(answer?.status).toBe(206);
    expect(answer?.body.equals(big.subarray(1_000_001, 2_000_001))).toBe(true);
  });

  it.each(['bytes=10-', 'bytes=-0', 'bytes=99-100'])('refuses the range %s with 416', async (range) => {
    const answer = await fetchOne('/page.html', [`Range: ${range}`]);
    expect(answer).toMatchObject({ status: 416, headers: { 'content-range': 'bytes */10' } });
    expect((await fetchOne('/big.bin', ['Range: bytes=3000000-']))?.status).toBe(416);
    expect((await fetchOne('/empty.txt', ['Range: bytes=0-']))?.status).toBe(416);
  });

  it.each(['lines=0-1', 'bytes=5-2', 'bytes=a-b', 'bytes=0-1,3-4', 'bytes=-'])(
    'gives the whole file for the range %s',
    async (range) => {
      expect((await fetchOne('/page.html', [`Range: ${range}`]))?.body.toString()).toBe('0123456789');
    },
  );

  it('honours If-Range', async () => {
    const { etag = '', 'last-modified': modified = '' } = (await fetchOne('/page.html'))?.headers ?? {};
    const status = async (condition: string): Promise<number | undefined> =>
      (await fetchOne('/page.html', ['Range: bytes=0-1', `If-Range: ${condition}`]))?.status;
    expect(await status(etag)).toBe(206);
    expect(await status(modified)).toBe(206);
    expect(await status('"other"')).toBe(200);
    expect(await status('Thu, 01 Jan 1970 00:00:00 GMT')).toBe(200);
  });

  it.each([
    '/../outside.txt',
    '/..%2foutside.txt',
    '/%2e%2e/outside.txt',
    '/%2e%2e%2foutside.txt',
    '/.%2e/outside.txt',
    '/sub/../../outside.txt',
    '/sub/..%5c..%5coutside.txt',
    '/..\\outside.txt',
    '/%252e%252e/outside.txt',
    '/%c0%ae%c0%ae/outside.txt',
    '/....//outside.txt',
    '/../root-sibling/x.txt',
    '/page.html%00.txt',
    '//etc/passwd',
    '/leak.txt',
    '/up/outside.txt',
    '/sibling/x.txt',
    '/.git/config',
    '/sub/../.env',
    '/.env',
    '/%2eenv',
    '/loop',
    '/pipe',
    `/${'a'.repeat(300)}`,
  ])('gives nothing for %s', async (path) => {
    const answer = await fetchOne(path);
    expect([400, 404]).toContain(answer?.status);
    expect(answer?.body.toString()).not.toMatch(/secret|root:/);
  });

  it('follows a link that stays inside and serves .well-known', async () => {
    expect((await fetchOne('/inside.html'))?.body.toString()).toBe('0123456789');
    expect((await fetchOne('/.well-known/security.txt'))?.body.toString()).toBe('contact');
  });

  it('refuses other methods with 405', async () => {
    const answer = await fetchOne('/page.html', ['Content-Length: 0'], 'POST');
    expect(answer).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD, OPTIONS' } });
  });

  it('shows a changed file within seconds, never a mixture, and forgets a removed one', async () => {
    const port = await serve();
    const file = join(root, 'live.txt');
    const body = async (): Promise<string | undefined> =>
      (await ask(port, get('/live.txt')))?.body.toString();
    await writeFile(file, 'first');
    expect(await body()).toBe('first');
    await writeFile(`${file}.tmp`, 'second, longer');
    await rename(`${file}.tmp`, file);
    await expect.poll(body, { timeout: 10_000 }).toBe('second, longer');
    await utimes(file, 1_000_000, 1_000_000);
    await expect
      .poll(async () => (await ask(port, get('/live.txt')))?.headers['last-modified'], { timeout: 10_000 })
      .toBe('Mon, 12 Jan 1970 13:46:40 GMT');
    await rm(file);
    await expect.poll(async () => (await ask(port, get('/live.txt')))?.status, { timeout: 10_000 }).toBe(404);
  });

  it('pipelines files that are in memory', async () => {
    const port = await serve();
    const client = await RawClient.open(port);
    client.send(get('/page.html') + get('/style.css') + get('/') + get('/sub/'));
    for (const body of ['0123456789', 'a{}', '<p>home</p>', 'sub home']) {
      expect((await client.answer())?.body.toString()).toBe(body);
    }
    client.close();
  });
});

describe('the memory for static files', () => {
  it('stays within its bound, whatever is asked for', async () => {
    const small = await StaticFiles.open({ root, cacheSize: 3_000, log: memoryLog() });
    const { port } = await startRoutes('node', {}, {}, small);
    for (const path of ['/page.html', '/style.css', '/app.js', '/data.json', '/page.html']) {
      expect((await ask(port, get(path)))?.status).toBe(200);
      expect(small.memoryUsed).toBeLessThanOrEqual(3_000);
      expect(small.memoryUsed).toBeGreaterThan(0);
    }
    small.close();
  });

  it('refuses a root that does not exist', async () => {
    const opening = StaticFiles.open({ root: join(root, 'nowhere'), cacheSize: 0, log: memoryLog() });
    await expect(opening).rejects.toMatchObject({ code: 'HTTP_ROOT', exitCode: 78 });
  });
});
