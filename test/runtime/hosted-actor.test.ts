import { afterEach, describe, expect, it } from 'vitest';
import { encodePacket } from '../../src/protocol/packet.js';
import type { Actor } from '../../src/runtime/actor.js';
import type { ActorLink } from '../../src/runtime/actor-context.js';
import { codecNumber, codecs } from '../../src/runtime/codecs.js';
import { HostedActor } from '../../src/runtime/hosted-actor.js';
import { Mailbox } from '../../src/runtime/mailbox.js';
import { encodePayload } from '../../src/runtime/payload.js';
import { Kind } from '../../src/runtime/record.js';
import { RingReader } from '../../src/runtime/ring.js';

type Methods = Record<string, (this: unknown, ...args: unknown[]) => unknown>;

const codec = codecNumber('packet');
const client = { slot: 1, generation: 1 };
const link = {
  number: 0,
  outbox: { blocked: false, flush: () => tick(), roomMade: () => tick(), write: () => tick() },
  wake: () => tick(),
} as unknown as ActorLink;

/** Calls until the thread dies. */
let left = Infinity;
let dead = false;

/** Where V8 ends a thread: at the entry of a function. */
function tick(): void {
  if (left-- > 0) return;
  dead = true;
  throw new Error('the thread is dead');
}

/** A promise of a thread: nothing follows once that is dead. */
class Later {
  then(follow?: () => unknown): Later {
    queueMicrotask(() => {
      try {
        if (!dead) follow?.();
      } catch {
        // died on the way
      }
    });
    return new Later();
  }
}

for (const prototype of [HostedActor.prototype, RingReader.prototype] as unknown as Methods[]) {
  for (const name of Object.getOwnPropertyNames(prototype)) {
    const { value } = Object.getOwnPropertyDescriptor(prototype, name) as { value?: Methods[string] };
    if (typeof value !== 'function' || name === 'constructor' || name === 'crash') continue;
    prototype[name] = function (...args) {
      tick();
      return value.apply(this, args);
    };
  }
}
afterEach(() => (left = Infinity));

/** Four frames in two runs and two tells, `deadline` calls until the thread dies; then a second thread does the rest. */
async function run(
  asynchronous: boolean,
  calls: number,
): Promise<{ done: string[]; failed: string[]; box: Mailbox }> {
  const box = new Mailbox('a', 0, { bytes: 4096, messages: 100, policy: 'reject' });
  const frame = (text: string): Buffer => encodePacket(5, Buffer.from(text));
  const offer = (...texts: string[]): void => {
    const bytes = Buffer.concat(texts.map(frame));
    expect(box.offerFrames(client, codec, bytes, 0, bytes.length, texts.length)).toBe(true);
  };
  offer('f1', 'f2', 'f3');
  box.offer(Kind.TELL, 0, 0, encodePayload(['t1', undefined]));
  box.offer(Kind.TELL, 0, 0, encodePayload(['t2', undefined]));
  offer('f4');
  const done: string[] = [];
  const note = (text: string): void | Promise<void> => {
    tick();
    done.push(text);
    return asynchronous ? (new Later() as unknown as Promise<void>) : undefined;
  };
  const actor: Actor = {
    receive: (body) => note(String(body)),
    frame: (_connection, bytes, start, end) => note(bytes.toString('latin1', start + 8, end)),
  };
  const failed: string[] = [];
  left = calls;
  dead = false;
  for (let thread = 1; thread <= 2; thread++) {
    try {
      const hosted = new HostedActor(actor, link, box.memory, codecs, new Map(), () => undefined);
      for (let turns = 0; turns < 20 && !dead; turns++) {
        hosted.turn();
        await Promise.resolve();
        await Promise.resolve();
      }
    } catch {
      // the thread is dead
    }
    left = Infinity;
    dead = false;
    const message = box.takeFailed((number, bytes, at) => codecs[number]!.frameLength(bytes, at), false);
    if (message !== undefined)
      failed.push(message.kind === 'tell' ? 'a tell' : message.bytes.toString('latin1', 8));
  }
  return { done, failed, box };
}

describe('a thread that dies', () => {
  for (const asynchronous of [false, true]) {
    it(`at any call leaves each message handled once or failed (${asynchronous ? 'promises' : 'synchronous'})`, async () => {
      for (let calls = 0; calls < 120; calls++) {
        const { done, failed, box } = await run(asynchronous, calls);
        const where = `after ${calls} calls: done ${done.join()}, failed ${failed.join()}`;
        expect(new Set(done).size, where).toBe(done.length);
        expect(failed.length, where).toBeLessThanOrEqual(1);
        // A message that died after the handler had done its work counts as failed too.
        expect(done.length + failed.length, where).toBeGreaterThanOrEqual(6);
        expect(done, where).toEqual(['f1', 'f2', 'f3', 't1', 't2', 'f4'].filter((one) => done.includes(one)));
        expect(box.depth, where).toBe(0);
        expect(box.progress().started, where).toBe(box.progress().handled);
      }
    });
  }
});
