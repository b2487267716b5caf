/** One statement for many rows on SQL Server: several in one request, each in its own TRY. Any thread. */
import { cleanRow } from '../binds.js';
import { StoreError, type BatchResult, type RowError, type SqlRow } from '../driver.js';
import type { Deadline } from '../give-up.js';
import { allErrors, mssqlCode, ROW_ERRORS } from './errors.js';
import type { MssqlSession, Prepared } from './runner.js';

/** Parameters of one request; the server takes 2,100. */
const MAX_INPUTS = 2_000;
const ROWS_PER_REQUEST = 200;
/** Errors that leave the transaction as it is; after any other it can only be undone. */
const HARMLESS = ROW_ERRORS.join(', ');
/** Number of the error by which a row that spoiled the transaction is told. */
const SPOILED = 51_000;

/** A row that made the server give the transaction up, such as text that is no number. */
export class SpoiledByRow extends Error {
  constructor(readonly fault: RowError) {
    super(fault.message);
  }
}

/**
 * Runs inside a transaction. Rows of `without` are passed over.
 * @throws SpoiledByRow: all of it is undone by the server; StoreError for what is wrong with the whole
 */
export async function mssqlBatch(
  session: MssqlSession,
  sql: string,
  rows: readonly SqlRow[],
  options: { readonly skip: boolean; readonly without: ReadonlyMap<number, RowError> },
  deadline: Deadline,
): Promise<BatchResult> {
  const duplicates: number[] = [];
  const errors: RowError[] = [...options.without.values()];
  let text = '';
  let inputs: Prepared['inputs'][number][] = [];
  let count = 0;
  let offset = 0;
  const flush = async (): Promise<void> => {
    if (count === 0) return;
    const sent = `SET NOCOUNT ON; DECLARE @e TABLE (i int, n int, m nvarchar(2048)); DECLARE @m nvarchar(2048);\n${text}SELECT i, n, m FROM @e`;
    for (const [row, number, message] of await answer(
      session,
      { sql: sent, inputs, names: undefined },
      deadline,
    )) {
      const code = mssqlCode(Number(number)) ?? 'DATABASE';
      if (code === 'DUPLICATE' && options.skip) duplicates.push(Number(row));
      else errors.push({ row: Number(row), code, message: String(message) });
    }
    [text, inputs, count, offset] = ['', [], 0, 0];
  };
  for (let i = 0; i < rows.length; i++) {
    if (options.without.has(i)) continue;
    const row = cleanRow(rows[i] ?? []);
    if (typeof row === 'string') {
      errors.push({ row: i, code: 'BIND', message: row });
      continue;
    }
    if (inputs.length + row.length > MAX_INPUTS || count >= ROWS_PER_REQUEST) await flush();
    const one = session.prepare(sql, row, offset);
    offset += row.length;
    text += tried(one.sql, i);
    inputs = inputs.concat(one.inputs);
    count++;
  }
  await flush();
  errors.sort((a, b) => a.row - b.row);
  duplicates.sort((a, b) => a - b);
  return { done: rows.length - duplicates.length - errors.length, duplicates, errors };
}

/** THROW ends the request, because after such an error nothing can be written any more, not even a table variable. */
function tried(sql: string, row: number): string {
  return (
    `BEGIN TRY\n${sql}\n;END TRY BEGIN CATCH\n` +
    `IF XACT_STATE() <> 1 OR ERROR_NUMBER() NOT IN (${HARMLESS}) BEGIN SET @m = CONCAT(N'row:', ${row}, N':', ERROR_NUMBER(), N':', ERROR_MESSAGE()); THROW ${SPOILED}, @m, 1; END\n` +
    `INSERT @e VALUES (${row}, ERROR_NUMBER(), ERROR_MESSAGE());\nEND CATCH;\n`
  );
}

async function answer(
  session: MssqlSession,
  prepared: Prepared,
  deadline: Deadline,
): Promise<readonly SqlRow[]> {
  try {
    return (await session.send(prepared, deadline)).set?.rows ?? [];
  } catch (error) {
    const { cause } = error as StoreError;
    for (const one of allErrors(cause)) {
      const text = one instanceof Error ? one.message : '';
      const [, row, number, message = ''] = /^row:(\d+):(\d+):([^]*)$/.exec(text) ?? [];
      if (row === undefined) continue;
      const code = mssqlCode(Number(number)) ?? 'DATABASE';
      if (code !== 'CONSTRAINT' && code !== 'DUPLICATE')
        throw new StoreError(code, message, { cause: error });
      throw new SpoiledByRow({ row: Number(row), code, message });
    }
    throw error;
  }
}
