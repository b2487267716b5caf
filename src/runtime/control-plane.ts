/**
 * What operations (admin port, admin HTTP, statistics, signals) may ask of the running system. The system
 * implements it on the main thread; every snapshot is plain JSON data without secrets and without message bodies.
 * Times: `...At` are epoch milliseconds, `...Ms` are durations. Nothing here blocks the event loop.
 */
import type { LogLevel } from './log-contract.js';
import type { Log } from './log.js';
import type { MetricRegistry } from './metrics.js';
import type { ProcessValues } from './process-keys.js';
import type { Ref } from './ref.js';

export type ActorState = 'starting' | 'running' | 'backing-off' | 'terminating' | 'stopped' | 'failed';

export interface ActorSnapshot {
  readonly ref: Ref;
  readonly state: ActorState;
  readonly pool: string;
  /** worker_threads id; undefined while it has none. */
  readonly thread: number | undefined;
  /** What it is handling now (`frame 5`, `receive`, `request GET /x`); undefined when idle. */
  readonly message: string | undefined;
  readonly messageAgeMs: number | undefined;
  readonly handled: number;
  readonly restarts: number;
  readonly lastError: string | undefined;
  /** Messages waiting in its mailbox. */
  readonly depth: number;
  /** Since the last (re)start. */
  readonly uptimeMs: number;
}

export type QueuePolicy = 'pause-reading' | 'reject' | 'drop-oldest';

export interface QueueSnapshot {
  readonly name: string;
  readonly depth: number;
  readonly bytes: number;
  readonly capacity: number;
  readonly capacityBytes: number;
  /** Greatest depth since start. */
  readonly highWater: number;
  /** Undefined when empty. */
  readonly oldestMs: number | undefined;
  readonly policy: QueuePolicy;
  readonly refused: number;
  readonly dropped: number;
}

export interface ConnectionFilter {
  readonly listener?: string;
  readonly ip?: string;
  /** Most rows returned. */
  readonly limit: number;
}

export interface ConnectionSnapshot {
  /** `slot.generation`; what `kick` takes. */
  readonly id: string;
  readonly listener: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly secure: boolean;
  readonly ageMs: number;
  readonly idleMs: number;
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly sendQueueBytes: number;
  /** Reading is paused by back-pressure. */
  readonly paused: boolean;
}

export type StageState = 'idle' | 'running' | 'paused' | 'failed' | 'stopped';
export type RunResult = 'running' | 'ok' | 'failed' | 'interrupted';

export interface StageSnapshot {
  readonly name: string;
  readonly state: StageState;
  readonly lastStartAt: number | undefined;
  readonly lastDurationMs: number | undefined;
  readonly lastResult: RunResult | undefined;
  /** Undefined when paused, or when it has no schedule. */
  readonly nextDueAt: number | undefined;
  /** Of the last run. */
  readonly rows: number;
  readonly files: number;
  readonly errors: number;
}

export interface RunSnapshot {
  readonly id: number;
  readonly stage: string;
  readonly startAt: number;
  readonly endAt: number | undefined;
  readonly result: RunResult;
  readonly rowsIn: number;
  /** Rows out. */
  readonly rows: number;
  readonly rejected: number;
  readonly files: number;
  readonly bytes: number;
  /** Rows out in a second, of a run that has ended. */
  readonly rowsPerSecond: number | undefined;
  /** Age of the oldest row or file when it was dealt with. */
  readonly lagMs: number | undefined;
  readonly errors: number;
  readonly error: string | undefined;
}

export interface DeadLetterSnapshot {
  readonly at: number;
  readonly to: Ref;
  readonly from: Ref | undefined;
  /** `frame 5`, `receive`, ... */
  readonly message: string;
  readonly bytes: number;
  readonly reason: string;
}

export interface ReloadOutcome {
  /** False: the new conf was refused and the old one still runs. */
  readonly ok: boolean;
  /** Difference lines, e.g. `~ [listener packet] idle_timeout 60s -> 90s (live)`; empty when nothing changed. */
  readonly changes: readonly string[];
  /** `file:line: what` of a refused conf. */
  readonly problems: readonly string[];
}

