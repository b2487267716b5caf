/**
 * Hashed timing wheel over small integer ids: one pending deadline per id, schedule and cancel in O(1), no object
 * per timer. Entries further away than one turn stay in their bucket until their turn comes. The owner calls
 * `advance`; nothing here reads a clock or starts a timer, so tests turn it by hand. Any thread.
 */
const NONE = -1;
/** Marks an entry that `advance` has taken out and not fired yet. */
const DUE = -2;
const FREE = -3;

export class TimingWheel {
  private readonly heads: Int32Array;
  private next: Int32Array;
  private previous: Int32Array;
  /** Bucket of the entry, DUE or FREE. */
  private place: Int32Array;
  private deadlines: Float64Array;
  private due: Int32Array;
  private cursor: number;
  private scheduled = 0;

  /**
   * @param tickMs resolution: an entry fires 0 to 2 ticks after its deadline
   * @param buckets ticks of one turn; a power of two
   * @param capacity ids 0..capacity-1 may be scheduled; `grow` raises it
   * @param nowMs monotonic
   */
  constructor(
    readonly tickMs: number,
    buckets: number,
    capacity: number,
    nowMs: number,
  ) {
    if ((buckets & (buckets - 1)) !== 0) throw new RangeError('buckets must be a power of two');
    this.heads = new Int32Array(buckets).fill(NONE);
    this.next = new Int32Array(capacity);
    this.previous = new Int32Array(capacity);
    this.place = new Int32Array(capacity).fill(FREE);
    this.deadlines = new Float64Array(capacity);
    this.due = new Int32Array(capacity);
    this.cursor = Math.floor(nowMs / tickMs);
  }

  get size(): number {
    return this.scheduled;
  }

  get capacity(): number {
    return this.place.length;
  }

  /** Makes room for ids below `capacity`; keeps what is scheduled. */
  grow(capacity: number): void {
    if (capacity <= this.capacity) return;
    const old = this.capacity;
    const widen = (from: Int32Array): Int32Array => {
      const to = new Int32Array(capacity);
      to.set(from);
      return to;
    };
    this.next = widen(this.next);
    this.previous = widen(this.previous);
    this.place = widen(this.place).fill(FREE, old);
    this.due = widen(this.due);
    const deadlines = new Float64Array(capacity);
    deadlines.set(this.deadlines);
    this.deadlines = deadlines;
  }

  /** Sets or moves the deadline of an id. A deadline in the past fires at the next `advance`. */
  schedule(id: number, deadlineMs: number): void {
    if (id < 0 || id >= this.capacity) throw new RangeError(`timer ${id} is out of range`);
    this.cancel(id);
    // The tick after the deadline, but never one the cursor has passed: it would wait for a whole turn.
    const tick = Math.max(Math.floor(deadlineMs / this.tickMs) + 1, this.cursor + 1);
    const bucket = tick % this.heads.length;
    const head = this.heads[bucket]!;
    this.next[id] = head;
    this.previous[id] = NONE;
    if (head !== NONE) this.previous[head] = id;
    this.heads[bucket] = id;
    this.place[id] = bucket;
    this.deadlines[id] = deadlineMs;
    this.scheduled++;
  }

  /** Does nothing when the id has no deadline. */
  cancel(id: number): void {
    const bucket = this.place[id];
    if (bucket === undefined || bucket === FREE) return;
    if (bucket !== DUE) this.unlink(id, bucket);
    this.place[id] = FREE;
    this.scheduled--;
  }

  /**
   * Fires every entry whose deadline has passed, each once and unscheduled before its call. `fire` may schedule
   * and cancel any id; an entry cancelled by an earlier call of the same turn does not fire.
   */
  advance(nowMs: number, fire: (id: number) => void): void {
    const target = Math.floor(nowMs / this.tickMs);
    // After a long sleep every bucket is looked at once, not once per missed tick.
    const from = Math.max(this.cursor + 1, target - this.heads.length + 1);
    let count = 0;
    for (let tick = from; tick <= target; tick++)
      count = this.collect(tick % this.heads.length, nowMs, count);
    this.cursor = Math.max(this.cursor, target);
    const { due } = this;
    for (let i = 0; i < count; i++) {
      const id = due[i]!;
      if (this.place[id] !== DUE) continue;
      this.place[id] = FREE;
      this.scheduled--;
      fire(id);
    }
  }

  private collect(bucket: number, nowMs: number, count: number): number {
    let id = this.heads[bucket]!;
    while (id !== NONE) {
      const following = this.next[id]!;
      if (this.deadlines[id]! <= nowMs) {
        this.unlink(id, bucket);
        this.place[id] = DUE;
        this.due[count++] = id;
      }
      id = following;
    }
    return count;
  }

  private unlink(id: number, bucket: number): void {
    const before = this.previous[id]!;
    const after = this.next[id]!;
    if (before === NONE) this.heads[bucket] = after;
    else this.next[before] = after;
    if (after !== NONE) this.previous[after] = before;
  }
}
