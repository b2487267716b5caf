import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeSchedule } from '../../src/runtime/schedule.js';

const at = (day: number, hour: number, minute = 0, second = 0): number =>
  new Date(2026, 0, day, hour, minute, second).getTime();
const hourOf = (time: number): number => new Date(time).getHours();

describe('a schedule with every', () => {
  const schedule = makeSchedule({ every: 60_000, missed: 'once' });

  it('runs at once on the very first start and counts from the end of a run', () => {
    expect(schedule.first(at(1, 0), undefined)).toBe(at(1, 0));
    expect(schedule.following(at(1, 0, 5))).toBe(at(1, 0, 6));
  });

  it('keeps the due time of an earlier process', () => {
    expect(schedule.first(at(1, 0), at(1, 0, 0, 20))).toBe(at(1, 0, 0, 20));
  });

  it('makes up for a missed run once, or leaves it out', () => {
    expect(schedule.first(at(2, 0), at(1, 0))).toBe(at(2, 0));
    expect(makeSchedule({ every: 60_000, missed: 'skip' }).first(at(2, 0), at(1, 0))).toBe(at(2, 0, 1));
  });

  it('does not wait for hours when the clock was set back', () => {
    expect(schedule.first(at(1, 0), at(1, 9))).toBe(at(1, 0, 1));
  });

  it('starts only in the listed hours', () => {
    const nightly = makeSchedule({ every: 3_600_000, hours: ['02', '13'], missed: 'once' });
    expect(nightly.first(at(1, 0, 30), undefined)).toBe(at(1, 2));
    expect(nightly.first(at(1, 2, 30), undefined)).toBe(at(1, 2, 30));
    expect(nightly.following(at(1, 2, 30))).toBe(at(1, 13));
    expect(nightly.following(at(1, 13, 30))).toBe(at(2, 2));
    // Due in eleven hours by the list: that is no clock set back.
    expect(nightly.first(at(1, 3), at(1, 13))).toBe(at(1, 13));
    fc.assert(
      fc.property(fc.integer({ min: at(1, 0), max: at(300, 0) }), (time) => {
        const due = nightly.following(time);
        expect(due).toBeGreaterThan(time);
        expect([2, 13]).toContain(hourOf(due));
      }),
    );
  });
});

describe('a schedule with cron', () => {
  const hourly = makeSchedule({ cron: '5 * * * *', missed: 'skip' });

  it('follows the fields', () => {
    expect(hourly.first(at(1, 0), undefined)).toBe(at(1, 0, 5));
    expect(hourly.following(at(1, 0, 5))).toBe(at(1, 1, 5));
  });

  it('makes up for a missed run when asked', () => {
    expect(hourly.first(at(1, 9), at(1, 3, 5))).toBe(at(1, 9, 5));
    expect(makeSchedule({ cron: '5 * * * *', missed: 'once' }).first(at(1, 9), at(1, 3, 5))).toBe(at(1, 9));
  });

  it('honours the hours too, and survives fields that never match', () => {
    expect(makeSchedule({ cron: '5 * * * *', hours: ['7'], missed: 'skip' }).following(at(1, 0))).toBe(
      at(1, 7, 5),
    );
    expect(makeSchedule({ cron: '0 0 30 2 *', missed: 'skip' }).following(at(1, 0))).toBeGreaterThan(
      at(300, 0),
    );
  });
});

describe('a wrong schedule', () => {
  it('is refused with the key in the text', () => {
    expect(() => makeSchedule({ missed: 'once' })).toThrow(/every/);
    expect(() => makeSchedule({ every: 0, missed: 'once' })).toThrow(/every/);
    expect(() => makeSchedule({ cron: 'often', missed: 'once' })).toThrow(/cron "often"/);
    expect(() => makeSchedule({ every: 1, hours: ['24'], missed: 'once' })).toThrow(/hours: "24"/);
  });
});
