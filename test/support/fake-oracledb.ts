/**
 * A recording stand-in for the package `oracledb`: it keeps to the documented rules of the calls that the driver makes (number
 * and types of binds, sizes of executeMany, one call at a time, nothing after close) and answers what a test tells it to.
 */
import type { OracleDriver } from '../../src/store/oracle/values.js';

const types = {
  DB_TYPE_NUMBER: { name: 'NUMBER' },
  DB_TYPE_VARCHAR: { name: 'VARCHAR' },
  DB_TYPE_NVARCHAR: { name: 'NVARCHAR' },
  DB_TYPE_CHAR: { name: 'CHAR' },
  DB_TYPE_BINARY_DOUBLE: { name: 'BINARY_DOUBLE' },
  DB_TYPE_BINARY_FLOAT: { name: 'BINARY_FLOAT' },
  DB_TYPE_NCHAR: { name: 'NCHAR' },
  DB_TYPE_RAW: { name: 'RAW' },
  DB_TYPE_CLOB: { name: 'CLOB' },
  DB_TYPE_NCLOB: { name: 'NCLOB' },
  DB_TYPE_BLOB: { name: 'BLOB' },
  DB_TYPE_DATE: { name: 'DATE' },
  DB_TYPE_TIMESTAMP: { name: 'TIMESTAMP' },
  DB_TYPE_TIMESTAMP_LTZ: { name: 'TIMESTAMP_LTZ' },
  DB_TYPE_TIMESTAMP_TZ: { name: 'TIMESTAMP_TZ' },
  DB_TYPE_LONG: { name: 'LONG' },
  DB_TYPE_LONG_RAW: { name: 'LONG_RAW' },
  DB_TYPE_INTERVAL_DS: { name: 'INTERVAL_DS' },
  DB_TYPE_INTERVAL_YM: { name: 'INTERVAL_YM' },
};

export type FakeType = keyof typeof types extends `DB_TYPE_${infer N}` ? N : never;
export interface FakeColumn {
  readonly name: string;
  readonly type: FakeType;
  readonly precision?: number;
  readonly scale?: number;
}

export interface FakeCall {
  readonly op: string;
  readonly sql: string;
  readonly binds: readonly unknown[];
  readonly options: Record<string, unknown>;
  readonly connection: number;
}

/** What the server says to a statement. Values of NUMBER columns are texts, as on the wire. */
export interface FakeAnswer {
  readonly columns?: readonly FakeColumn[];
  readonly rows?: readonly (readonly unknown[])[];
  readonly rowsAffected?: number;
  readonly batchErrors?: readonly {
    readonly offset: number;
    readonly errorNum: number;
    readonly message: string;
  }[];
  readonly error?: { readonly code: string; readonly errorNum?: number; readonly message?: string };
  /** Stays silent until it is broken; then the answer is ORA-01013, or nothing when 'deaf'. */
  readonly hang?: 'until-break' | 'deaf';
}

export class FakeOracle {
  readonly calls: FakeCall[] = [];
  readonly dropped: number[] = [];
  readonly initialised: unknown[] = [];
  poolAttributes: Record<string, unknown> = {};
  open = 0;
  opened = 0;
  poolClosed = false;
  /** First matching answer wins; others get an empty one. */
  answers: { readonly match: RegExp; readonly answer: FakeAnswer | ((call: FakeCall) => FakeAnswer) }[] = [];
  connectError: FakeAnswer['error'];

  on(match: RegExp, answer: FakeAnswer | ((call: FakeCall) => FakeAnswer)): this {
    this.answers.push({ match, answer });
    return this;
  }

  /** Texts of the statements, the session's set-up and the opening question left out. */
  statements(): string[] {
    return this.calls
      .filter(({ sql }) => !/^ALTER SESSION|^SELECT 1 FROM DUAL$/.test(sql))
      .map(({ op, sql }) => (op === 'execute' ? sql : `${op}: ${sql}`));
  }

