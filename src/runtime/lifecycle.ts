/**
 * Start, stop, crash, hang and loss of actor instances. It gives the supervisor a ChildSpec for each actor; what a
 * dead instance left behind (its message, its asks, its watchers) is settled here. Main thread.
 */
import type { ActorEntry, ActorSpec } from './actor-entry.js';
import type { Asks } from './asks.js';
import type { Bridge } from './bridge.js';
import { codecs } from './codecs.js';
import type { DeadLetters } from './dead-letters.js';
import { SwitchyardError } from './errors.js';
import type { HeartbeatMonitor } from './heartbeat.js';
import type { Logger } from './log-contract.js';
import type { FailedMessage, Mailbox } from './mailbox.js';
import type { Pool } from './pool.js';
import type { Registry } from './registry.js';
import type { LiveConnection } from './thread-messages.js';
import { readStack } from './stack-probe.js';
import type { ChildHandle, ChildSpec, ExitReason } from './child-spec.js';

/** How long a worker may take to answer "are you there" before its thread counts as stuck. */
const PROBE_MS = 100;
const STACK_MS = 250;

/** What settles `exited` of one instance stands for it. */
type Instance = ActorEntry['ended'];

export interface LifecycleParts {
  readonly registry: Registry;
  readonly pools: ReadonlyMap<string, Pool>;
  readonly asks: Asks;
  readonly heartbeat: HeartbeatMonitor;
  readonly deadLetters: DeadLetters;
  readonly log: Logger;
  /** Tells watchers, fails open HTTP exchanges. */
  onDeath(entry: ActorEntry, reason: ExitReason): void;
  /** Connections that send their frames to the entry; announced again to a restarted instance. */
  connectionsOf(entry: ActorEntry): readonly LiveConnection[];
}

export class Lifecycle {
  private readonly probes = new Map<number, () => void>();
  private nextProbe = 1;

  constructor(private readonly parts: LifecycleParts) {}

  childSpec(entry: ActorEntry, shutdownMs: number, restart: ChildSpec['restart']): ChildSpec {
    const place = this.pool(entry.spec).placeOf(entry.ref);
    return { id: entry.ref, restart, shutdownMs, start: (signal) => this.start(entry, place, signal) };
  }

  private pool(spec: ActorSpec): Pool {
    const pool = this.parts.pools.get(spec.pool);
    if (pool === undefined)
      throw new SwitchyardError('ACT_START', { ref: spec.name, reason: `there is no pool ${spec.pool}` });
    return pool;
  }

  private async start(entry: ActorEntry, place: number, signal: AbortSignal): Promise<ChildHandle> {
    entry.state = 'starting';
    const bridge = await this.thread(entry, place);
    const again = entry.starts++ > 0;
    entry.bridge = bridge;
    entry.mailbox.wake = bridge.wake;
    entry.mailbox.sendExternal = bridge.postExternal;
    this.parts.heartbeat.reset(entry);
    const exited = new Promise<ExitReason>((resolve) => (entry.ended = resolve));
    // Tells this instance from its successors, which have the same entry.
    const instance = entry.ended;
    await this.started(entry, bridge, signal);
    entry.state = 'running';
    entry.startedAt = performance.now();
    this.parts.log.info(again ? 'actor.restarted' : 'actor.started', {
      actor: entry.ref,
      pool: entry.spec.pool,
      thread: bridge.threadId,
    });
    bridge.wake();
    return {
      exited,
      stop: (reason) => this.stop(entry, bridge, instance, reason),
      kill: () => this.kill(entry, bridge, instance),
    };
  }

  private async thread(entry: ActorEntry, place: number): Promise<Bridge> {
    try {
      return await this.pool(entry.spec).bridge(place);
    } catch (cause) {
      entry.state = 'failed';
      entry.lastError = (cause as Error).message;
      throw new SwitchyardError('ACT_START', { ref: entry.ref, reason: entry.lastError }, { cause });
    }
  }

