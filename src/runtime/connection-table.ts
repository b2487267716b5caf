/**
 * Slots of connections. A slot is used again at once, with a greater generation, so that work addressed to the
 * connection that had it before is recognised and dropped (spec packet-server 4). The thread of the reactor.
 */
import type { ConnectionRef } from './ref.js';

const LAST_GENERATION = 0x7fff_ffff;

export class ConnectionTable<T extends { readonly ref: ConnectionRef }> implements Iterable<T> {
  private readonly entries: (T | undefined)[] = [];
  private readonly generations: number[] = [];
  private readonly free: number[] = [];
  private used = 0;

  get size(): number {
    return this.used;
  }

  /** Slots that were ever used; every slot is below it. */
  get capacity(): number {
    return this.entries.length;
  }

  /** Makes an entry in a free slot. Generations start at 1 and wrap inside a positive int32, never to 0. */
  add(make: (ref: ConnectionRef) => T): T {
    const slot = this.free.pop() ?? this.entries.length;
    const last = this.generations[slot] ?? 0;
    const generation = last === LAST_GENERATION ? 1 : last + 1;
    const entry = make({ slot, generation });
    this.generations[slot] = generation;
    this.entries[slot] = entry;
    this.used++;
    return entry;
  }

  /** @returns undefined when the slot is free or belongs to another generation by now. */
  get(slot: number, generation: number): T | undefined {
    const entry = this.entries[slot];
    return entry !== undefined && entry.ref.generation === generation ? entry : undefined;
  }

  at(slot: number): T | undefined {
    return this.entries[slot];
  }

  /** Does nothing when the entry is not in the table any more. */
  remove(ref: ConnectionRef): void {
    if (this.get(ref.slot, ref.generation) === undefined) return;
    this.entries[ref.slot] = undefined;
    this.free.push(ref.slot);
    this.used--;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (const entry of this.entries) if (entry !== undefined) yield entry;
  }
}
