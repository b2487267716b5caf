/**
 * One statement on a connection, as text or prepared, from its order to its end. Thread of the caller.
 *
 * A prepared one stands on two things inside of the client library that a test guards: that its rows go to the `next` of what
 * `buildParserFromFields` makes, and the cache of `unprepare`.
 */
import type { Readable } from 'node:stream';
import type { Connection, FieldPacket, PrepareStatementInfo } from 'mysql2';
import { StoreError, type ColumnKind, type SqlRow } from '../driver.js';
import { storeError } from './errors.js';
import { RowTap, type WireReader } from './row-tap.js';
import { columnKind, rowReader, type WirePacket } from './rows.js';

/** What the server says at the end of a statement without rows. */
export interface Done {
  readonly affectedRows: number;
  readonly warnings: number;
  readonly info: string;
}

export interface RowSink {
  columns(names: readonly string[], kinds: readonly ColumnKind[]): void;
  row(row: SqlRow): void;
  /** Whether `wire` wants these columns in the binary protocol, where the server need not print numbers and times. */
  readonly binary?: ((fields: readonly FieldPacket[]) => boolean) | undefined;
  /** Instead of `row`. @returns what takes them as they come on the wire */
  wire?(fields: readonly FieldPacket[], binary: boolean): WireReader;
}

export interface StatementRunner {
  readonly connection: Connection;
  /** Gives the connection up at once. */
  destroy(): void;
}

interface Running {
  on(event: 'fields', listener: (fields: readonly FieldPacket[] | undefined) => void): this;
  on(event: 'result', listener: (result: unknown) => void): this;
  on(event: 'error', listener: (error: Error) => void): this;
  on(event: 'end', listener: () => void): this;
  row(packet: WirePacket, connection: unknown): unknown;
  buildParserFromFields(): new () => { next(packet: WirePacket): void };
}

/** @param infile what LOAD DATA LOCAL reads. @throws what the server or the client library says */
export function runText(
  runner: StatementRunner,
  sql: string,
  sink: RowSink | undefined,
  infile: Readable | undefined,
): Promise<Done> {
  const command = runner.connection.query({
    sql,
    ...(infile === undefined ? {} : { infileStreamFactory: () => infile }),
  }) as unknown as Running;
  return ended(runner, command, sink, false, (take) => {
    const library = Object.getPrototypeOf(command) as Running;
    const row = (packet: WirePacket, connection: unknown): unknown => {
      if (packet.isEOF()) return library.row.call(command, packet, connection);
      take(packet);
      return row;
    };
    command.row = row;
  });
}

/**
 * @param suits asked when the columns are known and nothing has been done yet; what it throws ends the statement
 * @returns undefined when the statement has to be run as text: it cannot be prepared, or does not suit. @throws as `runText`
 */
export async function runPrepared(
  runner: StatementRunner,
  sql: string,
  sink: RowSink,
  suits: (fields: readonly FieldPacket[]) => boolean,
): Promise<Done | undefined> {
  const { connection } = runner;
  const statement = await prepared(connection, sql);
  if (statement === undefined) return undefined;
  try {
    const { columns, parameters } = statement as unknown as Prepared;
    if (parameters.length > 0 || !suits(columns)) return undefined;
    const command = statement.execute([]) as unknown as Running;
    return await ended(runner, command, sink, true, (take) => {
      command.buildParserFromFields = () =>
        class {
          next(packet: WirePacket): void {
            take(packet);
          }
        };
    });
  } finally {
    connection.unprepare(sql);
  }
}

/** @returns undefined when the server does not prepare this; it says why to the text */
function prepared(connection: Connection, sql: string): Promise<PrepareStatementInfo | undefined> {
  return whileConnected(connection, (resolve, reject) => {
    connection.prepare(sql, (error, statement) => {
      const known = error === null ? undefined : storeError(error);
      if (known === undefined) resolve(statement);
      else if (known.code === 'CANCELLED' || known.code === 'LOST') reject(known);
      else resolve(undefined);
    });
  });
}

/** @param taking gets, for each result, what takes its rows */
function ended(
  runner: StatementRunner,
  command: Running,
  sink: RowSink | undefined,
  binary: boolean,
  taking: (take: (packet: WirePacket) => void) => void,
): Promise<Done> {
  return whileConnected(runner.connection, (resolve, reject) => {
    let done: Done = { affectedRows: 0, warnings: 0, info: '' };
    let results = 0;
    let failed: Error | undefined;
    const fail = (error: unknown): void => {
      failed ??= error as Error;
      runner.destroy();
    };
    const begin = (fields: readonly FieldPacket[]): WireReader => {
      if (results > 1 || sink === undefined) return { packet: () => undefined };
      sink.columns(
        fields.map(({ name }) => name),
        fields.map(columnKind),
      );
      if (sink.wire !== undefined) return sink.wire(fields, binary);
      const read = rowReader(fields);
      return { packet: (packet) => sink.row(read(packet)) };
    };
    command.on('fields', (fields) => {
      if (fields === undefined) return;
      results += 1;
      try {
        const tap = new RowTap(runner.connection, begin(fields), fail);
        taking((packet) => tap.row(packet));
      } catch (error) {
        fail(error);
      }
    });
    command.on('result', (result) => {
      if (results === 0 || sink === undefined) done = readDone(result);
    });
    command.on('error', (error) => {
      failed ??= error;
    });
    command.on('end', () => {
      if (failed === undefined) resolve(done);
      else reject(failed);
    });
    return () => failed;
  });
}

/**
 * @param work may return what is to blame when the connection goes. @throws what `work` rejects with, or what became of the connection
 */
function whileConnected<T>(
  connection: Connection,
  work: (resolve: (value: T) => void, reject: (error: Error) => void) => (() => Error | undefined) | void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const over = (): void => {
      connection.removeListener('error', lost);
      connection.removeListener('end', lost);
    };
    const lost = (error?: Error): void => {
      over();
      reject(blamed?.() ?? error ?? new StoreError('LOST', 'the server closed the connection'));
    };
    const blamed = work(
      (value) => {
        over();
        resolve(value);
      },
      (error) => {
        over();
        reject(error);
      },
    );
    connection.once('error', lost);
    connection.once('end', lost);
  });
}

interface Prepared {
  readonly columns: readonly FieldPacket[];
  readonly parameters: readonly unknown[];
}

function readDone(result: unknown): Done {
  const {
    affectedRows = 0,
    warningStatus = 0,
    info = '',
  } = (result ?? {}) as {
    affectedRows?: number;
    warningStatus?: number;
    info?: string;
  };
  return { affectedRows, warnings: warningStatus, info };
}
