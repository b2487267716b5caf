import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodePacket } from '../../src/protocol/packet.js';
import { SystemHarness, until } from '../support/system-harness.js';

const client = { slot: 1, generation: 1 };
const other = { slot: 2, generation: 1 };

let system: SystemHarness;
beforeEach(() => {
  system = new SystemHarness();
});
afterEach(() => system.close());

const texts = (connection: { slot: number }): string[] =>
  system.replies.filter((r) => r.connection.slot === connection.slot).map((r) => r.bytes.toString('latin1'));

describe('an actor in a worker', () => {
  it('answers an ask', async () => {
    await system.start('echo', 'echoActor');
    expect(await system.ask('echo', { a: [1n, new Date(0), Buffer.from('x')] })).toEqual({
      a: [1n, new Date(0), Buffer.from('x')],
    });
  });

  it('answers frames in their order, whatever the mix of connections', async () => {
    await system.start('echo', 'echoActor');
    let expected = '';
    for (let i = 0; i < 500; i++) {
      system.frames('echo', client, [7, `m${i}`], [8, `n${i}`]);
      system.frames('echo', other, [9, 'noise']);
      expected += encodePacket(7, Buffer.from(`m${i}`)).toString('latin1');
      expected += encodePacket(8, Buffer.from(`n${i}`)).toString('latin1');
    }
    await until('all replies', () => texts(client).join('').length === expected.length);
    expect(texts(client).join('')).toBe(expected);
  });

  it('carries messages larger than its mailbox, both ways', async () => {
    await system.start('echo', 'echoActor');
    const big = Buffer.alloc(3_000_000, 'z');
    expect(Buffer.compare((await system.ask('echo', big)) as Buffer, big)).toBe(0);
  });

  it('refuses an ask to a name that does not exist', async () => {
    await expect(system.ask('nobody', 1)).rejects.toMatchObject({ code: 'ACT_NO_SUCH_ACTOR' });
  });

  it('times an ask out', async () => {
    await system.start('hang-await', 'hangAwaitActor');
    await expect(system.ask('hang-await', { type: 'hang' }, 300)).rejects.toMatchObject({
      code: 'ACT_ASK_TIMEOUT',
    });
  });

  it('fails to start with the reason of its init', async () => {
    const [spec] = system.spawn('crash', 'crashActor', { params: { fail_init: true } });
    await expect(spec!.start(new AbortController().signal)).rejects.toThrow('asked to fail in init');
  });

  it('finishes its message before an orderly stop and then refuses asks', async () => {
    await system.start('slow', 'slowActor');
    const answer = system.ask('slow', { ms: 200 });
    await until(
      'it is under way',
      () => system.system.registry.get('slow')!.mailbox.progress().started === 1,
    );
    await system.stop('slow');
    await expect(answer).resolves.toBeDefined();
    await expect(system.ask('slow', 1)).rejects.toMatchObject({ code: 'ACT_STOPPED' });
  });

  it('keeps one key on one shard, in order', async () => {
    await system.start('counter', 'counterActor', { shards: 3 });
    for (let i = 0; i < 60; i++) system.system.tell('counter', { i, key: i % 5 }, undefined, `key-${i % 5}`);
    const lists = await Promise.all(
      [0, 1, 2].map(
        (shard) => system.ask(`counter#${shard}`, { type: 'list' }) as Promise<{ i: number; key: number }[]>,
      ),
    );
    expect(lists.flat()).toHaveLength(60);
    for (let key = 0; key < 5; key++) {
      const homes = lists.filter((list) => list.some((one) => one.key === key));
      expect(homes).toHaveLength(1);
      const order = homes[0]!.filter((one) => one.key === key).map((one) => one.i);
      expect(order).toEqual([...order].sort((a, b) => a - b));
    }
  });

  it('takes more than its mailbox holds once there is room', async () => {
    await system.start('counter', 'counterActor', {
      mailbox: { bytes: 16_384, messages: 1000, policy: 'pause-reading' },
    });
    const sink = system.system.frameSink('counter', 'packet');
    const bytes = encodePacket(9, Buffer.alloc(1000));
    let sent = 0;
    const push = (): void => {
      while (sent < 200) {
        if (!sink.offer(client, bytes, 0, bytes.length, 1)) return sink.whenRoom(push);
        sent++;
      }
    };
    push();
    expect(sent).toBeLessThan(200);
    await until('all are in', () => system.system.registry.get('counter')!.mailbox.handled === 200);
    expect(await system.ask('counter', { type: 'size' })).toBe(200);
  });

  it('wakes who waits for room however often and whenever that is, also without an answer to carry the news', async () => {
    await system.start('counter', 'counterActor', {
      mailbox: { bytes: 16_384, messages: 1000, policy: 'pause-reading' },
    });
    const sink = system.system.frameSink('counter', 'packet');
    const bytes = encodePacket(9, Buffer.alloc(1000));
    let sent = 0;
    const push = (): void => {
      while (sent < 5_000) {
        if (!sink.offer(client, bytes, 0, bytes.length, 1)) return sink.whenRoom(push);
        sent++;
      }
    };
    push();
    expect(sent).toBeLessThan(5_000);
    await until('all are in', () => system.system.registry.get('counter')!.mailbox.handled === 5_000);
    expect(await system.ask('counter', { type: 'size' })).toBe(5_000);
  });
});

