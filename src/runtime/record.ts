/**
 * Layout of a record in a shared ring (ring.ts): 32-byte header of eight int32 words in host order, then the
 * payload, padded to 8 bytes. Records never wrap: a PAD record fills the end of the ring.
 *
 *     word 0 size      bytes of the whole record, header and padding included
 *     word 1 kind      Kind below
 *     word 2 count     messages in the record; > 1 only for FRAMES
 *     word 3 a         connection slot | ask id | exchange id
 *     word 4 b         connection generation | flag
 *     word 5 payload   payload bytes
 *     word 6 c         codec id | extension id (EXTERNAL payload) | 0
 *     word 7 d         mailbox: enqueue time (ms); outbox: number of the sending actor
 */
export const HEADER_BYTES = 32;
export const SIZE = 0;
export const KIND = 1;
export const COUNT = 2;
export const A = 3;
export const B = 4;
export const PAYLOAD = 5;
export const C = 6;
export const D = 7;

export const Kind = {
  PAD: 0,
  // main -> mailbox of an actor
  FRAMES: 1,
  TELL: 2,
  ASK: 3,
  CONNECTED: 4,
  DISCONNECTED: 5,
  REQUEST: 6,
  // main -> inbox of a worker
  REPLY: 10,
  HTTP_CREDIT: 11,
  HTTP_ABORT: 12,
  // worker -> main; FRAMES, TELL and ASK as well
  ASK_REPLY: 20,
  CLOSE: 21,
  ATTACH: 22,
  HTTP_HEAD: 23,
  HTTP_BODY: 24,
  HTTP_END: 25,
  LOG: 26,
  COUNTERS: 27,
  ROUTE: 28,
  WATCH: 29,
  CPU: 30,
  HTTP_CUT: 31,
} as const;

/** Names of the kinds for `ps` and dead letters. */
export const KIND_NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(Kind).map(([name, code]) => [code, name.toLowerCase()]),
);

/** ASK_REPLY and REPLY, word b. */
export const REPLY_OK = 0;
export const REPLY_FAILED = 1;
