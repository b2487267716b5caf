/**
 * Finds actors that do not get on. The marks are in shared memory (mailbox words), so a thread stuck in a loop is seen
 * as well as an await that never settles. Progress counts as a beat, being alive does not. Main thread.
 */
import type { ActorEntry } from './actor-entry.js';

const CHECK_MS = 50;

interface Mark {
  started: number;
  handled: number;
  beat: number;
  /** Main-thread clock in ms when the marks last changed or the actor was idle. */
  since: number;
}

export class HeartbeatMonitor {
  private readonly marks = new Map<ActorEntry, Mark>();
  private timer: NodeJS.Timeout | undefined;
  private lastCheck = performance.now();

  constructor(
    private readonly entries: () => Iterable<ActorEntry>,
    private readonly onExpired: (entry: ActorEntry, ageMs: number) => void,
  ) {}

  start(): void {
    this.timer = setInterval(() => this.check(performance.now()), CHECK_MS).unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** A new instance starts with a clean mark. */
  reset(entry: ActorEntry): void {
    this.marks.delete(entry);
  }

  /** Age in ms of what the actor is handling; undefined when idle. As exact as the check interval. */
  busyMs(entry: ActorEntry): number | undefined {
    const mark = this.marks.get(entry);
    if (mark === undefined || mark.started === mark.handled) return undefined;
    return performance.now() - mark.since;
  }

  check(now: number): void {
    // A pause of the main thread itself (or of the machine) must not be taken for a pause of the actors.
    const pause = now - this.lastCheck > CHECK_MS * 10 ? now - this.lastCheck : 0;
    this.lastCheck = now;
    for (const entry of this.entries()) {
      if (entry.state !== 'running') continue;
      const { started, handled, beat } = entry.mailbox.progress();
      const mark = this.marks.get(entry);
      if (
        mark === undefined ||
        mark.started !== started ||
        mark.handled !== handled ||
        mark.beat !== beat ||
        // Idle. With messages waiting it is not: the thread may be stuck outside of any message, in a timer.
        (started === handled && entry.mailbox.depth === 0)
      ) {
        this.marks.set(entry, { started, handled, beat, since: now });
        continue;
      }
      mark.since += pause;
      const limit = entry.spec.heartbeatMs;
      if (limit > 0 && now - mark.since >= limit) {
        mark.since = now;
        this.onExpired(entry, limit);
      }
    }
  }

  forget(entry: ActorEntry): void {
    this.marks.delete(entry);
  }
}
