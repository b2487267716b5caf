/** Whether things that nobody needs any more are really let go: told by the collector, not by time. */
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

export class Watched<T extends object> {
  private readonly refs: WeakRef<T>[] = [];

  /** @returns the thing itself, which is not kept */
  add(thing: T): T {
    this.refs.push(new WeakRef(thing));
    return thing;
  }

  get seen(): number {
    return this.refs.length;
  }

  /** How many of them are still in memory because something refers to them. */
  async alive(): Promise<number> {
    // What was looked at in this turn of the event loop is kept until its end.
    await setImmediate();
    collect();
    return this.refs.filter((ref) => ref.deref() !== undefined).length;
  }
}
