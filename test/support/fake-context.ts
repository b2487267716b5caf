/** An ActorContext without a runtime: records what the actor does, and its clock stands still until it is turned. */
import type { ActorContext, ActorHttpRequest, ActorHttpResponse, Actor } from '../../src/runtime/actor.js';
import type { LogFields, Logger, LogLevel } from '../../src/runtime/log-contract.js';
import type { ConnectionRef, Ref } from '../../src/runtime/ref.js';

export interface LogEvent {
  readonly level: LogLevel;
  readonly event: string;
  readonly fields: LogFields;
}

export class FakeLog implements Logger {
  readonly events: LogEvent[];

  constructor(
    private readonly base: LogFields = {},
    events: LogEvent[] = [],
  ) {
    this.events = events;
  }

  private put(level: LogLevel, event: string, fields: LogFields = {}): void {
    this.events.push({ level, event, fields: { ...this.base, ...fields } });
  }

  debug(event: string, fields?: LogFields): void {
    this.put('debug', event, fields);
  }
  info(event: string, fields?: LogFields): void {
    this.put('info', event, fields);
  }
  notice(event: string, fields?: LogFields): void {
    this.put('notice', event, fields);
  }
  warn(event: string, fields?: LogFields): void {
    this.put('warn', event, fields);
  }
  error(event: string, fields?: LogFields): void {
    this.put('error', event, fields);
  }
  fatal(event: string, fields?: LogFields): void {
    this.put('fatal', event, fields);
  }
  child(fields: LogFields): Logger {
    return new FakeLog({ ...this.base, ...fields }, this.events);
  }
  named(event: string): LogEvent[] {
    return this.events.filter((entry) => entry.event === event);
  }
}

interface Timer {
  readonly delayMs: number;
  readonly body: unknown;
}

export class FakeContext implements ActorContext {
  readonly log = new FakeLog();
  readonly stopping = new AbortController();
  readonly signal = this.stopping.signal;
  readonly told: { to: Ref; body: unknown }[] = [];
  readonly timers = new Set<Timer>();
  readonly routes: string[] = [];
  readonly sent: Buffer[] = [];
  readonly counters = new Map<string, number>();
  beats = 0;

  constructor(
    readonly params: Readonly<Record<string, unknown>>,
    readonly self: Ref = 'test',
  ) {}

  tell(to: Ref, body: unknown): void {
    this.told.push({ to, body });
  }
  async ask(to: Ref): Promise<unknown> {
    throw new Error(`nobody answers for ${to}`);
  }
  send(_connection: ConnectionRef, bytes: Uint8Array): void {
    this.sent.push(Buffer.from(bytes));
  }
  close(): void {}
  attach(): void {}
  after(delayMs: number, body: unknown): () => void {
    const timer = { delayMs, body };
    this.timers.add(timer);
    return () => this.timers.delete(timer);
  }
  watch(): void {}
  progress(): void {
    this.beats++;
  }
  route(method: string, path: string): void {
    this.routes.push(`${method} ${path}`);
  }
  count(name: string, delta = 1): void {
    this.counters.set(name, (this.counters.get(name) ?? 0) + delta);
  }
  async cpu(job: string): Promise<unknown> {
    throw new Error(`no cpu-pool for ${job}`);
  }

  /** Delivers what the actor told itself, one message at a time, until nothing is left. Timers stay. */
  async drain(actor: Actor): Promise<void> {
    for (let next = this.told.shift(); next !== undefined; next = this.told.shift()) {
      if (next.to === this.self) await actor.receive?.(next.body, this.self);
    }
  }

  /** The earliest timer fires: its message is delivered, and what follows from it. @param advance turns the test's clock
   * @returns its delay in ms */
  async turn(actor: Actor, advance?: (delayMs: number) => void): Promise<number> {
    const [timer] = [...this.timers].sort((a, b) => a.delayMs - b.delayMs);
    if (timer === undefined) throw new Error('no timer is set');
    this.timers.delete(timer);
    advance?.(timer.delayMs);
    await actor.receive?.(timer.body, this.self);
    await this.drain(actor);
    return timer.delayMs;
  }
}

export function fakeRequest(
  query: string,
  options: Partial<Omit<ActorHttpRequest, 'query'>> = {},
): ActorHttpRequest {
  return {
    method: 'GET',
    path: '/api',
    headers: {},
    remoteAddress: '127.0.0.1',
    body: Buffer.alloc(0),
    requestId: 'r1',
    ...options,
    query,
  };
}

/** Collects an answer; `hold` makes every write wait for `release`, as a slow client does. */
export class FakeResponse implements ActorHttpResponse {
  aborted = false;
  status = 0;
  headers: Readonly<Record<string, string>> = {};
  ended = false;
  wasCut = false;
  hold = false;
  readonly chunks: Buffer[] = [];
  private waiting: (() => void)[] = [];

  head(status: number, headers: Readonly<Record<string, string>> = {}): void {
    if (this.status !== 0) throw new Error('head twice');
    this.status = status;
    this.headers = headers;
  }
  async write(chunk: string | Uint8Array): Promise<void> {
    if (this.ended) throw new Error('write after end');
    this.chunks.push(Buffer.from(chunk));
    if (this.hold) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
  end(chunk?: string | Uint8Array): void {
    if (this.ended) throw new Error('end twice');
    if (chunk !== undefined) this.chunks.push(Buffer.from(chunk));
    if (this.status === 0) this.status = 200;
    this.ended = true;
  }
  cut(): void {
    this.wasCut = true;
    this.ended = true;
  }
  release(): void {
    this.hold = false;
    for (const resolve of this.waiting.splice(0)) resolve();
  }
  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }
}
