/** Tab text into an Oracle table by array inserts. Any thread. */
import type { BulkOptions, BulkResult } from './driver.js';
import { StoreError } from './driver.js';
import { paced, type Deadline } from './give-up.js';
import { oracleDialect } from './oracle-dialect.js';
import type { OracleSession } from './oracle-runner.js';
import { tabBatches } from './tab-rows.js';

const BATCH = { rows: 5_000, chars: 4 << 20 };

/**
 * All values go as text, which the server turns into the column's type by the session's formats; bytes from their digits.
 * `update` runs a MERGE for each row and cannot tell which rows were there: all count as updated.
 * @throws StoreError with the row. The caller undoes what was done
 */
export async function oracleBulk(
  session: OracleSession,
  table: string,
  columns: readonly string[],
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: BulkOptions,
  deadline: Deadline,
): Promise<BulkResult> {
  const { onDuplicate = 'error', keys = [], touch = [], hex = [] } = options;
  const update = onDuplicate === 'update';
  if (update && keys.length === 0) throw new StoreError('BIND', 'an update needs the columns of the key');
  const sql = update
    ? oracleDialect.upsert(table, columns, keys, touch)
    : oracleDialect.insert(table, columns);
  const bytes = columns.map((column) => hex.includes(column));
  const hasBytes = bytes.includes(true);
  let rows = 0;
  let skipped = 0;
  for await (const batch of paced(tabBatches(chunks, columns.length, BATCH), deadline)) {
    const values = hasBytes
      ? batch.rows.map((row, r) =>
          row.map((value, c) => (bytes[c] === true ? unhex(value, batch.first + r) : value)),
        )
      : batch.rows;
    const result = await session.batch(sql, values, onDuplicate === 'skip', deadline);
    const [bad] = result.errors;
    if (bad !== undefined) {
      const row = batch.first + bad.row;
      throw new StoreError(bad.code, `row ${row + 1}: ${bad.message}`, { row });
    }
    rows += values.length;
    skipped += result.duplicates.length;
  }
  const done = rows - skipped;
  return { rows, inserted: update ? 0 : done, updated: update ? done : 0, skipped };
}

function unhex(value: string | null, row: number): Uint8Array | null {
  if (value === null) return null;
  if (value.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(value)) {
    throw new StoreError('BIND', `row ${row + 1}: bytes are written as hexadecimal digits`, { row });
  }
  return Buffer.from(value, 'hex');
}
