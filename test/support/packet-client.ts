/** A client of the packet protocol that keeps what comes back as packets. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  createPacketCodec,
  encodePacket,
  PACKET_LOGIN,
  PACKET_PING,
  PACKET_REGISTER,
  packetBody,
  readLogin,
  readRegister,
  writeLogin,
  writeRegister,
} from '../../src/protocol/packet.js';

export const PING = encodePacket(PACKET_PING);
const LIMIT_MS = 20_000;

export interface Packet {
  readonly code: number;
  readonly body: Buffer;
}

export class PacketClient {
  readonly packets: Packet[] = [];
  closed = false;
  private readonly codec = createPacketCodec();
  private bytes = Buffer.alloc(0);
  private waiters: (() => void)[] = [];

  constructor(readonly socket: Socket) {
    const wake = (): void => {
      for (const waiter of this.waiters.splice(0)) waiter();
    };
    socket.on('data', (chunk) => {
      this.bytes = this.bytes.length === 0 ? chunk : Buffer.concat([this.bytes, chunk]);
      this.split();
      wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      wake();
    });
  }

  static async open(port: number, host = '127.0.0.1'): Promise<PacketClient> {
    const socket = connect({ port, host, noDelay: true });
    const client = new PacketClient(socket);
    await once(socket, 'connect');
    return client;
  }

  /** Every byte that came must be part of a valid packet. */
  private split(): void {
    let at = 0;
    for (;;) {
      const length = this.codec.decode(this.bytes, at, this.bytes.length);
      if (length < 0)
        throw new Error(`bad packet from the server: ${this.bytes.toString('hex', at, at + 8)}`);
      if (length === 0) break;
      const frame = Buffer.from(this.bytes.subarray(at, at + length));
      this.packets.push({ code: this.codec.messageCode(frame, 0), body: packetBody(frame) });
      at += length;
    }
    this.bytes = this.bytes.subarray(at);
  }

  send(...parts: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  private async until(done: () => boolean, what: string): Promise<void> {
    const end = performance.now() + LIMIT_MS;
    while (!done()) {
      const left = end - performance.now();
      if (left <= 0) throw new Error(`no ${what} within ${LIMIT_MS} ms; ${this.packets.length} packets wait`);
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.waiters.push(resolve);
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  /** The next `count` packets, fewer when the connection closes before. */
  async take(count: number): Promise<Packet[]> {
    await this.until(() => this.packets.length >= count || this.closed, `${count} packets`);
    return this.packets.splice(0, count);
  }

  /** Sends one packet and gives the next one that comes. @throws Error when the connection closes instead */
  async ask(code: number, body?: Buffer): Promise<Packet> {
    this.send(encodePacket(code, body));
    const [reply] = await this.take(1);
    if (reply === undefined) throw new Error('closed without an answer');
    return reply;
  }

  /** Settles when a ping is answered: everything sent before has been looked at by then. */
  async ping(): Promise<void> {
    const { code } = await this.ask(PACKET_PING);
    if (code !== PACKET_PING) throw new Error(`a ping was answered with code ${code}`);
  }

  /** @returns the outcome number: 0 created, 1 taken, 2 bad name, 3 bad password */
  async register(username: string, password: string): Promise<number | undefined> {
    const reply = await this.ask(PACKET_REGISTER, writeRegister({ type: 0, username, password }));
    return readRegister(reply.body)?.type;
  }

  /** @returns whether it was accepted */
  async login(username: string, password: string): Promise<boolean> {
    const reply = await this.ask(PACKET_LOGIN, writeLogin({ username, password }));
    return readLogin(reply.body)?.username === username;
  }

  /** Settles when the server has closed. */
  async gone(): Promise<void> {
    await this.until(() => this.closed, 'end of the connection');
  }

  /** Ends with a reset, as a client does that dies with data unread. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  close(): void {
    this.socket.destroy();
  }
}
