/** A select of SQL Server row by row, with back-pressure: the request is paused while nobody reads. Any thread. */
import type { RowSet } from '../driver.js';
import { StoreError } from '../driver.js';
import type { Deadline } from '../give-up.js';
import { kindOf } from './dictionary.js';
import { allErrors, mssqlError } from './errors.js';
import { resultColumns, type MssqlSession, type Prepared } from './runner.js';
import { plainRow, type ResultColumn } from './values.js';

/** How long the end of a cancelled request is waited for (ms). */
const END_WAIT = 5_000;

/**
 * Batches of rows; leaving the loop cancels the request and waits for its end, so that the connection is free again.
 * @param newDeadline one for each batch
 */
export async function* mssqlStream(
  session: MssqlSession,
  prepared: Prepared,
  batchRows: number,
  newDeadline: () => Deadline,
): AsyncGenerator<RowSet> {
  const request = session.request(prepared.inputs);
  request.stream = true;
  let columns: ResultColumn[] | undefined;
  let rows: (readonly unknown[])[] = [];
  let ended = false;
  const errors: unknown[] = [];
  let wake: () => void = () => undefined;
  request.on('recordset', (found: Parameters<typeof resultColumns>[0]) => (columns ??= resultColumns(found)));
  request.on('row', (row: readonly unknown[]) => {
    rows.push(row);
    if (rows.length < batchRows) return;
    // What is already decoded still comes: the batch may be a little larger than asked for.
    request.pause();
    wake();
  });
  request.on('error', (error: unknown) => errors.push(error));
  const end = new Promise<void>((resolve) => {
    request.on('done', () => {
      ended = true;
      wake();
      resolve();
    });
  });
  // In this mode everything that fails is told by the event; the promise only ends.
  (request.query(prepared.sql) as Promise<unknown>).catch((error: unknown) => {
    errors.push(error);
    ended = true;
    wake();
  });
  try {
    for (let told = false; !ended || rows.length > 0 || !told;) {
      const deadline = newDeadline();
      try {
        request.resume();
        while (!ended && rows.length < batchRows) {
          const news = new Promise<void>((resolve) => (wake = resolve));
          await Promise.race([news, deadline.over]);
        }
      } finally {
        deadline.done();
      }
      const [first] = errors.flatMap(allErrors);
      if (first !== undefined) throw mssqlError(first);
      if (columns === undefined) throw new StoreError('SYNTAX', 'the statement returns no rows: use execute');
      const types = columns;
      const kinds = prepared.kinds ?? types.map(({ type }) => kindOf(type.toLowerCase()));
      const names = prepared.names ?? types.map(({ name }) => name);
      // Full ones while more may come; also without rows a reader learns the columns.
      while (rows.length >= batchRows || (ended && (rows.length > 0 || !told))) {
        const part = rows.slice(0, batchRows);
        rows = rows.slice(batchRows);
        told = true;
        yield { columns: names, kinds, rows: part.map((row) => plainRow(row, types)) };
      }
    }
  } finally {
    if (!ended) {
      request.cancel();
      request.resume();
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([end, new Promise((resolve) => (timer = setTimeout(resolve, END_WAIT)))]);
      clearTimeout(timer);
    }
  }
}
