/**
 * The flood rule of spec packet-server 8: a packet less than the interval after the one before raises the counter,
 * any other sets it to 0; the packet at which it reaches the limit is thrown away and ends the connection. Works on
 * whole runs of packets that arrived together, without walking them. Pure.
 */
export interface FloodState {
  /** Counter after the last packet. */
  floodCount: number;
  /** Arrival of the last packet, monotonic ms; -Infinity before the first. */
  lastPacketAt: number;
}

/** @returns how many of the first `count` packets that arrive together now are not yet a flood. Changes nothing. */
export function floodAllowance(
  state: FloodState,
  count: number,
  nowMs: number,
  intervalMs: number,
  limit: number,
): number {
  const first = nowMs - state.lastPacketAt < intervalMs ? state.floodCount + 1 : 0;
  return intervalMs <= 0 ? count : Math.max(0, Math.min(count, limit - first));
}

/** Remembers that `count` packets arrived together and were taken. */
export function floodRecord(state: FloodState, count: number, nowMs: number, intervalMs: number): void {
  const first = nowMs - state.lastPacketAt < intervalMs ? state.floodCount + 1 : 0;
  state.floodCount = intervalMs <= 0 ? 0 : first + count - 1;
  state.lastPacketAt = nowMs;
}
