/**
 * The run ledger: one row for each run of a stage, written when it begins and when it ends, so that it survives whatever
 * kills the process. Its store has to be durable (SQLite's `sync=full`, the default). Any thread.
 */
import { asObjects, type SqlRow, type Store } from './driver.js';
import { migrate, type Migration } from './migrations.js';
import { isAlive, ownIdentity, type ProcessIdentity } from './process-identity.js';
import { onServers } from './schema-words.js';

/** What stages remember from run to run. */
const stateTable = (create: string, end: string): string => `${create} stage_state (
  stage VARCHAR(100) NOT NULL,
  name VARCHAR(100) NOT NULL,
  value VARCHAR(4000) NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (stage, name)${end}`;

const LEDGER: readonly Migration[] = [
  {
    version: 1,
    statements: {
      sqlite: [
        `CREATE TABLE runs (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          stage VARCHAR(100) NOT NULL,
          state VARCHAR(12) NOT NULL,
          started_at BIGINT NOT NULL,
          updated_at BIGINT NOT NULL,
          ended_at BIGINT,
          rows_in BIGINT NOT NULL DEFAULT 0,
          rows_out BIGINT NOT NULL DEFAULT 0,
          rows_rejected BIGINT NOT NULL DEFAULT 0,
          files BIGINT NOT NULL DEFAULT 0,
          bytes BIGINT NOT NULL DEFAULT 0,
          errors BIGINT NOT NULL DEFAULT 0,
          message VARCHAR(500),
          next_due BIGINT,
          host VARCHAR(255) NOT NULL,
          pid BIGINT NOT NULL,
          process_started VARCHAR(100) NOT NULL)`,
        'CREATE INDEX ix_runs_stage ON runs (stage, id)',
        `CREATE INDEX ix_runs_running ON runs (state) WHERE state = 'running'`,
      ],
      ...onServers(({ create, counter, index, end, indexes }) => [
        `${create} runs (
          id ${counter},
          stage VARCHAR(100) NOT NULL,
          state VARCHAR(12) NOT NULL,
          started_at BIGINT NOT NULL,
          updated_at BIGINT NOT NULL,
          ended_at BIGINT,
          rows_in BIGINT NOT NULL DEFAULT 0,
          rows_out BIGINT NOT NULL DEFAULT 0,
          rows_rejected BIGINT NOT NULL DEFAULT 0,
          files BIGINT NOT NULL DEFAULT 0,
          bytes BIGINT NOT NULL DEFAULT 0,
          errors BIGINT NOT NULL DEFAULT 0,
          message VARCHAR(500),
          next_due BIGINT,
          host VARCHAR(255) NOT NULL,
          pid BIGINT NOT NULL,
          process_started VARCHAR(100) NOT NULL,
          lag_ms BIGINT,
          PRIMARY KEY (id)${index('ix_runs_stage', 'stage, id')}${index('ix_runs_running', 'state')}${end}`,
        ...indexes('runs', 'ix_runs_stage', 'stage, id'),
        ...indexes('runs', 'ix_runs_running', 'state'),
      ]),
    },
  },
  {
    version: 2,
    statements: {
      sqlite: ['ALTER TABLE runs ADD COLUMN lag_ms BIGINT', stateTable('CREATE TABLE IF NOT EXISTS', ')')],
      ...onServers(({ create, end }) => [stateTable(create, end)]),
    },
  },
];

export type RunState = 'running' | 'ok' | 'failed' | 'interrupted';

export interface RunCounts {
  readonly rowsIn: number;
  readonly rowsOut: number;
  readonly rowsRejected: number;
  readonly files: number;
  readonly bytes: number;
  readonly errors: number;
  /** Age in ms of the oldest row or file when it was dealt with; absent when the stage cannot tell. */
  readonly lagMs?: number | undefined;
}

/** Times are ms since 1970. */
export interface Run extends RunCounts {
  readonly id: number;
  readonly stage: string;
  readonly state: RunState;
  readonly startedAt: number;
  readonly endedAt: number | undefined;
  readonly message: string | undefined;
  readonly nextDue: number | undefined;
}

export interface LedgerOptions {
  /** Runs kept of each stage, default 1,000. */
  readonly keepRuns?: number;
  /** Wall clock in ms, for tests. */
  readonly now?: () => number;
}

