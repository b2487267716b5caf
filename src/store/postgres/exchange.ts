/**
 * Several statements sent in one go and answered in one go (extended protocol, one Sync at the end): one round trip, and when one of
 * them fails the server skips the rest. The client library runs it as a query of its own kind. Thread of the caller.
 */
import type { Duplex } from 'node:stream';
import type { Submittable } from 'pg';
import { RowReader, type WireField, type WireValue } from './values.js';
import type { SqlRow } from '../driver.js';

/** The part of the library's connection that is used here; its types lag behind. */
interface Wire {
  readonly stream: Duplex;
  parse(message: { text: string }): void;
  bind(message: { portal?: string; values?: readonly WireValue[] }): void;
  describe(message: { type: 'P'; name: string }): void;
  execute(message: { portal?: string; rows?: number }): void;
  sync(): void;
  sendCopyFail(reason: string): void;
}

/** What may be said between two Syncs. */
export class Script {
  constructor(private readonly wire: Wire) {}

  /** A statement without values and without rows, such as BEGIN. */
  say(text: string): void {
    this.prepare(text);
    this.run([]);
  }

  /** The statement that the following `run` and `open` execute. */
  prepare(text: string): void {
    this.wire.parse({ text });
  }

  run(values: readonly WireValue[]): void {
    this.wire.bind({ values });
    this.wire.execute({});
  }

  /** The same with its rows, the first so many of them. @param portal a name, if more are to be fetched */
  open(values: readonly WireValue[], rows: number, portal = ''): void {
    this.wire.bind({ portal, values });
    this.wire.describe({ type: 'P', name: portal });
    this.wire.execute({ portal, rows });
  }

  fetch(portal: string, rows: number): void {
    this.wire.execute({ portal, rows });
  }
}

export interface Outcome {
  /** Rows changed by each statement that was executed, in order. */
  readonly counts: readonly number[];
  readonly rows: readonly SqlRow[];
  readonly reader: RowReader | undefined;
  /** The row limit was reached before the end. */
  readonly more: boolean;
  /** What the server calls the last thing it did: `COMMIT`. */
  readonly tag: string;
}

/** Thrown by `Exchange`: what the server said, and which statement it was about. */
export class ExchangeError extends Error {
  constructor(
    override readonly cause: unknown,
    /** Statements that went well before it. */
    readonly done: number,
  ) {
    super('statement failed');
  }
}

export class Exchange implements Submittable {
  /** @throws ExchangeError */
  readonly outcome: Promise<Outcome>;
  private readonly counts: number[] = [];
  private readonly rows: SqlRow[] = [];
  private more = false;
  private tag = '';
  private settle: { resolve(outcome: Outcome): void; reject(error: unknown): void } | undefined;

  /** @param reader of rows whose description came with an earlier exchange */
  constructor(
    private readonly write: (script: Script) => void,
    private reader?: RowReader,
  ) {
    this.outcome = new Promise((resolve, reject) => (this.settle = { resolve, reject }));
  }

  // The library calls the rest.

  callback(): void {
    // It only wants it to be there.
  }

  submit(connection: unknown): void {
    const wire = connection as Wire;
    wire.stream.cork();
    try {
      this.write(new Script(wire));
      wire.sync();
    } finally {
      wire.stream.uncork();
    }
  }

  handleRowDescription({ fields }: { fields: readonly WireField[] }): void {
    this.reader = new RowReader(fields);
  }

  handleDataRow({ fields }: { fields: (string | null)[] }): void {
    if (this.reader !== undefined) this.rows.push(this.reader.read(fields));
  }

  handleCommandComplete({ text }: { text: string }): void {
    this.tag = text;
    // `INSERT 0 5`, `UPDATE 5`, `CREATE TABLE`
    const count = Number(text.slice(text.lastIndexOf(' ') + 1));
    this.counts.push(Number.isNaN(count) ? 0 : count);
  }

  handlePortalSuspended(): void {
    this.more = true;
    this.counts.push(0);
  }

  handleEmptyQuery(): void {
    this.counts.push(0);
  }

  handleCopyInResponse(connection: unknown): void {
    (connection as Wire).sendCopyFail('use bulk');
  }

  handleCopyData(): void {
    // COPY TO STDOUT has nobody to give its data to.
  }

  handleError(error: unknown): void {
    this.settle?.reject(new ExchangeError(error, this.counts.length));
  }

  handleReadyForQuery(): void {
    const { counts, rows, reader, more, tag } = this;
    this.settle?.resolve({ counts, rows, reader, more, tag });
  }
}
