/** The call log T_USERLOG (spec data-centre 11.1), which the reference declares and never writes. Worker thread. */
import { reasonOf } from '../../../runtime/errors.js';
import type { Logger } from '../../../runtime/log-contract.js';
import type { SqlRow, Store } from '../../../store/driver.js';

const MAX_PENDING = 10_000;
const PURGE_INTERVAL = 3_600_000;
const PURGE_ROWS = 10_000;

export class CallLog {
  private pending: SqlRow[] = [];
  private dropped = 0;
  private purgedAt = 0;

  /** @param days after which a call is removed */
  constructor(
    private readonly days: number,
    private readonly log: Logger,
  ) {}

  get waiting(): number {
    return this.pending.length;
  }

  /** Keeps the call for the next `flush`; beyond 10,000 it is dropped and counted. */
  add(username: string, intername: string, address: string, rows: number): void {
    if (this.pending.length >= MAX_PENDING) this.dropped++;
    else this.pending.push([username, intername, address.slice(0, 45), rows]);
  }

  /** Writes what waits in one batch. Never throws; on failure it waits on. */
  async flush(store: Store): Promise<void> {
    const rows = this.pending;
    this.pending = [];
    try {
      if (rows.length > 0)
        await store.batch('INSERT INTO T_USERLOG (username, intername, ip, rpc) VALUES (?, ?, ?, ?)', rows);
      await this.purge(store);
    } catch (error) {
      this.pending = [...rows, ...this.pending].slice(0, MAX_PENDING);
      this.log.warn('data-api.call-log', { reason: reasonOf(error), waiting: this.pending.length });
    }
    if (this.dropped > 0) this.log.warn('data-api.call-log-dropped', { calls: this.dropped });
    this.dropped = 0;
  }

  private async purge(store: Store): Promise<void> {
    const now = Date.now();
    if (now - this.purgedAt < PURGE_INTERVAL) return;
    this.purgedAt = now;
    const limit = new Date(now - this.days * 86_400_000).toISOString().slice(0, 19).replace('T', ' ');
    const old = store.dialect.limit(
      'SELECT keyid FROM T_USERLOG WHERE upttime < ? ORDER BY keyid',
      PURGE_ROWS,
    );
    await store.execute(`DELETE FROM T_USERLOG WHERE keyid IN (SELECT keyid FROM (${old}) old)`, [limit]);
  }
}
