/**
 * When a connection must be looked at again, and whether it is to be closed then. One wheel entry per connection
 * carries all its time-outs, so receiving costs no timer work. Pure, but for the date of the next heartbeat check.
 */
import type { CloseReason } from './listener-counters.js';
import type { ListenerValues } from './listener-keys.js';

/** Times are monotonic ms; Infinity: not now. */
export interface ConnectionTimes {
  readonly openedAt: number;
  readonly lastReceivedAt: number;
  /** Last sign of life by the heartbeat rule. */
  readonly lastBeatAt: number;
  /** First byte of the unfinished packet. */
  readonly partialSince: number;
  /** Start of the write the client has not taken yet. */
  readonly blockedSince: number;
  /** Reading is paused by us: silence is not the client's fault. */
  readonly readPaused: boolean;
  nextHeartbeatAt: number;
}

const SMALLEST_HEARTBEAT_MS = 5000;
const HEARTBEAT_GRACE_MS = 10_000;
/** How often a connection is looked at whose time-outs stand still because we do not read from it. */
const PAUSED_LOOK_MS = 1000;

export function heartbeatInterval(values: ListenerValues): number {
  return values.heartbeat ? Math.max(SMALLEST_HEARTBEAT_MS, values.heartbeat_interval) : Infinity;
}

/** @returns monotonic ms, Infinity for never */
export function nextLook(times: ConnectionTimes, values: ListenerValues, nowMs: number): number {
  const blocked = times.blockedSince + values.send_timeout;
  if (times.readPaused) return Math.min(blocked, nowMs + PAUSED_LOOK_MS);
  const idle = values.idle_timeout === 0 ? Infinity : times.lastReceivedAt + values.idle_timeout;
  return Math.min(blocked, idle, times.partialSince + values.partial_timeout, times.nextHeartbeatAt);
}

/** @returns why the connection has to be closed now, if it has to */
export function overdue(
  times: ConnectionTimes,
  values: ListenerValues,
  nowMs: number,
): CloseReason | undefined {
  if (nowMs >= times.blockedSince + values.send_timeout) return 'send-timeout';
  if (times.readPaused) return undefined;
  if (nowMs >= times.partialSince + values.partial_timeout) return 'partial-timeout';
  if (values.idle_timeout > 0 && nowMs >= times.lastReceivedAt + values.idle_timeout) return 'idle-timeout';
  return nowMs >= times.nextHeartbeatAt ? heartbeatCheck(times, values, nowMs) : undefined;
}

/** The check every x = heartbeat_interval (spec packet-server 7). */
function heartbeatCheck(
  times: ConnectionTimes,
  values: ListenerValues,
  nowMs: number,
): CloseReason | undefined {
  const interval = heartbeatInterval(values);
  times.nextHeartbeatAt = nowMs + interval;
  if (values.timeout_kick) {
    const active = values.timeout_kick_spares_active && nowMs - times.lastReceivedAt < interval;
    return active ? undefined : 'timeout-kick';
  }
  const limit = values.heartbeat_factor * interval + HEARTBEAT_GRACE_MS;
  return nowMs - times.lastBeatAt > limit ? 'heartbeat' : undefined;
}
