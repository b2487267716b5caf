import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodePacket } from '../../src/protocol/packet.js';
import { SystemHarness, until } from '../support/system-harness.js';

const client = { slot: 1, generation: 1 };
const info = { listener: 'l', remoteAddress: '::1', remotePort: 1, secure: false };

let system: SystemHarness;
beforeEach(() => {
  system = new SystemHarness();
});
afterEach(() => system.close());

const bytesOf = (slot: number): number =>
  system.replies.reduce((sum, r) => sum + (r.connection.slot === slot ? r.bytes.length : 0), 0);
const cell = (): Int32Array => new Int32Array(new SharedArrayBuffer(4));
const entry = (ref: string) => system.system.registry.get(ref)!;

describe('records of a worker', () => {
  it('arrive all when one message writes more than the ring holds', async () => {
    await system.start('awkward', 'awkwardActor');
    system.system.tell('awkward', { type: 'bulk', connection: client, pieces: 250 });
    await until('all of it', () => bytesOf(1) === 250 * 65_536);
  });

  it('that the main thread cannot carry out are logged and do not stop the ones behind', async () => {
    await system.start('awkward', 'awkwardActor');
    system.events.length = 0;
    system.refuseRoutes = true;
    system.system.tell('awkward', { type: 'route', method: 'get', path: 'x' });
    expect(await system.ask('awkward', 'behind')).toBe('behind');
    expect(system.logged('bridge.record_failed')).toMatchObject([
      { kind: 'route', reason: 'asked to refuse' },
    ]);
  });

  it('of a log with what cannot be copied do not make the logger throw', async () => {
    await system.start('awkward', 'awkwardActor');
    expect(await system.ask('awkward', { type: 'log' })).toBe('logged');
    expect(system.logged('awkward')).toHaveLength(1);
  });
});

describe('a start', () => {
  it('that comes up after its deadline has no effect beside the one that replaced it', async () => {
    const starts = cell();
    const options = { params: { starts, init_ms: 600 }, startMs: 200 };
    const [spec] = system.spawn('awkward', 'awkwardActor', options);
    await expect(spec!.start(new AbortController().signal)).rejects.toThrow('longer than 200 ms');
    await system.start('awkward', 'awkwardActor', options);
    for (let i = 0; i < 50; i++) {
      expect(await system.ask('awkward', { type: 'start' })).toBe(2);
      await sleep(20);
    }
  });

  it('that never returns to its event loop costs the thread, not the pool', async () => {
    const starts = cell();
    const options = { params: { starts, init_loop: true }, startMs: 200 };
    const [spec] = system.spawn('awkward', 'awkwardActor', options);
    await expect(spec!.start(new AbortController().signal)).rejects.toThrow('longer than 200 ms');
    await system.start('awkward', 'awkwardActor', { ...options, startMs: 10_000 });
    expect(await system.ask('awkward', { type: 'start' })).toBe(2);
  });

  it('can be cancelled while it goes on', async () => {
    const [spec] = system.spawn('awkward', 'awkwardActor', { params: { init_ms: 1500 }, startMs: 60_000 });
    const cancel = new AbortController();
    const started = spec!.start(cancel.signal);
    setTimeout(() => cancel.abort(), 100);
    await expect(started).rejects.toThrow('start cancelled');
  });

  it('that failed is over: a later death of its thread is not its own', async () => {
    const [spec] = system.spawn('crash', 'crashActor', { params: { fail_init: true } });
    await system.start('counter', 'counterActor');
    await expect(spec!.start(new AbortController().signal)).rejects.toThrow('asked to fail in init');
    await entry('counter').bridge!.terminate();
    await until('the neighbour is back', () => entry('counter').state === 'running');
    expect(entry('crash').state).toBe('failed');
  });
});

describe('a stop', () => {
  it('that comes too late does not take the next instance away', async () => {
    await system.start('awkward', 'awkwardActor', { params: { stop_ms: 500 } });
    const stopping = system.stop('awkward');
    await sleep(50);
    await system.kill('awkward');
    await stopping;
    await until('killed', () => system.exits.length === 1);
    await until('back', () => entry('awkward').state === 'running');
    await sleep(700);
    expect(await system.ask('awkward', 'still here', 1000)).toBe('still here');
  });

  it('and a kill at the same moment end one instance, not the next one', async () => {
    await system.start('awkward', 'awkwardActor', { params: { stop_ms: 100 } });
    const stopping = system.stop('awkward');
    await sleep(60);
    const killing = system.kill('awkward');
    busy(200); // the answers to both wait for us now and come in one go
    await Promise.all([stopping, killing]);
    if (system.exits[0]!.reason.kind === 'normal') await system.start('awkward', 'awkwardActor');
    await until('running', () => entry('awkward').state === 'running');
    await sleep(200);
    expect(system.exits).toHaveLength(1);
    expect(await system.ask('awkward', 'still here', 1000)).toBe('still here');
  });
});

