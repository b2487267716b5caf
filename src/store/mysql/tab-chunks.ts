/** Tab text on its way to the server: cut into parts of whole rows, in pieces that fit a packet. */
import type { StoreError } from '../driver.js';
import { Interruption } from '../give-up.js';

const LF = 10;
/** Bytes of one packet: large enough for few calls, far below the protocol's 16 MB. */
const PIECE = 256 * 1024;

export class TabChunks {
  /** Rows in the part that was read last. */
  rowsOfPart = 0;
  private readonly chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  private rest: Buffer | undefined;
  private ended = false;
  private failure: unknown;
  private failed = false;
  /** The last byte seen was no LF: a row is under way. */
  private midRow = false;
  private readonly stopped = new Interruption();

  constructor(source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
    this.chunks = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  }

  /** No more pieces: the call is given up. */
  stop(why: StoreError): void {
    this.fail(why);
    this.stopped.stop(why);
  }

  /** @throws what the source threw, or why it was stopped: the server has only seen the end of the data */
  check(): void {
    if (this.failed) throw this.failure;
  }

  /** Lets the source go. It is not waited for: one that never answered will not answer now either. */
  close(): void {
    if (!this.ended) Promise.resolve(this.chunks.return?.()).catch(() => undefined);
    this.ended = true;
  }

  /** The next rows, as many as `limit`, in pieces. Ends early, not with an error, when the source fails: see `check`. */
  async *part(limit: number): AsyncGenerator<Buffer, void> {
    this.rowsOfPart = 0;
    while (this.rowsOfPart < limit) {
      const chunk = await this.next();
      if (chunk === undefined) break;
      let at = 0;
      // Every LF ends a row: those within values are written as an escape.
      while (this.rowsOfPart < limit) {
        const lf = chunk.indexOf(LF, at);
        if (lf < 0) {
          at = chunk.length;
          break;
        }
        this.rowsOfPart += 1;
        at = lf + 1;
      }
      if (at < chunk.length) this.rest = chunk.subarray(at);
      if (at > 0) this.midRow = chunk[at - 1] !== LF;
      for (let from = 0; from < at; from += PIECE) yield chunk.subarray(from, Math.min(at, from + PIECE));
    }
    if (this.midRow && this.ended) {
      this.midRow = false;
      this.rowsOfPart += 1;
    }
  }

  private fail(error: unknown): void {
    if (this.failed) return;
    this.failed = true;
    this.failure = error;
  }

  private async next(): Promise<Buffer | undefined> {
    if (this.rest !== undefined) {
      const { rest } = this;
      this.rest = undefined;
      return rest;
    }
    if (this.ended || this.failed) return undefined;
    try {
      const next = await this.stopped.race(Promise.resolve(this.chunks.next()));
      if (next.done === true) {
        this.ended = true;
        return undefined;
      }
      const { value } = next;
      return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }
}
