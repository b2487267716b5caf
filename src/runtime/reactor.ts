/**
 * The owner of framed clients' sockets: listeners, the table of connections, their timers, the shared limits, and the
 * target of replies. Runs on the thread that made it and uses nothing of the main thread, so that several
 * may share one listening descriptor from several threads.
 */
import { Admission } from './admission.js';
import type { ConnectionInfo } from './actor.js';
import type { Connection } from './connection.js';
import { ConnectionTable } from './connection-table.js';
import type { ConnectionFilter, ConnectionSnapshot, TotalsSnapshot } from './control-plane.js';
import { connectionRoom, probeDescriptors } from './descriptors.js';
import type { ReplyTarget } from './frame-sink.js';
import { Listener, type ListenerOptions } from './listener.js';
import { ListenerCounters, sumOf } from './listener-counters.js';
import type { ReactorValues } from './listener-keys.js';
import type { Logger } from './log-contract.js';
import type { ConnectionRef } from './ref.js';
import type { SendBudget } from './send-queue.js';
import { TimingWheel } from './timing-wheel.js';

export interface ReactorOptions {
  readonly log: Logger;
  readonly values: ReactorValues;
  /** Monotonic ms. */
  readonly now?: () => number;
  /** Most connections the limit of open files allows; read from the system when absent. */
  readonly connectionRoom?: number;
}

/** Sums of all listeners, closed ones included. */
export interface ReactorTotals extends Omit<TotalsSnapshot, 'queued'> {
  /** How often no further descriptor could be had. */
  readonly descriptorsExhausted: number;
}

const TICK_MS = 100;
const BUCKETS = 512;
const FIRST_TIMERS = 256;
const TICKS_PER_PROBE = 10;

export class Reactor implements ReplyTarget {
  private readonly table = new ConnectionTable<Connection>();
  private readonly budget: SendBudget;
  private readonly admission: Admission;
  private readonly wheel: TimingWheel;
  private readonly running = new Map<string, Listener>();
  /** By listener name: a listener that is opened again goes on counting. */
  private readonly counters = new Map<string, ListenerCounters>();
  private readonly toFlush: Connection[] = [];
  private readonly now: () => number;
  private readonly ticker: NodeJS.Timeout;
  private ticks = 0;
  private exhausted = 0;
  private onEmpty: (() => void)[] = [];

  constructor(private readonly options: ReactorOptions) {
    const { values } = options;
    this.now = options.now ?? (() => performance.now());
    this.budget = {
      maxBytes: values.send_queue_bytes,
      maxPackets: values.send_queue_packets,
      bytes: 0,
      packets: 0,
    };
    const room = options.connectionRoom ?? connectionRoom();
    this.admission = new Admission(values.max_connections, room);
    if (room < values.max_connections) {
      const { max_connections: wanted } = values;
      options.log.info('reactor.open_files', {
        wanted,
        room,
        hint: 'raise the limit of open files (ulimit -n)',
      });
    }
    this.wheel = new TimingWheel(TICK_MS, BUCKETS, FIRST_TIMERS, this.now());
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    this.ticker.unref();
  }

  get listeners(): Iterable<Listener> {
    return this.running.values();
  }

  get connections(): number {
    return this.table.size;
  }

  /** @throws SwitchyardError when the address or the certificate cannot be used; see Listener.start */
  async listen(options: ListenerOptions): Promise<Listener> {
    const counters = this.counters.get(options.name) ?? new ListenerCounters();
    const listener = new Listener(options, {
      counters,
      log: this.options.log,
      budget: this.budget,
      admission: this.admission,
      table: this.table,
      now: this.now,
      schedule: (slot, atMs) => this.schedule(slot, atMs),
      queued: (connection) => this.toFlush.push(connection),
      released: (connection) => this.released(connection),
    });
    await listener.start();
    this.running.set(options.name, listener);
    this.counters.set(options.name, counters);
    return listener;
  }

  /** Stops accepting and ends its connections once the replies due have gone out. */
  closeListener(name: string): void {
    this.running.get(name)?.close();
    this.running.delete(name);
  }

  /** New shared limits. */
  apply(values: ReactorValues): void {
    this.admission.limit = values.max_connections;
    this.budget.maxBytes = values.send_queue_bytes;
    this.budget.maxPackets = values.send_queue_packets;
  }

  send(slot: number, generation: number, bytes: Buffer, packets: number): void {
    this.table.get(slot, generation)?.send(bytes, packets);
  }

  close(slot: number, generation: number, reason: string): void {
    this.table.get(slot, generation)?.end('actor', reason);
  }

  attach(slot: number, generation: number, data: unknown): void {
    const connection = this.table.get(slot, generation);
    if (connection !== undefined) connection.attachment = data;
  }

