import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { encodePacket } from '../../src/protocol/packet.js';
import type { FrameSink } from '../../src/runtime/frame-sink.js';
import { SystemHarness, until } from '../support/system-harness.js';

const NAMES = ['one', 'two'];
const CLIENTS = 6;
const ROUNDS = Number(process.env['MODEL_ROUNDS'] ?? 120);
/** Codes of erratic.ts that make trouble, and how often each may come: a thread costs more than an actor. */
const TROUBLE = [4, 4, 5, 5, 6, 7, 8];

/** A client that keeps what was refused and tries again when it is told to. */
class Client {
  sent = 0;
  /** Numbers of frames that cannot be answered. */
  readonly trouble = new Set<number>();
  private queue: Buffer[] = [];
  private waiting = false;

  constructor(
    private readonly sink: FrameSink,
    readonly slot: number,
  ) {}

  send(code: number): void {
    const n = this.sent++;
    if (code >= 4) this.trouble.add(n);
    this.queue.push(encodePacket(code, Buffer.from(String(n))));
    if (!this.waiting) this.push();
  }

  private push(): void {
    while (this.queue.length > 0) {
      const run = this.queue.slice(0, 50);
      const bytes = Buffer.concat(run);
      if (!this.sink.offer({ slot: this.slot, generation: 1 }, bytes, 0, bytes.length, run.length)) {
        this.waiting = true;
        return this.sink.whenRoom(() => {
          this.waiting = false;
          this.push();
        });
      }
      this.queue = this.queue.slice(run.length);
    }
  }

  get idle(): boolean {
    return this.queue.length === 0;
  }
}

/** Seeded, so that a failure can be seen again. */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

async function play(seed: number, spinUs: number): Promise<void> {
  const random = generator(seed);
  const harness = new SystemHarness({ spinUs });
  const { system } = harness;
  const heard = new Map<string, number[]>(NAMES.map((name) => [name, []]));
  system.service('heard', (body) => {
    const { by, n } = body as { by: string; n: number };
    heard.get(by)!.push(n);
  });
  for (const name of NAMES)
    await harness.start('erratic', 'erraticActor', {
      name,
      heartbeatMs: 300,
      mailbox: { bytes: 65_536, messages: 400, policy: 'reject' },
    });
  const clients = NAMES.flatMap((name, at) =>
    Array.from({ length: CLIENTS }, (_, i) => new Client(system.frameSink(name, 'packet'), at * CLIENTS + i)),
  );
  const told = new Map<string, number[]>(NAMES.map((name) => [name, []]));
  const failedAsks: string[] = [];
  let asked = 0;
  let answered = 0;
  let deaths = 0;
  let n = 0;

  for (let round = 0; round < ROUNDS; round++) {
    const trouble = random(12) === 0 ? TROUBLE[random(TROUBLE.length)]! : 0;
    for (let i = random(200); i >= 0; i--) {
      const client = clients[random(clients.length)]!;
      client.send(trouble >= 4 && i === 0 ? trouble : random(40) === 0 ? 2 + random(2) : 1);
    }
    for (let i = random(20); i > 0; i--) {
      const to = NAMES[random(2)]!;
      const large = random(15) === 0 ? Buffer.alloc(60_000) : undefined;
      if (system.tell(to, { n, code: random(10) === 0 ? 2 : 1, large })) told.get(to)!.push(n);
      n++;
    }
    for (let i = random(5); i > 0; i--) {
      asked++;
      const body = { type: 'ask', n: n++, code: random(30) === 0 ? 4 : 2 };
      system.ask(NAMES[random(2)]!, body, { timeoutMs: 30_000 }).then(
        (value) => {
          expect(value).toEqual(body);
          answered++;
        },
        (error: { code: string }) => failedAsks.push(error.code),
      );
    }
    if (random(25) === 0) {
      const bridge = system.registry.get('one')!.bridge;
      if (bridge !== undefined) {
        deaths++;
        void bridge.terminate();
      }
    }
    await sleep(random(8));
  }

  const where = `seed ${seed}`;
  const boxes = NAMES.map((name) => system.registry.get(name)!.mailbox);
  await until(
    `all is handled (${where})`,
    () => clients.every((client) => client.idle) && boxes.every((box) => box.depth === 0),
    60_000,
  );
  await until(`all asks are settled (${where})`, () => answered + failedAsks.length === asked, 35_000);
  await sleep(50);

  let unanswered = 0;
  for (const client of clients) {
    const text = Buffer.concat(
      harness.replies.filter((reply) => reply.connection.slot === client.slot).map((reply) => reply.bytes),
    );
    const numbers: number[] = [];
    for (let at = 0; at < text.length;) {
      const size = text.readUInt16BE(at);
      numbers.push(Number(text.toString('latin1', at + 8, at + size)));
      at += size;
    }
    // In order, and none twice.
    expect(numbers, where).toEqual([...new Set(numbers)].sort((a, b) => a - b));
    for (const number of client.trouble) expect(numbers, where).not.toContain(number);
    unanswered += client.sent - numbers.length;
  }
  const letters = harness.logged('dead_letter');
  const lost = (message: string): number =>
    letters.filter((letter) => letter['message'] === message && letter['reason'] !== 'mailbox full').length;
  // Each is answered or in the dead letters; a thread that is killed may just have answered the one it was at.
  const ends = harness.exits.length;
  expect(lost('frames'), where).toBeGreaterThanOrEqual(unanswered);
  expect(lost('frames'), where).toBeLessThanOrEqual(unanswered + ends);
  let unheard = 0;
  for (const name of NAMES) {
    const sent = told.get(name)!;
    const got = heard.get(name)!;
    expect(got, where).toEqual(sent.filter((one) => got.includes(one)));
    unheard += sent.length - got.length;
  }
  expect(lost('tell'), where).toBeGreaterThanOrEqual(unheard);
  expect(lost('tell'), where).toBeLessThanOrEqual(unheard + ends);
  expect(
    failedAsks.filter(
      (code) => code !== 'ACT_REMOTE' && code !== 'ACT_MAILBOX_FULL' && code !== 'ACT_STOPPED',
    ),
  ).toEqual([]);
  for (const box of boxes) expect(box.progress().started, where).toBe(box.progress().handled);
  if (deaths > 0) expect(ends, where).toBeGreaterThan(0);
  await harness.close();
}

describe('whatever happens to the actors and their thread', () => {
  const base = Number(process.env['MODEL_SEED'] ?? 1);
  const seeds = Array.from({ length: Number(process.env['MODEL_SEEDS'] ?? 2) }, (_, i) => base + i);
  it.each(seeds)(
    'every message is handled once, in order, or in the dead letters (seed %i)',
    (seed) => play(seed, seed % 2 === 0 ? 50 : 0),
    120_000,
  );
});
