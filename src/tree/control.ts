/** What operations see of the running tree and may do with it. Main thread. */
import type {
  ActorSnapshot, ConnectionFilter, ConnectionSnapshot, ControlPlane, DeadLetterSnapshot, Outcome, QueueSnapshot,
  Readiness, ReloadOutcome, RunSnapshot, StageSnapshot, SystemState, TotalsSnapshot,
} from '../runtime/control-plane.js'; // prettier-ignore
import type { ActorEntry } from '../runtime/actor-entry.js';
import { reasonOf } from '../runtime/errors.js';
import type { HttpServerHandle } from '../runtime/http.js';
import { messageName } from '../runtime/lifecycle.js';
import type { Log } from '../runtime/log.js';
import type { LogLevel } from '../runtime/log-contract.js';
import type { MetricRegistry } from '../runtime/metrics.js';
import type { Reactor } from '../runtime/reactor.js';
import type { Ref } from '../runtime/ref.js';
import type { Supervisor } from '../runtime/supervisor.js';
import type { System } from '../runtime/system.js';
import { touchFile } from '../runtime/touch-file.js';
import type { Ledger, Run } from '../store/ledger.js';

export interface ControlParts {
  readonly system: System;
  readonly reactor: Reactor;
  readonly actors: Supervisor;
  readonly root: Supervisor;
  readonly https: ReadonlyMap<string, HttpServerHandle>;
  readonly ledger: () => Promise<Ledger> | undefined;
  readonly log: Log;
  readonly metrics: MetricRegistry;
  readonly reopenLogs: () => Promise<void>;
  readonly state: () => SystemState;
  readonly reload: () => Promise<ReloadOutcome>;
  readonly drain: (reason: string) => void;
  readonly shutdown: (reason: string) => void;
  /** Conf with secrets masked, version and the like. */
  readonly about: () => Readonly<Record<string, unknown>>;
}

const ASK_MS = 5000;
const LAST_RUNS = 1;
const DUMP_CONNECTIONS = 100;
const DUMP_RUNS = 50;

export class TreeControl implements ControlPlane {
  private readonly paused = new Set<string>();

  constructor(private readonly parts: ControlParts) {}

  ps(): readonly ActorSnapshot[] {
    return [...this.parts.system.registry.all()].map((entry) => this.actor(entry));
  }

  private actor(entry: ActorEntry): ActorSnapshot {
    const { mailbox, state, bridge, spec } = entry;
    const busyMs = this.parts.system.heartbeat.busyMs(entry);
    const { current } = mailbox.progress();
    return {
      ref: entry.ref,
      state,
      pool: spec.pool,
      thread: bridge?.threadId,
      message: busyMs === undefined ? undefined : messageName(current),
      messageAgeMs: busyMs === undefined ? undefined : Math.round(busyMs),
      handled: mailbox.handled >>> 0,
      restarts: Math.max(0, entry.starts - 1),
      lastError: entry.lastError,
      depth: mailbox.depth,
      uptimeMs: state === 'running' ? Math.round(performance.now() - entry.startedAt) : 0,
    };
  }

  queues(): readonly QueueSnapshot[] {
    return [...this.parts.system.registry.all()].map(({ mailbox, ref }) => {
      const box = mailbox.snapshot();
      return {
        name: ref,
        depth: box.depth,
        bytes: box.bytes,
        capacity: mailbox.options.messages,
        capacityBytes: box.capacity,
        highWater: box.highWater,
        oldestMs: box.depth === 0 ? undefined : box.oldestMs,
        policy: box.policy,
        refused: box.refused,
        dropped: box.dropped,
      };
    });
  }

  conns(filter: ConnectionFilter): readonly ConnectionSnapshot[] {
    return this.parts.reactor.conns(filter);
  }

  totals(): TotalsSnapshot {
    return { ...this.parts.reactor.totals(), queued: this.parts.system.queued };
  }

  async stages(): Promise<readonly StageSnapshot[]> {
    const entries = [...this.parts.system.registry.all()].filter((entry) => entry.spec.kind === 'stage');
    const ledger = await this.parts.ledger();
    return Promise.all(
      entries.map(async (entry) =>
        this.stage(entry, (await ledger?.list({ stage: entry.ref, limit: LAST_RUNS }))?.[0]),
      ),
    );
  }

  private stage(entry: ActorEntry, run: Run | undefined): StageSnapshot {
    const paused = this.paused.has(entry.ref);
    const running = run?.state === 'running' && entry.state === 'running';
    const state = running
      ? 'running'
      : entry.state === 'failed' || entry.state === 'stopped'
        ? entry.state
        : paused
          ? 'paused'
          : 'idle';
    return {
      name: entry.ref,
      state,
      lastStartAt: run?.startedAt,
      lastDurationMs: run?.endedAt === undefined ? undefined : run.endedAt - run.startedAt,
      lastResult: run?.state,
      nextDueAt: paused ? undefined : run?.nextDue,
      rows: run?.rowsOut ?? 0,
      files: run?.files ?? 0,
      errors: run?.errors ?? 0,
    };
  }

  async runs(stage: string | undefined, limit: number): Promise<readonly RunSnapshot[]> {
    const ledger = await this.parts.ledger();
    const runs = (await ledger?.list(stage === undefined ? { limit } : { stage, limit })) ?? [];
    return runs.map((run) => ({
      id: run.id,
      stage: run.stage,
      startAt: run.startedAt,
      endAt: run.endedAt,
      result: run.state,
      rowsIn: run.rowsIn,
      rows: run.rowsOut,
      rejected: run.rowsRejected,
      files: run.files,
      bytes: run.bytes,
      rowsPerSecond:
        run.endedAt === undefined
          ? undefined
          : Math.round((run.rowsOut * 1_000) / Math.max(1, run.endedAt - run.startedAt)),
      lagMs: run.lagMs,
      errors: run.errors,
      error: run.message,
    }));
  }

