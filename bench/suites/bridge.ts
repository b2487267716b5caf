/**
 * Frames main -> worker -> main without sockets: the mailbox and bridge of the program against one postMessage per frame
 * and one transferred buffer per batch (which, unlike the mailbox, loses what is under way when the worker dies).
 */
import { Worker } from 'node:worker_threads';
import { encodePacket } from '../../src/protocol/packet.js';
import type { ActorSpec } from '../../src/runtime/actor-entry.js';
import type { Logger } from '../../src/runtime/log-contract.js';
import type { System as SystemClass } from '../../src/runtime/system.js';
import type { CaseResult, Sample } from '../lib/compare.js';
import type { BenchOptions } from '../lib/options.js';
import { root } from '../lib/paths.js';
import type { Report } from '../lib/report.js';
import { build } from '../peers/switchyard.js';

const FRAME_BYTES = 200;
/** Frames of one connection that arrive in one chunk. */
const RUN = 32;
const CONNECTIONS = 100;
const BATCH = 256;

/** The program's own build: its workers load modules beside it. */
async function builtSystem(options: BenchOptions): Promise<typeof SystemClass> {
  build(options);
  const module = (await import(`${root}/dist/runtime/system.js`)) as { readonly System: typeof SystemClass };
  return module.System;
}

const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  notice: () => undefined,
  warn: console.error,
  error: console.error,
  fatal: console.error,
  child: () => silent,
};

/** Counts frames for `seconds` after a warm-up. @param start begins the flow; calls `got` for what came back */
async function rate(
  options: BenchOptions,
  start: (got: (frames: number) => void, going: () => boolean) => void,
): Promise<Sample> {
  let total = 0;
  let going = true;
  start(
    (frames) => (total += frames),
    () => going,
  );
  const wait = (seconds: number): Promise<void> =>
    new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  await wait(options.warmup);
  const [from, since, cpu] = [total, performance.now(), process.cpuUsage()];
  await wait(options.seconds);
  const seconds = (performance.now() - since) / 1000;
  const used = process.cpuUsage(cpu);
  const value = (total - from) / seconds;
  going = false;
  return {
    value,
    failed: 0,
    serverCpu: (used.user + used.system) / 1e6 / seconds,
    detail: { frames: total - from, seconds },
  };
}

async function mailboxAndBridge(options: BenchOptions, run: number): Promise<Sample> {
  let got: (frames: number) => void = () => undefined;
  const System = await builtSystem(options);
  const system = new System({
    log: silent,
    writeEvent: () => undefined,
    onCounters: () => undefined,
    onRoute: () => undefined,
  });
  system.addPool({ name: 'bench', workers: 1, spinUs: 0, heapMb: 256 });
  system.setReplyTarget({
    send: (_slot, _generation, _bytes, packets) => got(packets),
    close: () => undefined,
    attach: () => undefined,
    flush: () => undefined,
    connectionsOf: () => [],
  });
  const spec: ActorSpec = {
    name: 'echo',
    kind: 'service',
    pool: 'bench',
    shards: 1,
    module: new URL('../parts/echo-actor.js', import.meta.url).href,
    factory: 'echo',
    params: {},
    mailbox: { bytes: 4 * 1024 * 1024, messages: 65_536, policy: 'pause-reading' },
    heartbeatMs: 0,
    idempotent: false,
    startMs: 5000,
  };
  const [child] = system.spawn(spec, 1000, 'permanent');
  const handle = await child!.start(new AbortController().signal);
  const sink = system.frameSink('echo', 'packet');
  const bytes = Buffer.concat(
    Array.from({ length: run }, () => encodePacket(9, Buffer.alloc(FRAME_BYTES - 8, 7))),
  );
  const sample = await rate(options, (count, going) => {
    got = count;
    let slot = 0;
    const push = (): void => {
      for (let n = 0; n < 1000 && going(); n++) {
        slot = (slot + 1) % CONNECTIONS;
        if (!sink.offer({ slot, generation: 1 }, bytes, 0, bytes.length, run)) return sink.whenRoom(push);
      }
      if (going()) setImmediate(push);
    };
    push();
  });
  await handle.stop('measured', 1000);
  await system.shutdown();
  return sample;
}

async function posted(options: BenchOptions, packed: boolean): Promise<Sample> {
  const worker = new Worker(new URL('../parts/post-worker.js', import.meta.url));
  const frame = Buffer.alloc(FRAME_BYTES, 7);
  const sample = await rate(options, (got, going) => {
    const send = (): void => {
      if (packed) {
        const buffer = new Uint8Array(FRAME_BYTES * BATCH);
        for (let n = 0; n < BATCH; n++) buffer.set(frame, n * FRAME_BYTES);
        worker.postMessage(buffer, [buffer.buffer]);
      } else {
        for (let n = 0; n < BATCH; n++) worker.postMessage({ slot: n, generation: 1, bytes: frame });
      }
    };
    let back = 0;
    worker.on('message', (message: Uint8Array | object) => {
      const frames = message instanceof Uint8Array ? message.length / FRAME_BYTES : 1;
      got(frames);
      back += frames;
      if (back >= BATCH && going()) {
        back -= BATCH;
        send();
      }
    });
    for (let ahead = 0; ahead < 4; ahead++) send();
  });
  await worker.terminate();
  return sample;
}

async function compare(
  name: string,
  options: BenchOptions,
  ways: Readonly<Record<string, () => Promise<Sample>>>,
): Promise<CaseResult> {
  const series = Object.keys(ways).map((contestant) => ({ contestant, samples: [] as Sample[] }));
  for (let round = 0; round < options.rounds; round++) {
    for (const one of series) one.samples.push(await ways[one.contestant]!());
  }
  return { name, series };
}

export async function bridge(options: BenchOptions): Promise<Report> {
  const peers = {
    'buffer-per-batch': () => posted(options, true),
    'post-per-frame': () => posted(options, false),
  };
  return {
    bench: 'bridge',
    unit: 'frames/s',
    lessIsBetter: false,
    cases: [
      await compare(`${FRAME_BYTES} B, runs of ${RUN}`, options, {
        mailbox: () => mailboxAndBridge(options, RUN),
        ...peers,
      }),
      await compare(`${FRAME_BYTES} B, one by one`, options, {
        mailbox: () => mailboxAndBridge(options, 1),
        ...peers,
      }),
    ],
  };
}
