/**
 * One child of a supervisor: starts and ends its instances one at a time. It decides nothing; the supervisor does.
 * Invariant: an instance is started only when the one before is gone, whoever asks and however often. Main thread.
 */
import type { Backoff } from './backoff.js';
import type { ChildHandle, ChildSpec, ChildState, ChildStatus, ExitReason } from './child-spec.js';
import type { Clock } from './clock.js';
import { reasonOf } from './errors.js';

/** After `kill` a report says once that the child is still not gone. */
const KILL_PATIENCE_MS = 5_000;

export interface ChildEvents {
  /** An instance ended although nobody had asked it to. */
  exited(child: SupervisedChild, reason: ExitReason): void;
  report(context: 'started' | 'restarted' | 'shutdown_error' | 'kill_pending', child: SupervisedChild): void;
}

/** `failed`: see `lastReason`; `unwanted`: nobody wants it any more, nothing was left running. */
export type UpResult = { state: 'up' } | { state: 'unwanted' } | { state: 'failed'; error: unknown };

export class SupervisedChild {
  spec: ChildSpec;
  lastReason: ExitReason | undefined;
  /** The operator stopped it: no restart until it is started again. */
  held = false;
  /** Clock time of the next start while it waits. */
  nextStartAt: number | undefined;
  restarts = 0;
  private currentState: ChildState = 'stopped';
  private since: number;
  private starts = 0;
  private handle: ChildHandle | undefined;
  private gone: Promise<ExitReason> | undefined;
  private startAbort: AbortController | undefined;
  /** Ends the patience of a running `down`. */
  private hurry: (() => void) | undefined;
  private terminating = false;
  private killed = false;
  /** Starts and ends queue up here, so that they never overlap. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    spec: ChildSpec,
    readonly backoff: Backoff,
    private readonly clock: Clock,
    private readonly events: ChildEvents,
  ) {
    this.spec = spec;
    this.since = clock.now();
  }

  get id(): string {
    return this.spec.id;
  }

  get state(): ChildState {
    return this.currentState;
  }

  set state(state: ChildState) {
    if (state === this.currentState) return;
    this.currentState = state;
    this.since = this.clock.now();
  }

  get alive(): boolean {
    return this.handle !== undefined;
  }

  /** Forgets an earlier life of the supervisor. */
  reset(): void {
    this.starts = this.restarts = 0;
    this.killed = false;
    this.nextStartAt = undefined;
    this.backoff.reset();
  }

  /** Starts an instance unless there is one. @param wanted asked just before the start, when the child's turn came */
  up(wanted: () => boolean): Promise<UpResult> {
    return this.exclusive(async () => {
      if (!wanted()) return { state: 'unwanted' };
      if (this.handle !== undefined) return { state: 'up' };
      const abort = (this.startAbort = new AbortController());
      this.nextStartAt = undefined;
      this.state = this.starts === 0 ? 'starting' : 'restarting';
      this.restarts = this.starts++;
      try {
        const handle = await this.spec.start(abort.signal);
        this.adopt(handle);
        return { state: 'up' };
      } catch (error) {
        this.state = 'failed';
        if (abort.signal.aborted) return { state: 'unwanted' };
        this.lastReason = { kind: 'crash', message: reasonOf(error) };
        return { state: 'failed', error };
      } finally {
        this.startAbort = undefined;
      }
    });
  }

  /** Ends the instance, if any, and settles when it is gone. Never rejects. */
  down(reason: string): Promise<void> {
    this.startAbort?.abort();
    return this.exclusive(async () => {
      this.nextStartAt = undefined;
      if (this.handle !== undefined && this.gone !== undefined) {
        this.terminating = true;
        this.state = 'terminating';
        await this.terminate(this.handle, this.gone, reason);
        this.terminating = false;
      }
      this.state = 'stopped';
    });
  }

  /** `down` without asking. Also hastens one that is under way. */
  kill(reason: string): Promise<void> {
    this.killed = true;
    this.hurry?.();
    return this.down(reason);
  }

  status(): ChildStatus {
    const { spec, lastReason, nextStartAt } = this;
    const now = this.clock.now();
    return {
      id: spec.id,
      state: this.state,
      restart: spec.restart,
      restarts: this.restarts,
      sinceMs: Math.round(now - this.since),
      ...(lastReason && { lastReason: { kind: lastReason.kind, message: lastReason.message } }),
      ...(nextStartAt !== undefined && { nextRestartMs: Math.max(0, Math.round(nextStartAt - now)) }),
      ...(spec.tree && { tree: spec.tree() }),
    };
  }

  /** How long in ms the instance has been up, or 0. */
  upFor(): number {
    return this.state === 'running' ? this.clock.now() - this.since : 0;
  }

  private adopt(handle: ChildHandle): void {
    this.handle = handle;
    this.state = 'running';
    this.gone = handle.exited.catch((error: unknown): ExitReason => ({
      kind: 'crash',
      message: reasonOf(error),
    }));
    void this.gone.then((reason) => {
      this.lastReason = reason;
      this.handle = this.gone = undefined;
      if (!this.terminating) this.events.exited(this, reason);
    });
    this.events.report(this.restarts === 0 ? 'started' : 'restarted', this);
  }

  private async terminate(handle: ChildHandle, gone: Promise<unknown>, reason: string): Promise<void> {
    const { shutdownMs } = this.spec;
    if (shutdownMs > 0 && !this.killed && (await this.stopped(handle, gone, reason))) return;
    if (shutdownMs > 0 && !this.killed) this.events.report('shutdown_error', this);
    const cancel = this.clock.after(KILL_PATIENCE_MS, () => this.events.report('kill_pending', this));
    // A kill that throws still leaves `exited` as the only truth: a second instance beside the first is worse.
    void settle(() => handle.kill()).catch(() => undefined);
    await gone;
    cancel();
  }

  /** @returns false when it has to be killed: deadline, error or hurry */
  private async stopped(handle: ChildHandle, gone: Promise<unknown>, reason: string): Promise<boolean> {
    const { shutdownMs } = this.spec;
    let cancel = (): void => undefined;
    const impatient = new Promise<false>((resolve) => {
      const giveUp = (): void => resolve(false);
      if (Number.isFinite(shutdownMs)) cancel = this.clock.after(shutdownMs, giveUp);
      this.hurry = giveUp;
      settle(() => handle.stop(reason, shutdownMs)).catch(giveUp);
    });
    const result = await Promise.race([gone.then(() => true), impatient]);
    cancel();
    this.hurry = undefined;
    return result;
  }

  private exclusive<T>(run: () => Promise<T>): Promise<T> {
    const result = this.turn.then(run);
    this.turn = result.catch(() => undefined);
    return result;
  }
}

/** Turns a synchronous throw into a rejection. */
async function settle(call: () => unknown): Promise<void> {
  await call();
}
