/** Tab text cut anywhere becomes blocks of whole lines, each in memory of its own that can be given away. Any thread. */
import { StoreError } from '../driver.js';
import type { MemoryPool } from '../memory-pool.js';

/** Bytes of a block, unless a line is longer. */
const BLOCK = 256 << 10;
/** A value SQLite would take, but a thread is not given without harm. */
const MAX_LINE = 32 << 20;
const LF = 10;

/** @param memory blocks come from there. @throws StoreError BIND for a line that is too long */
export async function* lineBlocks(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  memory: MemoryPool,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let block = new Uint8Array(memory.take(BLOCK));
  let length = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      if (length === block.length) {
        const end = block.lastIndexOf(LF) + 1;
        const rest = block.subarray(end);
        if (rest.length >= MAX_LINE) throw new StoreError('BIND', `a row is longer than ${MAX_LINE} bytes`);
        const size = end === 0 ? 2 * block.length : Math.max(BLOCK, 2 * rest.length);
        const next = new Uint8Array(memory.take(size));
        next.set(rest);
        // Before the block is given away, which takes its memory from `rest` too.
        length = rest.length;
        if (end > 0) yield block.subarray(0, end);
        block = next;
      }
      const part = chunk.subarray(at, at + block.length - length);
      block.set(part, length);
      length += part.length;
      at += part.length;
    }
  }
  if (length > 0) yield block.subarray(0, length);
  else memory.give(block.buffer);
}
