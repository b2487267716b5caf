/**
 * The framed protocols: a new one is one line in `codecFactories`. A FRAMES record names its codec by its place there.
 * Any thread.
 */
import type { FrameCodec } from '../protocol/frame.js';
import { createPacketCodec } from '../protocol/packet.js';

/** By the name in the conf. A codec remembers why it refused something, so each listener makes its own. */
export const codecFactories: Readonly<Record<string, () => FrameCodec>> = { packet: createPacketCodec };

/** One of each, for walking frames that were accepted. */
export const codecs: readonly FrameCodec[] = Object.values(codecFactories).map((create) => create());

/** @returns the number of the protocol named in the conf, or -1. */
export function codecNumber(protocol: string): number {
  return Object.keys(codecFactories).indexOf(protocol);
}
