/**
 * OTP's supervisor, generic: it starts its children left to right, restarts what fails by strategy, gives up when too
 * much fails in too short a time, and stops right to left. Beyond OTP: a back-off with jitter before each restart.
 * A supervisor can be a child of another one (`asChild`). Main thread.
 */
import { Backoff, DEFAULT_BACKOFF, type BackoffOptions } from './backoff.js';
import type { ChildSpec, ExitReason, Strategy, SupervisorReport, SupervisorStatus } from './child-spec.js';
import { systemClock, type Clock } from './clock.js';
import { reasonOf, SwitchyardError } from './errors.js';
import { RestartIntensity } from './restart-intensity.js';
import { RestartRound } from './restart-round.js';
import { SupervisedChild } from './supervised-child.js';

export type * from './child-spec.js';

export interface SupervisorOptions {
  readonly id: string;
  /** Default one_for_one. */
  readonly strategy?: Strategy;
  /** More failures than this (default 5) within `periodMs` (default 60,000 ms) end the supervisor. */
  readonly intensity?: number;
  readonly periodMs?: number;
  readonly backoff?: Partial<BackoffOptions>;
  readonly clock?: Clock;
  /** Uniform in [0, 1); for the jitter. */
  readonly random?: () => number;
  /** Every report; must not throw. */
  readonly onEvent?: (report: SupervisorReport) => void;
}

export class Supervisor {
  readonly id: string;
  private readonly strategy: Strategy;
  private readonly clock: Clock;
  private readonly intensity: RestartIntensity;
  private children: readonly SupervisedChild[] = [];
  private state: SupervisorStatus['state'] = 'stopped';
  private readonly rounds = new Set<RestartRound>();
  /** What failed while the others were still being started. */
  private early: (() => void)[] = [];
  private ending: Promise<void> | undefined;
  private settleExit: (reason: ExitReason) => void = () => undefined;
  private exit: Promise<ExitReason> = Promise.resolve({ kind: 'normal', message: 'not started' });

  constructor(
    private readonly options: SupervisorOptions,
    specs: readonly ChildSpec[] = [],
  ) {
    this.id = options.id;
    this.strategy = options.strategy ?? 'one_for_one';
    this.clock = options.clock ?? systemClock;
    this.intensity = new RestartIntensity(options.intensity ?? 5, options.periodMs ?? 60_000);
    for (const spec of specs) this.insert(spec);
  }

  /** Settles when the supervisor has ended: after `stop` or `kill` (normal), or when it gave up (crash). */
  get exited(): Promise<ExitReason> {
    return this.exit;
  }

  /**
   * Starts all children in order; again after an end. If one does not start, those started before are stopped.
   * @throws SwitchyardError ACT_START (names the child), ACT_STOPPED (stopped meanwhile)
   */
  async start(): Promise<void> {
    if (this.state !== 'stopped' && this.state !== 'failed')
      throw new Error(`supervisor ${this.id} was started already`);
    this.state = 'starting';
    this.ending = undefined;
    this.early = [];
    this.intensity.reset();
    this.exit = new Promise((resolve) => (this.settleExit = resolve));
    for (const child of this.children) child.reset();
    for (const child of [...this.children]) {
      const result = await child.up(() => this.state === 'starting' && !child.held);
      if (this.state !== 'starting') break;
      if (result.state === 'failed') await this.failedAtBoot(child, result.error);
    }
    if (this.state !== 'starting') {
      await this.exit;
      throw new SwitchyardError('ACT_STOPPED', { to: this.id });
    }
    this.state = 'running';
    for (const handle of this.early.splice(0)) handle();
  }

  /** Stops all children, the last one first, each within its `shutdownMs`. Settles when all are gone. */
  stop(reason = 'shutdown'): Promise<void> {
    if (this.state === 'stopped' || this.state === 'failed') return Promise.resolve();
    return this.end({ kind: 'normal', message: reason });
  }

  /** Ends all children at once without asking; also while `stop` is under way. */
  async kill(reason = 'killed'): Promise<void> {
    if (this.state === 'stopped' || this.state === 'failed') return;
    const ended = this.end({ kind: 'normal', message: reason });
    await Promise.all(this.children.map((child) => child.kill(reason)));
    await ended;
  }

  /**
   * This supervisor as a child of another one: restarted with all its children when it gave up.
   * @param shutdownMs in ms, Infinity by default because every child has its own deadline
   */
  asChild(restart: ChildSpec['restart'] = 'permanent', shutdownMs = Number.POSITIVE_INFINITY): ChildSpec {
    return {
      id: this.id,
      restart,
      shutdownMs,
      tree: () => this.status(),
      start: async (signal) => {
        const cancel = (): void => void this.stop('start cancelled');
        signal.addEventListener('abort', cancel, { once: true });
        await this.start().finally(() => signal.removeEventListener('abort', cancel));
        return { exited: this.exit, stop: (reason) => this.stop(reason), kill: () => this.kill() };
      },
    };
  }

