import { describe, expect, it } from 'vitest';
import { createPacketCodec, encodePacket } from '../../src/protocol/packet.js';
import { Mailbox, type MailboxPolicy } from '../../src/runtime/mailbox.js';
import { KIND, Kind } from '../../src/runtime/record.js';
import { RingReader, Word } from '../../src/runtime/ring.js';

const codec = createPacketCodec();
const lengthOf = (_codec: number, bytes: Buffer, offset: number): number => codec.frameLength(bytes, offset);
const client = { slot: 3, generation: 1 };

function mailbox(
  policy: MailboxPolicy = 'reject',
  messages = 100,
  bytes = 4096,
): { box: Mailbox; reader: RingReader } {
  const box = new Mailbox('test', 0, { bytes, messages, policy });
  return { box, reader: new RingReader(box.memory) };
}

function pings(count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => encodePacket(0)));
}

/** Plays a worker that finishes the next record. */
function handle(reader: RingReader): number {
  const at = reader.peek();
  if (at < 0) return 0;
  const kind = reader.int32[at + KIND]!;
  const count = reader.int32[at + 2]!;
  reader.words[Word.STARTED]! += count;
  reader.words[Word.HANDLED]! += count;
  reader.advance(at);
  reader.release();
  return kind;
}

describe('a mailbox', () => {
  it('counts frames, not records, and knows the age of the oldest', () => {
    const { box, reader } = mailbox();
    expect(box.offerFrames(client, 0, pings(5), 0, 40, 5)).toBe(true);
    expect(box.snapshot()).toMatchObject({ depth: 5, enqueued: 5, handled: 0, highWater: 5 });
    expect(box.oldestMs()).toBeGreaterThanOrEqual(0);
    handle(reader);
    expect(box.snapshot()).toMatchObject({ depth: 0, handled: 5, highWater: 5, oldestMs: 0 });
  });

  it('refuses beyond its number of messages and says when there is room again', () => {
    const { box, reader } = mailbox('pause-reading', 10);
    expect(box.offerFrames(client, 0, pings(8), 0, 64, 8)).toBe(true);
    expect(box.offerFrames(client, 0, pings(8), 0, 64, 8)).toBe(false);
    let resumed = 0;
    box.whenRoom(1, () => resumed++);
    box.checkRoom();
    expect(resumed).toBe(0);
    handle(reader);
    box.checkRoom();
    box.checkRoom();
    expect(resumed).toBe(1);
    expect(box.snapshot().refused).toBe(8);
  });

  it('refuses beyond its bytes under the policy reject', () => {
    const { box } = mailbox('reject', 1000);
    let taken = 0;
    while (box.offer(Kind.TELL, 0, 0, Buffer.alloc(400))) taken++;
    expect(taken).toBeGreaterThan(4);
    expect(taken).toBeLessThan(11);
    expect(box.snapshot().refused).toBe(1);
  });

  it('keeps the newest under the policy drop-oldest', () => {
    const { box, reader } = mailbox('drop-oldest', 10);
    for (let i = 0; i < 50; i++) expect(box.offer(Kind.TELL, i, 0, Buffer.alloc(8))).toBe(true);
    expect(box.snapshot().dropped).toBe(30); // ten are handed over, ten wait, thirty were dropped
    const seen: number[] = [];
    for (let at = reader.peek(); at >= 0; at = reader.peek()) {
      seen.push(reader.int32[at + 3]!);
      handle(reader);
      box.checkRoom();
    }
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49]);
  });

  it('never loses a notice, whatever the load', () => {
    const { box, reader } = mailbox('reject', 1000, 1024);
    while (box.offer(Kind.TELL, 0, 0, Buffer.alloc(64)));
    for (let i = 0; i < 50; i++) box.notice(Kind.DISCONNECTED, i, 0, Buffer.alloc(40));
    expect(box.offer(Kind.TELL, 0, 0, Buffer.alloc(1))).toBe(false); // not past those that wait
    const gone: number[] = [];
    for (let at = reader.peek(); at >= 0; at = reader.peek()) {
      if (reader.int32[at + KIND] === Kind.DISCONNECTED) gone.push(reader.int32[at + 3]!);
      handle(reader);
      box.checkRoom();
    }
    expect(gone).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });

  it('carries a payload larger than itself beside the ring', () => {
    const { box, reader } = mailbox();
    const sent: [number, number][] = [];
    box.sendExternal = (id, bytes) => sent.push([id, bytes.length]);
    expect(box.offer(Kind.TELL, 0, 0, Buffer.alloc(1_000_000))).toBe(true);
    expect(sent).toHaveLength(1);
    expect(sent[0]![1]).toBe(1_000_000);
    expect(box.externals.has(sent[0]![0])).toBe(true); // a successor gets it again
    handle(reader);
    expect(box.offer(Kind.TELL, 0, 0, Buffer.alloc(1_000_000))).toBe(true);
    expect(box.externals.has(sent[0]![0])).toBe(false);
  });

  it('gives the message under way back after a crash, and only that one', () => {
    const { box, reader } = mailbox();
    box.offer(Kind.TELL, 11, 0, Buffer.from('crashing'));
    box.offer(Kind.TELL, 12, 0, Buffer.from('waiting'));
    reader.words[Word.STARTED]!++;
    expect(box.takeFailed(lengthOf, false)).toMatchObject({
      kind: 'tell',
      a: 11,
      bytes: Buffer.from('crashing'),
    });
    const successor = new RingReader(box.memory);
    expect(successor.payload(successor.peek()).toString()).toBe('waiting');
    expect(box.takeFailed(lengthOf, false)).toBeUndefined();
  });

  it('finds the failed frame inside a run and lets the rest of the run go on', () => {
    const { box, reader } = mailbox();
    const run = Buffer.concat([encodePacket(0), encodePacket(9, Buffer.from('bad')), encodePacket(0)]);
    box.offerFrames(client, 0, run, 0, run.length, 3);
    reader.words[Word.STARTED] = 2;
    reader.words[Word.HANDLED] = 1;
    reader.words[Word.IN_RECORD] = 1;
    expect(box.takeFailed(lengthOf, false)?.bytes).toEqual(encodePacket(9, Buffer.from('bad')));
    expect(reader.words[Word.IN_RECORD]).toBe(2);
    expect(box.depth).toBe(1);
  });

  it('leaves the failed message in place when it is to be delivered once more', () => {
    const { box, reader } = mailbox();
    box.offer(Kind.TELL, 1, 0, Buffer.from('again'));
    reader.words[Word.STARTED]!++;
    expect(box.takeFailed(lengthOf, true)?.bytes.toString()).toBe('again');
    expect(box.depth).toBe(1);
    expect(new RingReader(box.memory).peek()).toBeGreaterThanOrEqual(0);
  });
});

