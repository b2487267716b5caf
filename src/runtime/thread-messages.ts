/**
 * What the main thread and a worker say to each other by postMessage: rare control messages only. Frames and actor
 * messages travel in the rings. The number 0 is the doorbell ("look at the rings").
 */
import type { ConnectionInfo } from './actor.js';
import type { ConnectionRef, Ref } from './ref.js';

export const DOORBELL = 0;

/**
 * Words of the link's control memory: set by a side that is about to sleep and wants the doorbell; and by the worker when it made
 * room somebody waits for, which no ring shows.
 */
export const LinkWord = { WORKER_ASLEEP: 0, MAIN_ASLEEP: 16, ROOM_MADE: 17 } as const;
export const LINK_BYTES = 128;

/** Passed as workerData. */
export interface WorkerSetup {
  readonly pool: string;
  readonly index: number;
  readonly control: SharedArrayBuffer;
  /** Records from the worker to the main thread. */
  readonly outbox: SharedArrayBuffer;
  /** Records from the main thread to the worker itself: ask replies, HTTP credits. */
  readonly inbox: SharedArrayBuffer;
  /** How long the worker looks at its rings before it sleeps, in microseconds. */
  readonly spinUs: number;
}

export interface StartActor {
  readonly type: 'start';
  readonly ref: Ref;
  readonly number: number;
  readonly module: string;
  readonly factory: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly mailbox: SharedArrayBuffer;
  /** Payloads too large for the ring that are still waiting in the mailbox. */
  readonly externals: ReadonlyMap<number, Uint8Array>;
  /** Live connections, announced to the new instance before it takes a message. */
  readonly connections: readonly LiveConnection[];
}

export interface LiveConnection {
  readonly ref: ConnectionRef;
  readonly info: ConnectionInfo;
  readonly attachment: unknown;
}

export type ToWorker =
  | typeof DOORBELL
  | StartActor
  | { readonly type: 'stop'; readonly number: number; readonly reason: string }
  /** Drop the instance without calling it any more (its await is stuck). */
  | { readonly type: 'abandon'; readonly number: number }
  | { readonly type: 'probe'; readonly id: number }
  /** A payload too large for a ring; the record names it. */
  | { readonly type: 'external'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly type: 'shutdown' };

export type FromWorker =
  | typeof DOORBELL
  | { readonly type: 'online' }
  | { readonly type: 'started'; readonly number: number }
  | { readonly type: 'stopped'; readonly number: number }
  | {
      readonly type: 'crashed';
      readonly number: number;
      readonly reason: string;
      readonly stack: string;
      readonly starting: boolean;
    }
  | { readonly type: 'probed'; readonly id: number }
  | { readonly type: 'external'; readonly id: number; readonly bytes: Uint8Array };
