/** A reactor on a free port with a sink that answers each frame with itself, and plain clients. */
import { connect, type Socket } from 'node:net';
import { createPacketCodec } from '../../src/protocol/packet.js';
import type { FrameSink } from '../../src/runtime/frame-sink.js';
import type { ConnectionInfo } from '../../src/runtime/actor.js';
import { parseValue } from '../../src/runtime/config-values.js';
import { listenerKeys, reactorKeys } from '../../src/runtime/listener-keys.js';
import type { ListenerValues, ReactorValues } from '../../src/runtime/listener-keys.js';
import type { Listener, ListenerOptions } from '../../src/runtime/listener.js';
import type { LogFields, Logger } from '../../src/runtime/log-contract.js';
import { Reactor, type ReactorOptions } from '../../src/runtime/reactor.js';
import type { ConnectionRef } from '../../src/runtime/ref.js';
import type { Keys } from '../../src/runtime/schema.js';

export const PING = Buffer.from('0008000000000000', 'hex');

function defaultsOf(keys: Keys): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(keys)) {
    if (spec.default === undefined) continue;
    const parsed = parseValue(spec, spec.default);
    if (!('value' in parsed)) throw new Error(`${name}: ${parsed.reason}`);
    values[name] = parsed.value;
  }
  return values;
}

export type ListenerChanges = { -readonly [K in keyof ListenerValues]?: ListenerValues[K] };

export function listenerValues(changes: ListenerChanges = {}): ListenerValues {
  return {
    ...defaultsOf(listenerKeys),
    protocol: 'packet',
    address: '127.0.0.1:0',
    ...changes,
  } as ListenerValues;
}

export function reactorValues(changes: Partial<ReactorValues> = {}): ReactorValues {
  return { ...defaultsOf(reactorKeys), ...changes } as ReactorValues;
}

export interface Event {
  readonly event: string;
  readonly fields: LogFields;
}

export function recordingLog(events: Event[]): Logger {
  const write = (event: string, fields: LogFields = {}): void => void events.push({ event, fields });
  const log: Logger = {
    debug: write,
    info: write,
    notice: write,
    warn: write,
    error: write,
    fatal: write,
    child: () => log,
  };
  return log;
}

export interface Run {
  readonly connection: ConnectionRef;
  readonly bytes: Buffer;
  readonly count: number;
}

/** Records what it gets; answers with the same bytes in the next turn, as a worker would, unless `silent`. */
export class EchoSink implements FrameSink {
  readonly runs: Run[] = [];
  readonly openedWith: { connection: ConnectionRef; info: ConnectionInfo }[] = [];
  readonly closedWith: { connection: ConnectionRef; reason: string }[] = [];
  readonly waiting: (() => void)[] = [];
  silent = false;
  /** Refuses every offer while set. */
  full = false;
  record = true;
  reactor!: Reactor;
  private scheduled = false;

  offer(connection: ConnectionRef, bytes: Buffer, start: number, end: number, count: number): boolean {
    if (this.full) return false;
    const copy = Buffer.from(bytes.subarray(start, end));
    if (this.record) this.runs.push({ connection, bytes: copy, count });
    if (this.silent) return true;
    this.reactor.send(connection.slot, connection.generation, copy, count);
    if (!this.scheduled) {
      this.scheduled = true;
      setImmediate(() => {
        this.scheduled = false;
        this.reactor.flush();
      });
    }
    return true;
  }

  whenRoom(resume: () => void): void {
    this.waiting.push(resume);
  }

  makeRoom(): void {
    this.full = false;
    for (const resume of this.waiting.splice(0)) resume();
  }

  opened(connection: ConnectionRef, info: ConnectionInfo): void {
    this.openedWith.push({ connection, info });
  }

  closed(connection: ConnectionRef, reason: string): void {
    this.closedWith.push({ connection, reason });
  }
}

export interface Fixture {
  readonly reactor: Reactor;
  readonly sink: EchoSink;
  readonly listener: Listener;
  readonly events: Event[];
  readonly port: number;
  /** @param from address of this machine to connect from */
  client(host?: string, from?: string): Promise<Client>;
  stop(): Promise<void>;
}

export interface FixtureOptions {
  readonly values?: ListenerChanges;
  readonly reactor?: Partial<ReactorOptions>;
  readonly shared?: Partial<ReactorValues>;
  readonly listener?: Partial<ListenerOptions>;
}

export async function startReactor(options: FixtureOptions = {}): Promise<Fixture> {
  const events: Event[] = [];
  const reactor = new Reactor({
    log: recordingLog(events),
    values: reactorValues(options.shared),
    ...options.reactor,
  });
  const sink = new EchoSink();
  sink.reactor = reactor;
  const listener = await reactor.listen({
    name: 'packet',
    values: listenerValues(options.values),
    codec: createPacketCodec(),
    sink,
    ...options.listener,
  });
  const { port } = listener;
  const clients: Client[] = [];
  return {
    reactor,
    sink,
    listener,
    events,
    port,
    client: async (host = '127.0.0.1', from) => {
      const client = await openClient(port, host, from);
      clients.push(client);
      return client;
    },
    stop: async () => {
      for (const { socket } of clients) socket.destroy();
      await reactor.stop(0);
    },
  };
}

export class Client {
  received = Buffer.alloc(0);
  ended = false;
  private readonly watchers = new Set<() => void>();

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.changed();
    });
    socket.on('error', () => undefined);
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        this.ended = true;
        this.changed();
      });
    }
  }

  private changed(): void {
    for (const watcher of [...this.watchers]) watcher();
  }

  /** Settles when `done` holds; looks again after each event of the socket. */
  private async until(done: () => boolean, what: string): Promise<void> {
    if (done()) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => finish(() => reject(new Error(`no ${what}`))), 15_000);
      const watcher = (): void => {
        if (done()) finish(resolve);
      };
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        this.watchers.delete(watcher);
        settle();
      };
      this.watchers.add(watcher);
    });
  }

  /** The next `count` bytes. */
  async take(count: number): Promise<Buffer> {
    await this.until(() => this.received.length >= count || this.ended, `${count} bytes`);
    const taken = this.received.subarray(0, count);
    this.received = this.received.subarray(count);
    return taken;
  }

  /** Everything up to the end of the stream. */
  async rest(): Promise<Buffer> {
    await this.until(() => this.ended, 'end of the stream');
    return this.received;
  }
}

export async function openClient(port: number, host = '127.0.0.1', from?: string): Promise<Client> {
  const socket = connect({
    port,
    host,
    noDelay: true,
    ...(from === undefined ? {} : { localAddress: from }),
  });
  const client = new Client(socket);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  return client;
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Polls: for effects inside the server that no socket event of the client marks. */
export async function eventually(check: () => void, ms = 10_000): Promise<void> {
  const deadline = performance.now() + ms;
  for (;;) {
    try {
      return check();
    } catch (failure) {
      if (performance.now() > deadline) throw failure;
      await pause(5);
    }
  }
}
