/** Bulk load for servers that refuse LOAD DATA LOCAL: the tab text as INSERT statements of many rows. */
import { StoreError } from '../driver.js';
import { readTabLine } from '../../protocol/tab-text.js';
import type { LoadTarget } from './bulk.js';
import type { Call } from './call.js';
import { mysqlDialect } from './dialect.js';
import { runBatch } from './batch.js';

const ROWS = 1_000;

/**
 * @param before rows of earlier parts, for the row in an error
 * @returns rows left out as duplicates. @throws StoreError
 */
export async function insertText(
  call: Call,
  { table, columns, mode, hex }: LoadTarget,
  pieces: AsyncIterable<Buffer>,
  before: number,
): Promise<number> {
  const verb = mode === 'replace' ? 'REPLACE' : 'INSERT';
  const sql = mysqlDialect.insert(table, columns).replace(/^INSERT/, verb);
  const raw = columns.map((column) => hex.includes(column));
  let lines: string[] = [];
  let skipped = 0;
  let row = before;
  const flush = async (): Promise<void> => {
    const rows = lines.map((line) =>
      readTabLine(line).map((value, i) =>
        raw[i] === true && value !== null ? Buffer.from(value, 'hex') : value,
      ),
    );
    const inner = { ...call, inTransaction: true };
    const { duplicates, errors } = await runBatch(inner, sql, rows, {
      onDuplicate: mode === 'skip' ? 'skip' : 'error',
      engineKnown: true,
    });
    const [bad] = errors;
    if (bad !== undefined) throw new StoreError(bad.code, bad.message, { row: row + bad.row });
    skipped += duplicates.length;
    row += lines.length;
    lines = [];
  };
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let pending = '';
  const take = async (piece: Buffer): Promise<void> => {
    const text = pending + decoder.decode(piece, { stream: true });
    const parts = text.split('\n');
    pending = parts.pop() ?? '';
    for (const line of parts) {
      lines.push(line);
      if (lines.length >= ROWS) await flush();
    }
  };
  for await (const piece of pieces) await take(piece);
  if (pending !== '') lines.push(pending);
  if (lines.length > 0) await flush();
  return skipped;
}
