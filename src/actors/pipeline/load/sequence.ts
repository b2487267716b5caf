/**
 * Oracle tables whose keyid is drawn from a sequence by the program that inserts (spec data-centre 8.3): no bulk load does
 * that, so rows go by array inserts and, where they exist, array updates. Worker thread.
 */
import { readTabLine } from '../../../protocol/tab-text.js';
import {
  StoreError,
  type BulkResult,
  type ColumnInfo,
  type Dialect,
  type SqlRunner,
  type SqlValue,
} from '../../../store/driver.js';
import type { LoadRule } from './rules.js';

export interface Sequence {
  /** Name of the column that gets the next value. */
  readonly column: string;
  readonly sequence: string;
}

export interface SequenceTarget extends Sequence {
  readonly table: string;
  readonly columns: readonly string[];
  /** Empty: a row that is there is left alone. */
  readonly keys: readonly string[];
  readonly touch: readonly string[];
  readonly hex: readonly string[];
}

const BATCH_ROWS = 5_000;
const SAVEPOINT = 'SWITCHYARD_LOAD';

/** @returns undefined when the table has no such column, or fills it by itself */
export function sequencePlan(
  rule: LoadRule,
  keyid: ColumnInfo | undefined,
  skipped: ReadonlySet<string>,
  dialect: Dialect,
): Sequence | undefined {
  if (dialect.name !== 'oracle' || keyid === undefined || keyid.generated || !skipped.has('keyid'))
    return undefined;
  const at = rule.table.indexOf('.') + 1;
  // T_ZHOBTMIND1 draws from SEQ_ZHOBTMIND1.
  const prefix = /[a-z]/.test(rule.table) ? 'seq_' : 'SEQ_';
  const sequence = `${rule.table.slice(0, at)}${prefix}${rule.table.slice(at + 2)}`;
  return { column: keyid.name, sequence };
}

/** What `SqlRunner.bulk` does, for such a table. @throws StoreError with the row; then nothing of it is applied */
export async function sequenceBulk(
  tx: SqlRunner,
  dialect: Dialect,
  target: SequenceTarget,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<BulkResult> {
  const { insert, update, updateOrder } = statements(dialect, target);
  const hex = target.columns.map((name) => target.hex.includes(name));
  const counts = { rows: 0, inserted: 0, updated: 0, skipped: 0 };
  const flush = async (batch: SqlValue[][]): Promise<void> => {
    const first = counts.rows;
    const fail = (
      errors: readonly { row: number; code: StoreError['code']; message: string }[],
      rows: readonly number[],
    ): void => {
      const [bad] = errors;
      if (bad !== undefined)
        throw new StoreError(bad.code, bad.message, { row: first + (rows[bad.row] ?? bad.row) });
    };
    const inserted = await tx.batch(insert, batch, { onDuplicate: 'skip' });
    fail(inserted.errors, []);
    const { duplicates } = inserted;
    if (update !== undefined && duplicates.length > 0) {
      const rows = duplicates.map((i) => updateOrder.map((column) => batch[i]?.[column] ?? null));
      fail((await tx.batch(update, rows)).errors, duplicates);
    }
    counts.rows += batch.length;
    counts.inserted += inserted.done;
    counts[update === undefined ? 'skipped' : 'updated'] += duplicates.length;
  };
  await tx.execute(`SAVEPOINT ${SAVEPOINT}`);
  try {
    let rest = '';
    let batch: SqlValue[][] = [];
    const decoder = new TextDecoder();
    for await (const chunk of chunks) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        batch.push(
          readTabLine(line).map((value, i) => (hex[i] && value !== null ? Buffer.from(value, 'hex') : value)),
        );
        if (batch.length < BATCH_ROWS) continue;
        await flush(batch);
        batch = [];
      }
    }
    if (batch.length > 0) await flush(batch);
    return counts;
  } catch (error) {
    await tx.execute(`ROLLBACK TO SAVEPOINT ${SAVEPOINT}`).catch(() => undefined);
    throw error;
  }
}

function statements(
  dialect: Dialect,
  { table, columns, keys, touch, column, sequence }: SequenceTarget,
): { readonly insert: string; readonly update: string | undefined; readonly updateOrder: readonly number[] } {
  const quote = (name: string): string => dialect.quoteIdentifier(name);
  const names = [...columns, column].map(quote).join(', ');
  const values = [...columns.map(() => '?'), `${quote(sequence)}.NEXTVAL`].join(', ');
  const insert = `INSERT INTO ${quote(table)} (${names}) VALUES (${values})`;
  const others = columns.filter((name) => !keys.includes(name));
  const sets = [
    ...others.map((name) => `${quote(name)} = ?`),
    ...touch.map((name) => `${quote(name)} = ${dialect.now}`),
  ];
  const where = keys.map((name) => `${quote(name)} = ?`).join(' AND ');
  return {
    insert,
    update:
      keys.length === 0 || sets.length === 0
        ? undefined
        : `UPDATE ${quote(table)} SET ${sets.join(', ')} WHERE ${where}`,
    updateOrder: [...others, ...keys].map((name) => columns.indexOf(name)),
  };
}
