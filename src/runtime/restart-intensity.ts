/** OTP's limit: more than `intensity` failures within `periodMs` are not a supervisor's to mend. */
export class RestartIntensity {
  private times: number[] = [];
  private causes = new WeakSet<object>();

  constructor(
    private readonly intensity: number,
    private readonly periodMs: number,
  ) {}

  /**
   * @param cause failures with the same object are one event: a dead thread takes all its actors at once
   * @returns false when the limit is exceeded
   */
  allow(nowMs: number, cause: object | undefined): boolean {
    if (cause !== undefined) {
      if (this.causes.has(cause)) return true;
      this.causes.add(cause);
    }
    this.expire(nowMs);
    this.times.push(nowMs);
    return this.times.length <= this.intensity;
  }

  /** Events within the period. */
  count(nowMs: number): number {
    this.expire(nowMs);
    return this.times.length;
  }

  reset(): void {
    this.times = [];
    this.causes = new WeakSet();
  }

  private expire(nowMs: number): void {
    this.times = this.times.filter((time) => nowMs - time < this.periodMs);
  }
}
