/**
 * Tab text into a SQL Server table: bulk loaded as text into a temporary table, then checked and moved by one statement.
 * The driver's own bulk load would go through JavaScript numbers and dates, and lose digits. Runs inside a transaction. Any thread.
 */
import type mssql from 'mssql';
import { StoreError, type BulkOptions, type BulkResult } from '../driver.js';
import { guard, paced, type Deadline } from '../give-up.js';
import { mssqlDialect } from './dialect.js';
import { describeMssqlTable, type MssqlColumn, type MssqlTable } from './dictionary.js';
import { mssqlError } from './errors.js';
import type { MssqlSession } from './runner.js';
import { tabBatches, type TabRow } from '../tab-rows.js';

const BATCH = { rows: 5_000, chars: 4 << 20 };
const TEMP = '#switchyard_bulk';
/** Longest nvarchar that is no large object. */
const SHORT = 4_000;

interface Target {
  /** Quoted. */
  readonly name: string;
  /** Name in the temporary table. */
  readonly temp: string;
  readonly column: MssqlColumn;
  readonly long: boolean;
  /** The value as the column's type; NULL when it is none. */
  readonly value: string;
}

/** @throws StoreError with the row where the value is no value of its column, or would have to be rounded */
export async function mssqlBulk(
  session: MssqlSession,
  table: string,
  columns: readonly string[],
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: BulkOptions,
  deadline: Deadline,
): Promise<BulkResult> {
  const { touch = [], hex = [] } = options;
  if (options.onDuplicate === 'update' && (options.keys ?? []).length === 0) {
    throw new StoreError('BIND', 'an update needs the columns of the key');
  }
  const info = await describeMssqlTable(
    { query: (sql, binds = []) => session.query(sql, binds, 10_000, deadline) },
    table,
  );
  const keys = options.keys ?? keyAmong(columns, info);
  // Without a key among the columns nothing can be there already.
  const onDuplicate = keys.length === 0 ? 'error' : (options.onDuplicate ?? 'error');
  const targets = columns.map((column, i) => target(column, i, info.columns, hex));
  const run = async (sql: string): Promise<number> =>
    (await session.send({ sql, inputs: [], names: undefined }, deadline, 'batch')).affected;
  const made = targets.map(({ temp, long }) => `${temp} nvarchar(${long ? 'max' : SHORT}) NULL`);
  await run(`DROP TABLE IF EXISTS ${TEMP}; CREATE TABLE ${TEMP} (n bigint NOT NULL, ${made.join(', ')})`);
  let rows = 0;
  for await (const batch of paced(tabBatches(chunks, columns.length, BATCH), deadline)) {
    await load(session, targets, batch.rows, batch.first, deadline);
    rows += batch.rows.length;
  }
  await check(session, targets, deadline);
  const into = mssqlDialect.quoteIdentifier(table);
  const identity = targets.some(({ column }) => column.identity);
  const moved = async (sql: string): Promise<number> =>
    run(identity ? `SET IDENTITY_INSERT ${into} ON; ${sql}; SET IDENTITY_INSERT ${into} OFF` : sql);
  const insert = `INSERT INTO ${into} (${targets.map(({ name }) => name).join(', ')}) SELECT ${targets.map(({ value }) => value).join(', ')}`;
  let inserted: number;
  if (onDuplicate === 'error') {
    inserted = await moved(`${insert} FROM ${TEMP} AS s ORDER BY n`);
  } else {
    const named = keys.map((key) => {
      const found = targets.find(({ column }) => same(column.name, key));
      if (found === undefined) throw new StoreError('BIND', `the key ${key} is not among the columns`);
      return found;
    });
    const match = named.map(({ name, value }) => `t.${name} = ${value}`).join(' AND ');
    const partition = named.map(({ value }) => value).join(', ');
    // Of rows with one key the last is what an update leaves, the first what is kept when the others are left out.
    const order = onDuplicate === 'update' ? 'DESC' : 'ASC';
    const once = `(SELECT *, ROW_NUMBER() OVER (PARTITION BY ${partition} ORDER BY n ${order}) AS turn FROM ${TEMP} AS s) AS s`;
    if (onDuplicate === 'update') {
      const sets = [
        ...targets.filter((one) => !named.includes(one)).map(({ name, value }) => `t.${name} = ${value}`),
        ...touch.map((column) => `t.${mssqlDialect.quoteIdentifier(column)} = ${mssqlDialect.now}`),
      ];
      if (sets.length > 0) {
        await run(
          `UPDATE t SET ${sets.join(', ')} FROM ${into} AS t WITH (UPDLOCK, SERIALIZABLE) JOIN ${once} ON ${match} WHERE s.turn = 1`,
        );
      }
    }
    inserted = await moved(
      `${insert} FROM ${once} WHERE s.turn = 1 AND NOT EXISTS (SELECT 1 FROM ${into} AS t WITH (UPDLOCK, SERIALIZABLE) WHERE ${match})`,
    );
  }
  await run(`DROP TABLE ${TEMP}`);
  const others = rows - inserted;
  return {
    rows,
    inserted,
    updated: onDuplicate === 'update' ? others : 0,
    skipped: onDuplicate === 'skip' ? others : 0,
  };
}

