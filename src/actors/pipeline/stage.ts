/**
 * The common base of all pipeline stages: when they run, what happens when they fail, what an operator may ask. A stage
 * itself is a `StageFactory`; `stageActor` makes the actor out of it. A run is one message, so a stage never overlaps
 * itself. Worker thread.
 */
import type { Actor, ActorContext, ActorFactory } from '../../runtime/actor.js';
import { reasonOf } from '../../runtime/errors.js';
import { makeSchedule, type Schedule } from '../../runtime/schedule.js';
import { openStore, type Store } from '../../store/driver.js';
import { Ledger } from '../../store/ledger.js';
import type { BaseParams } from './stage/keys.js';
import { performRun, type RunResult, type Stage, type StageFactory } from './stage/run.js';
import { FolderWatch, Predecessors } from './stage/triggers.js';

export { stageKeys } from './stage/keys.js';

/** What an operator tells or asks a stage. `run-now` answers when the run has ended. */
export type StageCommand = { readonly type: 'run-now' | 'pause' | 'resume' | 'status' };

export interface StageStatus {
  readonly stage: string;
  readonly paused: boolean;
  /** ms since 1970; undefined when it waits for another stage */
  readonly nextDue: number | undefined;
  /** Failures in a row. */
  readonly failures: number;
  readonly lastRun:
    { readonly state: 'ok' | 'failed'; readonly ms: number; readonly reason: string | undefined } | undefined;
}

/** setTimeout cannot sleep longer than 24 days, and a corrected clock should be noticed. */
const LONGEST_SLEEP = 3_600_000;
/** How often (ms) a stage with `after` looks whether those have brought something. */
const LOOK_INTERVAL = 1_000;
/** Files that appear within this time (ms) make one run. */
const WATCH_DELAY = 200;
/** No clock makes a stage with `after` due. */
const WAITING = Infinity;

/** @param now wall clock in ms, for tests */
export function stageActor(factory: StageFactory, now: () => number = Date.now): ActorFactory {
  return (ctx) => new StageActor(ctx, factory, now);
}

class StageActor implements Actor {
  private readonly params: BaseParams;
  private readonly schedule: Schedule;
  private stage: Stage | undefined;
  private store: Store | undefined;
  private ledger: Ledger | undefined;
  private due = 0;
  private paused = false;
  private failures = 0;
  private last: RunResult | undefined;
  private serial = 0;
  private predecessors: Predecessors | undefined;
  private folders: FolderWatch | undefined;
  private filesTold = false;
  private cancel: () => void = () => undefined;

  constructor(
    private readonly ctx: ActorContext,
    private readonly factory: StageFactory,
    private readonly now: () => number,
  ) {
    this.params = ctx.params as unknown as BaseParams;
    this.schedule = makeSchedule(this.params);
  }

  async init(): Promise<void> {
    const { ctx } = this;
    const { self: name, params, log, signal } = ctx;
    const cpu: ActorContext['cpu'] = (job, data, options) => ctx.cpu(job, data, options);
    this.stage = await this.factory({ name, params, log, signal, cpu });
    this.store = await openStore(this.params.ledger);
    this.ledger = await Ledger.open(this.store);
    const [newest] = await this.ledger.list({ stage: name, limit: 1 });
    if (this.params.after.length > 0) {
      this.predecessors = new Predecessors(name, this.params.after, this.ledger);
      await this.predecessors.load();
    }
    if (this.params.watch && this.stage.folders !== undefined) {
      this.folders = new FolderWatch(this.stage.folders, () => this.filesAppeared());
      this.folders.renew();
    }
    // A run that was cut off has no next time: it is due now.
    const saved = newest === undefined ? undefined : (newest.nextDue ?? 0);
    if (this.predecessors === undefined) {
      this.arm(this.schedule.first(this.now(), saved));
    } else {
      this.arm(newest !== undefined && newest.state !== 'ok' ? this.now() : WAITING);
      await this.look();
    }
  }

  async receive(body: unknown): Promise<unknown> {
    const message = body as StageCommand | { type: 'due'; serial: number } | { type: 'look' | 'files' };
    switch (message.type) {
      case 'due':
        if (message.serial !== this.serial || this.paused) return undefined;
        if (this.now() < this.due) this.arm(this.due);
        else await this.run();
        return undefined;
      case 'look':
        await this.look();
        return undefined;
      case 'files':
        this.filesTold = false;
        // While it fails, the back-off decides.
        if (this.failures === 0 && !this.paused) this.arm(this.soon());
        return undefined;
      case 'run-now':
        await this.run();
        return this.status();
      case 'pause':
        this.paused = true;
        this.ctx.log.notice('stage.paused');
        return this.status();
      case 'resume':
        if (this.paused) {
          this.paused = false;
          this.ctx.log.notice('stage.resumed');
          this.arm(this.due === WAITING ? WAITING : this.schedule.first(this.now(), this.due));
        }
        return this.status();
      case 'status':
        return this.status();
      default:
        this.ctx.log.warn('stage.unknown-message');
        return undefined;
    }
  }

