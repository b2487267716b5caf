/**
 * The actor system: names, mailboxes, pools, asks, and the way of every record that comes back from a worker. It knows
 * neither sockets nor conf files; those are handed in. Main thread.
 */
import type { ActorEntry, ActorSpec } from './actor-entry.js';
import type { AskOptions } from './actor.js';
import { Asks, failAsker, type Asker } from './asks.js';
import type { Bridge } from './bridge.js';
import { codecNumber } from './codecs.js';
import type { DeadLetterSnapshot } from './control-plane.js';
import { DeadLetters } from './dead-letters.js';
import { reasonOf } from './errors.js';
import type { FrameSink, ReplyTarget } from './frame-sink.js';
import { HeartbeatMonitor } from './heartbeat.js';
import { Lifecycle } from './lifecycle.js';
import type { Logger, LogFields, LogLevel } from './log-contract.js';
import { Mailbox } from './mailbox.js';
import { decodePayload, encodePayload } from './payload.js';
import { Pool, type PoolOptions } from './pool.js';
import { A, B, COUNT, D, KIND, KIND_NAMES, Kind } from './record.js';
import type { ConnectionRef, Ref } from './ref.js';
import { refOf, Registry, shardOf } from './registry.js';
import type { RingReader } from './ring.js';
import type { ChildSpec, ExitReason } from './child-spec.js';
import type { FromWorker, LiveConnection } from './thread-messages.js';

/** Answers asks on the main thread. May be asynchronous; a throw fails the ask. */
export type Service = (body: unknown, from: Ref | undefined, timeoutMs: number) => unknown;

/** Where responses of actors go (http-gateway.ts). */
export interface ResponseTarget {
  head(exchange: number, status: number, headers: Readonly<Record<string, string>>): void;
  /** @returns false when the exchange is over: no credit will come for these bytes */
  body(exchange: number, bytes: Buffer): boolean;
  end(exchange: number): void;
  /** The actor could not go on: the client must not take the answer for whole. */
  cut(exchange: number, reason: string): void;
  actorDied(entry: ActorEntry, started: number, reason: string): void;
}

export interface SystemOptions {
  readonly log: Logger;
  /** Writes an event of a worker. */
  writeEvent(level: LogLevel, event: string, fields: LogFields): void;
  onCounters(counters: readonly (readonly [string, number])[]): void;
  onRoute(ref: Ref, method: string, path: string): void;
}

export class System {
  readonly registry = new Registry();
  readonly deadLetters: DeadLetters;
  readonly heartbeat: HeartbeatMonitor;
  private readonly pools = new Map<string, Pool>();
  private readonly services = new Map<string, Service>();
  private readonly asks = new Asks();
  private readonly lifecycle: Lifecycle;
  private replyTarget: ReplyTarget | undefined;
  private responses: ResponseTarget | undefined;
  private readonly log: Logger;

  constructor(private readonly options: SystemOptions) {
    this.log = options.log;
    this.deadLetters = new DeadLetters((letter: DeadLetterSnapshot) =>
      this.log.warn('dead_letter', { ...letter }),
    );
    this.heartbeat = new HeartbeatMonitor(
      () => this.registry.all(),
      (entry, ageMs) => void this.lifecycle.onExpired(entry, ageMs),
    );
    this.lifecycle = new Lifecycle({
      registry: this.registry,
      pools: this.pools,
      asks: this.asks,
      heartbeat: this.heartbeat,
      deadLetters: this.deadLetters,
      log: options.log,
      onDeath: (entry, reason) => this.onDeath(entry, reason),
      connectionsOf: (entry) => this.connectionsOf(entry),
    });
    this.heartbeat.start();
  }