/** The first key that the given columns hold whole. */
function keyAmong(columns: readonly string[], { primaryKey, uniqueKeys }: MssqlTable): readonly string[] {
  const given = (key: readonly string[]): boolean =>
    key.length > 0 && key.every((name) => columns.some((column) => same(name, column)));
  return [primaryKey, ...uniqueKeys].find(given) ?? [];
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.replace(/^\[|\]$/g, '').toLowerCase();
}

function target(name: string, i: number, known: readonly MssqlColumn[], hex: readonly string[]): Target {
  const column = known.find((one) => same(one.name, name));
  if (column === undefined) throw new StoreError('SYNTAX', `the table has no column ${name}`);
  const temp = `c${i + 1}`;
  const long =
    (column.kind === 'text' || column.kind === 'bytes') &&
    (column.length === undefined || column.length * 2 > SHORT);
  const type = column.type === 'image' ? 'varbinary(max)' : column.declared;
  const value =
    column.kind === 'text' && column.type !== 'uniqueidentifier'
      ? `s.${temp}`
      : column.kind === 'bytes' || hex.includes(name)
        ? `CONVERT(varbinary(max), s.${temp}, 2)`
        : `TRY_CONVERT(${type}, s.${temp})`;
  return { name: mssqlDialect.quoteIdentifier(name), temp, column, long, value };
}

async function load(
  session: MssqlSession,
  targets: readonly Target[],
  rows: readonly TabRow[],
  first: number,
  deadline: Deadline,
): Promise<void> {
  deadline.check();
  const { driver } = session.shared;
  const table: mssql.Table = new driver.Table(TEMP);
  table.columns.add('n', driver.BigInt, { nullable: false });
  for (const { temp, long } of targets)
    table.columns.add(temp, driver.NVarChar(long ? driver.MAX : SHORT), { nullable: true });
  for (const [i, row] of rows.entries()) {
    const index = first + i;
    for (const [c, { long, column }] of targets.entries()) {
      const value = row[c];
      if (typeof value !== 'string') continue;
      const wrong =
        !long && value.length > SHORT ? 'is too long'
        : column.kind === 'bytes' && (value.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(value)) ? 'is not written as hexadecimal digits'
        : undefined; // prettier-ignore
      if (wrong !== undefined) {
        throw new StoreError('CONSTRAINT', `row ${index + 1}: the value of ${column.name} ${wrong}`, {
          row: index,
        });
      }
    }
    table.rows.add(String(index), ...row);
  }
  const request = session.newRequest();
  try {
    await guard(request.bulk(table), deadline, () => request.cancel());
  } catch (error) {
    throw mssqlError(error);
  }
}

/** Before anything is moved: a conversion that fails would make the server give up the whole transaction. */
async function check(session: MssqlSession, targets: readonly Target[], deadline: Deadline): Promise<void> {
  for (const { temp, column, value } of targets) {
    if (!value.startsWith('TRY_CONVERT')) continue;
    const [, precision, scale] = /^(?:decimal|numeric)\((\d+),(\d+)\)$/.exec(column.declared) ?? [];
    // The widest type with the same digits before the point shows digits that the column has no room for.
    const wide =
      precision === undefined
        ? undefined
        : `TRY_CONVERT(decimal(38,${38 - (Number(precision) - Number(scale))}), s.${temp})`;
    const rounded = wide === undefined ? '' : ` OR ${wide} <> ${value}`;
    const bad = await session.send(
      {
        sql: `SELECT TOP (1) n, s.${temp} FROM ${TEMP} AS s WHERE s.${temp} IS NOT NULL AND (${value} IS NULL${rounded}) ORDER BY n`,
        inputs: [],
        names: undefined,
      },
      deadline,
    );
    const [found] = bad.set?.rows ?? [];
    if (found === undefined) continue;
    const row = Number(found[0]);
    const shown = String(found[1]).slice(0, 40);
    throw new StoreError(
      'CONSTRAINT',
      `row ${row + 1}: "${shown}" is no value of ${column.name} (${column.declared})`,
      { row },
    );
  }
}
