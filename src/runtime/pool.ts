/** A named group of worker threads. Threads are made when the first actor needs them and again after a death. Main thread. */
import { Bridge, type BridgeEvents } from './bridge.js';

export interface PoolOptions {
  readonly name: string;
  readonly workers: number;
  readonly spinUs: number;
  readonly heapMb: number;
}

export class Pool {
  private readonly bridges: (Bridge | undefined)[] = [];
  private nextPlace = 0;

  constructor(
    readonly options: PoolOptions,
    private readonly events: BridgeEvents,
  ) {}

  /** @returns the place (worker index) for a new actor: round robin, kept for its life */
  place(): number {
    return this.nextPlace++ % this.options.workers;
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
