/** A real System with worker threads and the test actors of dist-test/, driven without sockets. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ActorSpec } from '../../src/runtime/actor-entry.js';
import type { ChildHandle, ChildSpec, ExitReason } from '../../src/runtime/child-spec.js';
import { encodePacket } from '../../src/protocol/packet.js';
import type { ConnectionInfo } from '../../src/runtime/actor.js';
import type { ReplyTarget } from '../../src/runtime/frame-sink.js';
import type { LogFields, Logger, LogLevel } from '../../src/runtime/log-contract.js';
import type { ConnectionRef } from '../../src/runtime/ref.js';
import { System } from '../../src/runtime/system.js';

export interface LoggedEvent {
  readonly level: LogLevel;
  readonly event: string;
  readonly fields: LogFields;
}

/** Keeps what was logged. */
export function recordingLogger(events: LoggedEvent[], base: LogFields = {}): Logger {
  const write = (level: LogLevel) => (event: string, fields?: LogFields) =>
    void events.push({ level, event, fields: { ...base, ...fields } });
  return {
    debug: write('debug'),
    info: write('info'),
    notice: write('notice'),
    warn: write('warn'),
    error: write('error'),
    fatal: write('fatal'),
    child: (fields) => recordingLogger(events, { ...base, ...fields }),
  };
}

export interface SentReply {
  readonly connection: ConnectionRef;
  readonly bytes: Buffer;
}

export class SystemHarness {
  readonly events: LoggedEvent[] = [];
  readonly replies: SentReply[] = [];
  readonly routes: string[] = [];
  readonly counters = new Map<string, number>();
  /** What a restarted actor is told. */
  readonly live: { ref: ConnectionRef; info: ConnectionInfo; attachment: unknown }[] = [];
  readonly exits: { ref: string; reason: ExitReason }[] = [];
  readonly system: System;
  /** `onRoute` throws. */
  refuseRoutes = false;
  private closing = false;
  private readonly handles = new Map<string, ChildHandle>();

  constructor(pool: { heapMb?: number; workers?: number; spinUs?: number } = {}) {
    this.system = new System({
      log: recordingLogger(this.events),
      writeEvent: (level, event, fields) => void this.events.push({ level, event, fields }),
      onCounters: (counted) => {
        for (const [key, sum] of counted) this.counters.set(key, (this.counters.get(key) ?? 0) + sum);
      },
      onRoute: (ref, method, path) => {
        if (this.refuseRoutes) throw new Error('asked to refuse');
        this.routes.push(`${ref} ${method} ${path}`);
      },
    });
    const target: ReplyTarget = {
      send: (slot, generation, bytes) => void this.replies.push({ connection: { slot, generation }, bytes }),
      close: (slot, _generation, reason) =>
        void this.events.push({ level: 'info', event: 'closed', fields: { slot, reason } }),
      attach: (slot, generation, attachment) => {
        const at = this.live.findIndex(({ ref }) => ref.slot === slot && ref.generation === generation);
        if (at >= 0) this.live[at] = { ...this.live[at]!, attachment };
      },
      flush: () => undefined,
      connectionsOf: () => this.live,
    };
    this.system.setReplyTarget(target);
    const { heapMb = 128, workers = 1, spinUs = 0 } = pool;
    this.system.addPool({ name: 'test', workers, spinUs, heapMb });
  }

  /** Starts an actor of test/support/actors and restarts it at once whenever it ends, as a supervisor would. */
  async start(file: string, factory: string, options: Partial<ActorSpec> = {}): Promise<void> {
    const specs = this.spawn(file, factory, options);
    for (const spec of specs) await this.run(spec);
  }

  spawn(file: string, factory: string, options: Partial<ActorSpec> = {}): readonly ChildSpec[] {
    const module = new URL(`../../dist-test/test/support/actors/${file}.js`, import.meta.url).href;
    return this.system.spawn(
      {
        name: file,
        kind: 'service',
        pool: 'test',
        shards: 1,
        module,
        factory,
        params: {},
        mailbox: { bytes: 65_536, messages: 10_000, policy: 'reject' },
        heartbeatMs: 0,
        idempotent: false,
        startMs: 10_000,
        ...options,
      },
      1000,
      'permanent',
    );
  }

  private async run(spec: ChildSpec): Promise<void> {
    const handle = await spec.start(new AbortController().signal);
    this.handles.set(spec.id, handle);
    void handle.exited.then((reason) => {
      this.exits.push({ ref: spec.id, reason });
      return reason.kind === 'normal' ? undefined : this.runAgain(spec);
    });
  }

  private async runAgain(spec: ChildSpec, attempts = 10): Promise<void> {
    if (this.closing) return;
    try {
      await this.run(spec);
    } catch (thrown) {
      if (this.closing) return;
      if (attempts === 0) throw thrown;
      await sleep(20);
      await this.runAgain(spec, attempts - 1);
    }
  }

  stop(ref: string): Promise<void> {
    return this.handles.get(ref)!.stop('test', 1000);
  }

  async kill(ref: string): Promise<void> {
    await this.handles.get(ref)!.kill();
  }

  ask(to: string, body: unknown, timeoutMs = 5000, key?: string | number): Promise<unknown> {
    return this.system.ask(to, body, key === undefined ? { timeoutMs } : { timeoutMs, key });
  }

  /** Offers packets of one connection to an actor. */
  frames(
    to: string,
    connection: ConnectionRef,
    ...packets: readonly [code: number, text?: string][]
  ): boolean {
    const bytes = Buffer.concat(packets.map(([code, text = '']) => encodePacket(code, Buffer.from(text))));
    return this.system.frameSink(to, 'packet').offer(connection, bytes, 0, bytes.length, packets.length);
  }

  logged(event: string): LogFields[] {
    return this.events.filter((one) => one.event === event).map((one) => one.fields);
  }

  async close(): Promise<void> {
    this.closing = true;
    for (const handle of this.handles.values()) {
      const late = sleep(300).then(() => handle.kill());
      await Promise.race([handle.stop('test over', 300), late]);
    }
    await this.system.shutdown();
  }
}

/** Waits until the condition holds; fails the test after `limitMs`. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  limitMs = 10_000,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`);
    await sleep(5);
  }
}
