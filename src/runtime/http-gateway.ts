/**
 * Requests on their way to actors and the responses on their way back: an exchange of an HTTP engine becomes a message in
 * an actor's mailbox; head, body pieces and end come back as records. Main thread.
 */
import type { ActorEntry } from './actor-entry.js';
import type { HttpExchange } from './http-exchange.js';
import { encodeRequest } from './http-responder.js';
import { Kind } from './record.js';
import type { Ref } from './ref.js';
import type { Registry } from './registry.js';
import type { ResponseTarget } from './system.js';

interface Open {
  readonly exchange: HttpExchange;
  readonly entry: ActorEntry;
  /** Number of the request in the mailbox: delivered when the actor has started that many. */
  readonly sequence: number;
  /** Main-thread clock in ms of the last sign of the actor. */
  lastSign: number;
  /** Bytes passed on for which no credit was given back yet. */
  owed: number;
  waiting: boolean;
}

/** Credit goes back in steps of this many bytes. */
const CREDIT_STEP = 64 * 1024;
const SWEEP_MS = 1000;

export interface GatewayOptions {
  /** Most requests under way at once; more get 503. */
  readonly maxExchanges: number;
  /** Longest silence of an actor on a request, in ms; then 504, or a cut connection when the response had begun. */
  readonly responseTimeout: number;
}

export class HttpGateway implements ResponseTarget {
  private readonly open = new Map<number, Open>();
  private next = 1;
  private readonly sweeper = setInterval(() => this.expire(), SWEEP_MS).unref();

  constructor(
    private readonly registry: Registry,
    readonly options: GatewayOptions,
  ) {}

  /** Requests under way. */
  get size(): number {
    return this.open.size;
  }

  /** Puts a complete request into the mailbox of an actor; answers 503 itself when there is no room or no actor. */
  offer(ref: Ref, exchange: HttpExchange): void {
    const id = this.next;
    this.next = (this.next % 0x7fffffff) + 1;
    const entry = this.registry.resolve(ref, id);
    if (entry === undefined || entry.state === 'stopped' || entry.state === 'failed') {
      return exchange.problem(503, 'the service behind this path does not run', { 'Retry-After': '5' });
    }
    if (this.open.size >= this.options.maxExchanges) {
      return exchange.problem(503, 'too many requests under way', { 'Retry-After': '1' });
    }
    const { method, path, query, headers, remoteAddress, requestId, body } = exchange;
    const payload = encodeRequest({ method, path, query, headers, remoteAddress, requestId }, body);
    const sequence = entry.mailbox.nextNumber;
    this.open.set(id, { exchange, entry, sequence, lastSign: performance.now(), owed: 0, waiting: false });
    if (!entry.mailbox.offer(Kind.REQUEST, id, 0, payload)) {
      this.open.delete(id);
      return exchange.problem(503, 'the service behind this path is busy', { 'Retry-After': '1' });
    }
    exchange.onAbort(() => {
      if (this.open.delete(id)) entry.bridge?.deliver(Kind.HTTP_ABORT, id, 0);
    });
  }

  head(id: number, status: number, headers: Readonly<Record<string, string>>): void {
    const open = this.touch(id);
    if (open === undefined) return;
    try {
      open.exchange.head(status, headers);
    } catch (thrown) {
      this.open.delete(id);
      open.exchange.fail(thrown instanceof Error ? thrown.message : String(thrown));
    }
  }

  body(id: number, bytes: Buffer): boolean {
    const open = this.touch(id);
    if (open === undefined) return false;
    open.owed += bytes.length;
    let flowing: boolean;
    try {
      flowing = open.exchange.write(bytes);
    } catch (thrown) {
      this.open.delete(id);
      open.exchange.fail(thrown instanceof Error ? thrown.message : String(thrown));
      return false;
    }
    if (flowing && !open.waiting) {
      if (open.owed >= CREDIT_STEP) this.credit(id, open);
    } else if (!open.waiting) {
      open.waiting = true;
      void open.exchange.whenDrained().then(() => {
        open.waiting = false;
        open.lastSign = performance.now();
        this.credit(id, open);
      });
    }
    return true;
  }

  end(id: number): void {
    const open = this.touch(id);
    if (open === undefined) return;
    this.open.delete(id);
    open.exchange.end();
  }

  cut(id: number, reason: string): void {
    const open = this.open.get(id);
    this.open.delete(id);
    open?.exchange.fail(reason);
  }

  actorDied(entry: ActorEntry, started: number, reason: string): void {
    for (const [id, open] of this.open) {
      if (open.entry !== entry || ((started - open.sequence) | 0) < 0) continue;
      this.open.delete(id);
      open.exchange.fail(reason);
    }
  }

  private touch(id: number): Open | undefined {
    const open = this.open.get(id);
    if (open !== undefined) open.lastSign = performance.now();
    return open;
  }

  private credit(id: number, open: Open): void {
    open.entry.bridge?.deliver(Kind.HTTP_CREDIT, id, open.owed);
    open.owed = 0;
  }

  private expire(): void {
    const limit = performance.now() - this.options.responseTimeout;
    for (const [id, open] of this.open) {
      // While the client is slow, the engine's own send time-out watches it.
      if (open.waiting || open.lastSign > limit) continue;
      this.open.delete(id);
      open.entry.bridge?.deliver(Kind.HTTP_ABORT, id, 0);
      open.exchange.problem(504, 'the service behind this path did not answer in time');
      if (!open.exchange.ended) open.exchange.abort();
    }
  }

  close(): void {
    clearInterval(this.sweeper);
  }
}
