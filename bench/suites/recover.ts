/**
 * An actor hangs in a loop: how long do its clients wait beyond the heartbeat, and is a message lost? Clients ping at a
 * steady rate through the whole time; what arrives during the hang waits in the mailbox and has to be answered.
 */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { encodePacket, PACKET_HEADER_BYTES, PACKET_PING } from '../../src/protocol/packet.js';
import { inTurns, type Sample } from '../lib/compare.js';
import type { BenchOptions } from '../lib/options.js';
import { open } from '../lib/packet-client.js';
import { source } from '../lib/paths.js';
import type { Report } from '../lib/report.js';
import { packetServer } from '../peers/switchyard.js';

const HEARTBEAT_MS = 5000;
const CLIENTS = 20;
/** Each client; 250 of its pings wait at the end of the hang, fewer than the 400 a connection may have pending. */
const PING_EVERY_MS = 20;
const HANG = encodePacket(4);
const PING = encodePacket(PACKET_PING);

interface Client {
  readonly socket: Socket;
  sent: number;
  receivedBytes: number;
  closed: boolean;
}

async function client(port: number, onReply: () => void): Promise<Client> {
  const one: Client = { socket: await open(port), sent: 0, receivedBytes: 0, closed: false };
  one.socket.on('data', (bytes) => {
    one.receivedBytes += bytes.length;
    onReply();
  });
  one.socket.on('error', () => undefined);
  one.socket.on('close', () => (one.closed = true));
  return one;
}

async function hangAndRecover(port: number): Promise<Sample> {
  let last = performance.now();
  let longest = 0;
  const onReply = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => client(port, onReply)));
  const pinging = setInterval(() => {
    for (const one of clients) {
      one.socket.write(PING);
      one.sent++;
    }
  }, PING_EVERY_MS);
  await sleep(1000);
  const attacker = await open(port);
  attacker.on('error', () => undefined);
  longest = 0;
  attacker.write(HANG);
  await sleep(HEARTBEAT_MS + 3000);
  clearInterval(pinging);
  await sleep(1000);
  const sent = clients.reduce((sum, one) => sum + one.sent, 0);
  const received = clients.reduce((sum, one) => sum + one.receivedBytes / PACKET_HEADER_BYTES, 0);
  const closed = clients.filter((one) => one.closed).length;
  for (const { socket } of [...clients, { socket: attacker }]) socket.destroy();
  if (longest < HEARTBEAT_MS)
    throw new Error(`the actor did not hang: the longest silence was ${Math.round(longest)} ms`);
  return {
    value: longest - HEARTBEAT_MS,
    failed: sent - received,
    detail: { silenceMs: longest, sent, received, closed },
  };
}

export async function recover(options: BenchOptions): Promise<Report> {
  const preload = pathToFileURL(source('peers/hang-command.mjs')).href;
  const subject = packetServer(options, [`heartbeat = ${HEARTBEAT_MS}ms`], ['--import', preload]);
  const result = await inTurns('hang in a loop', [subject], options.rounds, async (server) =>
    hangAndRecover(server.port),
  );
  return { bench: 'recover', unit: 'ms beyond heartbeat', lessIsBetter: true, cases: [result] };
}
