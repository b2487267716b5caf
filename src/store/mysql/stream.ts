/** Rows in batches, read from the socket no faster than they are taken. */
import type { FieldPacket } from 'mysql2';
import { StoreError, type ColumnKind, type RowSet, type SqlRow } from '../driver.js';
import type { Deadline } from '../give-up.js';
import type { RowSink } from './command.js';
import type { MysqlLink } from './link.js';
import type { WireReader } from './row-tap.js';
import { columnKind, rowReader } from './rows.js';

/** Batches read ahead: the next one arrives while this one is worked on. */
const AHEAD = 2;
/** A reader silent for so long, in ms, loses its cursor, as it holds a connection. */
export const CURSOR_IDLE = 60_000;
/** A killed cursor ends within this many ms, or its connection goes. */
const GRACE = 3_000;

/** What rows are gathered in. */
export interface Collector<T> {
  /** As of `RowSink`. */
  binary?(fields: readonly FieldPacket[]): boolean;
  /**
   * @param full called with each row that fills a batch, to `take` it at once. @param binary the rows are of the binary protocol
   * @returns what takes the rows
   */
  begin(fields: readonly FieldPacket[], full: () => void, binary: boolean): WireReader;
  /** In the batch now. */
  readonly rows: number;
  /** The batch; the next row begins a new one. */
  take(): T;
}

export class RowCollector implements Collector<RowSet> {
  private columns: readonly string[] = [];
  private kinds: readonly ColumnKind[] = [];
  private batch: SqlRow[] = [];

  constructor(private readonly batchRows: number) {}

  get rows(): number {
    return this.batch.length;
  }

  begin(fields: readonly FieldPacket[], full: () => void): WireReader {
    this.columns = fields.map(({ name }) => name);
    this.kinds = fields.map(columnKind);
    const read = rowReader(fields);
    return {
      packet: (packet) => {
        if (this.batch.push(read(packet)) >= this.batchRows) full();
      },
    };
  }

  take(): RowSet {
    const { columns, kinds, batch: rows } = this;
    this.batch = [];
    return { columns, kinds, rows };
  }
}

/**
 * One select on a connection of its own. The caller gives the connection back when the loop has ended.
 * @param deadlines a new one for each batch
 */
export async function* streamBatches<T>(
  link: MysqlLink,
  text: string,
  collector: Collector<T>,
  deadlines: () => Deadline,
): AsyncGenerator<T> {
  const ready: T[] = [];
  let paused = false;
  let ended = false;
  let failure: unknown;
  let abandoned = false;
  let begun = false;
  let wake: () => void = () => undefined;
  const full = (): void => {
    const batch = collector.take();
    if (abandoned) return;
    ready.push(batch);
    if (ready.length >= AHEAD && !paused) {
      paused = true;
      link.pause();
    }
    wake();
  };
  const sink: RowSink = {
    columns: () => undefined,
    row: () => undefined,
    binary:
      collector.binary &&
      ((fields) => {
        if (abandoned) throw new StoreError('CANCELLED', 'given up before its first row');
        return collector.binary?.(fields) ?? false;
      }),
    wire: (fields, binary) => collector.begin(fields, full, binary),
  };
  const running = link.run(text, sink).then(
    () => {
      ended = true;
      wake();
    },
    (error: unknown) => {
      ended = true;
      failure = error;
      wake();
    },
  );
  const stop = async (): Promise<void> => {
    abandoned = true;
    const grace = setTimeout(() => link.destroy(), GRACE);
    link.resume();
    if (!ended && !(await link.kill())) link.destroy();
    await running;
    clearTimeout(grace);
    if (link.lost === undefined) await link.run('DO 0').catch(() => undefined);
  };
  try {
    for (;;) {
      if (ready.length === 0 && !ended) await nextBatch(deadlines(), (next) => (wake = next));
      if (failure !== undefined) throw failure as Error;
      let batch = ready.shift();
      if (batch === undefined) {
        if (!ended) continue;
        // No rows at all: the columns are worth knowing.
        if (collector.rows === 0 && begun) return;
        batch = collector.take();
      }
      begun = true;
      if (paused && ready.length < AHEAD) {
        paused = false;
        link.resume();
      }
      let expired = false;
      const idle = setTimeout(() => {
        expired = true;
        void stop();
      }, CURSOR_IDLE).unref();
      try {
        yield batch;
      } finally {
        clearTimeout(idle);
      }
      if (expired) throw new StoreError('TIMEOUT', `nobody read the rows for ${CURSOR_IDLE} ms`);
    }
  } finally {
    if (!ended) await stop();
    // The end may have been in what was read before the pause; the next statement must not wait for that.
    link.resume();
  }
}

/** Until something happened. @throws StoreError TIMEOUT, CANCELLED */
async function nextBatch(deadline: Deadline, onWake: (wake: () => void) => void): Promise<void> {
  try {
    await Promise.race([new Promise<void>(onWake), deadline.over]);
  } finally {
    deadline.done();
  }
}
