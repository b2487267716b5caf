/**
 * What an actor sees of the runtime, worker side. Everything it does becomes a record in the outbox. After the actor
 * was stopped, crashed or abandoned, calls have no effect, so that a late promise cannot disturb its successor.
 */
import { inspect } from 'node:util';
import type { ActorContext, AskOptions } from './actor.js';
import { SwitchyardError, type ErrorCode } from './errors.js';
import type { LogFields, Logger, LogLevel } from './log-contract.js';
import type { Outbox } from './outbox.js';
import { decodePayload, encodePayload } from './payload.js';
import { Kind, REPLY_OK } from './record.js';
import type { ConnectionRef, Ref } from './ref.js';
import { Word } from './ring.js';

/** What the parts of one hosted actor share. */
export interface ActorLink {
  readonly outbox: Outbox;
  readonly number: number;
  readonly replies: ReplyTable;
  readonly credits: CreditTable;
  /** Schedules a turn of the host. */
  wake(): void;
  /** The instance is gone. */
  closed: boolean;
  /** A synchronous turn is under way: the host flushes at its end. */
  readonly inTurn: boolean;
}

interface Waiting {
  readonly number: number;
  readonly timer: NodeJS.Timeout;
  settle(failed: boolean, value: unknown): void;
}

/** Asks of this worker's actors that wait for an answer. Bounded by their deadlines. */
export class ReplyTable {
  private readonly waiting = new Map<number, Waiting>();
  private next = 1;

  /** @param send is given the id under which the reply will come */
  ask(to: Ref, number: number, timeoutMs: number, send: (id: number) => void): Promise<unknown> {
    const id = this.next;
    this.next = (this.next % 0x7fffffff) + 1;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(id);
        reject(new SwitchyardError('ACT_ASK_TIMEOUT', { to, timeoutMs }));
      }, timeoutMs);
      this.waiting.set(id, {
        number,
        timer,
        settle: (failed, value) => (failed ? reject(errorOf(to, value)) : resolve(value)),
      });
      send(id);
    });
  }

  settle(id: number, status: number, payload: Uint8Array): void {
    const entry = this.waiting.get(id);
    if (entry === undefined) return; // too late: the asker has had its timeout
    this.waiting.delete(id);
    clearTimeout(entry.timer);
    entry.settle(status !== REPLY_OK, decodePayload(payload));
  }

  /** Forgets the asks of an actor that is gone. */
  forget(number: number): void {
    for (const [id, entry] of this.waiting) {
      if (entry.number !== number) continue;
      clearTimeout(entry.timer);
      this.waiting.delete(id);
    }
  }
}

/** A failed reply is `[code, params]` from the runtime, or the text of what the other actor threw. */
function errorOf(to: Ref, value: unknown): SwitchyardError {
  if (Array.isArray(value)) {
    const [code, params] = value as [ErrorCode, Record<string, string | number>];
    return new SwitchyardError(code, params);
  }
  return new SwitchyardError('ACT_REMOTE', { to, reason: String(value) });
}

/** Open HTTP responses by exchange id. */
export type CreditTable = Map<
  number,
  { readonly link: ActorLink; credit(bytes: number): void; abort(): void }
>;

/** Counters are collected here and sent once a second. */
export class CounterBag {
  private readonly sums = new Map<string, number>();

  add(name: string, delta: number, labels: Readonly<Record<string, string>> | undefined): void {
    const key = labels === undefined ? name : `${name}\n${JSON.stringify(labels)}`;
    this.sums.set(key, (this.sums.get(key) ?? 0) + delta);
  }

  /** @returns [key, sum] pairs since the last call, or undefined when nothing was counted. */
  take(): [string, number][] | undefined {
    if (this.sums.size === 0) return undefined;
    const taken = [...this.sums];
    this.sums.clear();
    return taken;
  }
}

export class WorkerActorContext implements ActorContext {
  private readonly aborter = new AbortController();
  private readonly timers = new Set<NodeJS.Timeout>();
  readonly log: Logger;

  constructor(
    readonly self: Ref,
    readonly params: Readonly<Record<string, unknown>>,
    private readonly link: ActorLink,
    private readonly words: Int32Array,
    private readonly counters: CounterBag,
  ) {
    this.log = outboxLogger(link.outbox, { actor: self });
  }

  get signal(): AbortSignal {
    return this.aborter.signal;
  }

