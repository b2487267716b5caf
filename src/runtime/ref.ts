/**
 * Addresses of actors and connections. Plain data: they survive postMessage and storage.
 */

/** An actor's path, e.g. `packet` or `stage/load-obs`. A sharded actor `packet` has instances `packet#0`.. */
export type Ref = string;

/**
 * A client connection. `generation` grows each time the slot is reused, so that a late reply
 * never reaches the next client (spec packet-server 4: the reference's iCurrsequence).
 */
export interface ConnectionRef {
  readonly slot: number;
  readonly generation: number;
}

/** The instance of a sharded actor. */
export function shardRef(name: Ref, shard: number): Ref {
  return `${name}#${shard}`;
}
