import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TimingWheel } from '../../src/runtime/timing-wheel.js';

const TICK = 10;
const wheel = (capacity = 8, now = 0): TimingWheel => new TimingWheel(TICK, 8, capacity, now);
const firedBy = (timers: TimingWheel, now: number): number[] => {
  const fired: number[] = [];
  timers.advance(now, (id) => fired.push(id));
  return fired.sort((a, b) => a - b);
};

describe('timing wheel', () => {
  it('fires once, not before the deadline and at most two ticks after it', () => {
    const timers = wheel();
    timers.schedule(3, 25);
    expect(firedBy(timers, 24)).toEqual([]);
    expect(firedBy(timers, 45)).toEqual([3]);
    expect(firedBy(timers, 1000)).toEqual([]);
    expect(timers.size).toBe(0);
  });

  it('keeps entries further away than one turn', () => {
    const timers = wheel();
    timers.schedule(0, 30);
    timers.schedule(1, 30 + 8 * TICK * 3);
    for (let now = TICK; now < 40; now += TICK) firedBy(timers, now);
    expect(firedBy(timers, 50)).toEqual([0]);
    expect(timers.size).toBe(1);
    expect(firedBy(timers, 30 + 8 * TICK * 3 - 1)).toEqual([]);
    expect(firedBy(timers, 300)).toEqual([1]);
  });

  it('moves and cancels', () => {
    const timers = wheel();
    timers.schedule(0, 20);
    timers.schedule(0, 90);
    timers.schedule(1, 20);
    timers.cancel(1);
    timers.cancel(7);
    expect(firedBy(timers, 80)).toEqual([]);
    expect(firedBy(timers, 110)).toEqual([0]);
  });

  it('fires a deadline in the past at the next tick', () => {
    const timers = wheel(8, 1000);
    timers.schedule(0, 5);
    expect(firedBy(timers, 1010)).toEqual([0]);
  });

  it('catches up after a long sleep', () => {
    const timers = wheel();
    for (let id = 0; id < 8; id++) timers.schedule(id, id * 100);
    expect(firedBy(timers, 1e9)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('lets a fired entry schedule itself and cancel its neighbours', () => {
    const timers = wheel();
    for (let id = 0; id < 4; id++) timers.schedule(id, 15);
    const fired: number[] = [];
    timers.advance(30, (id) => {
      fired.push(id);
      timers.schedule(id, 55);
      for (let other = 0; other < 4; other++) if (other !== id) timers.cancel(other);
    });
    expect(fired).toHaveLength(1);
    expect(timers.size).toBe(1);
    expect(firedBy(timers, 70)).toEqual(fired);
  });

  it('refuses ids beyond its capacity until it has grown', () => {
    const timers = wheel(2);
    expect(() => timers.schedule(2, 10)).toThrow(RangeError);
    timers.schedule(1, 10);
    timers.grow(4);
    timers.schedule(2, 10);
    expect(firedBy(timers, 30)).toEqual([1, 2]);
  });

  it('agrees with a plain list of deadlines', () => {
    const step = fc.oneof(
      fc.record({ op: fc.constant('schedule' as const), id: fc.nat(15), after: fc.nat(400) }),
      fc.record({ op: fc.constant('cancel' as const), id: fc.nat(15) }),
      fc.record({ op: fc.constant('advance' as const), by: fc.nat(300) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const timers = wheel(16);
        const model = new Map<number, number>();
        let now = 0;
        for (const s of steps) {
          if (s.op === 'schedule') {
            timers.schedule(s.id, now + s.after);
            model.set(s.id, now + s.after);
          } else if (s.op === 'cancel') {
            timers.cancel(s.id);
            model.delete(s.id);
          } else {
            now += s.by;
            for (const id of firedBy(timers, now)) {
              expect(model.get(id)).toBeLessThanOrEqual(now);
              model.delete(id);
            }
            for (const deadline of model.values()) expect(deadline).toBeGreaterThan(now - 2 * TICK);
          }
          expect(timers.size).toBe(model.size);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
