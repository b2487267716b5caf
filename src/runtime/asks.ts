/** Questions under way, wherever they come from: a worker's actor or the main thread. Main thread. */
import type { ActorEntry } from './actor-entry.js';
import type { Bridge } from './bridge.js';
import { SwitchyardError, type ErrorCode } from './errors.js';
import { decodePayload, encodePayload } from './payload.js';
import { Kind, REPLY_FAILED, REPLY_OK } from './record.js';

/** Where the answer goes. */
export type Asker =
  | { readonly bridge: Bridge; readonly id: number }
  | { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void };

interface Pending {
  readonly asker: Asker;
  readonly target: ActorEntry | undefined;
  /** Number of the message in the target's mailbox: tells whether it was delivered before a crash. */
  readonly sequence: number;
  readonly deadline: number;
}

const SWEEP_MS = 200;

export class Asks {
  private readonly pending = new Map<number, Pending>();
  private next = 1;
  private readonly sweeper = setInterval(() => this.expire(), SWEEP_MS).unref();

  /** @returns the id under which the reply comes; record it before the message is put in the mailbox */
  open(asker: Asker, target: ActorEntry | undefined, sequence: number, timeoutMs: number): number {
    const id = this.next;
    this.next = (this.next % 0x7fffffff) + 1;
    this.pending.set(id, { asker, target, sequence, deadline: performance.now() + timeoutMs });
    return id;
  }

  /** A reply record from a worker. */
  answer(id: number, status: number, payload: Buffer): void {
    const pending = this.take(id);
    if (pending === undefined) return;
    const { asker, target } = pending;
    if ('bridge' in asker) asker.bridge.deliver(Kind.REPLY, asker.id, status, Uint8Array.from(payload));
    else if (status === REPLY_OK) asker.resolve(decodePayload(payload));
    else
      asker.reject(
        new SwitchyardError('ACT_REMOTE', { to: target?.ref ?? '?', reason: String(decodePayload(payload)) }),
      );
  }

  resolve(id: number, value: unknown): void {
    this.answer(id, REPLY_OK, Buffer.from(encodePayload(value)));
  }

  fail(id: number, code: ErrorCode, params: Record<string, string | number>): void {
    const pending = this.take(id);
    if (pending !== undefined) failAsker(pending.asker, code, params);
  }

  /** The target died: what was delivered to it will not be answered any more. */
  targetDied(target: ActorEntry, started: number, reason: string): void {
    for (const [id, pending] of this.pending) {
      if (pending.target !== target || ((started - pending.sequence) | 0) < 0) continue;
      this.fail(id, 'ACT_REMOTE', { to: target.ref, reason });
    }
  }

  private take(id: number): Pending | undefined {
    const pending = this.pending.get(id);
    this.pending.delete(id);
    return pending;
  }

  /** Workers time their own asks out; this frees the table and serves the main thread's asks. */
  private expire(): void {
    const now = performance.now();
    for (const [id, pending] of this.pending) {
      if (pending.deadline > now) continue;
      this.fail(id, 'ACT_ASK_TIMEOUT', { to: pending.target?.ref ?? '?', timeoutMs: 'the given' });
    }
  }

  get size(): number {
    return this.pending.size;
  }

  close(): void {
    clearInterval(this.sweeper);
    for (const id of [...this.pending.keys()]) this.fail(id, 'ACT_STOPPED', { to: 'the system' });
  }
}

/** Tells an asker that the runtime itself could not get an answer. */
export function failAsker(asker: Asker, code: ErrorCode, params: Record<string, string | number>): void {
  if ('bridge' in asker)
    asker.bridge.deliver(Kind.REPLY, asker.id, REPLY_FAILED, encodePayload([code, params]));
  else asker.reject(new SwitchyardError(code, params));
}
