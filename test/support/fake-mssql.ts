/**
 * A recording stand-in for the package `mssql`: types and Table are the real ones, pools, requests and transactions keep to
 * the documented rules (one request at a time in a transaction, nothing after its end, types that fit) and answer what a test says.
 */
import { EventEmitter } from 'node:events';
import mssql from 'mssql';
import { openMssql } from '../../src/store/mssql.js';
import type { Store, StoreOptions } from '../../src/store/driver.js';
import type { MssqlDriver } from '../../src/store/mssql/values.js';

export interface FakeCall {
  readonly op: string;
  readonly sql: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly types: Readonly<Record<string, string>>;
  readonly transaction: number | undefined;
}

export interface FakeAnswer {
  readonly columns?: readonly (readonly [name: string, type: keyof typeof mssql.TYPES])[];
  readonly rows?: readonly (readonly unknown[])[];
  readonly affected?: number;
  /** The last is what the promise rejects with; in a stream each is an event. */
  readonly errors?: readonly {
    readonly number?: number;
    readonly code?: string;
    readonly message?: string;
  }[];
  readonly hang?: 'until-cancel' | 'deaf';
}

export class FakeMssql {
  readonly calls: FakeCall[] = [];
  readonly bulks: { readonly name: string; readonly columns: string[]; readonly rows: unknown[][] }[] = [];
  config: mssql.config | undefined;
  closed = false;
  paused = 0;
  connectError: FakeAnswer['errors'];
  transactions = 0;
  private readonly answers: { match: RegExp; answer: FakeAnswer | ((call: FakeCall) => FakeAnswer) }[] = [
    {
      match: /ProductVersion/,
      answer: { columns: [['v', 'VarChar']], rows: [['16.0.1000.6 Developer Edition']] },
    },
  ];

  on(match: RegExp, answer: FakeAnswer | ((call: FakeCall) => FakeAnswer)): this {
    this.answers.unshift({ match, answer });
    return this;
  }

  /** Texts in order; those of the opening and the descriptions left out. */
  statements(): string[] {
    return this.calls
      .filter(({ sql }) => !/ProductVersion|dm_exec_describe/.test(sql))
      .map(({ op, sql }) => (op === 'query' || op === 'batch' ? sql : op));
  }

  answer(call: FakeCall): FakeAnswer {
    this.calls.push(call);
    const found = this.answers.find(({ match }) => match.test(call.sql))?.answer;
    return (typeof found === 'function' ? found(call) : found) ?? {};
  }

  readonly load = async (): Promise<MssqlDriver> => {
    // eslint-disable-next-line @typescript-eslint/no-this-alias -- the classes below have a `this` of their own
    const fake = this;
    class ConnectionPool extends EventEmitter {
      constructor(config: mssql.config) {
        super();
        fake.config = config;
      }
      async connect(): Promise<this> {
        if (fake.connectError !== undefined) throw failure(fake.connectError, 'ConnectionError');
        return this;
      }
      request(): FakeRequest {
        if (fake.closed) throw failure([{ code: 'ENOTOPEN' }]);
        return new FakeRequest(fake, undefined);
      }
      async close(): Promise<void> {
        fake.closed = true;
      }
    }
    class Transaction extends FakeTransaction {
      constructor() {
        super(fake, ++fake.transactions);
      }
    }
    return {
      ...mssql,
      ConnectionPool,
      Transaction,
      Table: mssql.Table,
      MAX: mssql.MAX,
    } as unknown as MssqlDriver;
  };

  open(options: StoreOptions = {}): Promise<Store> {
    return openMssql('mssql://sa:secret@db.example/weather', options, this.load);
  }
}

function failure(errors: NonNullable<FakeAnswer['errors']>, name = 'RequestError'): Error {
  const made = errors.map((one) =>
    Object.assign(new Error(one.message ?? `error ${one.number ?? one.code}`), {
      code: 'EREQUEST',
      ...one,
      name,
    }),
  );
  const last = made.pop() as Error;
  return Object.assign(last, { precedingErrors: made });
}

class FakeTransaction {
  active: FakeRequest | undefined;
  private state: 'new' | 'begun' | 'ended' = 'new';

  constructor(
    private readonly fake: FakeMssql,
    readonly id: number,
  ) {}