  async stop(): Promise<void> {
    this.cancel();
    this.folders?.close();
    await this.stage?.close?.();
    await this.store?.close();
  }

  private async run(): Promise<void> {
    const { ctx, stage } = this;
    if (stage === undefined || ctx.signal.aborted) return;
    // Before the run: what comes meanwhile is for the next one.
    await this.predecessors?.news();
    let next = 0;
    const result = await performRun(stage, ctx.self, this.ledger, {
      log: ctx.log,
      signal: ctx.signal,
      dryRun: false,
      minFree: this.params.min_free,
      progress: () => ctx.progress(),
      nextDue: (ended) => {
        next = this.plan(ended);
        return next === WAITING ? undefined : next;
      },
    });
    this.last = result;
    if (result.state === 'ok' && !ctx.signal.aborted) await this.predecessors?.followed();
    this.folders?.renew();
    // Without a ledger entry nobody asked for the plan.
    this.arm(next === 0 ? this.plan(result) : next);
    this.report(result);
  }

  /** When to run again after this result. */
  private plan(result: RunResult): number {
    const now = this.now();
    if (result.state === 'ok') {
      this.failures = 0;
      // Stopped in the middle: the next start goes on at once.
      if (this.ctx.signal.aborted) return now;
      return this.predecessors === undefined ? this.schedule.following(now) : WAITING;
    }
    this.failures++;
    const regular =
      this.predecessors === undefined ? this.schedule.following(now) : now + this.params.retry_max_wait;
    if (!result.retryable || this.failures > this.params.retries) return regular;
    const wait = Math.min(this.params.retry_wait * 2 ** (this.failures - 1), this.params.retry_max_wait);
    // Up to a quarter less, so that stages that failed together do not return together.
    return Math.min(regular, now + Math.round(wait * (1 - Math.random() / 4)));
  }

  /** Looks whether another stage has brought something, now and in a second. */
  private async look(): Promise<void> {
    this.ctx.after(LOOK_INTERVAL, { type: 'look' });
    if (this.paused || this.due !== WAITING) return;
    try {
      if (await this.predecessors?.news()) this.arm(this.soon());
    } catch (error) {
      this.ctx.log.warn('stage.ledger', { reason: reasonOf(error) });
    }
  }

  private filesAppeared(): void {
    if (this.filesTold) return;
    this.filesTold = true;
    this.ctx.after(WATCH_DELAY, { type: 'files' });
  }

  /** Now, or in the first of its hours. */
  private soon(): number {
    return this.schedule.first(this.now(), undefined);
  }

  private arm(due: number): void {
    this.cancel();
    this.due = due;
    const delay = Math.min(Math.max(0, due - this.now()), LONGEST_SLEEP);
    this.cancel = this.ctx.after(delay, { type: 'due', serial: ++this.serial });
  }

  private report(result: RunResult): void {
    const { ctx } = this;
    const { counts, ms } = result;
    ctx.count('stage_runs_total', 1, { stage: ctx.self, state: result.state });
    ctx.count('stage_rows_total', counts.rowsOut, { stage: ctx.self });
    ctx.count('stage_rejects_total', counts.rowsRejected, { stage: ctx.self });
    if (result.state === 'failed') {
      const event = result.retryable ? 'stage.failed' : 'stage.failed-for-good';
      ctx.log.error(event, {
        reason: reasonOf(result.error),
        failures: this.failures,
        nextInMs: this.due - this.now(),
        ...counts,
      });
    } else if (counts.rowsIn + counts.rowsOut + counts.files + counts.errors > 0) {
      ctx.log.info('stage.done', { ms, ...counts });
    } else {
      ctx.log.debug('stage.done', { ms });
    }
  }

  private status(): StageStatus {
    const { last } = this;
    return {
      stage: this.ctx.self,
      paused: this.paused,
      nextDue: this.due === WAITING ? undefined : this.due,
      failures: this.failures,
      lastRun: last && {
        state: last.state,
        ms: last.ms,
        reason: last.state === 'failed' ? reasonOf(last.error) : undefined,
      },
    };
  }
}
