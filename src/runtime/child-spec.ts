/**
 * What a supervisor needs to know of a child, and what it tells about one. A child can be anything that starts, stops
 * and ends: an actor in a worker thread, a listener, another supervisor. Main thread.
 */

/** Why an instance ended. */
export interface ExitReason {
  /** `normal`: it finished or was stopped; `lost`: its thread died of something else. */
  readonly kind: 'normal' | 'crash' | 'killed' | 'hang' | 'lost';
  readonly message: string;
  /** The same object in several reasons says that one event ended them all; it is counted once. */
  readonly cause?: object;
}

/** One started instance. */
export interface ChildHandle {
  /** Asks it to stop in an orderly way. It is gone when `exited` settles; a rejection makes the supervisor kill. */
  stop(reason: string, deadlineMs: number): Promise<void>;
  /** Ends it at once. May take long (a blocking system call); `exited` still says when it is gone. */
  kill(): void | Promise<void>;
  /** Settles once, when nothing of the instance runs any more, whatever ended it. */
  readonly exited: Promise<ExitReason>;
}

export interface ChildSpec {
  /** Unique within its supervisor. */
  readonly id: string;
  /**
   * Starts an instance; called only when the one before is gone. Must settle in bounded time, and soon after `signal`
   * was aborted (the start is not wanted any more). After a rejection nothing of the instance may be left.
   */
  start(signal: AbortSignal): Promise<ChildHandle>;
  /** `permanent`: always restarted; `transient`: unless it ended normally; `temporary`: never. */
  readonly restart: 'permanent' | 'transient' | 'temporary';
  /** Time in ms between `stop` and `kill`; 0 kills at once, Infinity never. */
  readonly shutdownMs: number;
  /**
   * When it does not start: `error` (default) fails the supervisor's start, and later counts as a failure; `retry`
   * goes on with back-off without end and without counting (what it needs may come later), the children after it
   * start meanwhile; `ignore` leaves it as failed.
   */
  readonly startupErrorBehavior?: 'error' | 'retry' | 'ignore';
  /** Of a child that is a supervisor. */
  readonly tree?: () => SupervisorStatus;
}

export type Strategy = 'one_for_one' | 'rest_for_one' | 'one_for_all';

export type ChildState =
  'starting' | 'running' | 'restarting' | 'backoff' | 'stopped' | 'terminating' | 'failed';

/** Plain data. */
export interface ChildStatus {
  readonly id: string;
  readonly state: ChildState;
  readonly restart: ChildSpec['restart'];
  /** Starts after the first one since the supervisor started. */
  readonly restarts: number;
  /** Time in ms in this state. */
  readonly sinceMs: number;
  readonly lastReason?: { readonly kind: ExitReason['kind']; readonly message: string };
  /** Milliseconds until the next start, in state backoff. */
  readonly nextRestartMs?: number;
  readonly tree?: SupervisorStatus;
}

export interface SupervisorStatus {
  readonly id: string;
  readonly strategy: Strategy;
  readonly state: 'stopped' | 'starting' | 'running' | 'stopping' | 'failed';
  /** Failures within the period that count for the intensity. */
  readonly recentFailures: number;
  readonly children: readonly ChildStatus[];
}

/** The one shape of every report of a supervisor. */
export interface SupervisorReport {
  readonly supervisor: string;
  /**
   * `started`, `restarted`: an instance is up; `start_error`: it did not start; `child_terminated`: it ended by itself;
   * `shutdown_error`: it did not stop as asked and was killed; `kill_pending`: killed, but still not gone;
   * `escalated`: too many failures, the supervisor gives up.
   */
  readonly context:
    | 'started' | 'restarted' | 'start_error' | 'child_terminated'
    | 'shutdown_error' | 'kill_pending' | 'escalated'; // prettier-ignore
  readonly reason: ExitReason | undefined;
  readonly offender: { readonly id: string; readonly restarts: number };
  /** Milliseconds until the restart that follows; absent when none does. */
  readonly restartMs?: number;
}