  async begin(): Promise<void> {
    this.step('new', 'begun', 'begin');
  }
  async commit(): Promise<void> {
    this.step('begun', 'ended', 'commit');
  }
  async rollback(): Promise<void> {
    this.step('begun', 'ended', 'rollback');
  }
  request(): FakeRequest {
    return new FakeRequest(this.fake, this);
  }
  check(): void {
    if (this.state !== 'begun') throw failure([{ code: 'ENOTBEGUN' }], 'TransactionError');
    if (this.active !== undefined) throw failure([{ code: 'EREQINPROG' }], 'TransactionError');
  }
  private step(from: string, to: 'begun' | 'ended', op: string): void {
    if (this.state !== from || this.active !== undefined)
      throw failure([{ code: 'ENOTBEGUN' }], 'TransactionError');
    this.state = to;
    this.fake.calls.push({ op, sql: '', inputs: {}, types: {}, transaction: this.id });
  }
}

class FakeRequest extends EventEmitter {
  stream = false;
  arrayRowMode = false;
  private readonly inputs: Record<string, unknown> = {};
  private readonly types: Record<string, string> = {};
  private cancelled = false;
  private stop: () => void = () => undefined;
  private held = false;
  private go: () => void = () => undefined;

  constructor(
    private readonly fake: FakeMssql,
    private readonly transaction: FakeTransaction | undefined,
  ) {
    super();
  }

  input(
    name: string,
    type: { type?: { name: string }; length?: number } & { name?: string },
    value: unknown,
  ): this {
    const declared = type.type?.name ?? type.name ?? '';
    const wrong =
      (/Char/.test(declared) && typeof value !== 'string') ||
      (declared === 'Int' && typeof value !== 'number') ||
      (declared === 'VarBinary' && !Buffer.isBuffer(value));
    if (wrong || declared === '') throw failure([{ code: 'EPARAM' }]);
    this.inputs[name] = value;
    this.types[name] =
      declared + (typeof type === 'function' || type.length === undefined ? '' : `(${type.length})`);
    return this;
  }

  query(sql: string): Promise<unknown> {
    return this.run('query', sql);
  }
  batch(sql: string): Promise<unknown> {
    return this.run('batch', sql);
  }
  async bulk(table: mssql.Table): Promise<unknown> {
    await this.run('bulk', '');
    const rows = [...table.rows].map((row) => [...(row as unknown as unknown[])]);
    this.fake.bulks.push({
      name: String(table.name),
      columns: table.columns.map(({ name }) => String(name)),
      rows,
    });
    return { rowsAffected: rows.length };
  }
  cancel(): void {
    this.cancelled = true;
    this.stop();
  }
  pause(): boolean {
    this.held = true;
    this.fake.paused += 1;
    return true;
  }
  resume(): boolean {
    this.held = false;
    this.go();
    return true;
  }

  private async run(op: string, sql: string): Promise<unknown> {
    this.transaction?.check();
    const used = new Set((sql.match(/(?<!@)@p\d+\b/g) ?? []).map((name) => name.slice(1)));
    for (const name of used) if (!(name in this.inputs)) throw failure([{ number: 137 }]);
    if (Object.keys(this.inputs).length > 2_098) throw failure([{ number: 8003 }]);
    if (this.transaction !== undefined) this.transaction.active = this;
    try {
      const { inputs, types } = this;
      const answer = this.fake.answer({ op, sql, inputs, types, transaction: this.transaction?.id });
      await new Promise((resolve) => setImmediate(resolve));
      if (answer.hang !== undefined) {
        await new Promise<void>((resolve) => {
          if (answer.hang === 'until-cancel') this.stop = resolve;
          if (this.cancelled) resolve();
        });
        throw failure([{ code: 'ECANCEL' }]);
      }
      const columns = (answer.columns ?? []).map(([name, type]) => ({ name, type: mssql.TYPES[type] }));
      if (this.stream) return await this.emitAll(columns, answer);
      if (answer.errors !== undefined) throw failure(answer.errors);
      return {
        recordsets: answer.columns === undefined ? [] : [answer.rows ?? []],
        columns: answer.columns === undefined ? [] : [columns],
        rowsAffected: [answer.affected ?? 0],
      };
    } finally {
      if (this.transaction !== undefined) this.transaction.active = undefined;
    }
  }

  private async emitAll(columns: unknown[], { rows = [], errors = [] }: FakeAnswer): Promise<unknown> {
    if (columns.length > 0) this.emit('recordset', columns);
    for (const row of rows) {
      if (this.held) await new Promise<void>((resolve) => (this.go = resolve));
      if (this.cancelled) break;
      this.emit('row', [...row]);
    }
    for (const error of errors) this.emit('error', failure([error]));
    this.emit('done', { rowsAffected: [rows.length] });
    return {};
  }
}
