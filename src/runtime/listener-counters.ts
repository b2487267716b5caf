/** What a listener counts since it started. Plain numbers that only grow; the metrics read them. */
import type { BadFrame } from '../protocol/frame.js';
import type { Refusal } from './admission.js';

/** Why a connection ended; the metric label. `actor`: an actor closed it for a reason of its own. */
export type CloseReason =
  | 'peer-closed'
  | 'reset'
  | 'socket-error'
  | 'bad-packet'
  | 'flood'
  | 'idle-timeout'
  | 'partial-timeout'
  | 'send-timeout'
  | 'heartbeat'
  | 'timeout-kick'
  | 'send-queue'
  | 'send-queue-total'
  | 'kicked'
  | 'drained'
  | 'actor';

export class ListenerCounters {
  accepted = 0;
  packetsIn = 0;
  packetsOut = 0;
  bytesIn = 0;
  bytesOut = 0;
  /** Packets for a client that were thrown away: its queue was full, or it had gone. */
  discarded = 0;
  /** Times a client was not read from because the mailbox or its send queue was full. */
  pausedForMailbox = 0;
  pausedForSending = 0;
  /** `accept` failed. */
  acceptErrors = 0;
  tlsErrors = 0;
  readonly closed: Record<CloseReason, number> = {
    'peer-closed': 0,
    reset: 0,
    'socket-error': 0,
    'bad-packet': 0,
    flood: 0,
    'idle-timeout': 0,
    'partial-timeout': 0,
    'send-timeout': 0,
    heartbeat: 0,
    'timeout-kick': 0,
    'send-queue': 0,
    'send-queue-total': 0,
    kicked: 0,
    drained: 0,
    actor: 0,
  };
  readonly refused: Record<Refusal, number> = {
    'listener-full': 0,
    'address-full': 0,
    'process-full': 0,
    descriptors: 0,
  };
  readonly bad: Record<BadFrame, number> = { length: 0, crc: 0, 'header-crc': 0, syntax: 0 };
}

export function sumOf(counts: Readonly<Record<string, number>>): number {
  let sum = 0;
  for (const name in counts) sum += counts[name]!;
  return sum;
}