  private async started(entry: ActorEntry, bridge: Bridge, signal: AbortSignal): Promise<void> {
    const { number, ref, spec } = entry;
    const { module, factory, params, startMs } = spec;
    entry.mailbox.dropHandledExternals();
    const { memory: mailbox, externals } = entry.mailbox;
    const connections = entry.starts > 1 ? this.parts.connectionsOf(entry) : [];
    let timer: NodeJS.Timeout | undefined;
    let givenUp = false;
    let giveUp: ((reason: string) => void) | undefined;
    const cancel = (): void => giveUp?.('start cancelled');
    try {
      await new Promise<void>((resolve, reject) => {
        entry.starting = { resolve, reject };
        giveUp = (reason) => {
          givenUp = true;
          reject(new Error(reason));
        };
        timer = setTimeout(giveUp, startMs, `init took longer than ${startMs} ms`);
        signal.addEventListener('abort', cancel, { once: true });
        if (signal.aborted) return cancel();
        bridge.post({ type: 'start', ref, number, module, factory, params, mailbox, externals, connections });
      });
    } catch (cause) {
      entry.state = 'failed';
      entry.lastError = (cause as Error).message;
      // No instance of it is left on that thread, whatever happens to the thread.
      entry.bridge = entry.ended = undefined;
      entry.mailbox.wake = entry.mailbox.sendExternal = () => undefined;
      if (givenUp) await this.abandon(entry, bridge);
      throw new SwitchyardError('ACT_START', { ref, reason: (cause as Error).message }, { cause });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', cancel);
      entry.starting = undefined;
    }
  }

  /** Orderly: the current message is finished, `stop` is called. The supervisor guards the deadline with `kill`. */
  private async stop(entry: ActorEntry, bridge: Bridge, instance: Instance, reason: string): Promise<void> {
    if (entry.ended !== instance || entry.state !== 'running' || !bridge.alive) return;
    entry.state = 'terminating';
    const stopped = new Promise<void>((resolve) => (entry.stopped = resolve));
    bridge.post({ type: 'stop', number: entry.number, reason });
    await stopped;
    entry.stopped = undefined;
    if (entry.ended === instance) this.ended(entry, { kind: 'normal', message: reason });
    if (entry.ended === undefined) entry.state = 'stopped';
  }

  /** The instance is dropped; its thread only if it does not answer, because neighbours live there. */
  private async kill(entry: ActorEntry, bridge: Bridge, instance: Instance): Promise<void> {
    if (entry.ended !== instance) return;
    if ((await this.abandon(entry, bridge)) && entry.ended === instance) {
      entry.stopped?.();
      this.ended(entry, { kind: 'killed', message: 'killed after its stop deadline' });
    }
    if (entry.ended === undefined) entry.state = 'stopped';
  }

  /**
   * Settles when the instance certainly does nothing more: only then its marks in the mailbox may be read. Probe and
   * order take the same way, so the answer comes after the order was carried out.
   * @returns false when the thread had to be ended for it
   */
  private async abandon(entry: ActorEntry, bridge: Bridge): Promise<boolean> {
    if (bridge.alive) bridge.post({ type: 'abandon', number: entry.number });
    if (bridge.alive && (await this.answers(bridge))) return true;
    await bridge.terminate();
    return false;
  }

  /** The worker reports: an actor is up. */
  onStarted(number: number): void {
    this.parts.registry.at(number)?.starting?.resolve();
  }

  onStopped(number: number): void {
    this.parts.registry.at(number)?.stopped?.();
  }

  onProbed(id: number): void {
    this.probes.get(id)?.();
  }

  onCrashed(number: number, reason: string, stack: string, starting: boolean): void {
    const entry = this.parts.registry.at(number);
    if (entry === undefined) return;
    if (starting) {
      entry.starting?.reject(new Error(reason));
      return;
    }
    this.parts.log.error('actor.crashed', { actor: entry.ref, reason, stack });
    entry.stopped?.();
    this.ended(entry, { kind: 'crash', message: reason });
  }

  /** The thread is gone and took its actors; one cause for all of them. */
  onThreadExit(bridge: Bridge, reason: string): void {
    const cause = { bridge, reason };
    const culprit = this.culprits.get(bridge);
    this.culprits.delete(bridge);
    for (const entry of this.parts.registry.all()) {
      if (entry.bridge !== bridge) continue;
      entry.starting?.reject(new Error(reason));
      entry.stopped?.();
      const hung = culprit?.entry === entry;
      this.ended(entry, { kind: hung ? 'hang' : 'lost', message: hung ? culprit.message : reason, cause });
    }
  }

  /** Whose hang ended a thread, by thread. */
  private readonly culprits = new Map<Bridge, { readonly entry: ActorEntry; readonly message: string }>();