export const NO_COUNTS: RunCounts = { rowsIn: 0, rowsOut: 0, rowsRejected: 0, files: 0, bytes: 0, errors: 0 };

const MESSAGE_CHARACTERS = 500;
/** What not every database takes: NUL, and half a character where the text is cut. */
const UNSTORABLE = /\0|\p{Surrogate}/gu;
/** A run of another host that has not been heard of for this long (ms) is taken for dead; hence `progress`. */
const SILENCE = 3_600_000;
const COUNTS =
  'rows_in = ?, rows_out = ?, rows_rejected = ?, files = ?, bytes = ?, errors = ?, lag_ms = ?, updated_at = ?';
const MAX_LIST = 10_000;

function storable(message: string): string {
  return message.slice(0, MESSAGE_CHARACTERS).replace(UNSTORABLE, '');
}

export class Ledger {
  private constructor(
    private readonly store: Store,
    private readonly self: ProcessIdentity,
    private readonly keepRuns: number,
    private readonly now: () => number,
  ) {}

  /** Makes the table if needed and marks the runs of dead processes as interrupted. @throws StoreError */
  static async open(store: Store, options: LedgerOptions = {}): Promise<Ledger> {
    await migrate(store, 'ledger', LEDGER);
    const ledger = new Ledger(store, await ownIdentity(), options.keepRuns ?? 1_000, options.now ?? Date.now);
    await ledger.buryDead();
    return ledger;
  }

  /**
   * Begins a run; when this returns the row is on the disk. A stage runs once at a time: an earlier run of it by this
   * process that never ended (its actor crashed) becomes interrupted. @returns the run's id
   */
  async begin(stage: string): Promise<number> {
    const { host, pid, started } = this.self;
    const now = this.now();
    return this.store.transaction(async (tx) => {
      await tx.execute(
        `UPDATE runs SET state = 'interrupted', ended_at = ?, message = ?
         WHERE state = 'running' AND stage = ? AND host = ? AND pid = ? AND process_started = ?`,
        [now, 'the stage began anew', stage, host, pid, started],
      );
      await tx.execute(
        `INSERT INTO runs (stage, state, started_at, updated_at, host, pid, process_started)
         VALUES (?, 'running', ?, ?, ?, ?, ?)`,
        [stage, now, now, host, pid, started],
      );
      const newest = await tx.query('SELECT max(id) FROM runs WHERE stage = ?', [stage]);
      const surplus = await tx.query(
        `SELECT id FROM runs WHERE stage = ? AND state <> 'running' ORDER BY id DESC LIMIT 1 OFFSET ?`,
        [stage, this.keepRuns],
      );
      const last = surplus.rows[0]?.[0];
      if (last !== undefined) {
        await tx.execute(`DELETE FROM runs WHERE stage = ? AND id <= ? AND state <> 'running'`, [
          stage,
          last,
        ]);
      }
      return Number(newest.rows[0]?.[0]);
    });
  }

  /** What a long run has done so far; call it every minute or so, not for every row. */
  async progress(id: number, counts: RunCounts): Promise<void> {
    await this.store.execute(`UPDATE runs SET ${COUNTS} WHERE id = ? AND state = 'running'`, [
      ...this.countValues(counts),
      id,
    ]);
  }

  /** @param end.message cut to 500 characters. @param end.nextDue when the stage runs again, ms since 1970 */
  async finish(
    id: number,
    state: 'ok' | 'failed',
    counts: RunCounts,
    end: { readonly message?: string | undefined; readonly nextDue?: number | undefined } = {},
  ): Promise<void> {
    await this.store.execute(
      `UPDATE runs SET ${COUNTS}, state = ?, ended_at = ?, message = ?, next_due = ? WHERE id = ?`,
      [
        ...this.countValues(counts),
        state,
        this.now(),
        end.message === undefined ? null : storable(end.message),
        end.nextDue ?? null,
        id,
      ],
    );
  }

