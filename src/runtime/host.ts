/**
 * The worker's loop: reads the inbox and gives each hosted actor its turn while there is work, looks a little longer
 * (spin) because the next message of a busy connection is only microseconds away, then sleeps until the doorbell.
 * It returns to the event loop at least every few milliseconds so that timers, sockets and databases go on.
 */
import type { MessagePort } from 'node:worker_threads';
import type { ActorFactory } from './actor.js';
import {
  CounterBag,
  outboxLogger,
  ReplyTable,
  WorkerActorContext,
  type ActorLink,
  type CreditTable,
} from './actor-context.js';
import { codecs } from './codecs.js';
import { reasonOf } from './errors.js';
import { HostedActor } from './hosted-actor.js';
import { Outbox } from './outbox.js';
import { encodePayload } from './payload.js';
import { A, B, C, KIND, Kind } from './record.js';
import { RingReader, Word } from './ring.js';
import { SpinGauge } from './spin-gauge.js';
import {
  LinkWord,
  type FromWorker,
  type StartActor,
  type ToWorker,
  type WorkerSetup,
} from './thread-messages.js';

/** Longest time in ms without a return to the event loop. */
const BURST_MS = 4;
const COUNTERS_EVERY_MS = 1000;

interface Hosted {
  readonly actor: HostedActor;
  readonly context: WorkerActorContext;
}

export class Host {
  private readonly control: Int32Array;
  private readonly inbox: RingReader;
  private readonly outbox: Outbox;
  private readonly replies = new ReplyTable();
  private readonly credits: CreditTable = new Map();
  private readonly counters = new CounterBag();
  private readonly externals = new Map<number, Uint8Array>();
  private readonly hosted = new Map<number, Hosted>();
  /** Contexts of instances that are still coming up. */
  private readonly starting = new Map<number, WorkerActorContext>();
  /** The same actors as an array: the loop visits it millions of times a second. */
  private turns: HostedActor[] = [];
  private readonly spin: SpinGauge;
  private scheduled = false;
  private inTurn = false;

  constructor(
    private readonly port: MessagePort,
    private readonly setup: WorkerSetup,
  ) {
    this.spin = new SpinGauge(setup.spinUs > 0);
    this.control = new Int32Array(setup.control);
    this.inbox = new RingReader(setup.inbox);
    this.outbox = new Outbox(setup.outbox, this.control, port);
    setInterval(() => this.sendCounters(), COUNTERS_EVERY_MS).unref();
  }

  post(message: FromWorker): void {
    this.outbox.flush();
    this.port.postMessage(message);
  }

  /** Handles what the main thread posted. */
  receive(message: ToWorker): void {
    if (typeof message === 'number') return this.pump();
    switch (message.type) {
      case 'start':
        void this.start(message);
        return;
      case 'stop':
        void this.stop(message.number, message.reason);
        return;
      case 'abandon':
        this.starting.get(message.number)?.retire();
        this.hosted.get(message.number)?.actor.abandon();
        this.remove(message.number);
        return;
      case 'probe':
        return this.post({ type: 'probed', id: message.id });
      case 'external':
        this.externals.set(message.id, message.bytes);
        return this.schedule();
      case 'shutdown':
        this.sendCounters();
        this.outbox.flush();
        this.port.close();
        return;
    }
  }

  private async start(message: StartActor): Promise<void> {
    const { number, ref } = message;
    const inTurn = (): boolean => this.inTurn;
    const link: ActorLink = {
      outbox: this.outbox,
      number,
      replies: this.replies,
      credits: this.credits,
      wake: () => this.schedule(),
      closed: false,
      get inTurn() {
        return inTurn();
      },
    };
    for (const [id, bytes] of message.externals) this.externals.set(id, bytes);
    const words = new RingReader(message.mailbox).words;
    const context = new WorkerActorContext(ref, message.params, link, words, this.counters);
    this.starting.set(number, context);
    try {
      const module = (await import(message.module)) as Record<string, unknown>;
      const factory = module[message.factory];
      if (typeof factory !== 'function')
        throw new Error(`${message.module} has no export ${message.factory}`);
      const actor = await (factory as ActorFactory)(context);
      await actor.init?.();
      for (const { ref: connection, info, attachment } of message.connections) {
        try {
          await actor.connected?.(connection, info, attachment);
        } catch (thrown) {
          // One connection must not keep the actor from coming up: it would fail the same way at each start.
          context.log.error('actor.connected_failed', { ...connection, reason: reasonOf(thrown) });
          context.close(connection, 'the actor could not take it after its restart');
        }
      }
      if (link.closed) return; // given up meanwhile; another instance may be on its way
      const onCrash = (thrown: unknown): void => this.crashed(number, thrown, false);
      const hosted = new HostedActor(actor, link, message.mailbox, codecs, this.externals, onCrash);
      this.hosted.set(number, { actor: hosted, context });
      this.turns = [...this.hosted.values()].map((entry) => entry.actor);
      this.post({ type: 'started', number });
      this.schedule();
    } catch (thrown) {
      if (link.closed) return;
      context.retire();
      this.crashed(number, thrown, true);
    } finally {
      if (this.starting.get(number) === context) this.starting.delete(number);
    }
  }