  flush(): void {
    const { toFlush } = this;
    // A connection that ends while it is flushed may queue itself again, behind.
    for (let i = 0; i < toFlush.length; i++) toFlush[i]!.flush();
    toFlush.length = 0;
  }

  *connectionsOf(
    actor: string,
  ): Generator<{ ref: ConnectionRef; info: ConnectionInfo; attachment: unknown }> {
    for (const { listener, ref, info, attachment } of this.table) {
      if (listener.actor === actor) yield { ref, info, attachment };
    }
  }

  private schedule(slot: number, atMs: number): void {
    if (slot >= this.wheel.capacity) this.wheel.grow(Math.max(slot + 1, this.wheel.capacity * 2));
    this.wheel.schedule(slot, atMs);
  }

  private released(connection: Connection): void {
    this.wheel.cancel(connection.ref.slot);
    this.table.remove(connection.ref);
    if (this.table.size > 0) return;
    const waiting = this.onEmpty;
    this.onEmpty = [];
    for (const resolve of waiting) resolve();
  }

  /** Turns the wheel; called every 100 ms, by tests with a clock of their own at will. */
  tick(): void {
    const now = this.now();
    this.wheel.advance(now, (slot) => this.table.at(slot)?.onTimer(now));
    if (++this.ticks % TICKS_PER_PROBE !== 0 || this.table.size === 0) return;
    probeDescriptors((exhausted) => {
      if (!exhausted) return;
      this.exhausted++;
      this.options.log.error('reactor.descriptors_exhausted', { connections: this.table.size });
    });
  }

  /** For operators; stops at `filter.limit` rows. */
  conns(filter: ConnectionFilter): ConnectionSnapshot[] {
    const now = this.now();
    const rows: ConnectionSnapshot[] = [];
    for (const c of this.table) {
      if (rows.length >= filter.limit) break;
      if (filter.listener !== undefined && c.info.listener !== filter.listener) continue;
      if (filter.ip !== undefined && c.info.remoteAddress !== filter.ip) continue;
      rows.push({
        id: `${c.ref.slot}.${c.ref.generation}`,
        ...c.info,
        ageMs: Math.round(now - c.openedAt),
        idleMs: Math.round(now - c.lastReceivedAt),
        packetsIn: c.packetsIn,
        packetsOut: c.output.packetsOut,
        bytesIn: c.bytesIn,
        bytesOut: c.output.bytesOut,
        sendQueueBytes: c.output.waitingBytes,
        paused: c.readPaused,
      });
    }
    return rows;
  }

  /**
   * Closes connections at once.
   * @param who `slot.generation` as shown by `conns`, or a remote address: all of its connections
   * @returns how many
   */
  kick(who: string): number {
    const id = /^(\d+)\.(\d+)$/.exec(who);
    const one = id === null ? undefined : this.table.get(Number(id[1]), Number(id[2]));
    const kicked = one === undefined ? [...this.table].filter((c) => c.info.remoteAddress === who) : [one];
    for (const connection of kicked) connection.destroy('kicked');
    return kicked.length;
  }

  totals(): ReactorTotals {
    const all = [...this.counters.values()];
    const sum = (of: (counters: ListenerCounters) => number): number =>
      all.reduce((total, counters) => total + of(counters), 0);
    return {
      connections: this.table.size,
      connectionLimit: Math.min(this.admission.limit, this.admission.descriptorLimit),
      accepted: sum((c) => c.accepted),
      refused: sum((c) => sumOf(c.refused)),
      packetsIn: sum((c) => c.packetsIn),
      packetsOut: sum((c) => c.packetsOut),
      bytesIn: sum((c) => c.bytesIn),
      bytesOut: sum((c) => c.bytesOut),
      sendQueueBytes: this.budget.bytes,
      discarded: sum((c) => c.discarded),
      badPackets: sum((c) => sumOf(c.bad)),
      timers: this.wheel.size,
      descriptorsExhausted: this.exhausted,
    };
  }

  /** Open connections stay until they close. */
  stopAccepting(): void {
    for (const listener of this.running.values()) listener.stopAccepting();
  }

  /** Settles when the last connection has gone. */
  async whenEmpty(): Promise<void> {
    if (this.table.size > 0) await new Promise<void>((resolve) => this.onEmpty.push(resolve));
  }

  /** Ends everything: replies due get `graceMs` to go out, then what is left is cut. */
  async stop(graceMs: number): Promise<void> {
    for (const name of [...this.running.keys()]) this.closeListener(name);
    this.flush();
    let deadline: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (deadline = setTimeout(resolve, graceMs)));
    await Promise.race([this.whenEmpty(), late]);
    clearTimeout(deadline);
    for (const connection of [...this.table]) connection.destroy('drained');
    clearInterval(this.ticker);
  }
}