  readonly load = async (): Promise<OracleDriver> =>
    ({
      ...types,
      initOracleClient: (options: unknown) => void this.initialised.push(options),
      createPool: async (attributes: Record<string, unknown>) => {
        this.poolAttributes = attributes;
        return new FakePool(this, attributes);
      },
    }) as unknown as OracleDriver;

  answer(call: FakeCall): FakeAnswer {
    this.calls.push(call);
    const found = this.answers.find(({ match }) => match.test(call.sql))?.answer;
    return (typeof found === 'function' ? found(call) : found) ?? {};
  }
}

function fail({ code, errorNum, message }: NonNullable<FakeAnswer['error']>): Error {
  return Object.assign(
    new Error(`${code}: ${message ?? 'as the test says'}\nHelp: https://docs.oracle.com/x/`),
    {
      code,
      errorNum: errorNum ?? 0,
    },
  );
}

class FakePool {
  private readonly idle: FakeConnection[] = [];

  constructor(
    private readonly fake: FakeOracle,
    private readonly attributes: Record<string, unknown>,
  ) {}

  async getConnection(): Promise<FakeConnection> {
    if (this.fake.poolClosed) throw fail({ code: 'NJS-065' });
    if (this.fake.connectError !== undefined) throw fail(this.fake.connectError);
    this.fake.open += 1;
    const known = this.idle.pop();
    if (known !== undefined) return known.reopen();
    const connection = new FakeConnection(this.fake, ++this.fake.opened, (back) => {
      this.fake.open -= 1;
      if (back) this.idle.push(connection);
    });
    type Callback = (c: FakeConnection, tag: string, done: (error?: Error) => void) => void;
    const callback = this.attributes['sessionCallback'] as Callback;
    await new Promise<void>((resolve, reject) =>
      callback(connection, '', (error) => (error === undefined ? resolve() : reject(error))),
    );
    return connection;
  }

  async close(seconds: number): Promise<void> {
    if (typeof seconds !== 'number') throw fail({ code: 'NJS-104' });
    this.fake.poolClosed = true;
  }
}

interface Definition {
  readonly type: unknown;
  readonly maxSize?: number;
}

class FakeConnection {
  readonly oracleServerVersionString = '19.3.0.0.0';
  private closed = false;
  private busy = false;
  private breakNow: (() => void) | undefined;

  constructor(
    private readonly fake: FakeOracle,
    private readonly id: number,
    private readonly back: (reusable: boolean) => void,
  ) {}

  reopen(): this {
    this.closed = false;
    return this;
  }

  async execute(sql: string, binds: unknown[] = [], options: Record<string, unknown> = {}): Promise<unknown> {
    for (const bind of binds) {
      const good =
        bind === null || typeof bind === 'string' || typeof bind === 'number' || Buffer.isBuffer(bind);
      if (!good) throw fail({ code: 'NJS-012' });
    }
    const answer = await this.turn('execute', sql, binds, options);
    const rows = this.fetched(answer, options);
    if (options['resultSet'] === true) return { resultSet: this.cursor(rows), metaData: answer.columns };
    const max = Number(options['maxRows'] ?? 0);
    return {
      rows: answer.columns === undefined ? undefined : max > 0 ? rows.slice(0, max) : rows,
      rowsAffected: answer.columns === undefined ? (answer.rowsAffected ?? 0) : undefined,
    };
  }

  async executeMany(sql: string, rows: unknown[][], options: Record<string, unknown>): Promise<unknown> {
    const defs = (options['bindDefs'] ?? []) as Definition[];
    for (const row of rows) {
      if (row.length !== defs.length) throw fail({ code: 'NJS-055' });
      row.forEach((value, i) => this.checkBind(value, defs[i] as Definition));
    }
    const answer = await this.turn('many', sql, rows, options, defs.length);
    const batchErrors = answer.batchErrors?.map((error) => Object.assign(new Error(error.message), error));
    return { rowsAffected: answer.rowsAffected ?? rows.length, batchErrors };
  }

