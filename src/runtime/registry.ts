/** Names of actors: exact refs, groups of shards, and the numbers used in records. Main thread. */
import type { ActorEntry } from './actor-entry.js';
import { shardRef, type Ref } from './ref.js';

export class Registry {
  private readonly byRef = new Map<Ref, ActorEntry>();
  private readonly groups = new Map<Ref, ActorEntry[]>();
  private readonly byNumber: (ActorEntry | undefined)[] = [];

  /** @returns the number to use for the next entry */
  nextNumber(): number {
    return this.byNumber.length;
  }

  add(entry: ActorEntry): void {
    this.byRef.set(entry.ref, entry);
    this.byNumber[entry.number] = entry;
    const { name, shards } = entry.spec;
    if (shards > 1) {
      const group = this.groups.get(name) ?? [];
      group[entry.shard] = entry;
      this.groups.set(name, group);
    }
  }

  remove(entry: ActorEntry): void {
    this.byRef.delete(entry.ref);
    this.byNumber[entry.number] = undefined;
    this.groups.delete(entry.spec.name);
  }

  all(): Iterable<ActorEntry> {
    return this.byRef.values();
  }

  get(ref: Ref): ActorEntry | undefined {
    return this.byRef.get(ref);
  }

  at(number: number): ActorEntry | undefined {
    return this.byNumber[number];
  }

  /** Instances of a name: one, or its shards in order. */
  instances(name: Ref): readonly ActorEntry[] {
    const single = this.byRef.get(name);
    return single !== undefined ? [single] : (this.groups.get(name) ?? []);
  }

  /** The instance for a message: the same key always finds the same shard, so order holds per key. */
  resolve(to: Ref, key: string | number): ActorEntry | undefined {
    const single = this.byRef.get(to);
    if (single !== undefined) return single;
    const group = this.groups.get(to);
    return group?.[shardOf(key, group.length)];
  }
}

/** @returns shard of a key: numbers by remainder, texts by FNV-1a. */
export function shardOf(key: string | number, shards: number): number {
  if (typeof key === 'number') return Math.abs(key | 0) % shards;
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % shards;
}

export function refOf(name: Ref, shard: number, shards: number): Ref {
  return shards > 1 ? shardRef(name, shard) : name;
}
