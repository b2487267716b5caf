/** One part alone: putting runs of frames into a mailbox and taking them out again, on one thread, against an array of Buffers. */
import { encodePacket } from '../../src/protocol/packet.js';
import { Mailbox } from '../../src/runtime/mailbox.js';
import { RingReader, Word } from '../../src/runtime/ring.js';
import type { Sample } from '../lib/compare.js';
import type { BenchOptions } from '../lib/options.js';
import type { Report } from '../lib/report.js';

const RUN = 32;
const DEPTH = 64;

function timed(options: BenchOptions, turn: () => number): Sample {
  const until = (end: number): number => {
    let frames = 0;
    while (performance.now() < end) for (let n = 0; n < 100; n++) frames += turn();
    return frames;
  };
  until(performance.now() + options.warmup * 1000);
  const start = performance.now();
  const frames = until(start + options.seconds * 1000);
  const seconds = (performance.now() - start) / 1000;
  return { value: frames / seconds, failed: 0, detail: { frames, seconds } };
}

function throughRing(options: BenchOptions, run: number): Sample {
  const box = new Mailbox('bench', 0, { bytes: 4 * 1024 * 1024, messages: 1_000_000, policy: 'reject' });
  const reader = new RingReader(box.memory);
  const bytes = Buffer.concat(Array.from({ length: run }, () => encodePacket(9, Buffer.alloc(192, 7))));
  const client = { slot: 1, generation: 1 };
  return timed(options, () => {
    for (let n = 0; n < DEPTH; n++) box.offerFrames(client, 0, bytes, 0, bytes.length, run);
    let taken = 0;
    for (let at = reader.peek(); at >= 0; at = reader.peek()) {
      reader.words[Word.HANDLED]! += run;
      reader.advance(at);
      taken += run;
    }
    reader.release();
    return taken;
  });
}

function throughArray(options: BenchOptions, run: number): Sample {
  const bytes = Buffer.concat(Array.from({ length: run }, () => encodePacket(9, Buffer.alloc(192, 7))));
  const queue: Buffer[] = [];
  return timed(options, () => {
    for (let n = 0; n < DEPTH; n++) queue.push(Buffer.from(bytes));
    let taken = 0;
    while (queue.shift() !== undefined) taken += run;
    return taken;
  });
}

export async function mailbox(options: BenchOptions): Promise<Report> {
  const cases = [RUN, 1].map((run) => {
    const ring: Sample[] = [];
    const array: Sample[] = [];
    for (let round = 0; round < options.rounds; round++) {
      ring.push(throughRing(options, run));
      array.push(throughArray(options, run));
    }
    const series = [
      { contestant: 'mailbox', samples: ring },
      { contestant: 'array of Buffers', samples: array },
    ];
    return { name: `200 B, runs of ${run}`, series };
  });
  return { bench: 'mailbox', unit: 'frames/s', lessIsBetter: false, cases };
}