  async getStatementInfo(sql: string): Promise<unknown> {
    const answer = await this.turn('describe', sql, [], {}, -1);
    const metaData = answer.columns?.map(({ name, type, precision, scale }) => ({
      name,
      dbType: types[`DB_TYPE_${type}`],
      precision,
      scale,
    }));
    return { metaData, statementType: 1 };
  }

  async commit(): Promise<void> {
    await this.turn('commit', '', [], {});
  }

  async rollback(): Promise<void> {
    await this.turn('rollback', '', [], {});
  }

  async break(): Promise<void> {
    this.fake.calls.push({ op: 'break', sql: '', binds: [], options: {}, connection: this.id });
    this.breakNow?.();
  }

  async close(options: { drop?: boolean } = {}): Promise<void> {
    if (this.closed) throw fail({ code: 'NJS-003' });
    this.closed = true;
    if (options.drop === true) this.fake.dropped.push(this.id);
    this.back(options.drop !== true);
  }

  private async turn(
    op: string,
    sql: string,
    binds: unknown[],
    options: Record<string, unknown>,
    count = binds.length,
  ): Promise<FakeAnswer> {
    if (this.closed) throw fail({ code: 'NJS-003' });
    if (this.busy) throw fail({ code: 'NJS-081' });
    const places = sql.replace(/'(?:[^']|'')*'/g, '').match(/:\d+/g) ?? [];
    if (count >= 0 && places.length !== count) throw fail({ code: 'NJS-098' });
    this.busy = true;
    try {
      const answer = this.fake.answer({ op, sql, binds, options, connection: this.id });
      await new Promise((resolve) => setImmediate(resolve));
      if (answer.hang !== undefined) {
        await new Promise<void>((resolve) => {
          if (answer.hang === 'until-break') this.breakNow = resolve;
        });
        throw fail({ code: 'ORA-01013', errorNum: 1013 });
      }
      if (answer.error !== undefined) throw fail(answer.error);
      return answer;
    } finally {
      this.busy = false;
    }
  }

  private checkBind(value: unknown, { type, maxSize }: Definition): void {
    if (value === null) return;
    const text = type === types.DB_TYPE_VARCHAR;
    if (text || type === types.DB_TYPE_RAW) {
      if (maxSize === undefined) throw fail({ code: 'NJS-056' });
      if (text ? typeof value !== 'string' : !Buffer.isBuffer(value)) throw fail({ code: 'NJS-011' });
      if (Buffer.byteLength(value as string | Buffer) > maxSize) throw fail({ code: 'NJS-058' });
    } else if (type !== types.DB_TYPE_NUMBER || typeof value !== 'number') throw fail({ code: 'NJS-011' });
  }

  /** What the thin driver makes of the server's values. */
  private fetched(answer: FakeAnswer, options: Record<string, unknown>): unknown[][] {
    type Handler = (
      column: unknown,
    ) => { type?: unknown; converter?: (value: unknown) => unknown } | undefined;
    const handler = options['fetchTypeHandler'] as Handler | undefined;
    const columns = (answer.columns ?? []).map((column) => {
      const dbType = types[`DB_TYPE_${column.type}`];
      return { dbType, ...handler?.({ ...column, dbType }) };
    });
    return (answer.rows ?? []).map((row) =>
      row.map((value, i) => {
        const { dbType, type, converter } = columns[i] ?? {};
        let fetched = value;
        if (value !== null && type === types.DB_TYPE_VARCHAR && value instanceof Date)
          fetched = value.toString();
        if (value !== null && dbType === types.DB_TYPE_NUMBER && type !== types.DB_TYPE_VARCHAR) {
          fetched = Number(value);
        }
        return converter === undefined ? fetched : converter(fetched);
      }),
    );
  }

  private cursor(rows: unknown[][]): unknown {
    let at = 0;
    return {
      getRows: async (count: number) => {
        await this.turn('fetch', '', [], { count });
        at += count;
        return rows.slice(at - count, at);
      },
      close: async () => void (await this.turn('close-cursor', '', [], {})),
    };
  }
}
