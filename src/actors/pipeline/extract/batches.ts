/** Rows of the source as bytes of the files, batch by batch. Worker thread. */
import type { SqlRow, SqlValue, Store } from '../../../store/driver.js';
import type { MemoryPool } from '../../../store/memory-pool.js';
import { checkWidth, type Query } from './plan.js';
import type { Renderer } from './render.js';
import type { Settings } from './settings.js';
import { beatingEach } from '../stage/beating.js';
import type { StageRun } from '../stage/run.js';

export interface Batch {
  /** Rows that came from the database. */
  readonly read: number;
  /** Rows to be sent. */
  readonly count: number;
  /** The lines of the rows [from, to). */
  bytes(from: number, to: number): Buffer;
  key(row: number): SqlValue;
  time(row: number): SqlValue;
  /** The batch is done with, and its memory was not handed on. */
  release(): void;
}

/** What reading needs to know of a run. */
export type Reader = Pick<StageRun, 'progress' | 'signal'>;

/** @param memory batches are written into, where the database can. @param choose leaves out rows; absent: all are sent. @throws StageError, StoreError */
export async function* batchesOf(
  store: Store,
  query: Query,
  settings: Settings,
  render: Renderer,
  run: Reader,
  memory: MemoryPool,
  choose?: (rows: readonly SqlRow[]) => readonly SqlRow[],
): AsyncGenerator<Batch> {
  const { fields, lengths, params, keyAt, lagAt, encode, utf8 } = settings;
  const options = optionsOf(settings, run);
  if (store.streamXml !== undefined && choose === undefined && settings.timeFields.size === 0) {
    const values = [...new Set([keyAt, lagAt])].filter((at) => at !== undefined).sort((a, b) => a - b);
    const [keyIn, lagIn] = [values.indexOf(keyAt ?? -1), values.indexOf(lagAt ?? -1)];
    const xml = { tags: fields, lengths, escape: params.escape, values, memory };
    for await (const batch of beatingEach(run, store.streamXml(query.sql, query.binds, xml, options))) {
      checkWidth(settings, batch.columns);
      const { ends } = batch;
      yield {
        read: ends.length,
        count: ends.length,
        bytes(from, to) {
          const part = batch.bytes.subarray(from === 0 ? 0 : ends[from - 1], ends[to - 1]);
          return utf8 ? part : encode(part.toString('utf8'));
        },
        key: (row) => batch.values[row]?.[keyIn] ?? null,
        time: (row) => batch.values[row]?.[lagIn] ?? null,
        release: () => memory.give(batch.bytes.buffer),
      };
    }
    return;
  }
  for await (const batch of beatingEach(run, store.stream(query.sql, query.binds, options))) {
    checkWidth(settings, batch.columns.length);
    const rows = choose === undefined ? batch.rows : choose(batch.rows);
    yield {
      read: batch.rows.length,
      count: rows.length,
      bytes: (from, to) => encode(render(rows, from, to)),
      key: (row) => rows[row]?.[keyAt ?? -1] ?? null,
      time: (row) => rows[row]?.[lagAt ?? -1] ?? null,
      release: () => undefined,
    };
  }
}

export function optionsOf(
  { params }: Settings,
  { signal }: Reader,
): { batchRows: number; timeoutMs: number; signal: AbortSignal } {
  return { batchRows: params.batch_rows, timeoutMs: params.query_timeout, signal };
}
