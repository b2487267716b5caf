import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encodePacket } from '../../src/protocol/packet.js';
import {
  Client,
  eventually,
  openClient,
  PING,
  startReactor,
  type Fixture,
} from '../support/reactor-fixture.js';

let folder: string;
let files: { tls_cert: string; tls_key: string };
let fixture: Fixture;

/** Makes a self-signed pair in place of the one that is there. */
function makeCertificate(name: string): void {
  const subject = [
    '-subj',
    `/CN=${name}`,
    '-days',
    '2',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
  ];
  const out = ['-keyout', files.tls_key, '-out', files.tls_cert];
  execFileSync('openssl', ['req', '-x509', '-nodes', ...subject, ...out], { stdio: 'ignore' });
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tls-'));
  files = { tls_cert: join(folder, 'cert.pem'), tls_key: join(folder, 'key.pem') };
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => fixture.stop());

async function secureClient(): Promise<{ client: Client; socket: TLSSocket }> {
  const socket = connect({ port: fixture.port, host: '127.0.0.1', rejectUnauthorized: false });
  const client = new Client(socket);
  await new Promise((resolve, reject) =>
    socket.once('secureConnect', () => resolve(undefined)).once('error', reject),
  );
  return { client, socket };
}

describe('a TLS listener', () => {
  it('serves packets in any cut', async () => {
    makeCertificate('one');
    fixture = await startReactor({ values: files });
    const { client, socket } = await secureClient();
    const stream = Buffer.concat(Array.from({ length: 300 }, (_, i) => encodePacket(i, Buffer.alloc(i * 7))));
    for (let at = 0; at < stream.length; at += 4999) socket.write(stream.subarray(at, at + 4999));
    expect((await client.take(stream.length)).equals(stream)).toBe(true);
    expect(fixture.sink.openedWith[0]?.info.secure).toBe(true);
    socket.destroy();
    await eventually(() => expect(fixture.listener.online).toBe(0));
    expect(fixture.sink.closedWith).toHaveLength(1);
  });

  it('gives new connections the new certificate after reloadTls and keeps the open ones', async () => {
    makeCertificate('one');
    fixture = await startReactor({ values: files });
    const before = await secureClient();
    expect(before.socket.getPeerCertificate().subject.CN).toBe('one');
    makeCertificate('two');
    await fixture.listener.reloadTls();
    const after = await secureClient();
    expect(after.socket.getPeerCertificate().subject.CN).toBe('two');
    for (const { client, socket } of [before, after]) {
      socket.write(PING);
      expect(await client.take(8)).toEqual(PING);
      socket.destroy();
    }
  });

  it('keeps the old certificate when the new one cannot be used', async () => {
    makeCertificate('one');
    fixture = await startReactor({ values: files });
    writeFileSync(files.tls_cert, 'not a certificate');
    await expect(fixture.listener.reloadTls()).rejects.toMatchObject({ code: 'NET_TLS', exitCode: 78 });
    const { socket } = await secureClient();
    expect(socket.getPeerCertificate().subject.CN).toBe('one');
    socket.destroy();
  });

  it('counts clients from the first byte of the handshake, and closes those that never finish it', async () => {
    makeCertificate('one');
    fixture = await startReactor({ values: { ...files, max_connections: 1, partial_timeout: 300 } });
    const silent = await openClient(fixture.port);
    await eventually(() => expect(fixture.listener.online).toBe(1));
    const refused = await openClient(fixture.port);
    expect(await refused.rest()).toHaveLength(0);
    expect(fixture.listener.counters.refused['listener-full']).toBe(1);
    await silent.rest();
    await eventually(() => expect(fixture.listener.online).toBe(0));
    const { client, socket } = await secureClient();
    socket.write(PING);
    expect(await client.take(8)).toEqual(PING);
    socket.destroy();
  });

  it('survives a client that does not speak TLS', async () => {
    makeCertificate('one');
    fixture = await startReactor({ values: files });
    const plain = await openClient(fixture.port);
    plain.socket.write(PING);
    await plain.rest();
    await eventually(() => expect(fixture.listener.counters.tlsErrors).toBeGreaterThan(0));
    await eventually(() => expect(fixture.listener.online).toBe(0));
  });

  it('does not start without a readable certificate', async () => {
    makeCertificate('one');
    fixture = await startReactor();
    const values = { ...files, tls_cert: join(folder, 'missing.pem') };
    await expect(startReactor({ values })).rejects.toMatchObject({ code: 'NET_TLS', exitCode: 78 });
  });

  it('ends with the replies flushed when closed by an actor', async () => {
    makeCertificate('one');
    fixture = await startReactor({ values: files });
    fixture.sink.silent = true;
    const { client } = await secureClient();
    await eventually(() => expect(fixture.sink.openedWith).toHaveLength(1));
    const { slot, generation } = fixture.sink.openedWith[0]!.connection;
    const bytes = Buffer.alloc(200_000, 7);
    fixture.reactor.send(slot, generation, bytes, 1);
    fixture.reactor.close(slot, generation, 'bye');
    fixture.reactor.flush();
    expect((await client.rest()).equals(bytes)).toBe(true);
    await eventually(() => expect(fixture.sink.closedWith.map((c) => c.reason)).toEqual(['bye']));
  });
});
