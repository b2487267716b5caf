/**
 * The common base of all pipeline stages: when they run, what happens when they fail, what an operator may ask. A stage
 * itself is a `StageFactory`; `stageActor` makes the actor out of it. A run is one message, so a stage never overlaps
 * itself. Worker thread.
 */
import type { Actor, ActorContext, ActorFactory } from '../../runtime/actor.js';
import { reasonOf } from '../../runtime/errors.js';
import { makeSchedule, type MissedPolicy, type Schedule } from '../../runtime/schedule.js';
import { defineKeys } from '../../runtime/schema.js';
import { openStore, type Store } from '../../store/driver.js';
import { Ledger } from '../../store/ledger.js';
import { performRun, type RunResult, type Stage, type StageFactory } from './stage-run.js';

/** Keys of every stage; a stage spreads them into its own and sets its own `every`. */
export const stageKeys = defineKeys({
  every: {
    type: 'duration',
    default: '60s',
    min: 100,
    help: 'Pause from the end of a run to the start of the next',
    reload: 'child',
  },
  cron: {
    type: 'string',
    help: 'Cron fields (minute hour day month weekday), local time; replaces every',
    reload: 'child',
  },
  hours: {
    type: 'list',
    default: '',
    help: 'Local hours 0 to 23 in which a run may start; empty: any',
    reload: 'child',
    aliases: ['starttime'],
  },
  missed: {
    type: 'enum',
    values: ['once', 'skip'],
    default: 'once',
    help: 'A run whose time passed while the program was down: made up for once, or skipped',
    reload: 'child',
  },
  retries: {
    type: 'int',
    default: '5',
    min: 0,
    max: 100,
    help: 'Tries again after a failure that may pass, before the next regular run',
    reload: 'child',
  },
  retry_wait: {
    type: 'duration',
    default: '2s',
    min: 10,
    help: 'Wait before the first retry; doubles each time',
    reload: 'child',
  },
  retry_max_wait: {
    type: 'duration',
    default: '60s',
    min: 10,
    help: 'Longest wait before a retry',
    reload: 'child',
  },
  ledger: {
    type: 'secret',
    default: 'sqlite:var/ledger.db',
    help: 'URL of the database with the run ledger',
    reload: 'child',
  },
});

interface BaseParams {
  readonly every: number;
  readonly cron: string | undefined;
  readonly hours: readonly string[];
  readonly missed: MissedPolicy;
  readonly retries: number;
  readonly retry_wait: number;
  readonly retry_max_wait: number;
  readonly ledger: string;
}

/** What an operator tells or asks a stage. `run-now` answers when the run has ended. */
export type StageCommand = { readonly type: 'run-now' | 'pause' | 'resume' | 'status' };

export interface StageStatus {
  readonly stage: string;
  readonly paused: boolean;
  /** ms since 1970 */
  readonly nextDue: number;
  /** Failures in a row. */
  readonly failures: number;
  readonly lastRun:
    { readonly state: 'ok' | 'failed'; readonly ms: number; readonly reason: string | undefined } | undefined;
}

/** setTimeout cannot sleep longer than 24 days, and a corrected clock should be noticed. */
const LONGEST_SLEEP = 3_600_000;

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
    this.stage = await this.factory({ name: ctx.self, params: ctx.params, log: ctx.log, signal: ctx.signal });
    this.store = await openStore(this.params.ledger);
    this.ledger = await Ledger.open(this.store);
    const [newest] = await this.ledger.list({ stage: ctx.self, limit: 1 });
    // A run that was cut off has no next time: it is due now.
    const saved = newest === undefined ? undefined : (newest.nextDue ?? 0);
    this.arm(this.schedule.first(this.now(), saved));
  }

  async receive(body: unknown): Promise<unknown> {
    const message = body as StageCommand | { type: 'due'; serial: number };
    switch (message.type) {
      case 'due':
        if (message.serial !== this.serial || this.paused) return undefined;
        if (this.now() < this.due) this.arm(this.due);
        else await this.run();
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
          this.arm(this.schedule.first(this.now(), this.due));
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
    await this.stage?.close?.();
    await this.store?.close();
  }

  private async run(): Promise<void> {
    const { ctx, stage } = this;
    if (stage === undefined || ctx.signal.aborted) return;
    let next = 0;
    const result = await performRun(stage, ctx.self, this.ledger, {
      log: ctx.log,
      signal: ctx.signal,
      dryRun: false,
      progress: () => ctx.progress(),
      nextDue: (ended) => (next = this.plan(ended)),
    });
    this.last = result;
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
      return this.ctx.signal.aborted ? now : this.schedule.following(now);
    }
    this.failures++;
    const regular = this.schedule.following(now);
    if (!result.retryable || this.failures > this.params.retries) return regular;
    const wait = Math.min(this.params.retry_wait * 2 ** (this.failures - 1), this.params.retry_max_wait);
    // Up to a quarter less, so that stages that failed together do not return together.
    return Math.min(regular, now + Math.round(wait * (1 - Math.random() / 4)));
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
    } else if (counts.rowsIn + counts.files + counts.errors > 0) {
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
      nextDue: this.due,
      failures: this.failures,
      lastRun: last && {
        state: last.state,
        ms: last.ms,
        reason: last.state === 'failed' ? reasonOf(last.error) : undefined,
      },
    };
  }
}