  /** Heartbeat expiry: say where it is stuck, then restart as little as possible. */
  async onExpired(entry: ActorEntry, ageMs: number): Promise<void> {
    const bridge = entry.bridge;
    if (bridge === undefined || !bridge.alive) return;
    const instance = entry.ended;
    const before = entry.mailbox.progress();
    const { current } = before;
    const about = {
      actor: entry.ref,
      message: messageName(current),
      heartbeat_ms: ageMs,
      thread: bridge.threadId,
    };
    const answers = await this.answers(bridge);
    // It may have been slow only, and have got on while it was asked.
    if (entry.state !== 'running' || entry.ended !== instance || gotOn(before, entry.mailbox.progress()))
      return;
    if (answers) {
      this.parts.log.error('actor.hang', {
        ...about,
        stuck: 'await',
        hint: 'its promise did not settle; only this actor is restarted',
      });
      if (!(await this.abandon(entry, bridge)) || entry.ended !== instance) return;
      this.ended(entry, {
        kind: 'hang',
        message: `no progress on ${messageName(current)} for ${ageMs} ms (await)`,
      });
      return;
    }
    const stack = await readStack(bridge.threadId, STACK_MS);
    this.parts.log.error('actor.hang', { ...about, stuck: 'thread', stack: stack ?? 'not readable' });
    // Neighbours whose messages wait behind it expire as well; the one that is within a message is to blame.
    if (!this.culprits.has(bridge) || before.started !== before.handled)
      this.culprits.set(bridge, {
        entry,
        message: `no progress on ${messageName(current)} for ${ageMs} ms (thread)`,
      });
    await bridge.terminate();
  }

  private answers(bridge: Bridge): Promise<boolean> {
    const id = this.nextProbe++;
    return new Promise((resolve) => {
      const done = (alive: boolean): void => {
        clearTimeout(timer);
        this.probes.delete(id);
        resolve(alive);
      };
      // If it was this thread that paused, the answer may be here already: one more look before the verdict.
      const timer = setTimeout(() => setImmediate(() => done(false)), PROBE_MS);
      this.probes.set(id, () => done(true));
      bridge.post({ type: 'probe', id });
    });
  }

  /** Settles what an instance leaves behind. Called once per incarnation. */
  private ended(entry: ActorEntry, reason: ExitReason): void {
    const ended = entry.ended;
    if (ended === undefined) return;
    entry.ended = undefined;
    entry.bridge = undefined;
    entry.mailbox.wake = entry.mailbox.sendExternal = () => undefined;
    this.parts.heartbeat.forget(entry);
    const { mailbox } = entry;
    if (reason.kind !== 'normal') {
      entry.lastError = reason.message;
      entry.state = 'backing-off';
      const started = mailbox.started;
      const again = entry.spec.idempotent && entry.retriedMessage !== started;
      entry.retriedMessage = started;
      const failed = mailbox.takeFailed(
        (codec, bytes, offset) => codecs[codec]!.frameLength(bytes, offset),
        again,
      );
      if (failed !== undefined && !again) this.bury(entry, failed, reason);
      this.parts.asks.targetDied(entry, again ? (started - 1) | 0 : started, reason.message);
    }
    this.parts.onDeath(entry, reason);
    ended(reason);
  }

  private bury(entry: ActorEntry, failed: FailedMessage, reason: ExitReason): void {
    this.parts.deadLetters.add({
      to: entry.ref,
      from: failed.kind === 'frames' ? `connection ${failed.a}.${failed.b}` : undefined,
      message: failed.kind,
      bytes: failed.bytes.length,
      reason: `${reason.kind}: ${reason.message}`,
    });
  }
}

type Marks = ReturnType<Mailbox['progress']>;

function gotOn(before: Marks, now: Marks): boolean {
  return before.started !== now.started || before.handled !== now.handled || before.beat !== now.beat;
}

/** Text for the CURRENT word: a message code, or a record kind as a negative number. */
export function messageName(current: number): string {
  return current < 0 ? (KIND_TEXT[-current] ?? `kind ${-current}`) : `frame ${current}`;
}

const KIND_TEXT: Readonly<Record<number, string>> = {
  2: 'tell', 3: 'ask', 4: 'connected', 5: 'disconnected', 6: 'request',
}; // prettier-ignore
