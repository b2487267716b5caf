/** Client of the admin port; `ctl` is its user. One connection, one request at a time. Any thread. */
import { connect, type Socket } from 'node:net';

export interface AdminClientOptions {
  readonly host: string;
  readonly port: number;
  readonly token: string;
  /** Longest silence, in milliseconds, while connecting or waiting for an answer. */
  readonly timeoutMs: number;
}

export interface AdminAnswer {
  readonly ok: boolean;
  readonly body: string;
}

/** A dump of a large system is the longest answer. */
const MAX_ANSWER_BYTES = 64 << 20;

export class WrongToken extends Error {}

export class AdminClient {
  private buffered: Buffer[] = [];
  private bytes = 0;
  private waiting: { resolve(answer: AdminAnswer): void; reject(error: Error): void } | undefined;

  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => this.take(chunk));
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('the server closed the admin connection')));
    socket.on('timeout', () => this.fail(new Error('the server did not answer in time')));
  }

  /** @throws WrongToken; Error with `code` as from node:net when no server answers */
  static async connect(options: AdminClientOptions): Promise<AdminClient> {
    const socket = connect({ host: options.host, port: options.port, noDelay: true });
    socket.setTimeout(options.timeoutMs);
    const client = new AdminClient(socket);
    const answer = await client.request(`auth ${options.token}`);
    if (!answer.ok) {
      client.close();
      if (answer.body === 'wrong token') throw new WrongToken(answer.body);
      throw new Error(answer.body);
    }
    return client;
  }

  /** @param line a command without line end */
  request(line: string): Promise<AdminAnswer> {
    if (this.waiting !== undefined) throw new Error('one request at a time');
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.socket.write(`${line.replace(/[\r\n]/g, ' ')}\n`);
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private fail(error: Error): void {
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.reject(error);
    this.socket.destroy();
  }

  private take(chunk: Buffer): void {
    this.buffered.push(chunk);
    this.bytes += chunk.length;
    if (this.bytes > MAX_ANSWER_BYTES) return this.fail(new Error('the answer is too long'));
    const tail = Buffer.concat(this.buffered.slice(-3));
    if (!tail.subarray(-3).equals(Buffer.from('\n.\n'))) return;
    const lines = Buffer.concat(this.buffered).toString('utf8').split('\n').slice(0, -2);
    this.buffered = [];
    this.bytes = 0;
    const { waiting } = this;
    this.waiting = undefined;
    const body = lines.slice(1).map((line) => (line.startsWith('..') ? line.slice(1) : line));
    waiting?.resolve({ ok: lines[0] === 'ok', body: body.join('\n') });
  }
}