describe('after a crash', () => {
  it('the message goes to the dead letters and the ones behind it to the new instance', async () => {
    await system.start('crash', 'crashActor');
    system.frames('crash', client, [7, 'before'], [99, 'bad'], [7, 'after-1'], [7, 'after-2']);
    await until('the rest was answered', () => texts(client).join('').includes('after-2'));
    expect(texts(client).join('')).toBe(
      ['before', 'after-1', 'after-2']
        .map((text) => encodePacket(7, Buffer.from(text)).toString('latin1'))
        .join(''),
    );
    const [letter, ...more] = system.system.deadLetters.list(10);
    expect(more).toEqual([]);
    expect(letter).toMatchObject({ to: 'crash', from: 'connection 1.1', bytes: 11 });
    expect(system.exits).toMatchObject([{ ref: 'crash', reason: { kind: 'crash' } }]);
  });

  it('the asker of the failed message is told at once', async () => {
    await system.start('crash', 'crashActor');
    await expect(system.ask('crash', { type: 'crash', message: 'boom' }, 60_000)).rejects.toMatchObject({
      code: 'ACT_REMOTE',
      message: expect.stringContaining('boom') as string,
    });
    expect(await system.ask('crash', { type: 'count' })).toBe(0);
  });

  it('an idempotent actor gets the message once more before it is given up', async () => {
    await system.start('crash', 'crashActor', { idempotent: true });
    system.frames('crash', client, [99, 'bad'], [7, 'after']);
    await until('the rest was answered', () => texts(client).length > 0);
    expect(system.exits).toHaveLength(2);
    expect(system.system.deadLetters.list(10)).toHaveLength(1);
  });

  it('a thread that dies takes all its actors down for one cause, and each goes on', async () => {
    await system.start('crash', 'crashActor');
    await system.start('counter', 'counterActor');
    system.system.tell('crash', { type: 'throw-later' });
    await until('both are back', () => system.exits.length === 2);
    const [first, second] = system.exits;
    expect(first!.reason.kind).toBe('lost');
    expect(first!.reason.cause).toBe(second!.reason.cause);
    expect(await system.ask('counter', { type: 'size' })).toBe(0);
    expect(await system.ask('crash', { type: 'count' })).toBe(0);
  });

  it('replies that were finished before the thread died still arrive', async () => {
    await system.start('hang-loop', 'hangLoopActor', { heartbeatMs: 300 });
    system.frames('hang-loop', client, [7, 'a'], [7, 'b'], [99], [7, 'c']);
    await until('all but the bad one', () => texts(client).join('').includes('c'));
    expect(texts(client).join('')).toBe(
      ['a', 'b', 'c'].map((text) => encodePacket(7, Buffer.from(text)).toString('latin1')).join(''),
    );
  });

  it('a worker that runs out of memory is replaced', async () => {
    await system.close();
    system = new SystemHarness({ heapMb: 32 });
    await system.start('leak', 'leakActor');
    await expect(system.ask('leak', { type: 'leak' }, 60_000)).rejects.toMatchObject({ code: 'ACT_REMOTE' });
    expect(await system.ask('leak', 'fine', 20_000)).toBe('fine');
  }, 60_000);

  it('watchers get a death notice', async () => {
    await system.start('counter', 'counterActor');
    await system.start('crash', 'crashActor');
    system.system.registry.get('crash')!.watchers.add('counter');
    system.system.tell('crash', { type: 'crash' });
    await until('the notice', async () => ((await system.ask('counter', { type: 'size' })) as number) === 1);
    expect(await system.ask('counter', { type: 'list' })).toMatchObject([
      { type: 'terminated', ref: 'crash' },
    ]);
  });
});

