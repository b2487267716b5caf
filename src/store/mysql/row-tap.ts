/**
 * Hands the bytes of a result to a reader as they come from the socket, past the client library, which makes an object of each packet: a
 * third of the time of extraction. The library keeps what begins and ends a result. Stands on four things inside of it, which a test
 * guards: the connection's `packetParser`, its `execute` and `onPacket`, and `sequenceId`.
 */
import type { Connection } from 'mysql2';
import type { WirePacket } from './rows.js';

/** Takes the rows of one result. */
export interface WireReader {
  /** One row, without a header. */
  readonly packet: (packet: WirePacket) => void;
  /**
   * Packets with their headers, cut anywhere. Absent: the reader wants rows one by one. @returns the bytes from a packet on that is no
   * row: the end, an error, or the first part of one of more than 16 MB; the reader then expects a new beginning
   */
  readonly chunk?: (bytes: Uint8Array) => Uint8Array | undefined;
}

interface Parser {
  execute(chunk: Uint8Array): void;
  readonly onPacket: (packet: WirePacket) => void;
}

interface Library {
  packetParser: Parser;
  sequenceId: number;
}

export class RowTap {
  private readonly library: Library;
  /** The chunk of which the reader has everything. */
  private taken: Uint8Array | undefined;

  /** @param failed gets what the reader throws: nobody else may catch it */
  constructor(
    connection: Connection,
    private readonly reader: WireReader,
    private readonly failed: (error: unknown) => void,
  ) {
    this.library = connection as unknown as Library;
  }

  /** A row that the library has found. With the first one of a chunk the reader gets the whole rest of it. */
  row(packet: WirePacket): void {
    const { reader } = this;
    const { buffer, start, end } = packet;
    if (buffer === this.taken) return;
    try {
      // A buffer of its own is one that the library has put together, and its header may not be filled in.
      if (reader.chunk === undefined || (start === 0 && end === buffer.length)) return reader.packet(packet);
      this.taken = buffer;
      // If the result ends in this chunk, the library will see it, as it goes on through it.
      if (reader.chunk(buffer.subarray(start)) === undefined) this.takeOver();
    } catch (error) {
      this.failed(error);
    }
  }

  private takeOver(): void {
    const { library } = this;
    const { constructor: Fresh, onPacket } = library.packetParser;
    const execute = (chunk: Uint8Array): void => {
      try {
        const rest = this.reader.chunk?.(chunk);
        if (rest === undefined) return;
        // The old one holds the beginning of a packet that the reader had.
        library.packetParser = new (Fresh as new (onPacket: Parser['onPacket']) => Parser)(onPacket);
        library.sequenceId = rest[3] ?? 0;
        library.packetParser.execute(rest);
      } catch (error) {
        this.failed(error);
      }
    };
    library.packetParser = { execute, onPacket };
  }
}