  tell(to: Ref, body: unknown, options?: { readonly key?: string | number }): void {
    this.post(Kind.TELL, 0, 0, [to, body, options?.key]);
  }

  ask(to: Ref, body: unknown, options: AskOptions): Promise<unknown> {
    if (this.link.closed) return Promise.reject(new SwitchyardError('ACT_STOPPED', { to: this.self }));
    return this.link.replies.ask(to, this.link.number, options.timeoutMs, (id) =>
      this.post(Kind.ASK, id, options.timeoutMs, [to, body, options.key]),
    );
  }

  send(connection: ConnectionRef, bytes: Uint8Array): void {
    if (this.link.closed) return;
    this.link.outbox.reply(connection.slot, connection.generation, this.link.number, bytes);
    // Within a synchronous handler the host flushes; anything later (timers, promises) must do it itself.
    if (!this.link.inTurn) this.flushSoon();
  }

  close(connection: ConnectionRef, reason: string): void {
    this.post(Kind.CLOSE, connection.slot, connection.generation, reason);
  }

  attach(connection: ConnectionRef, data: unknown): void {
    this.post(Kind.ATTACH, connection.slot, connection.generation, data);
  }

  after(delayMs: number, body: unknown): () => void {
    if (this.link.closed) return () => undefined;
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      this.tell(this.self, body);
    }, delayMs);
    this.timers.add(timer);
    return () => {
      clearTimeout(timer);
      this.timers.delete(timer);
    };
  }

  watch(target: Ref): void {
    this.post(Kind.WATCH, 0, 0, target);
  }

  progress(): void {
    if (!this.link.closed) this.words[Word.BEAT]!++;
  }

  route(method: string, path: string): void {
    this.post(Kind.ROUTE, 0, 0, [method, path]);
  }

  count(name: string, delta = 1, labels?: Readonly<Record<string, string>>): void {
    this.counters.add(name, delta, labels);
  }

  cpu(job: string, data: unknown, options: { readonly timeoutMs: number }): Promise<unknown> {
    if (this.link.closed) return Promise.reject(new SwitchyardError('ACT_STOPPED', { to: this.self }));
    return this.link.replies.ask(`cpu/${job}`, this.link.number, options.timeoutMs, (id) =>
      this.post(Kind.CPU, id, options.timeoutMs, [job, data]),
    );
  }

  private flushing = false;

  private post(kind: number, a: number, b: number, value: unknown): void {
    if (this.link.closed) return;
    this.link.outbox.write(kind, a, b, this.link.number, encodePayload(value));
    if (!this.link.inTurn) this.flushSoon();
  }

  private flushSoon(): void {
    if (this.flushing) return;
    this.flushing = true;
    queueMicrotask(() => {
      this.flushing = false;
      this.link.outbox.flush();
    });
  }

  /** A stop begins: long work ends where it can be taken up again. */
  stopping(): void {
    this.aborter.abort();
  }

  /** Nothing of this instance has an effect any more. */
  retire(): void {
    this.link.closed = true;
    this.aborter.abort();
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    this.link.replies.forget(this.link.number);
    for (const response of this.link.credits.values()) if (response.link === this.link) response.abort();
  }
}

/** A logger whose events travel to the main thread's writer. */
export function outboxLogger(outbox: Outbox, base: LogFields): Logger {
  const write = (level: LogLevel) => (event: string, fields?: LogFields) => {
    const all = plain({ ...base, ...fields });
    let payload: Uint8Array;
    try {
      payload = encodePayload([level, event, all]);
    } catch {
      // Something within cannot be cloned; its text will do.
      payload = encodePayload([level, event, mapValues(all, (value) => inspect(value, { depth: 3 }))]);
    }
    outbox.write(Kind.LOG, 0, 0, 0, payload);
    outbox.flush();
  };
  return {
    debug: write('debug'),
    info: write('info'),
    notice: write('notice'),
    warn: write('warn'),
    error: write('error'),
    fatal: write('fatal'),
    child: (fields) => outboxLogger(outbox, { ...base, ...fields }),
  };
}

function mapValues(fields: LogFields, map: (value: unknown) => string): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, typeof value === 'object' ? map(value) : value]),
  );
}

/** Errors and functions cannot be cloned as they are; logging must not throw. */
function plain(fields: Record<string, unknown>): Record<string, unknown> {
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Error) fields[name] = value.stack ?? value.message;
    else if (typeof value === 'function' || typeof value === 'symbol') fields[name] = String(value);
  }
  return fields;
}