  addPool(options: PoolOptions): void {
    if (this.pools.has(options.name)) return;
    const pool = new Pool(options, {
      record: (bridge, ring, at, payload) => this.recordSafely(bridge, ring, at, payload),
      drained: () => this.drained(),
      control: (_bridge, message) => this.control(message),
      failed: (bridge, stack) =>
        this.log.error('worker.failed', { thread: bridge.threadId, pool: options.name, stack }),
      exited: (bridge, reason) => this.lifecycle.onThreadExit(bridge, reason),
    });
    this.pools.set(options.name, pool);
  }

  /**
   * Creates the mailboxes of an actor and its shards, or gives those that exist a new specification.
   * @returns children for the supervisor, one per shard
   */
  spawn(spec: ActorSpec, shutdownMs: number, restart: ChildSpec['restart']): readonly ChildSpec[] {
    return Array.from({ length: spec.shards }, (_, shard) => {
      const ref = refOf(spec.name, shard, spec.shards);
      const entry = this.registry.get(ref) ?? this.createEntry(ref, shard, spec);
      entry.spec = spec;
      return this.lifecycle.childSpec(entry, shutdownMs, restart);
    });
  }

  private createEntry(ref: Ref, shard: number, spec: ActorSpec): ActorEntry {
    const number = this.registry.nextNumber();
    const entry: ActorEntry = {
      ref, number, shard, spec,
      mailbox: new Mailbox(ref, number, spec.mailbox),
      bridge: undefined, state: 'stopped', startedAt: 0, starts: 0, lastError: undefined,
      watchers: new Set(), retriedMessage: -1, starting: undefined, stopped: undefined, ended: undefined,
    }; // prettier-ignore
    this.registry.add(entry);
    return entry;
  }

  /** Forgets a stopped actor; what waits in its mailbox goes to the dead letters as one entry. */
  remove(name: Ref): void {
    for (const entry of this.registry.instances(name)) {
      const { depth } = entry.mailbox;
      if (depth > 0) {
        const bytes = entry.mailbox.snapshot().bytes;
        this.deadLetters.add({
          to: entry.ref,
          from: undefined,
          message: `${depth} waiting`,
          bytes,
          reason: 'removed',
        });
      }
      this.registry.remove(entry);
      entry.mailbox.releaseWaiting();
    }
  }

  /** Makes a name on the main thread that actors can ask. */
  service(name: Ref, handler: Service): void {
    this.services.set(name, handler);
  }

  setReplyTarget(target: ReplyTarget): void {
    this.replyTarget = target;
  }

  setResponses(target: ResponseTarget): void {
    this.responses = target;
  }

  /** @returns false when nobody has the name or the mailbox refused; the message is in the dead letters then */
  tell(to: Ref, body: unknown, from?: Ref, key?: string | number): boolean {
    const service = this.services.get(to);
    if (service !== undefined) {
      void this.serve(service, body, from, 0).catch((thrown: unknown) =>
        this.log.error('service.failed', { service: to, reason: reasonOf(thrown) }),
      );
      return true;
    }
    const entry = this.registry.resolve(to, key ?? from ?? '');
    const payload = encodePayload([body, from]);
    if (entry?.mailbox.offer(Kind.TELL, 0, 0, payload) === true) return true;
    const reason = entry === undefined ? 'no such actor' : 'mailbox full';
    this.deadLetters.add({ to, from, message: 'tell', bytes: payload.length, reason });
    return false;
  }

  /** @throws SwitchyardError as in ActorContext.ask */
  ask(to: Ref, body: unknown, options: AskOptions): Promise<unknown> {
    return new Promise((resolve, reject) => this.route({ resolve, reject }, undefined, to, body, options));
  }

