/**
 * The contract of every framed protocol: bytes in, frames out. Pure: no I/O, no allocation and no throw on
 * the hot path. Three outcomes: need more, bad, frame. Runs on the thread that owns the socket.
 */

/** `decode` found no whole frame yet. */
export const NEED_MORE = 0;

/** Why bytes were refused; the name is the metric label. */
export type BadFrame = 'length' | 'crc' | 'header-crc' | 'syntax';

export interface FrameCodec {
  /** Protocol name as written in the conf (`protocol = packet`). */
  readonly name: string;
  /** Bytes of the fixed header; fewer bytes are always NEED_MORE. */
  readonly headerBytes: number;
  /** Largest whole frame in bytes; the most a connection has to buffer for one frame. */
  readonly maxFrameBytes: number;
  /**
   * Looks at `bytes[offset, end)`.
   * @returns `NEED_MORE` (0); `n > 0`: a valid frame of n bytes starts at offset; `n < 0`: bad, skip -n bytes
   *   and go on (the reason is in `lastBad`).
   */
  decode(bytes: Buffer, offset: number, end: number): number;
  /** Reason of the last negative result of `decode`. Valid until the next call. */
  readonly lastBad: BadFrame;
  /**
   * Length in bytes of an already validated frame at `offset`; used to walk a run of frames. Also asked when
   * `decode` said NEED_MORE with the whole header there: how many bytes the frame will have.
   */
  frameLength(bytes: Uint8Array, offset: number): number;
  /** Message code of an already validated frame at `offset`; shown as the current message of an actor. */
  messageCode(bytes: Uint8Array, offset: number): number;
}
