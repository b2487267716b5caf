/** The framed protocols by number: a FRAMES record names its codec by its place in this table. Any thread. */
import type { FrameCodec } from '../protocol/frame.js';
import { createPacketCodec } from '../protocol/packet.js';

export const codecs: readonly FrameCodec[] = [createPacketCodec()];

/** @returns the number of the protocol named in the conf, or -1. */
export function codecNumber(protocol: string): number {
  return codecs.findIndex((codec) => codec.name === protocol);
}
