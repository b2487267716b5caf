/**
 * Bulk load by COPY FROM STDIN, which reads tab text as it is. To skip or update, the rows go into a temporary table first and from
 * there with INSERT ... ON CONFLICT. The temporary table is empty after each commit and kept for the next bulk of this connection.
 * Thread of the caller.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { StoreError, type BulkOptions, type BulkResult, type TableInfo } from '../driver.js';
import { Interruption, type Deadline } from '../give-up.js';
import { nameParts, onConflict, postgresDialect, quoteExactly } from './dialect.js';
import { storeError } from './errors.js';
import { LinkError, type PostgresLink } from './link.js';
import { watched, type TabColumn } from '../tab-rules.js';

/** A connection with more temporary tables than this is not used again. */
const MAX_STAGING = 50;

export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

export interface Bulk {
  readonly table: string;
  readonly columns: readonly string[];
  readonly chunks: Chunks;
  readonly options: BulkOptions;
  readonly info: TableInfo;
  /** What opens the transaction, if it is not open. */
  readonly begin: string | undefined;
}

/** The caller undoes the transaction or savepoint when this throws. */
export async function runBulk(
  link: PostgresLink,
  { table, columns: names, chunks, options, info, begin }: Bulk,
  deadline: Deadline,
): Promise<BulkResult> {
  const columns = columnsOf(table, names, options, info);
  const target = postgresDialect.quoteIdentifier(table);
  const list = names.map((name) => postgresDialect.quoteIdentifier(name)).join(', ');
  const { onDuplicate = 'error', keys = [] } = options;
  const rows = watched(chunks, columns);
  if (onDuplicate === 'error') {
    const inserted = await copyIn(link, `COPY ${target} (${list}) FROM STDIN`, rows, deadline);
    return { rows: inserted, inserted, updated: 0, skipped: 0 };
  }
  if (onDuplicate === 'update' && keys.length === 0)
    throw new StoreError('SYNTAX', 'a bulk that updates needs the columns of a key');

  const types = columns.map(({ info: { name, type, length, scale } }) => [name, type, length, scale]);
  const hash = createHash('sha256')
    .update(JSON.stringify([target, types]))
    .digest('hex');
  const name = `sy_bulk_${hash.slice(0, 24)}`;
  const staging = `pg_temp.${name}`;
  await link.run((script) => {
    if (begin !== undefined) script.say(begin);
    script.say(
      `CREATE TEMPORARY TABLE IF NOT EXISTS ${name} ON COMMIT DELETE ROWS AS SELECT ${list} FROM ${target} WITH NO DATA`,
    );
  }, deadline);
  link.staging.add(name);
  if (link.staging.size > MAX_STAGING) link.retire('too many temporary tables');
  const given = await copyIn(link, `COPY ${staging} (${list}) FROM STDIN`, rows, deadline);
  const insert = `INSERT INTO ${target} (${list})`;
  const inserted =
    onDuplicate === 'skip'
      ? await skip(link, `${insert} SELECT ${list} FROM ${staging}`, keys, deadline)
      : await update(link, insert, list, staging, names, keys, options.touch ?? [], deadline);
  // A commit empties it; another bulk of a longer transaction needs it empty too.
  if (begin === undefined) await link.run((script) => script.say(`TRUNCATE ${staging}`), deadline);
  const others = given - inserted;
  const skipped = onDuplicate === 'skip' ? others : 0;
  return { rows: given, inserted, updated: others - skipped, skipped };
}

function columnsOf(
  table: string,
  names: readonly string[],
  { hex = [] }: BulkOptions,
  info: TableInfo,
): TabColumn[] {
  const exact = (name: string): string => nameParts(name).join('.');
  const known = new Map(info.columns.map((column) => [exact(column.name), column]));
  const inHex = new Set(hex.map(exact));
  return names.map((name) => {
    const column = known.get(exact(name));
    if (column === undefined) throw new StoreError('SYNTAX', `${table} has no column ${name}`);
    return { info: column, hex: inHex.has(exact(name)) };
  });
}

/** @returns rows inserted; of equal keys among the given rows the first counts */
async function skip(
  link: PostgresLink,
  insert: string,
  keys: readonly string[],
  deadline: Deadline,
): Promise<number> {
  const conflict = keys.length === 0 ? ' ON CONFLICT DO NOTHING' : onConflict(keys, keys);
  const { counts } = await link.run((script) => script.say(insert + conflict), deadline);
  return counts[0] ?? 0;
}

/** @returns rows inserted; of equal keys among the given rows the last counts */
async function update(
  link: PostgresLink,
  insert: string,
  list: string,
  staging: string,
  names: readonly string[],
  keys: readonly string[],
  touch: readonly string[],
  deadline: Deadline,
): Promise<number> {
  // A row that was there before has a locking transaction, a new one has none.
  const run = async (select: string): Promise<number> => {
    const { rows } = await link.run((script) => {
      script.say('SAVEPOINT sy_update');
      script.prepare(
        `WITH done AS (${insert} ${select}${onConflict(names, keys, touch)} RETURNING xmax = 0 AS fresh)
         SELECT count(*) FROM done WHERE fresh`,
      );
      script.open([], 0);
    }, deadline);
    return Number(rows[0]?.[0]);
  };
  try {
    return await run(`SELECT ${list} FROM ${staging}`);
  } catch (error) {
    // One statement cannot change a row twice: a key is among the given rows more than once.
    if (!(error instanceof LinkError) || !error.message.includes('(21000)')) throw error;
  }
  const by = keys.map((key) => nameParts(key).map(quoteExactly).join('.')).join(', ');
  await link.run((script) => script.say('ROLLBACK TO SAVEPOINT sy_update'), deadline);
  return run(`SELECT DISTINCT ON (${by}) ${list} FROM ${staging} ORDER BY ${by}, ctid DESC`);
}

/** @returns rows copied. @throws StoreError; what the source throws */
async function copyIn(link: PostgresLink, sql: string, chunks: Chunks, deadline: Deadline): Promise<number> {
  deadline.check();
  const copy = link.copy(sql);
  let failure: unknown;
  const refused = new Interruption();
  const ended = new Promise<void>((resolve, reject) => {
    copy.once('finish', resolve);
    copy.on('error', (error) => {
      failure ??= error;
      const why = storeError(error);
      refused.stop(why);
      reject(why);
    });
  });
  ended.catch(() => undefined);
  const source = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  const sooner = <T>(work: Promise<T>): Promise<T> => deadline.race(refused.race(work));
  const feed = async (): Promise<void> => {
    for (;;) {
      // A source that never comes must not keep us waiting after the server has refused.
      const next = await sooner(Promise.resolve(source.next()));
      if (next.done === true) break;
      if (failure !== undefined) break;
      if (!copy.write(next.value)) await sooner(once(copy, 'drain'));
    }
    copy.end();
    await ended;
  };
  try {
    await link.watch(feed(), deadline);
    return copy.rowCount;
  } catch (error) {
    // The source failed or the time is over: the server still waits for more.
    if (failure === undefined) {
      copy.destroy(new Error('given up'));
      await ended.catch(() => undefined);
    }
    throw error;
  } finally {
    // Not awaited: a source that hangs would keep us.
    void Promise.resolve(source.return?.()).catch(() => undefined);
  }
}