describe('the heartbeat', () => {
  it('restarts only the actor whose await is stuck', async () => {
    await system.start('hang-await', 'hangAwaitActor', { heartbeatMs: 300 });
    await system.start('counter', 'counterActor');
    system.system.tell('counter', 'kept');
    system.system.tell('hang-await', { type: 'hang' });
    system.system.tell('hang-await', 'behind');
    await until('it came back', () => system.exits.length === 1);
    expect(system.exits).toMatchObject([{ ref: 'hang-await', reason: { kind: 'hang' } }]);
    expect(await system.ask('counter', { type: 'list' })).toEqual(['kept']);
    expect(await system.ask('hang-await', 'alive')).toBe('alive');
    expect(system.logged('actor.hang')).toMatchObject([{ actor: 'hang-await', stuck: 'await' }]);
  });

  it('ends a stuck thread, says where it was stuck, and hands the waiting messages to the new instance', async () => {
    await system.start('hang-loop', 'hangLoopActor', { heartbeatMs: 300 });
    system.system.tell('hang-loop', { type: 'hang' });
    expect(await system.ask('hang-loop', 'waiting', 20_000)).toBe('waiting');
    expect(JSON.stringify(system.logged('actor.hang'))).toContain('loopForever');
    expect(system.exits).toMatchObject([{ ref: 'hang-loop', reason: { kind: 'hang' } }]);
  });

  it('ends a thread that blocks in Atomics.wait', async () => {
    await system.start('block-atomics', 'blockAtomicsActor', { heartbeatMs: 300 });
    system.system.tell('block-atomics', { type: 'block' });
    expect(await system.ask('block-atomics', 'waiting', 20_000)).toBe('waiting');
  });

  it('leaves a slow actor alone while it shows progress', async () => {
    await system.start('slow', 'slowActor', { heartbeatMs: 400 });
    await expect(system.ask('slow', { ms: 1500, steps: 10 }, 10_000)).resolves.toBeDefined();
    expect(system.exits).toEqual([]);
  });

  it('does not take an idle actor for a stuck one', async () => {
    await system.start('echo', 'echoActor', { heartbeatMs: 200 });
    await new Promise((resolve) => setTimeout(resolve, 800));
    expect(system.exits).toEqual([]);
    expect(await system.ask('echo', 1)).toBe(1);
  });
});

describe('a mailbox under load', () => {
  it('refuses a flood beyond its limit, counts it, and the actor goes on', async () => {
    await system.start('flood', 'floodActor');
    await system.start('slow', 'slowActor', { mailbox: { bytes: 16_384, messages: 50, policy: 'reject' } });
    system.system.tell('slow', { ms: 500 });
    await system.ask('flood', { type: 'flood', to: 'slow', count: 500 });
    await until('refusals', () => system.system.registry.get('slow')!.mailbox.snapshot().refused > 0);
    const { highWater, refused } = system.system.registry.get('slow')!.mailbox.snapshot();
    expect(highWater).toBeLessThanOrEqual(50);
    expect(refused).toBeGreaterThan(400);
    expect(system.system.deadLetters.total).toBe(refused);
    await until('it is free again', () => system.system.registry.get('slow')!.mailbox.depth === 0);
    expect(await system.ask('slow', 'hello')).toBeDefined();
  });
});