  /** Newest first. @param filter.limit default 100, at most 10,000 */
  async list(filter: { readonly stage?: string | undefined; readonly limit?: number } = {}): Promise<Run[]> {
    const limit = Math.min(filter.limit ?? 100, MAX_LIST);
    const where = filter.stage === undefined ? '' : 'WHERE stage = ? ';
    const binds = filter.stage === undefined ? [] : [filter.stage];
    return this.runs(this.store.dialect.limit(`SELECT * FROM runs ${where}ORDER BY id DESC`, limit), binds);
  }

  /** The newest run of each stage, by name. */
  async latest(): Promise<Run[]> {
    return this.runs(
      'SELECT * FROM runs WHERE id IN (SELECT max(id) FROM runs GROUP BY stage) ORDER BY stage',
      [],
    );
  }

  /** Number of the newest run that ended well and brought something: rows or files. */
  async newestYield(stage: string): Promise<number | undefined> {
    const found = await this.store.query(
      `SELECT max(id) FROM runs WHERE stage = ? AND state = 'ok' AND (rows_out > 0 OR files > 0)`,
      [stage],
    );
    const id = found.rows[0]?.[0] ?? null;
    return id === null ? undefined : Number(id);
  }

  /** Whether neither this run of the stage nor a later one came to its end: killed, failed, stopped. False for a run that is not known. */
  async cutOff(stage: string, id: number): Promise<boolean> {
    // A run that was stopped is ok with a message.
    const found = await this.store.query(
      `SELECT min(id), sum(CASE WHEN state = 'ok' AND message IS NULL THEN 1 ELSE 0 END) FROM runs WHERE stage = ? AND id >= ?`,
      [stage, id],
    );
    const [oldest, ended] = (found.rows[0] ?? []).map(Number);
    return oldest === id && ended === 0;
  }

  /** What the stage kept under this name. */
  async recall(stage: string, name: string): Promise<string | undefined> {
    const found = await this.store.query('SELECT value FROM stage_state WHERE stage = ? AND name = ?', [
      stage,
      name,
    ]);
    const value = found.rows[0]?.[0] ?? null;
    return value === null ? undefined : String(value);
  }

  /** Durable when it returns. @param name at most 100 characters. @param value at most 4,000 */
  async remember(stage: string, name: string, value: string): Promise<void> {
    const { dialect } = this.store;
    const columns = ['stage', 'name', 'value', 'updated_at'];
    const upsert = dialect.upsert('stage_state', columns, ['stage', 'name']);
    await this.store.execute(upsert, [stage, name, value, this.now()]);
  }

  private async runs(sql: string, binds: SqlRow): Promise<Run[]> {
    const found = asObjects(await this.store.query(sql, binds));
    const optional = (value: unknown): number | undefined => (value === null ? undefined : Number(value));
    return found.map((row) => ({
      id: Number(row['id']),
      stage: String(row['stage']),
      state: row['state'] as RunState,
      startedAt: Number(row['started_at']),
      endedAt: optional(row['ended_at']),
      rowsIn: Number(row['rows_in']),
      rowsOut: Number(row['rows_out']),
      rowsRejected: Number(row['rows_rejected']),
      files: Number(row['files']),
      bytes: Number(row['bytes']),
      errors: Number(row['errors']),
      lagMs: optional(row['lag_ms']),
      message: typeof row['message'] === 'string' ? row['message'] : undefined,
      nextDue: optional(row['next_due']),
    }));
  }

  private async buryDead(): Promise<void> {
    const now = this.now();
    const running = await this.store.query(
      `SELECT id, host, pid, process_started, updated_at FROM runs WHERE state = 'running'`,
    );
    for (const [id = null, host = null, pid, started = null, updatedAt] of running.rows) {
      const alive = (await isAlive(host, Number(pid), started)) ?? now - Number(updatedAt) < SILENCE;
      if (alive) continue;
      await this.store.execute(
        `UPDATE runs SET state = 'interrupted', ended_at = ?, message = ? WHERE id = ? AND state = 'running'`,
        [now, `its process ${Number(pid)} died`, id],
      );
    }
  }

  private countValues(counts: RunCounts): (number | null)[] {
    const { rowsIn, rowsOut, rowsRejected, files, bytes, errors, lagMs } = counts;
    const lag = lagMs === undefined ? null : Math.round(lagMs);
    return [rowsIn, rowsOut, rowsRejected, files, bytes, errors, lag, this.now()];
  }
}
