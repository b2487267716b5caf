/**
 * Stage `exec-sql`: the statements of an SQL file, one after the other (spec data-centre 12). The file is read anew by each
 * run. Each statement is logged with its rows and time. Worker thread.
 */
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';
import { openStore, StoreError, type RowSet, type SqlRunner, type Store } from '../../store/driver.js';
import { splitSql, SqlSplitError, type SqlStatement } from '../../store/sql-split.js';
import { commonKeys } from './stage/common-keys.js';
import { stageActor, stageKeys } from './stage.js';
import { StageError, type Stage, type StageEnv, type StageRun } from './stage/run.js';
import { beating } from './stage/beating.js';

export const keys = defineKeys({
  ...stageKeys,
  every: { ...stageKeys.every, default: '120s' },
  store: commonKeys.store,
  file: {
    type: 'path',
    required: true,
    help: 'The SQL file',
    reload: 'child',
    aliases: ['sqlfile'],
  },
  charset: {
    type: 'string',
    default: 'utf-8',
    help: 'Encoding of the file, such as utf-8 or gb18030',
    reload: 'child',
  },
  on_error: {
    type: 'enum',
    values: ['stop', 'continue'],
    default: 'stop',
    help: 'What follows a statement that fails; the run counts as failed either way',
    reload: 'child',
  },
  transaction: {
    type: 'enum',
    values: ['none', 'all'],
    default: 'none',
    help: 'Each statement is committed by itself, or all of them together or none',
    reload: 'child',
  },
  statement_timeout: {
    type: 'duration',
    default: '10m',
    min: 1_000,
    help: 'Longest time for one statement, or for the whole file when they are one transaction',
    reload: 'child',
  },
  max_file_size: {
    type: 'size',
    default: '16m',
    min: 1,
    max: 268_435_456,
    help: 'A larger file is refused unread',
    reload: 'child',
  },
});

const SHOWN_CHARS = 300;
const READ_CHARS = 2_000;
const MAX_ROWS = 100_000;
const ROWS_COME = /^\s*(?:select|show|values|explain|describe|desc)\b/i;
/** Statements about the transaction itself, where a bare BEGIN is not the beginning of a block. */
const OWN_TRANSACTION =
  /^(?:begin(?:\s+(?:work|transaction|immediate|exclusive|deferred))?|start\s+transaction|rollback|savepoint|end)\b[^;]*$/i;
const COMMIT = /^commit(?:\s+work)?$/i;
const SENSITIVE = /password|passwd|identified|secret|credential|encrypt/i;
const LITERAL = /'(?:[^'\\]|''|\\[^])*'|"(?:[^"\\]|""|\\[^])*"|\$(\w*)\$[^]*?\$\1\$/g;

export function createStage(env: StageEnv): Stage {
  return new ExecSql(env.params as ValuesOf<typeof keys>);
}

export const factory = stageActor(createStage);

class ExecSql implements Stage {
  constructor(private readonly params: ValuesOf<typeof keys>) {
    if (params.transaction === 'all' && params.on_error === 'continue')
      throw new StageError('transaction = all cannot continue after an error: set on_error = stop', false);
    // Throws a RangeError that names it when there is no such encoding.
    new TextDecoder(params.charset);
  }

  async run(run: StageRun): Promise<void> {
    await this.withStore(async (store) => {
      const statements = await this.statements(store);
      run.expect({ rows: statements.length });
      run.counts.files++;
      if (run.dryRun) return this.look(statements, run);
      const { statement_timeout: timeoutMs } = this.params;
      if (this.params.transaction === 'none') return this.perform(store, statements, run);
      await beating(
        run,
        store.transaction(async (tx) => this.perform(tx, statements, run), { timeoutMs }),
      );
    });
  }

  /** The statements themselves: what they would do is not known before. */
  async preview(limit: number): Promise<RowSet> {
    return this.withStore(async (store) => {
      const statements = (await this.statements(store)).slice(0, limit);
      return { columns: ['line', 'statement'], rows: statements.map((one) => [one.line, shown(one)]) };
    });
  }

  async check(): Promise<readonly string[]> {
    return this.withStore(async (store) => {
      const { length } = await this.statements(store);
      return [`store: ${await store.version()}`, `file: ${this.params.file}, ${length} statements`];
    });
  }

  /** One connection, new for each run: what a file sets for its session holds until its end and no longer. */
  private async withStore<T>(work: (store: Store) => Promise<T>): Promise<T> {
    const store = await openStore(this.params.store, { maxConnections: 1 });
    try {
      return await work(store);
    } finally {
      await store.close();
    }
  }

