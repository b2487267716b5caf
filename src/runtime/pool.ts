/** A named group of worker threads. Threads are made when the first actor needs them and again after a death. Main thread. */
import { Bridge, type BridgeEvents } from './bridge.js';
import type { Ref } from './ref.js';

export interface PoolOptions {
  readonly name: string;
  readonly workers: number;
  readonly spinUs: number;
  readonly heapMb: number;
}

export class Pool {
  private readonly bridges: (Bridge | undefined)[] = [];
  private readonly places = new Map<Ref, number>();
  private nextPlace = 0;

  constructor(
    readonly options: PoolOptions,
    private readonly events: BridgeEvents,
  ) {}

  /** @returns the worker index of an actor: round robin, kept for its life */
  placeOf(ref: Ref): number {
    const place = this.places.get(ref) ?? this.nextPlace++ % this.options.workers;
    this.places.set(ref, place);
    return place;
  }

  /** The live worker of a place, started if need be. @throws when the thread does not come up. */
  async bridge(place: number): Promise<Bridge> {
    let bridge = this.bridges[place];
    if (bridge === undefined || !bridge.alive) {
      const { name: pool, spinUs, heapMb } = this.options;
      bridge = new Bridge({ pool, index: place, spinUs, heapMb }, this.events);
      this.bridges[place] = bridge;
    }
    await bridge.online;
    return bridge;
  }

  *live(): Iterable<Bridge> {
    for (const bridge of this.bridges) if (bridge?.alive === true) yield bridge;
  }

  async shutdown(): Promise<void> {
    await Promise.all([...this.live()].map((bridge) => bridge.shutdown()));
  }
}
