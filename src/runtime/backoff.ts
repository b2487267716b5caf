/** How long to wait before the next restart: exponential with jitter, forgotten after a healthy period. */
export interface BackoffOptions {
  /** Delay in ms before the first restart. */
  readonly minMs: number;
  /** No delay is longer than this. */
  readonly maxMs: number;
  readonly factor: number;
  /** Share of the delay (0..1) by which it is randomly longer or shorter, so that a herd does not restart at once. */
  readonly jitter: number;
  /** A child that ran this long in ms before it failed starts again from `minMs`. */
  readonly healthyAfterMs: number;
}

export const DEFAULT_BACKOFF: BackoffOptions = {
  minMs: 50,
  maxMs: 30_000,
  factor: 2,
  jitter: 0.2,
  healthyAfterMs: 10_000,
};

export class Backoff {
  private failures = 0;

  constructor(
    private readonly options: BackoffOptions,
    private readonly random: () => number,
  ) {}

  /**
   * Notes a failure.
   * @param ranForMs how long the failed instance was up; 0 when it did not start
   * @returns delay in ms before the next start
   */
  next(ranForMs: number): number {
    const { minMs, maxMs, factor, jitter, healthyAfterMs } = this.options;
    if (ranForMs >= healthyAfterMs) this.failures = 0;
    const delay = Math.min(maxMs, minMs * factor ** this.failures);
    // From 2^50 on the power only risks an overflow; the cap was reached long before.
    this.failures = Math.min(this.failures + 1, 50);
    return Math.min(maxMs, Math.round(delay * (1 + jitter * (2 * this.random() - 1))));
  }

  reset(): void {
    this.failures = 0;
  }
}