describe('the heartbeat', () => {
  it('spares an actor that got on while it was looked at', async () => {
    await system.start('awkward', 'awkwardActor', { heartbeatMs: 400 });
    const first = system.ask('awkward', { type: 'sleep', ms: 480 });
    const rest = Array.from({ length: 5 }, (_, i) => system.ask('awkward', { type: 'sleep', ms: 20, i }));
    const bridge = entry('awkward').bridge!;
    const post = bridge.post.bind(bridge);
    let probes = 0;
    bridge.post = (message) => {
      post(message);
      // This thread pauses while the worker answers and goes on.
      if (typeof message === 'object' && message.type === 'probe' && ++probes === 1) busy(300);
    };
    await expect(first).resolves.toBeDefined();
    await expect(Promise.all(rest)).resolves.toHaveLength(5);
    expect(probes).toBe(1);
    expect(system.exits).toEqual([]);
    expect(entry('awkward').mailbox.progress()).toMatchObject({ started: 6, handled: 6 });
  });
});

describe('a flood of frames', () => {
  it('lets the thread return to its event loop, so that a stuck neighbour is restarted alone', async () => {
    const mailbox = { bytes: 1_048_576, messages: 65_536, policy: 'pause-reading' } as const;
    await system.start('awkward', 'awkwardActor', { mailbox, params: { spin_us: 20 } });
    await system.start('hang-await', 'hangAwaitActor', { heartbeatMs: 300 });
    const run = Buffer.concat(Array.from({ length: 8000 }, () => encodePacket(1)));
    const sink = system.system.frameSink('awkward', 'packet');
    const push = (): void => {
      while (system.exits.length === 0)
        if (!sink.offer(client, run, 0, run.length, 8000)) return sink.whenRoom(push);
    };
    system.system.tell('hang-await', { type: 'hang' });
    push();
    await until('it came back', () => system.exits.length > 0);
    expect(system.exits).toMatchObject([{ ref: 'hang-await', reason: { kind: 'hang' } }]);
    expect(system.logged('actor.hang')).toMatchObject([{ stuck: 'await' }]);
  });
});

describe('a service of the main thread', () => {
  it('whose answer cannot be copied fails the ask', async () => {
    system.system.service('odd', () => () => 1);
    await expect(system.ask('odd', 1)).rejects.toMatchObject({ code: 'ACT_REMOTE' });
  });
});

describe('an actor that is removed', () => {
  it('lets the clients go on that waited for room in its mailbox', async () => {
    system.spawn('awkward', 'awkwardActor');
    const sink = system.system.frameSink('awkward', 'packet');
    const bytes = encodePacket(1, Buffer.alloc(1000));
    let resumed = 0;
    while (sink.offer(client, bytes, 0, bytes.length, 1));
    sink.whenRoom(() => resumed++);
    system.system.remove('awkward');
    expect(resumed).toBe(1);
    expect(sink.offer(client, bytes, 0, bytes.length, 1)).toBe(true);
  });
});

describe('live connections', () => {
  it('that a new instance cannot take are closed, the others stay', async () => {
    await system.start('awkward', 'awkwardActor', { params: { bad_slot: 7 } });
    system.live.push(
      { ref: { slot: 6, generation: 1 }, info, attachment: undefined },
      { ref: { slot: 7, generation: 3 }, info, attachment: undefined },
    );
    await entry('awkward').bridge!.terminate();
    expect(await system.ask('awkward', 'fine')).toBe('fine');
    expect(system.logged('closed')).toMatchObject([{ slot: 7 }]);
  });
});

describe('large payloads', () => {
  it('that were handled are kept neither here nor in the worker', async () => {
    await system.start('awkward', 'awkwardActor');
    await system.ask('awkward', Buffer.alloc(3_000_000));
    await system.ask('awkward', 1);
    expect(entry('awkward').mailbox.externals.size).toBe(0);
  });
});

describe('a run of frames', () => {
  it('is taken although it is longer than the mailbox', async () => {
    await system.start('counter', 'counterActor', {
      mailbox: { bytes: 262_144, messages: 100, policy: 'pause-reading' },
    });
    const bytes = Buffer.concat(Array.from({ length: 8000 }, () => encodePacket(1)));
    const sink = system.system.frameSink('counter', 'packet');
    let taken = 0;
    const push = (): void => {
      if (sink.offer(client, bytes, 0, bytes.length, 8000)) taken++;
      else sink.whenRoom(push);
    };
    push();
    await until('it is in', () => taken === 1, 3000);
    await until('all are handled', () => entry('counter').mailbox.depth === 0);
    expect(await system.ask('counter', { type: 'size' })).toBe(8000);
  });
});

/** Blocks the main thread. */
function busy(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}
