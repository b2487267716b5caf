/** What the main thread knows of one actor instance (one shard). Survives the instance's restarts. */
import type { Bridge } from './bridge.js';
import type { ActorState } from './control-plane.js';
import type { Mailbox, MailboxOptions } from './mailbox.js';
import type { Ref } from './ref.js';
import type { ExitReason } from './child-spec.js';

/** A child of the tree that lives in a worker. */
export interface ActorSpec {
  /** Name without shard. */
  readonly name: Ref;
  readonly kind: 'service' | 'stage';
  readonly pool: string;
  readonly shards: number;
  /** URL of the compiled module and its export (an ActorFactory). */
  readonly module: string;
  readonly factory: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly mailbox: MailboxOptions;
  /** Longest time in ms without progress on a message; 0: not watched. */
  readonly heartbeatMs: number;
  /** A message whose handling crashed is delivered once more before it is given up. */
  readonly idempotent: boolean;
  /** Deadline in ms for `init`. */
  readonly startMs: number;
}

export interface ActorEntry {
  readonly ref: Ref;
  readonly number: number;
  readonly shard: number;
  /** Replaced by a reload; the mailbox stays. */
  spec: ActorSpec;
  readonly mailbox: Mailbox;
  /** Where it lives now. */
  bridge: Bridge | undefined;
  state: ActorState;
  /** The main-thread clock in ms (performance.now) of the last start. */
  startedAt: number;
  starts: number;
  lastError: string | undefined;
  /** Refs that get a notice when it ends. */
  readonly watchers: Set<Ref>;
  /** Message that already was delivered twice, by its number. */
  retriedMessage: number;
  /** Pending start: settled by the worker's answer. */
  starting: { resolve: () => void; reject: (error: Error) => void } | undefined;
  /** Pending stop. */
  stopped: (() => void) | undefined;
  /** Ends the current incarnation. */
  ended: ((reason: ExitReason) => void) | undefined;
}
