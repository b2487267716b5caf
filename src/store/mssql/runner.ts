/** Statements on one SQL Server connection or on any of the pool. Any thread. */
import type mssql from 'mssql';
import { cleanBinds } from '../binds.js';
import { StoreError, type ColumnKind, type RowSet, type SqlRow } from '../driver.js';
import { guard, type Deadline } from '../give-up.js';
import { kindOf } from './dictionary.js';
import { mssqlError } from './errors.js';
import {
  bound,
  exactResult,
  plainRow,
  type Bound,
  type DescribedColumn,
  type MssqlDriver,
  type ResultColumn,
} from './values.js';
import { placeholders } from '../placeholders.js';

/** Described statements kept; the one unused longest goes first. */
const CACHED_SELECTS = 256;

const DESCRIBE =
  'SELECT name, system_type_name, error_number FROM sys.dm_exec_describe_first_result_set(@sql, @params, 0)' +
  ' WHERE is_hidden = 0 OR error_number IS NOT NULL ORDER BY column_ordinal';

/** What is to be sent: the text with `@p1`, and its parameters. */
export interface Prepared {
  readonly sql: string;
  readonly inputs: readonly { readonly name: string; readonly bind: Bound }[];
  /** Names of the columns where the server was told to name them otherwise. */
  readonly names: readonly string[] | undefined;
  /** What they are, for the same case. */
  readonly kinds?: readonly ColumnKind[];
}

export interface Answer {
  /** Of the first result set; undefined when there was none. */
  readonly set: RowSet | undefined;
  readonly affected: number;
}

/** In array mode, which the types do not know of. */
interface ArrayResult {
  readonly recordsets: readonly (readonly (readonly unknown[])[])[];
  readonly columns?: readonly (readonly { readonly name: string; readonly type?: unknown }[])[];
  readonly rowsAffected: readonly number[];
}

/** A select by way of WITH RESULT SETS. */
interface Exact {
  readonly sql: string;
  readonly names: readonly string[];
  readonly kinds: readonly ColumnKind[];
}

/** What the connections of a pool share. */
export class MssqlShared {
  /** Text and parameter types -> the rewritten text, or undefined: to be run as it is. */
  private readonly exact = new Map<string, Exact | undefined>();

  constructor(readonly driver: MssqlDriver) {}

  find(key: string): {
    readonly known: boolean;
    readonly value?: Exact | undefined;
  } {
    if (!this.exact.has(key)) return { known: false };
    const value = this.exact.get(key);
    this.exact.delete(key);
    this.exact.set(key, value);
    return { known: true, value };
  }

  keep(key: string, value: Exact | undefined): void {
    this.exact.set(key, value);
    const [oldest] = this.exact.keys();
    if (this.exact.size > CACHED_SELECTS && oldest !== undefined) this.exact.delete(oldest);
  }

  forget(): void {
    this.exact.clear();
  }
}

export function resultColumns(
  columns: readonly { readonly name: string; readonly type?: unknown }[],
): ResultColumn[] {
  // A type of the driver is a function that bears its name.
  return columns.map(({ name, type }) => ({ name, type: typeof type === 'function' ? type.name : '' }));
}

/** Runs statements through requests of a pool or of a transaction. */
export class MssqlSession {
  constructor(
    readonly shared: MssqlShared,
    readonly newRequest: () => mssql.Request,
  ) {}

  /** The text with its parameters. @param offset number of parameters that stand before. @throws StoreError BIND */
  prepare(sql: string, binds: SqlRow, offset = 0): Prepared {
    const values = cleanBinds(binds).map((value) => bound(this.shared.driver, value));
    refuseSeveral(sql);
    const text = placeholders(
      sql,
      (n) => (values[n - 1]?.type === undefined ? 'NULL' : `@p${n + offset}`),
      values.length,
      true,
    );
    const inputs = values.flatMap((bind, i) =>
      bind.type === undefined ? [] : [{ name: `p${i + 1 + offset}`, bind }],
    );
    return { sql: text, inputs, names: undefined };
  }

  /** One request under the deadline. @throws StoreError */
  async send(
    { sql, inputs, names, kinds }: Prepared,
    deadline: Deadline,
    how: 'query' | 'batch' = 'query',
  ): Promise<Answer> {
    deadline.check();
    const request = this.request(inputs);
    try {
      const { value } = await guard(request[how](sql) as Promise<unknown>, deadline, () => request.cancel());
      const { recordsets, columns = [], rowsAffected } = value as ArrayResult;
      const types = resultColumns(columns[0] ?? []);
      return {
        set: columns[0] && {
          columns: names ?? types.map(({ name }) => name),
          kinds: kinds ?? types.map(({ type }) => kindOf(type.toLowerCase())),
          rows: (recordsets[0] ?? []).map((row) => plainRow(row, types)),
        },
        affected: rowsAffected.reduce((sum, n) => sum + n, 0),
      };
    } catch (error) {
      throw mssqlError(error);
    }
  }