  /** All of them before the first is run, so a file with an open quote does nothing. @throws StageError naming file and line */
  private async statements({ dialect }: Store): Promise<SqlStatement[]> {
    const name = basename(this.params.file);
    const text = await this.read(name);
    const statements: SqlStatement[] = [];
    try {
      for (const statement of splitSql(text, dialect.name)) {
        // Each statement commits itself, or the stage does.
        if (COMMIT.test(statement.text)) continue;
        if (/^(?:mysql|postgres|sqlite)$/.test(dialect.name) && OWN_TRANSACTION.test(statement.text)) {
          const what = shown(statement);
          const hint = 'set transaction = all and leave it out of the file';
          throw new StageError(
            `${name}:${statement.line}: "${what}": the stage has the transaction; ${hint}`,
            false,
          );
        }
        statements.push(statement);
      }
    } catch (error) {
      if (!(error instanceof SqlSplitError)) throw error;
      throw new StageError(`${name}: ${error.message}`, false, { cause: error });
    }
    return statements;
  }

  private async read(name: string): Promise<string> {
    const { file, max_file_size: most, charset } = this.params;
    const handle = await open(file);
    let bytes: Buffer;
    try {
      const { size } = await handle.stat();
      if (size > most)
        throw new StageError(`${name} has ${size} bytes, more than max_file_size (${most})`, false);
      bytes = await handle.readFile();
    } finally {
      await handle.close();
    }
    try {
      return new TextDecoder(charset, { fatal: true }).decode(bytes);
    } catch (error) {
      throw new StageError(`${name} is not in ${charset}; set charset`, false, { cause: error });
    }
  }

  private look(statements: readonly SqlStatement[], run: StageRun): void {
    for (const statement of statements) {
      run.counts.rowsIn++;
      run.log.info('exec-sql.would-run', { line: statement.line, sql: shown(statement) });
    }
  }

  /** @throws StageError with the first failure when any failed, StoreError when going on makes no sense */
  private async perform(
    runner: SqlRunner,
    statements: readonly SqlStatement[],
    run: StageRun,
  ): Promise<void> {
    const failed: StageError[] = [];
    for (const statement of statements) {
      if (run.signal.aborted) {
        if (this.params.transaction === 'all') throw new StageError('told to stop: nothing is applied', true);
        break;
      }
      run.counts.rowsIn++;
      const problem = await this.one(runner, statement, run);
      if (problem === undefined) continue;
      const { cause } = problem;
      const away = cause instanceof StoreError && (cause.code === 'LOST' || cause.code === 'CLOSED');
      if (this.params.on_error === 'stop' || away) throw problem;
      failed.push(problem);
    }
    const [first] = failed;
    if (first === undefined) return;
    const text = `${failed.length} of ${statements.length} statements failed, the first: ${first.message}`;
    throw new StageError(text, false, { cause: first.cause });
  }

  private async one(
    runner: SqlRunner,
    statement: SqlStatement,
    run: StageRun,
  ): Promise<StageError | undefined> {
    const { text, line } = statement;
    const { statement_timeout: timeoutMs, file } = this.params;
    const started = performance.now();
    const sql = shown(statement);
    try {
      const rows = await beating(run, execute(runner, text, timeoutMs));
      run.counts.rowsOut += rows;
      run.log.info('exec-sql.done', { line, sql, rows, ms: Math.round(performance.now() - started) });
      return undefined;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      run.counts.errors++;
      // What the database says may quote the statement.
      const reason = SENSITIVE.test(text) ? error.code : error.message;
      run.log.error('exec-sql.failed', { line, sql, reason });
      // What was applied is not to be applied again behind the operator's back, only at the next regular run.
      const again = error.retryable && (this.params.transaction === 'all' || run.counts.rowsIn === 1);
      return new StageError(`${basename(file)}:${line}: ${reason}`, again, { cause: error });
    }
  }
}

async function execute(runner: SqlRunner, sql: string, timeoutMs: number): Promise<number> {
  if (!ROWS_COME.test(sql)) return runner.execute(sql, [], { timeoutMs });
  return (await runner.query(sql, [], { timeoutMs, maxRows: MAX_ROWS })).rows.length;
}

/** For the log: one line, not too long, and without the literals of a statement about passwords. */
function shown({ text }: SqlStatement): string {
  const head = text.slice(0, READ_CHARS);
  const open = SENSITIVE.test(text)
    ? head.replace(LITERAL, "'***'").replace(/(?<!\*)['"$](?!\*)[^]*$/, '...')
    : head;
  const line = open.replace(/\s+/g, ' ').trim();
  return line.length > SHOWN_CHARS || head !== text ? `${line.slice(0, SHOWN_CHARS)}...` : line;
}
