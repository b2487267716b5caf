/**
 * The seam between the reactor (sockets) and the actors' mailboxes. Main thread. The reactor calls FrameSink;
 * the system calls ReplyTarget when replies come back from a worker.
 */
import type { ConnectionInfo } from './actor.js';
import type { ConnectionRef } from './ref.js';

export interface FrameSink {
  /**
   * Appends `count` consecutive valid frames, `bytes[start, end)`, of one connection to the mailbox. Bytes are
   * copied before it returns. Called in arrival order.
   * @returns false when the mailbox has no room: nothing was taken; the connection must stop reading, keep the bytes
   *   and try again when `resume` is called.
   */
  offer(connection: ConnectionRef, bytes: Buffer, start: number, end: number, count: number): boolean;
  /** Registers who is to be called (once per refusal, in order of refusal) when there is room again. */
  whenRoom(resume: () => void): void;
  /** Never refused: lifecycle notices have room reserved. */
  opened(connection: ConnectionRef, info: ConnectionInfo): void;
  closed(connection: ConnectionRef, reason: string): void;
}

export interface ReplyTarget {
  /**
   * Queues reply bytes (a copy owned by the callee) holding `packets` whole packets; written when `flush` is called.
   * Silently dropped when the generation no longer matches.
   */
  send(slot: number, generation: number, bytes: Buffer, packets: number): void;
  /** Ends the connection after what was queued is flushed. */
  close(slot: number, generation: number, reason: string): void;
  /** Keeps plain data with the connection for redelivery after an actor's restart. */
  attach(slot: number, generation: number, data: unknown): void;
  /** Writes what `send` queued since the last flush: one coalesced write per connection. */
  flush(): void;
  /** Live connections (with info and attachment) of the named actor, for redelivery after its restart. */
  connectionsOf(actor: string): Iterable<{ ref: ConnectionRef; info: ConnectionInfo; attachment: unknown }>;
}
