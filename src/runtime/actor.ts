/**
 * The contract between the runtime and an actor. An actor is one object living in one worker thread.
 * Every method runs on that thread and never concurrently with another method of the same actor: the next
 * message is taken when the promise of the current one has settled. A method must not block the thread.
 *
 * A message counts as taken when its method has finished. If the actor throws (or its promise rejects), the
 * message goes to the dead letters and the supervisor restarts the actor; the messages behind it wait in
 * the mailbox and are delivered to the new instance.
 */
import type { Logger } from './log-contract.js';
import type { ConnectionRef, Ref } from './ref.js';

export interface ConnectionInfo {
  readonly listener: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly secure: boolean;
}

export interface Actor {
  /** Before the first message. A rejection counts as a crash. */
  init?(): void | Promise<void>;
  /** A `tell` or an `ask`. The returned value is the reply of an `ask`, ignored for a `tell`. */
  receive?(body: unknown, from: Ref | undefined): unknown;
  /**
   * One valid frame of a connection: `bytes[start, end)`, header included. The bytes are shared memory that is valid
   * only until the method returns (or its promise settles); copy what must outlive it. No per-frame view is made,
   * because at millions of frames a second the view would cost more than the handling.
   */
  frame?(connection: ConnectionRef, bytes: Buffer, start: number, end: number): void | Promise<void>;
  /**
   * A connection that sends its frames here was opened; also called again for every live connection after
   * a restart, with what `ctx.attach` kept for it.
   */
  connected?(connection: ConnectionRef, info: ConnectionInfo, attachment: unknown): void | Promise<void>;
  disconnected?(connection: ConnectionRef, reason: string): void | Promise<void>;
  /** An HTTP request of a route of this actor. */
  request?(request: ActorHttpRequest, response: ActorHttpResponse): void | Promise<void>;
  /** Orderly stop: no message follows. Not called after a crash or a kill. */
  stop?(reason: string): void | Promise<void>;
}

/** Made once per (re)start on the worker thread. The module's export named in the child spec. */
export type ActorFactory = (ctx: ActorContext) => Actor | Promise<Actor>;

export interface AskOptions {
  /** Deadline in milliseconds; there is no default on purpose. */
  readonly timeoutMs: number;
  /** Shard key when the target is sharded; same key, same instance, same order. */
  readonly key?: string | number;
}

/** What an actor may do. All methods run on the actor's worker thread. */
export interface ActorContext {
  readonly self: Ref;
  /** Values of the actor's conf section, keyed by conf key; durations in ms, sizes in bytes. Plain data. */
  readonly params: Readonly<Record<string, unknown>>;
  readonly log: Logger;
  /** Aborted when the actor is being stopped or replaced. */
  readonly signal: AbortSignal;
  /** Sends and forgets. Lost only if the target does not exist or refuses (dead letters). */
  tell(to: Ref, body: unknown, options?: { readonly key?: string | number }): void;
  /** @throws SwitchyardError ACT_ASK_TIMEOUT, ACT_NO_SUCH_ACTOR, ACT_MAILBOX_FULL, ACT_REMOTE (the other side threw). */
  ask(to: Ref, body: unknown, options: AskOptions): Promise<unknown>;
  /** Appends bytes to the connection's send queue. Bytes are copied before the call returns. */
  send(connection: ConnectionRef, bytes: Uint8Array): void;
  /** Closes after what was sent before is flushed. */
  close(connection: ConnectionRef, reason: string): void;
  /** Keeps small plain data (login state) with the connection; it outlives a crash of the actor. */
  attach(connection: ConnectionRef, data: unknown): void;
  /** Tells `self` the body after a delay. Cancelled by `stop` and by the returned function. */
  after(delayMs: number, body: unknown): () => void;
  /** A death notice `{ type: 'terminated', ref, reason }` is told to `self` when the target stops or crashes. */
  watch(target: Ref): void;
  /** Progress during a long message: counts as a heartbeat. Being alive does not. */
  progress(): void;
  /** Registers HTTP routes of this actor; `path` is exact, or a prefix when it ends with `/*`. */
  route(method: string, path: string): void;
  /** Counter metric of this process: `switchyard_<name>`; labels low in number. */
  count(name: string, delta?: number, labels?: Readonly<Record<string, string>>): void;
  /** Runs a stateless job on the cpu-pool. @param job a name in src/runtime/cpu-jobs.ts */
  cpu(job: string, data: unknown, options: { readonly timeoutMs: number }): Promise<unknown>;
}

export interface ActorHttpRequest {
  readonly method: string;
  /** Decoded path without query. */
  readonly path: string;
  /** Raw query text without `?`. */
  readonly query: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly remoteAddress: string;
  readonly body: Buffer;
  readonly requestId: string;
}

export interface ActorHttpResponse {
  /** True once the client has gone; writing is then a no-op. */
  readonly aborted: boolean;
  /** Sends status and headers; at most once, before the first write. */
  head(status: number, headers?: Readonly<Record<string, string>>): void;
  /** Streams bytes; the promise settles when more may be written (back-pressure of the client). */
  write(chunk: string | Uint8Array): Promise<void>;
  /** Cuts the connection in mid-answer, so that nobody takes what was sent for the whole; 500 when nothing was sent. */
  cut(reason: string): void;
  /** Ends the response; without a prior `head`, status 200. */
  end(chunk?: string | Uint8Array): void;
}