  request(inputs: Prepared['inputs']): mssql.Request {
    const request = this.newRequest();
    request.arrayRowMode = true;
    for (const { name, bind } of inputs)
      if (bind.type !== undefined) request.input(name, bind.type, bind.value);
    return request;
  }

  /** The select as it has to be sent so that every digit and zone arrives. Asks the server once for each text. */
  async prepareSelect(sql: string, binds: SqlRow, deadline: Deadline): Promise<Prepared> {
    const plain = this.prepare(sql, binds);
    const params = plain.inputs.map(({ name, bind }) => `@${name} ${bind.declared}`).join(', ');
    const key = `${params}\n${plain.sql}`;
    const found = this.shared.find(key);
    let { value } = found;
    if (!found.known) {
      const columns = await this.describe(plain.sql, params, deadline);
      const types = exactResult(columns);
      if (types !== undefined) {
        const passed = plain.inputs.map(({ name }) => `, @${name} = @${name}`).join('');
        const call = `EXEC sp_executesql @sql${passed === '' ? '' : ', @params'}${passed} WITH RESULT SETS ((${types}))`;
        value = {
          sql: call,
          names: columns.map(({ name }) => name),
          kinds: columns.map(({ type }) => kindOf(type.replace(/\(.*/, ''))),
        };
      }
      this.shared.keep(key, value);
    }
    if (value === undefined) return plain;
    const { driver } = this.shared;
    const text = (name: string, of: string): Prepared['inputs'][number] => ({
      name,
      bind: { type: driver.NVarChar(driver.MAX), declared: 'nvarchar(max)', value: of },
    });
    const inputs = [
      text('sql', plain.sql),
      ...(params === '' ? [] : [text('params', params)]),
      ...plain.inputs,
    ];
    return { ...value, inputs };
  }

  async query(sql: string, binds: SqlRow, maxRows: number, deadline: Deadline): Promise<RowSet> {
    const prepared = await this.prepareSelect(sql, binds, deadline);
    // The driver collects all rows it gets: the server is told to stop one row after the limit.
    const limited = { ...prepared, sql: `SET ROWCOUNT ${maxRows + 1}; ${prepared.sql}\n; SET ROWCOUNT 0` };
    let answer: Answer;
    try {
      answer = await this.send(limited, deadline);
    } catch (error) {
      // The table may have changed since the select was described.
      if (prepared.names !== undefined) this.shared.forget();
      throw error;
    }
    const { set } = answer;
    if (set === undefined) throw new StoreError('SYNTAX', 'the statement returns no rows: use execute');
    if (set.rows.length > maxRows) {
      throw new StoreError('TOO_MANY_ROWS', `more than ${maxRows} rows: use stream or a limit`);
    }
    return set;
  }

  async execute(sql: string, binds: SqlRow, deadline: Deadline): Promise<number> {
    const { affected } = await this.send(this.prepare(sql, binds), deadline);
    return affected;
  }

  /** Empty when the server cannot tell, as for statements over temporary tables: then it is run as it is. */
  private async describe(sql: string, params: string, deadline: Deadline): Promise<DescribedColumn[]> {
    const { driver } = this.shared;
    const text = (name: string, value: string): Prepared['inputs'][number] => ({
      name,
      bind: { type: driver.NVarChar(driver.MAX), declared: 'nvarchar(max)', value },
    });
    const inputs = [text('sql', sql), text('params', params)];
    const { set } = await this.send({ sql: DESCRIBE, inputs, names: undefined }, deadline);
    const rows = set?.rows ?? [];
    if (rows.some(([, , failed]) => failed !== null)) return [];
    return rows.map(([name, type]) => ({ name: String(name ?? ''), type: String(type ?? '') }));
  }
}

/** The server would run them all, and what one of them answers would be lost. Blocks and definitions hold semicolons. */
function refuseSeveral(sql: string): void {
  if (!sql.includes(';') || !/^\s*(select|insert|update|delete|merge|with|truncate|drop)\b/i.test(sql))
    return;
  const bare = sql.replace(/'(?:[^']|'')*'|"(?:[^"]|"")*"|\[(?:[^\]]|\]\])*\]|--[^\n]*|\/\*[^]*?\*\//g, ' ');
  if (/;\s*[^\s;]/.test(bare)) throw new StoreError('SYNTAX', 'one statement at a time');
}