  private route(asker: Asker, from: Ref | undefined, to: Ref, body: unknown, options: AskOptions): void {
    const { timeoutMs, key } = options;
    const service = this.services.get(to);
    if (service !== undefined) {
      const id = this.asks.open(asker, undefined, 0, timeoutMs);
      this.serve(service, body, from, timeoutMs)
        .then((value) => this.asks.resolve(id, value))
        .catch((thrown: unknown) => this.asks.fail(id, 'ACT_REMOTE', { to, reason: reasonOf(thrown) }));
      return;
    }
    const entry = this.registry.resolve(to, key ?? from ?? '');
    if (entry === undefined) return failAsker(asker, 'ACT_NO_SUCH_ACTOR', { to });
    if (entry.state === 'stopped' || entry.state === 'failed') return failAsker(asker, 'ACT_STOPPED', { to });
    const id = this.asks.open(asker, entry, entry.mailbox.nextNumber, timeoutMs);
    if (!entry.mailbox.offer(Kind.ASK, id, 0, encodePayload([body, from])))
      this.asks.fail(id, 'ACT_MAILBOX_FULL', { to });
  }

  private async serve(
    service: Service,
    body: unknown,
    from: Ref | undefined,
    timeoutMs: number,
  ): Promise<unknown> {
    return service(body, from, timeoutMs);
  }

  /**
   * The way of a listener's frames into an actor's mailboxes; a connection always goes to the same shard.
   * @param protocol name of a codec in codecs.ts
   */
  frameSink(name: Ref, protocol: string): FrameSink {
    const codec = codecNumber(protocol);
    let refusing: { readonly mailbox: Mailbox; readonly slot: number } | undefined;
    const mailboxOf = (connection: ConnectionRef): Mailbox | undefined => {
      const instances = this.registry.instances(name);
      return instances.length === 1
        ? instances[0]!.mailbox
        : instances[shardOf(connection.slot, instances.length)]?.mailbox;
    };
    return {
      offer: (connection, bytes, start, end, count) => {
        const mailbox = mailboxOf(connection);
        if (mailbox === undefined) return true; // the actor was removed by a reload: its clients are being closed
        if (mailbox.offerFrames(connection, codec, bytes, start, end, count)) return true;
        refusing = { mailbox, slot: connection.slot };
        return false;
      },
      whenRoom: (resume) => refusing?.mailbox.whenRoom(refusing.slot, resume),
      opened: (connection, info) =>
        mailboxOf(connection)?.notice(
          Kind.CONNECTED,
          connection.slot,
          connection.generation,
          encodePayload([info, undefined]),
        ),
      closed: (connection, reason) =>
        mailboxOf(connection)?.disconnected(connection.slot, connection.generation, encodePayload(reason)),
    };
  }

  private connectionsOf(entry: ActorEntry): readonly LiveConnection[] {
    const all = this.replyTarget?.connectionsOf(entry.spec.name) ?? [];
    return [...all].filter(({ ref }) => shardOf(ref.slot, entry.spec.shards) === entry.shard);
  }

  /** What one actor asks for in vain must not keep what comes behind it in the ring. */
  private recordSafely(bridge: Bridge, ring: RingReader, at: number, payload: Buffer): void {
    try {
      this.record(bridge, ring, at, payload);
    } catch (thrown) {
      this.log.error('bridge.record_failed', {
        kind: KIND_NAMES[ring.int32[at + KIND]!],
        actor: this.registry.at(ring.int32[at + D]!)?.ref,
        reason: reasonOf(thrown),
      });
    }
  }

  private record(bridge: Bridge, ring: RingReader, at: number, payload: Buffer): void {
    const { int32 } = ring;
    const a = int32[at + A]!;
    const b = int32[at + B]!;
    switch (int32[at + KIND]) {
      case Kind.FRAMES:
        return this.replyTarget?.send(a, b, Buffer.from(payload), int32[at + COUNT]!);
      case Kind.ASK_REPLY:
        return this.asks.answer(a, b, payload);
      case Kind.HTTP_BODY:
        // The client may have gone while the request still waited in the mailbox: only now the writer can be told.
        if (this.responses?.body(a, Buffer.from(payload)) === false) bridge.deliver(Kind.HTTP_ABORT, a, 0);
        return;
      case Kind.HTTP_HEAD: {
        const [status, headers] = decodePayload(payload) as [number, Record<string, string>];
        return this.responses?.head(a, status, headers);
      }
      case Kind.HTTP_END:
        return this.responses?.end(a);
      case Kind.HTTP_CUT:
        return this.responses?.cut(a, decodePayload(payload) as string);
      default:
        return this.request(
          bridge,
          int32[at + KIND]!,
          a,
          b,
          this.registry.at(int32[at + D]!),
          decodePayload(payload),
        );
    }
  }

