/** The calls that a store and a transaction have in common. Thread of the caller. */
import type {
  BatchOptions, BatchResult, BulkOptions, BulkResult, CallOptions, QueryOptions, RowSet, SqlRow, SqlRunner, TableInfo,
} from '../driver.js'; // prettier-ignore
import { StoreError } from '../driver.js';
import type { Deadline } from '../give-up.js';
import { runBatch } from './batch.js';
import { runBulk, type Chunks } from './bulk.js';
import { describeTable } from './dictionary.js';
import type { Outcome, Script } from './exchange.js';
import type { PostgresLink } from './link.js';
import { returnsNothing, wireSql } from './sql.js';
import { wireBinds } from './values.js';

const DEFAULT_MAX_ROWS = 100_000;
/** How long a table's description serves bulks (ms). A change in between is found by the server in all but its finest points. */
const DESCRIPTION_AGE = 60_000;
const MAX_DESCRIPTIONS = 200;

/** A connection for one call. */
export interface Loan {
  readonly link: PostgresLink;
  readonly deadline: Deadline;
  /** Whatever happened; a second time does nothing. */
  readonly giveBack: () => void;
}

/** Tables described not long ago, for all runners of a store. */
export type Descriptions = Map<string, { readonly info: TableInfo; readonly at: number }>;

export abstract class PostgresRunner implements SqlRunner {
  /** @param inside a transaction */
  constructor(
    private readonly inside: boolean,
    protected readonly descriptions: Descriptions,
  ) {}

  protected abstract borrow(options: CallOptions): Promise<Loan>;

  async query(sql: string, binds: SqlRow = [], options: QueryOptions = {}): Promise<RowSet> {
    const maxRows = options.maxRows ?? DEFAULT_MAX_ROWS;
    const { text, count } = wireSql(sql);
    if (returnsNothing(sql)) throw new StoreError('SYNTAX', 'the statement returns no rows: use execute');
    const values = wireBinds(binds, count);
    return this.use(options, async (link, deadline) => {
      const { rows, reader } = await this.statement(link, deadline, (script) => {
        script.prepare(text);
        script.open(values, maxRows + 1);
      });
      if (rows.length > maxRows)
        throw new StoreError('TOO_MANY_ROWS', `more than ${maxRows} rows: use stream or a limit`);
      return { columns: reader?.columns ?? [], kinds: reader?.kinds ?? [], rows };
    });
  }

  async execute(sql: string, binds: SqlRow = [], options: CallOptions = {}): Promise<number> {
    const { text, count } = wireSql(sql);
    const values = wireBinds(binds, count);
    return this.use(options, async (link, deadline) => {
      const { counts } = await this.statement(link, deadline, (script) => {
        script.prepare(text);
        script.run(values);
      });
      return counts[this.inside ? 1 : 0] ?? 0;
    });
  }

  async batch(sql: string, rows: readonly SqlRow[], options: BatchOptions = {}): Promise<BatchResult> {
    return this.whole(options, (link, deadline) => runBatch(link, sql, rows, options, deadline));
  }

  async bulk(
    table: string,
    columns: readonly string[],
    chunks: Chunks,
    options: BulkOptions = {},
  ): Promise<BulkResult> {
    const load = async (link: PostgresLink, deadline: Deadline, begin?: string): Promise<BulkResult> => {
      const info = await this.described(table, link, deadline);
      try {
        return await runBulk(link, { table, columns, chunks, options, info, begin }, deadline);
      } catch (error) {
        this.descriptions.delete(table);
        throw error;
      }
    };
    // A COPY alone is all or nothing by itself.
    const alone = !this.inside && (options.onDuplicate ?? 'error') === 'error';
    if (alone) return this.use(options, load);
    // BEGIN goes along with the first statement.
    if (!this.inside) return this.whole(options, (link, deadline) => load(link, deadline, 'BEGIN'), false);
    return this.whole(options, load);
  }

  protected async describe(table: string): Promise<TableInfo> {
    return describeTable((sql, binds) => this.query(sql, binds), table);
  }

  private async described(table: string, link: PostgresLink, deadline: Deadline): Promise<TableInfo> {
    const known = this.descriptions.get(table);
    if (known !== undefined && performance.now() - known.at < DESCRIPTION_AGE) return known.info;
    const info = await describeTable(async (sql, binds) => {
      const { text, count } = wireSql(sql);
      const { rows, reader } = await link.run((script) => {
        script.prepare(text);
        script.open(wireBinds(binds, count), 0);
      }, deadline);
      return { columns: reader?.columns ?? [], rows };
    }, table);
    if (this.descriptions.size >= MAX_DESCRIPTIONS) this.descriptions.clear();
    this.descriptions.set(table, { info, at: performance.now() });
    return info;
  }

  protected async use<T>(
    options: CallOptions,
    work: (link: PostgresLink, deadline: Deadline) => Promise<T>,
  ): Promise<T> {
    const loan = await this.borrow(options);
    try {
      return await work(loan.link, loan.deadline);
    } finally {
      loan.giveBack();
    }
  }

  /** One statement. Inside a transaction a failed one is undone alone. */
  private async statement(
    link: PostgresLink,
    deadline: Deadline,
    write: (script: Script) => void,
  ): Promise<Outcome> {
    if (!this.inside) return link.run(write, deadline);
    try {
      return await link.run((script) => {
        script.say('SAVEPOINT sy_call');
        write(script);
        script.say('RELEASE SAVEPOINT sy_call');
      }, deadline);
    } catch (error) {
      await link.undo('ROLLBACK TO SAVEPOINT sy_call', 'RELEASE SAVEPOINT sy_call');
      throw error;
    }
  }

  /** Several statements, all or nothing. @param begin false: the work does */
  private async whole<T>(
    options: CallOptions,
    work: (link: PostgresLink, deadline: Deadline) => Promise<T>,
    begin = true,
  ): Promise<T> {
    return this.use(options, async (link, deadline) => {
      const opening = this.inside ? 'SAVEPOINT sy_whole' : 'BEGIN';
      if (begin) await link.run((script) => script.say(opening), deadline);
      try {
        const result = await work(link, deadline);
        if (this.inside) await link.run((script) => script.say('RELEASE SAVEPOINT sy_whole'), deadline);
        else await link.commit(deadline);
        return result;
      } catch (error) {
        if (this.inside) await link.undo('ROLLBACK TO SAVEPOINT sy_whole', 'RELEASE SAVEPOINT sy_whole');
        else await link.undo('ROLLBACK');
        throw error;
      }
    });
  }
}