  private async stop(number: number, reason: string): Promise<void> {
    const entry = this.hosted.get(number);
    if (entry !== undefined) {
      entry.context.stopping();
      try {
        await entry.actor.stop(reason);
      } catch (thrown) {
        outboxLogger(this.outbox, { actor: entry.context.self }).error('actor.stop_failed', {
          reason: reasonOf(thrown),
        });
      }
      if (this.hosted.get(number) !== entry) return; // dropped meanwhile: the number is its successor's
      this.remove(number);
    }
    this.post({ type: 'stopped', number });
  }

  private crashed(number: number, thrown: unknown, starting: boolean): void {
    this.remove(number);
    const stack = thrown instanceof Error ? (thrown.stack ?? '') : '';
    this.post({ type: 'crashed', number, reason: reasonOf(thrown), stack, starting });
  }

  private remove(number: number): void {
    this.hosted.get(number)?.context.retire();
    this.hosted.delete(number);
    this.turns = [...this.hosted.values()].map((entry) => entry.actor);
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.pump();
    });
  }

  /** Works until there is nothing left, or until the event loop is due. */
  private pump(): void {
    const started = performance.now();
    let idleSince = 0;
    Atomics.store(this.control, LinkWord.WORKER_ASLEEP, 0);
    for (;;) {
      if (this.sweep()) {
        if (idleSince > 0) this.spin.record(true);
        idleSince = 0;
      } else if (idleSince === 0) {
        if (!this.spin.worthwhile) break;
        idleSince = performance.now();
      } else if ((performance.now() - idleSince) * 1000 >= this.setup.spinUs) {
        this.spin.record(false);
        break;
      }
      if (performance.now() - started > BURST_MS) return this.schedule();
    }
    // Announce the sleep first and look once more after it, or a message in between would wait for ever.
    Atomics.store(this.control, LinkWord.WORKER_ASLEEP, 1);
    if (this.anything()) this.schedule();
  }

  private sweep(): boolean {
    let worked = this.readInbox();
    if (this.outbox.blocked && this.outbox.retry()) worked = true;
    const turns = this.turns;
    this.inTurn = true;
    for (let i = 0; i < turns.length; i++) if (turns[i]!.ready && turns[i]!.turn()) worked = true;
    this.inTurn = false;
    if (worked) this.outbox.flush();
    return worked;
  }

  private anything(): boolean {
    if (!this.inbox.empty || this.outbox.overlooked) return true;
    for (const actor of this.turns) if (actor.ready && !this.outbox.blocked) return true;
    return false;
  }

  private readInbox(): boolean {
    const { inbox } = this;
    let at = inbox.peek();
    if (at < 0) return false;
    for (; at >= 0; at = inbox.peek()) {
      const { int32 } = inbox;
      const external = int32[at + C]!;
      const payload = external === 0 ? inbox.payload(at) : this.externals.get(external);
      if (payload === undefined) break;
      this.externals.delete(external);
      const id = int32[at + A]!;
      const kind = int32[at + KIND]!;
      if (kind === Kind.REPLY) this.replies.settle(id, int32[at + B]!, payload);
      else if (kind === Kind.HTTP_CREDIT) this.credits.get(id)?.credit(int32[at + B]!);
      else if (kind === Kind.HTTP_ABORT) this.credits.get(id)?.abort();
      inbox.advance(at);
    }
    inbox.release();
    if (Atomics.exchange(inbox.words, Word.WANT_ROOM, 0) === 1) this.outbox.roomMade();
    return true;
  }

  private sendCounters(): void {
    const counted = this.counters.take();
    if (counted === undefined) return;
    this.outbox.write(Kind.COUNTERS, 0, 0, 0, encodePayload(counted));
    this.outbox.flush();
  }
}
