/**
 * A bulk that updates the rows that are there: into a temporary table, from there by one join, and what is left by one insert.
 * As fast as INSERT ... ON DUPLICATE KEY UPDATE, but that one draws a value of auto_increment for every row it only updates,
 * and takes a row that breaks another unique key for the same row; here such a row is DUPLICATE.
 */
import { StoreError } from '../driver.js';
import type { BulkOptions, BulkResult } from '../driver.js';
import { atomically } from './batch.js';
import { load } from './bulk.js';
import type { Call } from './call.js';
import { mysqlDialect } from './dialect.js';
import { dropStage, makeStage, planStage } from './stage.js';
import type { TabChunks } from './tab-chunks.js';

const quote = (name: string): string => mysqlDialect.quoteIdentifier(name);

interface Merge {
  /** Undefined: the keys are all there is. */
  readonly update: string | undefined;
  readonly insert: string;
}

/** @throws StoreError */
export async function updateBulk(
  call: Call,
  table: string,
  columns: readonly string[],
  source: TabChunks,
  options: BulkOptions,
): Promise<BulkResult> {
  const { keys = [], touch = [], hex = [] } = options;
  if (keys.length === 0 || keys.some((key) => !columns.includes(key)))
    throw new StoreError(
      'BIND',
      'an updating bulk needs its key columns, all of them among the columns given',
    );
  const { engine, rows: limit } = await planStage(call, table, columns, keys);
  try {
    return await atomically(call, async () => {
      let rows = 0;
      let inserted = 0;
      for (;;) {
        const stage = await makeStage(call, table, columns, keys, engine);
        const target = { table: stage, columns, mode: 'replace', hex } as const;
        const part = await load(call, target, source, limit, rows);
        if (part === undefined) return { rows, inserted, updated: rows - inserted, skipped: 0 };
        rows += part.rows;
        inserted += await merge(call, mergeStatements(table, stage, columns, keys, touch), part.kept);
      }
    });
  } finally {
    await dropStage(call).catch(() => undefined);
  }
}

function mergeStatements(
  table: string,
  stage: string,
  columns: readonly string[],
  keys: readonly string[],
  touch: readonly string[],
): Merge {
  const t = quote(table);
  const s = quote(stage);
  const match = keys.map((key) => `t.${quote(key)} = s.${quote(key)}`).join(' AND ');
  const sets = [
    ...columns
      .filter((column) => !keys.includes(column))
      .map((column) => `t.${quote(column)} = s.${quote(column)}`),
    ...touch.map((column) => `t.${quote(column)} = NOW()`),
  ];
  const names = columns.map(quote).join(', ');
  const values = columns.map((column) => `s.${quote(column)}`).join(', ');
  return {
    update:
      sets.length === 0 ? undefined : `UPDATE ${s} s STRAIGHT_JOIN ${t} t ON ${match} SET ${sets.join(', ')}`,
    insert:
      `INSERT INTO ${t} (${names}) SELECT ${values} FROM ${s} s LEFT JOIN ${t} t ON ${match} ` +
      `WHERE t.${quote(keys[0] ?? '')} IS NULL`,
  };
}

/** @param staged rows to merge, if known. @returns rows inserted */
async function merge(call: Call, { update, insert }: Merge, staged: number | undefined): Promise<number> {
  for (let again = false; ; again = true) {
    // Rows found count, changed or not: the connection asks for that.
    const found = update === undefined ? undefined : (await call.run(update)).affectedRows;
    if (found !== undefined && found === staged) return 0;
    try {
      return (await call.run(insert)).affectedRows;
    } catch (error) {
      // Another connection may have inserted the row since; then it is there to be updated now.
      if (again || !(error instanceof StoreError) || error.code !== 'DUPLICATE') throw error;
    }
  }
}
