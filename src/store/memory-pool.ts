/**
 * Memory that is used again and again. What is left to the collector instead lies about until tens of megabytes of it have come
 * together, in each thread it passes through. Belongs to one thread; the blocks themselves may travel to others and back.
 */

/** Blocks have sizes in steps of this, so that they fit more than one purpose. */
const STEP = 64 << 10;
const MAX_BLOCKS = 64;
/** A block so many times larger than what is asked for is too good for it. */
const WASTE = 4;

export class MemoryPool {
  private free: ArrayBuffer[] = [];
  private bytes = 0;

  /** @param keepBytes kept at most while nobody uses it */
  constructor(private readonly keepBytes: number) {}

  /** @returns at least so much. What stands in it means nothing. */
  take(bytes: number): ArrayBuffer {
    const size = Math.max(1, Math.ceil(bytes / STEP)) * STEP;
    const at = this.free.findIndex(({ byteLength: has }) => has >= size && has <= size * WASTE);
    if (at < 0) return new ArrayBuffer(size);
    const [block] = this.free.splice(at, 1) as [ArrayBuffer];
    this.bytes -= block.byteLength;
    return block;
  }

  /** @param block nobody else uses it any more, nor any part of it */
  give(block: ArrayBufferLike): void {
    const { byteLength } = block;
    // Those of other sizes are not from here.
    const fits = byteLength > 0 && byteLength % STEP === 0 && byteLength <= this.keepBytes;
    if (!fits || !(block instanceof ArrayBuffer)) return;
    this.free.push(block);
    this.bytes += byteLength;
    // The oldest go: sizes change, and the pool is to follow.
    while (this.bytes > this.keepBytes || this.free.length > MAX_BLOCKS)
      this.bytes -= this.free.shift()?.byteLength ?? this.bytes;
  }
}
