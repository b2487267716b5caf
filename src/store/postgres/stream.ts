/** Rows of a server-side cursor (a portal), fetched batch by batch. Thread of the caller. */
import { StoreError, type RowSet, type SqlRow, type StreamOptions } from '../driver.js';
import type { Deadline } from '../give-up.js';
import type { PostgresLink } from './link.js';
import { returnsNothing, wireSql } from './sql.js';
import { wireBinds, type RowReader } from './values.js';

const PORTAL = 'sy_rows';
const DEFAULT_BATCH = 1_000;
/** A batch ends early at about so many characters, so that wide rows do not fill the reader's memory. */
const BATCH_CHARS = 4 << 20;
/** Rows fetched to learn how wide they are. */
const FIRST_ROWS = 16;
/** A cursor nobody reads from holds a snapshot, and so the server's old row versions. */
const IDLE = 60_000;

/**
 * @param first deadline of the first batch. @param next makes that of each further one
 * @param giveBack the connection, of which nothing is wanted any more; may be called again by the caller
 * @throws StoreError
 */
export async function* streamRows(
  link: PostgresLink,
  sql: string,
  binds: SqlRow,
  options: StreamOptions,
  first: Deadline,
  next: () => Deadline,
  giveBack: () => void,
): AsyncGenerator<RowSet> {
  const { text, count } = wireSql(sql);
  if (returnsNothing(sql)) throw new StoreError('SYNTAX', 'the statement returns no rows: use execute');
  const values = wireBinds(binds, count);
  const batchRows = Math.max(1, options.batchRows ?? DEFAULT_BATCH);
  let reader: RowReader | undefined;
  let more = true;
  let width = BATCH_CHARS / FIRST_ROWS;

  const fetch = async (rows: number, deadline: Deadline): Promise<readonly SqlRow[]> => {
    const outcome = await link.run(
      (script) => {
        if (reader === undefined) {
          script.say('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
          script.prepare(text);
          script.open(values, rows, PORTAL);
        } else script.fetch(PORTAL, rows);
      },
      deadline,
      reader,
    );
    reader = outcome.reader;
    more = outcome.more;
    if (outcome.rows.length > 0) width = widthOf(outcome.rows);
    return outcome.rows;
  };
  const batch = async (deadline: Deadline): Promise<readonly SqlRow[]> => {
    let rows: readonly SqlRow[] = [];
    for (let chars = 0; more && rows.length < batchRows && chars < BATCH_CHARS;) {
      const wanted = Math.max(1, Math.floor((BATCH_CHARS - chars) / width));
      const got = await fetch(Math.min(batchRows - rows.length, wanted), deadline);
      rows = rows.length === 0 ? got : [...rows, ...got];
      chars += got.length * width;
    }
    return rows;
  };

  let expired = false;
  try {
    let rows = await batch(first);
    first.done();
    for (;;) {
      const idle = setTimeout(() => {
        expired = true;
        // The reader may never come back.
        void link.undo('ROLLBACK').then(giveBack);
      }, IDLE).unref();
      try {
        yield { columns: reader?.columns ?? [], kinds: reader?.kinds ?? [], rows };
      } finally {
        clearTimeout(idle);
      }
      if (!more) return;
      if (expired) throw new StoreError('TIMEOUT', `nobody read the rows for ${IDLE} ms`);
      const deadline = next();
      try {
        rows = await batch(deadline);
      } finally {
        deadline.done();
      }
      if (rows.length === 0) return;
    }
  } finally {
    if (!expired) await link.undo('ROLLBACK');
  }
}

/** Characters of a row, on average, by a sample. */
function widthOf(rows: readonly SqlRow[]): number {
  const step = Math.max(1, Math.floor(rows.length / 16));
  let chars = 0;
  let seen = 0;
  for (let i = 0; i < rows.length; i += step, seen++) {
    for (const value of rows[i] ?? []) {
      if (typeof value === 'string') chars += value.length;
      else chars += value instanceof Uint8Array ? value.byteLength : 8;
    }
  }
  return Math.max(1, chars / seen);
}
