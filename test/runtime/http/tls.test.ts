import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { httpKeys, httpLimits, readTls, type HttpConf } from '../../../src/runtime/http-keys.js';
import { get, start, stopAll } from './support.js';

let folder: string;
const file = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-tls-'));
  for (const name of ['one', 'two']) {
    const subject = ['-subj', `/CN=${name}`, '-days', '2'];
    const out = ['-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    execFileSync('openssl', ['req', '-x509', ...kind, ...subject, ...out], { stdio: 'ignore' });
  }
});
afterEach(stopAll);
afterAll(() => rm(folder, { recursive: true }));

/** One request over TLS: the certificate's name and all that was received. */
function askTls(port: number): Promise<{ name: string; text: string }> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      socket.write(get('/', ['Connection: close']));
    });
    let text = '';
    let name = '';
    socket.on('secureConnect', () => (name = String(socket.getPeerCertificate().subject.CN)));
    socket.on('data', (data: Buffer) => (text += data.toString()));
    socket.on('error', reject);
    socket.on('close', () => resolve({ name, text }));
  });
}

function conf(values: Partial<HttpConf>): HttpConf {
  return { engine: 'node', tls_cert: undefined, tls_key: undefined, ...values } as HttpConf;
}

describe('TLS of an HTTP listener', () => {
  it('serves on the node engine and takes a new certificate while running', async () => {
    const tls = await readTls('web', conf({ tls_cert: file('one.crt'), tls_key: file('one.key') }));
    const server = await start('node', (x) => x.end('secret page'), { tls });
    const first = await askTls(server.port);
    expect(first.name).toBe('one');
    expect(first.text).toMatch(/^HTTP\/1\.1 200 OK[^]*secret page$/);
    server.setTls({ cert: await readFile(file('two.crt')), key: await readFile(file('two.key')) });
    expect((await askTls(server.port)).name).toBe('two');
    expect(server.counters.requests).toBe(2);
    await expect.poll(() => server.connections()).toBe(0);
  });

  it('is refused with a clear reason on the uws engine', async () => {
    const values = conf({ engine: 'uws', tls_cert: file('one.crt'), tls_key: file('one.key') });
    await expect(readTls('web', values)).rejects.toMatchObject({
      code: 'HTTP_TLS_ENGINE',
      hint: expect.stringContaining('engine = node') as unknown,
    });
  });

  it('needs both files, readable and fitting', async () => {
    const cases = [
      { tls_cert: file('one.crt') },
      { tls_key: file('one.key') },
      { tls_cert: file('one.crt'), tls_key: file('missing.key') },
      { tls_cert: file('one.crt'), tls_key: file('two.key') },
    ];
    for (const values of cases) {
      await expect(readTls('web', conf(values))).rejects.toMatchObject({ code: 'NET_TLS', exitCode: 78 });
    }
    expect(await readTls('web', conf({}))).toBeUndefined();
  });
});

describe('the keys of [http NAME]', () => {
  it('reach the limits under their own names', () => {
    const values = Object.fromEntries(Object.keys(httpKeys).map((key, n) => [key, n + 1]));
    const limits = httpLimits(values as unknown as HttpConf);
    expect(limits).toEqual({
      maxHeader: values['max_header'],
      maxTarget: values['max_target'],
      maxBody: values['max_body'],
      maxConnections: values['max_connections'],
      headerTimeout: values['header_timeout'],
      bodyTimeout: values['body_timeout'],
      idleTimeout: values['idle_timeout'],
      sendTimeout: values['send_timeout'],
    });
  });
});
