/**
 * One listening socket with its protocol: accepts, refuses over the limits, makes connections. The thread of the reactor.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import type { FrameCodec } from '../protocol/frame.js';
import type { Admission, Refusal } from './admission.js';
import { plainAddress } from './admission.js';
import { parseAddress } from './config-values.js';
import { Connection, type ListenerContext } from './connection.js';
import type { ConnectionTable } from './connection-table.js';
import { reasonOf, SwitchyardError } from './errors.js';
import type { FrameSink } from './frame-sink.js';
import type { ListenerCounters } from './listener-counters.js';
import type { ListenerValues } from './listener-keys.js';
import type { Logger } from './log-contract.js';
import type { SendBudget } from './send-queue.js';
import { loadTls } from './tls-context.js';

export interface ListenerOptions {
  readonly name: string;
  readonly values: ListenerValues;
  /** Its own instance: a codec keeps the reason of its last refusal. */
  readonly codec: FrameCodec;
  readonly sink: FrameSink;
  /** Message code of a heartbeat, for heartbeat_refresh = ping. Default 0. */
  readonly pingCode?: number;
  /** What a client over a limit is told before it is closed, if the protocol has such a message. */
  readonly refusal?: (reason: Refusal) => Uint8Array | undefined;
  /** A descriptor that listens already, instead of `values.address`; it becomes ours. */
  readonly fd?: number;
}

/** What a listener needs of its reactor. */
export interface ReactorParts {
  readonly log: Logger;
  readonly budget: SendBudget;
  readonly admission: Admission;
  readonly table: ConnectionTable<Connection>;
  readonly counters: ListenerCounters;
  readonly now: () => number;
  readonly schedule: (slot: number, atMs: number) => void;
  readonly queued: (connection: Connection) => void;
  readonly released: (connection: Connection) => void;
}

/** A client whose machine is gone without a word is found by the system, even where silence is allowed. */
const KEEP_ALIVE = { keepAlive: true, keepAliveInitialDelay: 60_000 } as const;

export class Listener implements ListenerContext {
  readonly name: string;
  readonly actor: string;
  readonly codec: FrameCodec;
  readonly sink: FrameSink;
  readonly pingCode: number;
  readonly counters: ListenerCounters;
  readonly secure: boolean;
  readonly log: Logger;
  readonly budget: SendBudget;
  values: ListenerValues;
  /** Clients now, those in a TLS handshake included. */
  online = 0;
  readonly now: () => number;
  readonly schedule: (slot: number, atMs: number) => void;
  readonly queued: (connection: Connection) => void;
  private server: Server | undefined;

  constructor(
    private readonly options: ListenerOptions,
    private readonly parts: ReactorParts,
  ) {
    this.name = options.name;
    this.values = options.values;
    this.actor = options.values.actor ?? options.values.protocol;
    this.codec = options.codec;
    this.sink = options.sink;
    this.counters = parts.counters;
    this.secure = options.values.tls_cert !== undefined && options.values.tls_key !== undefined;
    this.pingCode = options.pingCode ?? 0;
    this.log = parts.log.child({ listener: options.name });
    this.budget = parts.budget;
    this.now = parts.now;
    this.schedule = parts.schedule;
    this.queued = parts.queued;
  }

  /** The bound port; 0 before `start` and after `stopAccepting`. */
  get port(): number {
    return (this.server?.address() as AddressInfo | null)?.port ?? 0;
  }

  get accepting(): boolean {
    return this.server?.listening ?? false;
  }