  /**
   * Adds a child, last or before another one, and starts it if the supervisor runs. A child that does not start is
   * not added, unless its spec says retry or ignore.
   * @throws SwitchyardError ACT_START, ACT_STOPPED, ACT_NO_SUCH_ACTOR (`before`)
   */
  async add(spec: ChildSpec, before?: string): Promise<void> {
    if (this.state === 'stopping') throw new SwitchyardError('ACT_STOPPED', { to: this.id });
    const child = this.insert(spec, before);
    if (this.state !== 'running') return;
    try {
      await this.bringUp(child);
    } catch (thrown) {
      const behavior = spec.startupErrorBehavior ?? 'error';
      if (behavior !== 'error') return;
      this.forget(child);
      throw thrown;
    }
  }

  /** Stops the child and forgets it. @throws SwitchyardError ACT_NO_SUCH_ACTOR */
  async remove(id: string, reason = 'removed'): Promise<void> {
    const child = this.find(id);
    child.held = true;
    this.takeOver(child);
    await child.down(reason);
    this.forget(child);
  }

  /** Puts a changed spec of the same id in the place of the old one; started unless the operator had stopped it. */
  async replace(spec: ChildSpec, reason = 'replaced'): Promise<void> {
    const child = this.find(spec.id);
    this.takeOver(child);
    await child.down(reason);
    child.spec = spec;
    if (this.state === 'running' && !child.held) await this.bringUp(child);
  }

  /** The operator's restart of one child: at once and not counted. If it does not start, back-off goes on. */
  async restartChild(id: string, reason = 'restarted by the operator'): Promise<void> {
    const child = this.find(id);
    child.held = false;
    this.takeOver(child);
    await child.down(reason);
    await this.bringUp(child);
  }

  /** Stops one child until `startChild` or `restartChild`; cancels its back-off. */
  async stopChild(id: string, reason = 'stopped by the operator'): Promise<void> {
    const child = this.find(id);
    child.held = true;
    this.takeOver(child);
    await child.down(reason);
  }

  /** Starts a stopped, failed or waiting child at once; nothing happens if it runs. */
  async startChild(id: string): Promise<void> {
    const child = this.find(id);
    child.held = false;
    if (child.alive && child.state === 'running') return;
    this.takeOver(child);
    await this.bringUp(child);
  }

  status(): SupervisorStatus {
    return {
      id: this.id,
      strategy: this.strategy,
      state: this.state,
      recentFailures: this.intensity.count(this.clock.now()),
      children: this.children.map((child) => child.status()),
    };
  }

  // ---- failures

  private async failedAtBoot(child: SupervisedChild, error: unknown): Promise<void> {
    this.report('start_error', child);
    if (child.spec.startupErrorBehavior === 'ignore') return;
    if (child.spec.startupErrorBehavior === 'retry') {
      this.early.push(() => this.retry(child, 0, true));
      return;
    }
    const failure = startError(child, error);
    await this.end({ kind: 'crash', message: failure.message });
    throw failure;
  }

  private onExited(child: SupervisedChild, reason: ExitReason): void {
    const ranForMs = child.upFor();
    const { restart } = child.spec;
    const again = restart === 'permanent' || (restart === 'transient' && reason.kind !== 'normal');
    child.state = reason.kind === 'normal' ? 'stopped' : 'failed';
    if (this.state === 'starting' && again)
      this.early.push(() => this.failed('child_terminated', child, reason, ranForMs));
    else if (this.state === 'running' && again && !this.inRound(child))
      this.failed('child_terminated', child, reason, ranForMs);
    else this.report('child_terminated', child);
  }

  /** True when a round is about to end and restart the child anyway. */
  private inRound(child: SupervisedChild): boolean {
    return [...this.rounds].some((round) => round.expectsExitOf(child));
  }

  private failed(
    context: 'child_terminated' | 'start_error',
    child: SupervisedChild,
    reason: ExitReason,
    ranForMs: number,
  ): void {
    if (this.state !== 'running' || child.held || !this.children.includes(child))
      return this.report(context, child);
    if (!this.intensity.allow(this.clock.now(), reason.cause)) {
      this.report(context, child);
      this.report('escalated', child);
      void this.end({
        kind: 'crash',
        message: `${this.id} gave up after too many failures, the last: ${child.id}: ${reason.message}`,
        ...(reason.cause && { cause: reason.cause }),
      });
      return;
    }
    this.report(context, child, this.retry(child, ranForMs, false));
  }