describe('room in a mailbox', () => {
  it('made between the refusal and the wish for it is noticed all the same', () => {
    const { box, reader } = mailbox('pause-reading', 10);
    let looks = 0;
    box.wake = () => looks++;
    box.offerFrames(client, 0, pings(8), 0, 64, 8);
    expect(box.offerFrames(client, 0, pings(8), 0, 64, 8)).toBe(false);
    handle(reader); // the worker has finished and sleeps: it will not ring
    looks = 0;
    let resumed = 0;
    box.whenRoom(1, () => resumed++);
    expect(looks).toBe(1); // this side looks itself
    box.checkRoom();
    expect(resumed).toBe(1);
  });

  it('is not waited for by clients that have gone', () => {
    const { box, reader } = mailbox('pause-reading', 10, 1024);
    box.offerFrames(client, 0, pings(10), 0, 80, 10);
    while (box.offer(Kind.TELL, 0, 0, Buffer.alloc(8)));
    let resumed = 0;
    for (let generation = 1; generation < 1000; generation++) {
      box.notice(Kind.CONNECTED, 5, generation, Buffer.alloc(100));
      expect(box.offerFrames({ slot: 5, generation }, 0, pings(1), 0, 8, 1)).toBe(false);
      box.whenRoom(5, () => resumed++);
      box.disconnected(5, generation, Buffer.alloc(100));
    }
    expect(box.depth).toBeLessThan(30);
    while (handle(reader) > 0) box.checkRoom();
    expect(resumed).toBe(0);
  });

  it('is found for a run of more frames than the limit when nothing else waits', () => {
    const { box, reader } = mailbox('pause-reading', 10);
    box.offerFrames(client, 0, pings(1), 0, 8, 1);
    expect(box.offerFrames(client, 0, pings(50), 0, 400, 50)).toBe(false);
    handle(reader);
    expect(box.offerFrames(client, 0, pings(50), 0, 400, 50)).toBe(true);
  });

  it('has its limit also when the counters wrap', () => {
    const { box, reader } = mailbox('reject', 10);
    const wrapped = box as unknown as { enqueuedMessages: number };
    wrapped.enqueuedMessages = 0x7fff_fffb;
    reader.words[Word.HANDLED] = reader.words[Word.STARTED] = 0x7fff_fffb;
    expect(box.offerFrames(client, 0, pings(8), 0, 64, 8)).toBe(true);
    expect(box.offerFrames(client, 0, pings(8), 0, 64, 8)).toBe(false);
    expect(box.depth).toBe(8);
  });
});

describe('drop-oldest', () => {
  it('holds the limit of messages however often room is looked for, and drops no notice', () => {
    const { box, reader } = mailbox('drop-oldest', 10, 65_536);
    for (let i = 0; i < 20; i++) box.offer(Kind.TELL, i, 0, Buffer.alloc(8));
    box.disconnected(77, 1, Buffer.alloc(8));
    for (let i = 20; i < 200; i++) {
      box.offer(Kind.TELL, i, 0, Buffer.alloc(8));
      box.checkRoom();
      expect(box.depth).toBeLessThanOrEqual(21);
    }
    const seen: number[] = [];
    for (let at = reader.peek(); at >= 0; at = reader.peek()) {
      seen.push(reader.int32[at + 3]!);
      handle(reader);
      box.checkRoom();
    }
    expect(seen).toContain(77);
    expect(seen.at(-1)).toBe(199);
  });

  it('holds the limit of bytes', () => {
    const { box } = mailbox('drop-oldest', 100, 4096);
    for (let i = 0; i < 100; i++) expect(box.offer(Kind.TELL, i, 0, Buffer.alloc(1000))).toBe(true);
    expect(box.snapshot().depth).toBeLessThan(12);
  });
});
