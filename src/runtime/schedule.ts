/**
 * When a stage runs next. Pure: the present time is a parameter. Times are ms since 1970, hours and cron fields are
 * local time. Any thread.
 */
import { Cron } from 'croner';
import { reasonOf } from './errors.js';

/** What happens to a run whose time passed while the program was down: left out, or made up for once, at start. */
export type MissedPolicy = 'skip' | 'once';

export interface ScheduleSpec {
  /** Pause in ms from the end of a run to the start of the next (as procctl counts: spec data-centre 2.1). */
  readonly every?: number | undefined;
  /** Cron text of 5 or 6 fields; replaces `every`. */
  readonly cron?: string | undefined;
  /** Local hours 0..23 in which a run may start; empty: any. */
  readonly hours?: readonly string[] | undefined;
  readonly missed: MissedPolicy;
}

export interface Schedule {
  /** The first run after a start. @param saved when the run was due that an earlier process planned. */
  first(now: number, saved: number | undefined): number;
  /** The run after one that ended (or was left out) at `end`. */
  following(end: number): number;
}

const HOUR = 3_600_000;
/** A cron text may name a time that never comes (30 February); then the schedule sleeps this long and looks again. */
const NEVER = 365 * 24 * HOUR;

/** @throws RangeError that names the key and what is wrong with it. */
export function makeSchedule(spec: ScheduleSpec): Schedule {
  const hours = parseHours(spec.hours ?? []);
  const allowed = (time: number): number => nextAllowed(time, hours);
  if (spec.cron !== undefined && spec.cron !== '') {
    const cron = parseCron(spec.cron);
    const next = (after: number): number => {
      let time = cron.nextRun(new Date(after))?.getTime();
      // With `hours`, the first cron time that lies in one of them; the search is bounded.
      for (let i = 0; i < 10_000 && time !== undefined && allowed(time) !== time; i++) {
        time = cron.nextRun(new Date(allowed(time) - 1))?.getTime();
      }
      return time ?? after + NEVER;
    };
    return {
      first: (now, saved) =>
        saved !== undefined && saved <= now && spec.missed === 'once' ? now : next(now),
      following: next,
    };
  }
  const every = spec.every;
  if (every === undefined) throw new RangeError('set every = <duration> or cron = <fields>');
  if (every < 1) throw new RangeError('every must be at least 1 ms');
  return {
    first(now, saved) {
      if (saved === undefined) return allowed(now);
      if (saved <= now) return allowed(spec.missed === 'once' ? now : now + every);
      // The clock may have been set back: never wait longer than one period for that.
      return allowed(Math.min(saved, Math.max(now + every, allowed(now))));
    },
    following: (end) => allowed(end + every),
  };
}

function parseCron(text: string): Cron {
  try {
    return new Cron(text, { paused: true });
  } catch (error) {
    throw new RangeError(`cron "${text}": ${reasonOf(error)}`, { cause: error });
  }
}

function parseHours(list: readonly string[]): ReadonlySet<number> {
  const hours = new Set<number>();
  for (const text of list) {
    if (text.trim() === '') continue;
    if (!/^\s*\d{1,2}\s*$/.test(text) || Number(text) > 23) {
      throw new RangeError(`hours: "${text}" is no hour from 0 to 23`);
    }
    hours.add(Number(text));
  }
  return hours;
}

/** `time` itself if its local hour is listed, else the beginning of the next listed hour. */
function nextAllowed(time: number, hours: ReadonlySet<number>): number {
  if (hours.size === 0 || hours.has(new Date(time).getHours())) return time;
  const top = new Date(time);
  top.setMinutes(0, 0, 0);
  let at = top.getTime();
  // Two days and a bit: the only listed hour may not exist on the day the clocks change.
  for (let i = 0; i < 50; i++) {
    at += HOUR;
    if (hours.has(new Date(at).getHours())) return at;
  }
  return at;
}
