/**
 * One restart in progress: ends what of its children still lives (right to left), waits for the back-off, starts them
 * (left to right). Failures meanwhile join the round instead of starting a second one. Main thread.
 */
import type { Clock } from './clock.js';
import type { SupervisedChild } from './supervised-child.js';

export interface RoundParts {
  readonly clock: Clock;
  /** All children of the supervisor in start order. */
  order(): readonly SupervisedChild[];
  /** May merge into this round, schedule elsewhere, or cancel. */
  startFailed(child: SupervisedChild, error: unknown): void;
  /** Called in the same turn in which the round found nothing left to do. */
  done(round: RestartRound): void;
}

export class RestartRound {
  /** What is still to be started. */
  readonly pending = new Set<SupervisedChild>();
  /** Merged since the current pass began: needs another pass. */
  private readonly fresh = new Set<SupervisedChild>();
  private starting: SupervisedChild | undefined;
  private dueAt = 0;
  private wake: (() => void) | undefined;
  private cancelled = false;

  /** @param single restarts one child alone, whatever the strategy */
  constructor(
    readonly single: boolean,
    private readonly parts: RoundParts,
  ) {}

  /** True when the child's exit is part of the round, not a failure of its own. */
  expectsExitOf(child: SupervisedChild): boolean {
    return this.pending.has(child) && this.starting !== child;
  }

  merge(children: readonly SupervisedChild[], delayMs: number): void {
    this.dueAt = Math.max(this.dueAt, this.parts.clock.now() + delayMs);
    for (const child of children) {
      this.pending.add(child);
      this.fresh.add(child);
    }
    for (const child of this.pending) if (!child.alive && child !== this.starting) this.showWaiting(child);
    this.wake?.();
  }

  drop(child: SupervisedChild): void {
    this.pending.delete(child);
    this.fresh.delete(child);
    if (this.pending.size === 0) this.wake?.();
  }

  cancel(): void {
    this.cancelled = true;
    this.wake?.();
  }

  async run(): Promise<void> {
    while (!this.cancelled && this.pending.size > 0) {
      this.fresh.clear();
      await this.endPending();
      if (this.interrupted) continue;
      await this.waitUntilDue();
      if (this.interrupted) continue;
      await this.startPending();
    }
    this.parts.done(this);
  }

  private get interrupted(): boolean {
    return this.cancelled || this.fresh.size > 0;
  }

  private async endPending(): Promise<void> {
    for (const child of this.inOrder().reverse()) {
      if (this.cancelled) return;
      if (child.alive && this.pending.has(child))
        await child.down('restarted together with a failed sibling');
      if (this.cancelled) return;
      if (child.held || child.spec.restart === 'temporary') this.pending.delete(child);
      else if (this.pending.has(child)) this.showWaiting(child);
    }
  }

  private async waitUntilDue(): Promise<void> {
    const { clock } = this.parts;
    if (this.pending.size === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = clock.after(Math.max(0, this.dueAt - clock.now()), resolve);
      this.wake = () => {
        cancel();
        resolve();
      };
    });
    this.wake = undefined;
  }

  private async startPending(): Promise<void> {
    for (const child of this.inOrder()) {
      if (!this.pending.has(child)) continue;
      this.starting = child;
      const result = await child.up(() => !this.cancelled && this.pending.has(child) && !child.held);
      this.starting = undefined;
      if (this.cancelled) return;
      if (result.state === 'failed') this.parts.startFailed(child, result.error);
      if (!this.fresh.has(child)) this.pending.delete(child);
      if (this.interrupted) return;
    }
  }

  private inOrder(): SupervisedChild[] {
    return this.parts.order().filter((child) => this.pending.has(child));
  }

  private showWaiting(child: SupervisedChild): void {
    child.state = 'backoff';
    child.nextStartAt = this.dueAt;
  }
}