  /** @throws SwitchyardError NET_ADDRESS_TAKEN, NET_ADDRESS, NET_PERMISSION, NET_TLS */
  async start(): Promise<void> {
    const server = this.secure ? await this.tlsServer() : this.plainServer();
    const address = this.options.fd === undefined ? this.values.address : `fd ${this.options.fd}`;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(this.listenError(error, address)));
      server.listen(this.where(address), () => {
        server.removeAllListeners('error');
        // The server goes on accepting after such an error; running out of descriptors is the usual one.
        server.on('error', (error) => {
          this.counters.acceptErrors++;
          this.log.error('listener.accept', { reason: reasonOf(error) });
        });
        resolve();
      });
    });
    this.server = server;
    this.log.info('listener.listening', { address, port: this.port, secure: this.secure });
  }

  private where(address: string): { fd: number } | { host?: string; port: number; backlog: number } {
    if (this.options.fd !== undefined) return { fd: this.options.fd };
    const parsed = parseAddress(address);
    if (parsed === undefined) {
      throw new SwitchyardError('NET_ADDRESS', { listener: this.name, address, reason: 'not an address' });
    }
    const { host, port } = parsed;
    return { ...(host === undefined ? {} : { host }), port, backlog: this.values.backlog };
  }

  private listenError(error: NodeJS.ErrnoException, address: string): SwitchyardError {
    const params = { listener: this.name, address, reason: error.message };
    if (error.code === 'EADDRINUSE')
      return new SwitchyardError('NET_ADDRESS_TAKEN', params, { cause: error });
    if (error.code === 'EACCES') return new SwitchyardError('NET_PERMISSION', params, { cause: error });
    return new SwitchyardError('NET_ADDRESS', params, { cause: error });
  }

  private plainServer(): Server {
    // highWaterMark 1: a paused socket buffers one chunk at most, and every write left unfinished ends in 'drain'.
    const server = createServer({ allowHalfOpen: true, noDelay: true, highWaterMark: 1, ...KEEP_ALIVE });
    server.on('connection', (socket) => {
      const address = this.admit(socket);
      if (address !== undefined) this.open(socket, address);
    });
    return server;
  }

  private async tlsServer(): Promise<Server> {
    const pair = await loadTls(this.name, this.values.tls_cert!, this.values.tls_key!);
    const server = createTlsServer({
      ...pair,
      allowHalfOpen: true,
      noDelay: true,
      ...KEEP_ALIVE,
      handshakeTimeout: this.values.partial_timeout,
    });
    // The limits hold from the first byte of the handshake, so the raw socket is what enters and leaves.
    server.on('connection', (socket: Socket) => {
      const address = this.admit(socket);
      if (address !== undefined) socket.once('close', () => this.leave(address));
    });
    server.on('secureConnection', (socket) => {
      const address = plainAddress(socket.remoteAddress ?? '');
      if (address === '') socket.destroy();
      else this.open(socket, address);
    });
    server.on('tlsClientError', (error, socket) => {
      this.counters.tlsErrors++;
      socket.destroy();
      this.log.debug('listener.tls_handshake', { reason: reasonOf(error) });
    });
    return server;
  }

  /** @returns the client's address, or undefined: it was refused or has gone already */
  private admit(socket: Socket): string | undefined {
    this.counters.accepted++;
    const address = plainAddress(socket.remoteAddress ?? '');
    const refusal =
      address === '' ? undefined : this.parts.admission.enter(address, this.online, this.values);
    if (address !== '' && refusal === undefined) {
      this.online++;
      return address;
    }
    socket.on('error', () => undefined);
    if (refusal !== undefined) {
      this.counters.refused[refusal]++;
      this.log.warn('listener.refused', { reason: refusal, remote: address, online: this.online });
      const words = this.secure ? undefined : this.options.refusal?.(refusal);
      if (words !== undefined) {
        socket.write(words);
        socket.destroySoon();
        return undefined;
      }
    }
    socket.destroy();
    return undefined;
  }

  private leave(address: string): void {
    this.online--;
    this.parts.admission.leave(address);
  }

  private open(socket: Socket, remoteAddress: string): void {
    const info = {
      listener: this.name,
      remoteAddress,
      remotePort: socket.remotePort ?? 0,
      secure: this.secure,
    };
    const { table } = this.parts;
    const connection = table.add((ref) => new Connection(ref, info, socket, this, this.parts.now()));
    this.sink.opened(connection.ref, info);
  }

  released(connection: Connection): void {
    // Behind TLS the raw socket is what leaves.
    if (!this.secure) this.leave(connection.info.remoteAddress);
    this.parts.released(connection);
  }

  /** New limits; they hold for the connections that are open too. Address, protocol and actor do not change. */
  apply(values: ListenerValues): void {
    this.values = values;
    for (const connection of this.parts.table) {
      if (connection.listener === this) connection.limitsChanged();
    }
  }

  /**
   * Reads certificate and key again; new connections get them, open ones stay.
   * @throws SwitchyardError NET_TLS; the old pair stays in use then
   */
  async reloadTls(): Promise<void> {
    if (!this.secure || this.server === undefined) return;
    const pair = await loadTls(this.name, this.values.tls_cert!, this.values.tls_key!);
    (this.server as TlsServer).setSecureContext(pair);
    this.log.info('listener.tls_reloaded', { cert: this.values.tls_cert });
  }

  /** Open connections stay. */
  stopAccepting(): void {
    if (this.accepting) this.server?.close();
  }

  /** Stops accepting and ends every connection as soon as the replies due have gone out. */
  close(): void {
    this.stopAccepting();
    for (const connection of this.parts.table) {
      if (connection.listener === this) connection.finishReplies('drained');
    }
  }
}