/** Sums for the statistics line and the limits page. Counters grow from 0 at process start. */
export interface TotalsSnapshot {
  readonly connections: number;
  readonly connectionLimit: number;
  readonly accepted: number;
  /** Over a connection limit. */
  readonly refused: number;
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Messages waiting in all mailboxes. */
  readonly queued: number;
  /** Bytes waiting in all send queues. */
  readonly sendQueueBytes: number;
  /** Outgoing packets thrown away (full send queue, client gone). */
  readonly discarded: number;
  readonly badPackets: number;
  /** Entries in the timing wheel. */
  readonly timers: number;
}

/** `stopped` is only seen by the last requests of a stop. */
export type SystemState = 'starting' | 'running' | 'draining' | 'stopping' | 'stopped';

export interface Readiness {
  readonly ready: boolean;
  readonly state: SystemState;
  /** Why not ready, one sentence each; empty when ready. */
  readonly reasons: readonly string[];
}

/** Result of an operation on one thing; `detail` says what was done, or what is wrong and what to do. */
export interface Outcome {
  readonly ok: boolean;
  readonly detail: string;
}

export interface ControlPlane {
  ps(): readonly ActorSnapshot[];
  queues(): readonly QueueSnapshot[];
  conns(filter: ConnectionFilter): readonly ConnectionSnapshot[];
  totals(): TotalsSnapshot;
  stages(): Promise<readonly StageSnapshot[]>;
  /** Newest first. */
  runs(stage: string | undefined, limit: number): Promise<readonly RunSnapshot[]>;
  /** Newest first. */
  deadLetters(limit: number): readonly DeadLetterSnapshot[];

  /** Current levels: key `*` is the default, others are actor refs that differ. */
  logLevels(): Readonly<Record<string, LogLevel>>;
  /** @param ref undefined: the default level of the process. */
  setLogLevel(level: LogLevel, ref: Ref | undefined): Outcome;
  reopenLogs(): Promise<Outcome>;

  /** Reads the same conf files again and applies the difference. Concurrent calls share one reload. */
  reload(): Promise<ReloadOutcome>;
  restart(ref: Ref): Promise<Outcome>;
  stop(ref: Ref): Promise<Outcome>;
  start(ref: Ref): Promise<Outcome>;
  pause(stage: string): Promise<Outcome>;
  resume(stage: string): Promise<Outcome>;
  /** Starts a run now; settles when it is started, not when it has finished. */
  runNow(stage: string): Promise<Outcome>;
  /** A sign of life of the program that a stage runs; it has to have a beat_file. */
  beat(stage: string): Promise<Outcome>;
  /** @param who a connection id `slot.generation`, or an IP address: all of its connections. */
  kick(who: string): Outcome;
  /** Stops accepting, finishes what is queued, then leaves with exit code 0. Settles when it has begun. */
  drain(): Promise<Outcome>;
  /** Orderly stop, as TERM. Settles when it has begun. */
  shutdown(reason: string): Promise<Outcome>;

  /** Everything an error report needs: version, conf (secrets as `***`), snapshots, last errors. */
  dump(): Promise<Readonly<Record<string, unknown>>>;
  /** Prometheus text 0.0.4. */
  metricsText(): string;
  /** The loop turns and no essential child has failed for good. */
  live(): Outcome;
  ready(): Readiness;
}

/** How `run` asks for a tree: `startTree(config, options): Promise<RunningTree>` of src/tree.ts. */
export interface TreeOptions {
  readonly log: Log;
  readonly metrics: MetricRegistry;
  /** What `reload` reads again: the same files, and the environment with the command line's flags in it. */
  readonly files: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Called after a reload that changed [process]; its live keys belong to the shell around the tree. */
  onProcessConf(values: ProcessValues): void;
}

/** What `startTree` of src/tree.ts gives back. */
export interface RunningTree {
  readonly control: ControlPlane;
  /** Ordered stop in reverse start order; what still runs after `deadlineMs` is terminated. Idempotent. */
  stop(reason: string, deadlineMs: number): Promise<void>;
  /** Settles with the process exit code when the tree has ended: stop, drain, or a failure that escalated. */
  readonly exited: Promise<number>;
}
