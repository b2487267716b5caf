/**
 * Whether active waiting pays: it does while most waits end with work. After a run of vain ones it is only tried now and
 * then, so that a quiet connection costs no CPU. Any thread.
 */
const MOST = 8;
const RETRY_EVERY = 64;

export class SpinGauge {
  private credit = MOST;
  private skipped = 0;

  constructor(private readonly enabled: boolean) {}

  get worthwhile(): boolean {
    if (!this.enabled) return false;
    if (this.credit > 0) return true;
    this.skipped = (this.skipped + 1) % RETRY_EVERY;
    return this.skipped === 0;
  }

  /** @param found the wait ended with work */
  record(found: boolean): void {
    if (!found) this.credit = Math.max(0, this.credit - 1);
    else this.credit = Math.min(MOST, this.credit + 2);
  }
}