  /** Schedules the restart that follows a failure. @returns delay in ms */
  private retry(child: SupervisedChild, ranForMs: number, alone: boolean): number {
    const delayMs = child.backoff.next(ranForMs);
    const single = alone || this.strategy === 'one_for_one';
    const members = single ? [child] : this.affectedBy(child);
    let round = [...this.rounds].find(
      (each) => each.single === single && (!single || each.pending.has(child)),
    );
    if (!single) for (const each of this.rounds) if (each.single) members.forEach((one) => each.drop(one));
    if (round !== undefined) {
      round.merge(members, delayMs);
      return delayMs;
    }
    round = new RestartRound(single, {
      clock: this.clock,
      order: () => this.children,
      startFailed: (failedChild, error) => this.startFailed(failedChild, error),
      done: (finished) => this.rounds.delete(finished),
    });
    this.rounds.add(round);
    round.merge(members, delayMs);
    void round.run();
    return delayMs;
  }

  private affectedBy(child: SupervisedChild): readonly SupervisedChild[] {
    return this.strategy === 'one_for_all'
      ? this.children
      : this.children.slice(this.children.indexOf(child));
  }

  private startFailed(child: SupervisedChild, error: unknown): void {
    const behavior = child.spec.startupErrorBehavior ?? 'error';
    if (behavior === 'error')
      this.failed('start_error', child, { kind: 'crash', message: reasonOf(error) }, 0);
    else if (behavior === 'retry') this.report('start_error', child, this.retry(child, 0, true));
    else this.report('start_error', child);
  }

  /** Starts a child by demand; a failure is thrown and not counted, and back-off takes over. */
  private async bringUp(child: SupervisedChild): Promise<void> {
    this.takeOver(child);
    child.backoff.reset();
    const wanted = (): boolean => this.state === 'running' && !child.held && this.children.includes(child);
    const result = await child.up(wanted);
    if (result.state === 'up') return;
    if (result.state === 'unwanted') throw new SwitchyardError('ACT_STOPPED', { to: child.id });
    const goOn =
      child.spec.restart !== 'temporary' && child.spec.startupErrorBehavior !== 'ignore' && wanted();
    this.report('start_error', child, goOn ? this.retry(child, 0, true) : undefined);
    throw startError(child, result.error);
  }

  // ---- end

  private end(reason: ExitReason): Promise<void> {
    if (this.ending !== undefined) return this.ending;
    this.state = 'stopping';
    for (const round of this.rounds) round.cancel();
    this.ending = this.endChildren(reason);
    return this.ending;
  }

  private async endChildren(reason: ExitReason): Promise<void> {
    for (const child of [...this.children].reverse()) await child.down(reason.message);
    this.state = reason.kind === 'normal' ? 'stopped' : 'failed';
    this.settleExit(reason);
  }

  // ---- children

  private insert(spec: ChildSpec, before?: string): SupervisedChild {
    if (this.children.some((child) => child.id === spec.id))
      throw new SwitchyardError('ACT_START', { ref: spec.id, reason: 'the name is taken' });
    const backoff = new Backoff(
      { ...DEFAULT_BACKOFF, ...this.options.backoff },
      this.options.random ?? Math.random,
    );
    const child = new SupervisedChild(spec, backoff, this.clock, {
      exited: (which, reason) => this.onExited(which, reason),
      report: (context, which) => this.report(context, which),
    });
    const at = before === undefined ? this.children.length : this.children.indexOf(this.find(before));
    this.children = this.children.toSpliced(at, 0, child);
    return child;
  }

  private find(id: string): SupervisedChild {
    const child = this.children.find((each) => each.id === id);
    if (child === undefined) throw new SwitchyardError('ACT_NO_SUCH_ACTOR', { to: id });
    return child;
  }

  private forget(child: SupervisedChild): void {
    this.takeOver(child);
    this.children = this.children.filter((each) => each !== child);
  }

  /** From now on the caller starts and ends the child, no round does. */
  private takeOver(child: SupervisedChild): void {
    for (const round of this.rounds) round.drop(child);
  }

  private report(context: SupervisorReport['context'], child: SupervisedChild, restartMs?: number): void {
    this.options.onEvent?.({
      supervisor: this.id,
      context,
      reason: child.lastReason,
      offender: { id: child.id, restarts: child.restarts },
      ...(restartMs !== undefined && { restartMs }),
    });
  }
}

/** A nested supervisor's error already names the child that did not start. */
function startError(child: SupervisedChild, error: unknown): SwitchyardError {
  if (error instanceof SwitchyardError && error.code === 'ACT_START') return error;
  return new SwitchyardError('ACT_START', { ref: child.id, reason: reasonOf(error) }, { cause: error });
}
