/** Temporary tables, into which rows are loaded before they meet those that are there. */
import type { Call } from './mysql-call.js';
import { mysqlDialect } from './mysql-dialect.js';

const quote = (name: string): string => mysqlDialect.quoteIdentifier(name);

/** No redo, no undo: it is read once, by its own connection. */
const ENGINE = 'MyISAM';
const NAME = 'switchyard_stage';

/**
 * Makes an empty table of these columns, typed as in `table` now, with `keys` as its only key, in place of the last one. That does
 * not commit the caller's transaction. @returns its name. @throws StoreError NO_TABLE
 */
export async function makeStage(
  call: Call,
  table: string,
  columns: readonly string[],
  keys: readonly string[],
): Promise<string> {
  await dropStage(call);
  const list = columns.map(quote).join(', ');
  const key = keys.map(quote).join(', ');
  await call.run(
    `CREATE TEMPORARY TABLE ${NAME} (UNIQUE KEY (${key})) ENGINE=${ENGINE} AS SELECT ${list} FROM ${quote(table)} WHERE 1 = 0`,
  );
  return NAME;
}

export async function dropStage({ link }: Call): Promise<void> {
  if (link.lost === undefined) await link.run(`DROP TEMPORARY TABLE IF EXISTS ${NAME}`);
}
