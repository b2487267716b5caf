/**
 * From any cut of a byte stream to runs of valid frames. A run is offered to the sink straight from the chunk that the
 * socket gave; only an unfinished frame at the end is copied, into a buffer that grows with what really
 * arrives, never to the length a header announces. The thread of the reactor.
 */
import type { BadFrame } from '../protocol/frame.js';
import type { Connection } from './connection.js';
import { floodAllowance, floodRecord } from './flood-guard.js';

/** Most bytes in one offer. */
const MAX_RUN_BYTES = 64 * 1024;
const FIRST_PARTIAL_BYTES = 256;

/** Takes a chunk that arrived at `now`. Afterwards nothing of it is referenced unless the sink refused a run. */
export function receive(c: Connection, chunk: Buffer, now: number): void {
  const start = c.partialBytes === 0 ? 0 : finishPartial(c, chunk, now);
  if (start >= 0 && c.receiving) scan(c, chunk, start, now);
}

/** Takes again what the sink refused earlier. */
export function receiveHeld(c: Connection): void {
  const { held } = c;
  if (held === undefined) return;
  c.held = undefined;
  scan(c, held, 0, c.heldAt);
}

function scan(c: Connection, bytes: Buffer, start: number, now: number): void {
  const { codec } = c.listener;
  const end = bytes.length;
  let at = start;
  let runStart = start;
  let count = 0;
  while (at < end) {
    const size = codec.decode(bytes, at, end);
    if (size === 0) break;
    if (size > 0 && at + size - runStart <= MAX_RUN_BYTES) {
      at += size;
      count++;
      continue;
    }
    const reason = codec.lastBad;
    if (count > 0 && !deliver(c, bytes, runStart, at, count, now))
      return hold(c, bytes.subarray(runStart), now);
    if (!c.receiving) return;
    if (size > 0) {
      runStart = at;
      at += size;
      count = 1;
    } else {
      if (!refuse(c, reason, now)) return;
      at -= size;
      runStart = at;
      count = 0;
    }
  }
  if (count > 0 && !deliver(c, bytes, runStart, at, count, now))
    return hold(c, bytes.subarray(runStart), now);
  if (at < end && c.receiving) {
    keepPartial(c, bytes, at, end);
    c.partialSince = now;
    c.arm(now + c.listener.values.partial_timeout);
  }
}

/** Completes the unfinished frame. @returns where scanning goes on in the chunk, or -1: the sink refused the frame. */
function finishPartial(c: Connection, chunk: Buffer, now: number): number {
  const { codec } = c.listener;
  let at = 0;
  while (c.partialBytes > 0 && at < chunk.length) {
    const have = c.partialBytes;
    const want = have < codec.headerBytes ? codec.headerBytes : codec.frameLength(c.partial!, 0);
    const take = Math.min(Math.max(1, want - have), chunk.length - at);
    keepPartial(c, chunk, at, at + take);
    at += take;
    const size = codec.decode(c.partial!, 0, c.partialBytes);
    if (size === 0 && c.partialBytes < codec.maxFrameBytes) continue;
    const frame = c.partial!;
    c.dropPartial();
    if (size === 0) {
      refuse(c, 'length', now);
      c.finishReplies('bad-packet');
      return -1;
    }
    if (size < 0) {
      if (!refuse(c, codec.lastBad, now)) return -1;
      if (-size === have + take) continue;
      // The codec skips less than it needed to see; what is left comes before the rest of the chunk.
      scan(c, Buffer.concat([frame.subarray(-size, have + take), chunk.subarray(at)]), 0, now);
      return -1;
    }
    if (!deliver(c, frame, 0, size, 1, now)) {
      hold(c, Buffer.concat([frame.subarray(0, size), chunk.subarray(at)]), now);
      return -1;
    }
    if (!c.receiving) return -1;
  }
  return at;
}

function keepPartial(c: Connection, bytes: Buffer, start: number, end: number): void {
  const needed = c.partialBytes + end - start;
  let { partial } = c;
  if (partial === undefined || partial.length < needed) {
    const grown = Buffer.allocUnsafe(Math.max(FIRST_PARTIAL_BYTES, needed + (needed >> 1)));
    if (partial !== undefined) partial.copy(grown, 0, 0, c.partialBytes);
    c.partial = partial = grown;
  }
  bytes.copy(partial, c.partialBytes, start, end);
  c.partialBytes = needed;
}

/** @returns false: refused, nothing was taken. A flood takes what is allowed and ends the receiving. */
function deliver(
  c: Connection,
  bytes: Buffer,
  start: number,
  end: number,
  count: number,
  now: number,
): boolean {
  const { listener } = c;
  const { values } = listener;
  if (values.flood_guard) {
    const allowed = floodAllowance(c, count, now, values.flood_interval, values.flood_packets);
    if (allowed < count) return deliverBeforeFlood(c, bytes, start, allowed, now);
  }
  if (!listener.sink.offer(c.ref, bytes, start, end, count)) return false;
  if (values.flood_guard) floodRecord(c, count, now, values.flood_interval);
  c.packetsIn += count;
  listener.counters.packetsIn += count;
  if (values.heartbeat && (values.heartbeat_refresh === 'any' || hasPing(c, bytes, start, end))) {
    c.lastBeatAt = now;
  }
  return true;
}

/** Replies already due are still sent (spec packet-server 17.10); the packet that is too much is not handled. */
function deliverBeforeFlood(
  c: Connection,
  bytes: Buffer,
  start: number,
  allowed: number,
  now: number,
): boolean {
  const { codec, counters, sink } = c.listener;
  let end = start;
  for (let i = 0; i < allowed; i++) end += codec.frameLength(bytes, end);
  if (allowed > 0 && !sink.offer(c.ref, bytes, start, end, allowed)) return false;
  floodRecord(c, allowed + 1, now, c.listener.values.flood_interval);
  c.packetsIn += allowed;
  counters.packetsIn += allowed;
  c.finishReplies('flood');
  return true;
}

function hasPing(c: Connection, bytes: Buffer, start: number, end: number): boolean {
  const { codec, pingCode } = c.listener;
  for (let at = start; at < end;) {
    const size = codec.frameLength(bytes, at);
    // A ping with a body is not valid, and no sign of life (spec packet-server 2).
    if (size === codec.headerBytes && codec.messageCode(bytes, at) === pingCode) return true;
    at += size;
  }
  return false;
}

/** Counts a bad frame. @returns false when it ended the receiving. */
function refuse(c: Connection, reason: BadFrame, now: number): boolean {
  const { counters, values } = c.listener;
  counters.bad[reason]++;
  c.badPackets++;
  if (values.on_bad_packet === 'close') c.finishReplies('bad-packet');
  else if (values.bad_packet_limit > 0 && c.badPackets >= values.bad_packet_limit) {
    c.finishReplies('bad-packet');
  } else if (values.flood_guard && reason !== 'length') {
    // A whole packet with a wrong sum counts towards a flood as in the reference.
    if (floodAllowance(c, 1, now, values.flood_interval, values.flood_packets) === 0) {
      c.finishReplies('flood');
    } else floodRecord(c, 1, now, values.flood_interval);
  }
  return c.receiving;
}

function hold(c: Connection, rest: Buffer, now: number): void {
  c.held = rest;
  c.heldAt = now;
  c.waitForRoom();
}