  deadLetters(limit: number): readonly DeadLetterSnapshot[] {
    return this.parts.system.deadLetters.list(limit);
  }

  logLevels(): Readonly<Record<string, LogLevel>> {
    return this.parts.log.levels();
  }

  setLogLevel(level: LogLevel, ref: Ref | undefined): Outcome {
    this.parts.log.setLevel(level, ref);
    return { ok: true, detail: `${ref ?? 'everything'} logs from ${level} on` };
  }

  async reopenLogs(): Promise<Outcome> {
    return attempt('logs reopened', () => this.parts.reopenLogs());
  }

  reload(): Promise<ReloadOutcome> {
    return this.parts.reload();
  }

  restart(ref: Ref): Promise<Outcome> {
    return this.forInstances(ref, 'restarted', (id) => this.parts.actors.restartChild(id));
  }

  stop(ref: Ref): Promise<Outcome> {
    return this.forInstances(ref, 'stopped', (id) => this.parts.actors.stopChild(id));
  }

  start(ref: Ref): Promise<Outcome> {
    return this.forInstances(ref, 'started', (id) => this.parts.actors.startChild(id));
  }

  private forInstances(ref: Ref, done: string, act: (id: string) => Promise<void>): Promise<Outcome> {
    const instances = this.parts.system.registry.instances(ref);
    if (instances.length === 0) return Promise.resolve({ ok: false, detail: `no actor ${ref}; see \`ps\`` });
    return attempt(`${ref} ${done}`, async () => {
      for (const entry of instances) await act(entry.ref);
    });
  }

  pause(stage: string): Promise<Outcome> {
    return this.tellStage(stage, 'pause', 'paused: a run under way is finished, no further one starts');
  }

  resume(stage: string): Promise<Outcome> {
    return this.tellStage(stage, 'resume', 'resumed');
  }

  runNow(stage: string): Promise<Outcome> {
    return this.tellStage(stage, 'run-now', 'will run now; see `runs`');
  }

  async beat(stage: string): Promise<Outcome> {
    const entry = this.parts.system.registry.get(stage);
    if (entry === undefined) return { ok: false, detail: `no stage ${stage}; see \`stages\`` };
    const file = entry.spec.params['beat_file'];
    if (typeof file !== 'string') return { ok: false, detail: `${stage} has no beat_file` };
    await touchFile(file);
    return { ok: true, detail: `${stage} lives` };
  }

  private async tellStage(
    stage: string,
    type: 'pause' | 'resume' | 'run-now',
    detail: string,
  ): Promise<Outcome> {
    const entry = this.parts.system.registry.get(stage);
    if (entry?.spec.kind !== 'stage') return { ok: false, detail: `no stage ${stage}; see \`stages\`` };
    if (entry.state !== 'running') return { ok: false, detail: `${stage} does not run (${entry.state})` };
    if (!this.parts.system.tell(stage, { type }))
      return { ok: false, detail: `the mailbox of ${stage} is full` };
    if (type === 'pause') this.paused.add(stage);
    if (type === 'resume') this.paused.delete(stage);
    return { ok: true, detail: `${stage} ${detail}` };
  }

  kick(who: string): Outcome {
    const kicked = this.parts.reactor.kick(who);
    return {
      ok: kicked > 0,
      detail: kicked > 0 ? `${kicked} connections closed` : `no connection ${who}; see \`conns\``,
    };
  }

  async drain(): Promise<Outcome> {
    this.parts.drain('drain');
    return { ok: true, detail: 'draining: no new clients; leaves when what is queued is done' };
  }

  async shutdown(reason: string): Promise<Outcome> {
    this.parts.shutdown(reason);
    return { ok: true, detail: 'stopping' };
  }

  async dump(): Promise<Readonly<Record<string, unknown>>> {
    const within = <T>(what: Promise<T>): Promise<T | string> =>
      Promise.race([
        what,
        new Promise<string>((resolve) => setTimeout(resolve, ASK_MS, 'no answer in time').unref()),
      ]).catch(reasonOf);
    return {
      ...this.parts.about(),
      ready: this.ready(),
      totals: this.totals(),
      tree: this.parts.root.status(),
      actors: this.ps(),
      queues: this.queues(),
      connections: this.conns({ limit: DUMP_CONNECTIONS }),
      http: [...this.parts.https].map(([name, { engine, port, counters }]) => ({
        name,
        engine,
        port,
        counters,
      })),
      stages: await within(this.stages()),
      runs: await within(this.runs(undefined, DUMP_RUNS)),
      deadLetters: this.deadLetters(DUMP_CONNECTIONS),
      log: { levels: this.logLevels(), ...this.parts.log.stats() },
    };
  }

  metricsText(): string {
    return this.parts.metrics.text();
  }

  live(): Outcome {
    const { state } = this.parts.root.status();
    return { ok: state !== 'failed', detail: `the tree is ${state}` };
  }

  ready(): Readiness {
    const state = this.parts.state();
    const reasons: string[] = [];
    if (state !== 'running') reasons.push(`the process is ${state}`);
    for (const entry of this.parts.system.registry.all()) {
      if (entry.state !== 'running' && entry.state !== 'stopped')
        reasons.push(`actor ${entry.ref} is ${entry.state}`);
    }
    return { ready: reasons.length === 0, state, reasons };
  }
}

async function attempt(done: string, act: () => Promise<void>): Promise<Outcome> {
  try {
    await act();
    return { ok: true, detail: done };
  } catch (thrown) {
    return { ok: false, detail: reasonOf(thrown) };
  }
}