  /** Records that are rare enough to be plain data. */
  private request(
    bridge: Bridge,
    kind: number,
    a: number,
    b: number,
    sender: ActorEntry | undefined,
    value: unknown,
  ): void {
    const from = sender?.ref;
    switch (kind) {
      case Kind.TELL: {
        const [to, body, key] = value as [Ref, unknown, string | number | undefined];
        this.tell(to, body, from, key);
        return;
      }
      case Kind.ASK: {
        const [to, body, key] = value as [Ref, unknown, string | number | undefined];
        return this.route({ bridge, id: a }, from, to, body, {
          timeoutMs: b,
          ...(key === undefined ? {} : { key }),
        });
      }
      case Kind.CPU:
        return this.route({ bridge, id: a }, from, 'cpu', value, { timeoutMs: b });
      case Kind.CLOSE:
        return this.replyTarget?.close(a, b, value as string);
      case Kind.ATTACH:
        return this.replyTarget?.attach(a, b, value);
      case Kind.LOG: {
        const [level, event, fields] = value as [LogLevel, string, LogFields];
        return this.options.writeEvent(level, event, fields);
      }
      case Kind.COUNTERS:
        return this.options.onCounters(value as [string, number][]);
      case Kind.ROUTE: {
        const [method, path] = value as [string, string];
        return sender === undefined ? undefined : this.options.onRoute(sender.spec.name, method, path);
      }
      case Kind.WATCH:
        return this.watch(from!, value as Ref);
    }
  }

  private watch(watcher: Ref, target: Ref): void {
    const instances = this.registry.instances(target);
    if (instances.length === 0)
      this.tell(watcher, { type: 'terminated', ref: target, reason: 'no such actor' });
    for (const entry of instances) entry.watchers.add(watcher);
  }

  private onDeath(entry: ActorEntry, reason: ExitReason): void {
    const started = entry.mailbox.started;
    this.responses?.actorDied(entry, started, reason.message);
    for (const watcher of entry.watchers)
      this.tell(watcher, { type: 'terminated', ref: entry.ref, reason: reason.message });
  }

  private drained(): void {
    this.replyTarget?.flush();
    for (const entry of this.registry.all()) if (entry.mailbox.wanted) entry.mailbox.checkRoom();
  }

  private control(message: Exclude<FromWorker, number>): void {
    switch (message.type) {
      case 'started':
        return this.lifecycle.onStarted(message.number);
      case 'stopped':
        return this.lifecycle.onStopped(message.number);
      case 'crashed':
        return this.lifecycle.onCrashed(message.number, message.reason, message.stack, message.starting);
      case 'probed':
        return this.lifecycle.onProbed(message.id);
      case 'online':
      case 'external':
        return;
    }
  }

  /** Messages waiting anywhere. */
  get queued(): number {
    let sum = 0;
    for (const entry of this.registry.all()) sum += entry.mailbox.depth;
    return sum;
  }

  /** No client's message waits for an actor that is there to handle it. A run of a stage is not waited for: it can go on later. */
  get idle(): boolean {
    for (const { mailbox, state, spec } of this.registry.all())
      if (mailbox.depth > 0 && spec.kind === 'service' && state !== 'stopped' && state !== 'failed')
        return false;
    return true;
  }

  /** After the supervisor has stopped the actors. */
  async shutdown(): Promise<void> {
    this.heartbeat.stop();
    await Promise.all([...this.pools.values()].map((pool) => pool.shutdown()));
    this.asks.close();
  }
}
