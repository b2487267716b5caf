import { describe, expect, it, vi } from 'vitest';
import { Supervisor, type SupervisorOptions } from '../../src/runtime/supervisor.js';
import { FakeChild } from '../support/fake-child.js';
import {
  after,
  fake,
  happened,
  log,
  running,
  stateOf,
  supervise,
  three,
  useFakeTime,
} from '../support/supervision.js';

useFakeTime();

describe('nesting', () => {
  async function nested(options: Partial<SupervisorOptions> = {}): Promise<{
    top: Supervisor;
    inner: Supervisor;
    db: FakeChild;
    a: FakeChild;
    b: FakeChild;
  }> /* prettier-ignore */ {
    const [db, a, b] = [fake('db'), fake('a'), fake('b')];
    const inner = supervise([a, b], { id: 'inner', intensity: 1 });
    const top = new Supervisor({ id: 'top', random: () => 0.5, ...options }, [db.spec, inner.asChild()]);
    await top.start();
    return { top, inner, db, a, b };
  }

  it('starts and stops the inner children in the order of the tree', async () => {
    const { top } = await nested();
    await top.stop();
    expect(happened()).toEqual(['db up', 'a up', 'b up', 'b down', 'a down', 'db down']);
  });

  it('restarts a supervisor that gave up, with all its children', async () => {
    const { top, a, b } = await nested();
    happened();
    a.crash();
    await after(50);
    a.crash();
    await after(100);
    expect(happened()).toEqual(['a crash', 'a up', 'a crash', 'b down', 'a up', 'b up']);
    expect(top.status().recentFailures).toBe(1);
    expect([a.alive, b.alive]).toEqual([1, 1]);
  });

  it('gives up at the top when the inner one keeps giving up', async () => {
    const { top, a, db } = await nested({ intensity: 1 });
    for (let n = 0; n < 4; n += 1) {
      a.crash();
      await after(200);
    }
    await expect(top.exited).resolves.toMatchObject({ kind: 'crash' });
    expect([a.alive, db.alive]).toEqual([0, 0]);
  });

  it('restarts the inner supervisor when its elder sibling fails under rest_for_one', async () => {
    const { db, inner } = await nested({ strategy: 'rest_for_one' });
    happened();
    db.crash();
    await after(50);
    expect(happened()).toEqual(['db crash', 'b down', 'a down', 'db up', 'a up', 'b up']);
    expect(inner.status().state).toBe('running');
  });

  it('names the child at the bottom when a start fails', async () => {
    const a = fake('a');
    a.failStarts = 1;
    const inner = supervise([a], { id: 'inner' });
    const top = new Supervisor({ id: 'top' }, [inner.asChild()]);
    await expect(top.start()).rejects.toThrow('a did not start: a cannot start');
  });

  it('counts inner supervisors that gave up for one cause as one event', async () => {
    const [a, b] = [fake('a'), fake('b')];
    const inner = [supervise([a], { id: 'one', intensity: 0 }), supervise([b], { id: 'two', intensity: 0 })];
    const top = new Supervisor({ id: 'top' }, inner.map((each) => each.asChild())); // prettier-ignore
    await top.start();
    const cause = {};
    a.crash('thread', cause);
    b.crash('thread', cause);
    await after(100);
    expect(top.status()).toMatchObject({ state: 'running', recentFailures: 1 });
    expect([a.starts, b.starts]).toEqual([2, 2]);
  });

  it('kills through all levels at once', async () => {
    const stuck = fake('stuck', { stopMs: Number.POSITIVE_INFINITY, shutdownMs: 3_600_000 });
    const inner = supervise([stuck], { id: 'inner' });
    const top = new Supervisor({ id: 'top' }, [inner.asChild()]);
    await top.start();
    void top.stop();
    await after(100);
    await top.kill();
    expect(stuck.alive).toBe(0);
    expect(top.status().state).toBe('stopped');
  });

  it('shows the whole tree', async () => {
    const { top } = await nested();
    expect(top.status()).toMatchObject({
      id: 'top',
      strategy: 'one_for_one',
      state: 'running',
      children: [
        { id: 'db', state: 'running', restarts: 0 },
        { id: 'inner', state: 'running', tree: { id: 'inner', children: [{ id: 'a' }, { id: 'b' }] } },
      ],
    });
    expect(structuredClone(top.status())).toEqual(top.status());
  });
});

describe('dynamic children and the operator', () => {
  it('adds a child at the end or before another one', async () => {
    const supervisor = await running(three());
    await supervisor.add(fake('d').spec);
    await supervisor.add(fake('e').spec, 'b');
    expect(happened()).toEqual(['d up', 'e up']);
    await supervisor.stop();
    expect(happened()).toEqual(['d down', 'c down', 'b down', 'e down', 'a down']);
  });

  it('refuses a name that is taken and a name that is unknown', async () => {
    const supervisor = await running(three());
    await expect(supervisor.add(fake('a').spec)).rejects.toMatchObject({ code: 'ACT_START' });
    await expect(supervisor.remove('z')).rejects.toMatchObject({ code: 'ACT_NO_SUCH_ACTOR' });
    await expect(supervisor.add(fake('d').spec, 'z')).rejects.toMatchObject({ code: 'ACT_NO_SUCH_ACTOR' });
    await expect(supervisor.restartChild('z')).rejects.toMatchObject({ code: 'ACT_NO_SUCH_ACTOR' });
  });

  it('does not keep an added child that does not start', async () => {
    const supervisor = await running(three());
    const d = fake('d');
    d.failStarts = 1;
    await expect(supervisor.add(d.spec)).rejects.toMatchObject({ code: 'ACT_START' });
    await after(60_000);
    expect(supervisor.status().children.map((child) => child.id)).toEqual(['a', 'b', 'c']);
    expect(happened()).toEqual(['d no start']);
  });

  it('stops and forgets a removed child', async () => {
    const supervisor = await running(three());
    await supervisor.remove('b');
    expect(happened()).toEqual(['b down']);
    expect(supervisor.status().children.map((child) => child.id)).toEqual(['a', 'c']);
  });

  it('replaces a child in its place, the old instance first', async () => {
    const supervisor = await running(three());
    const changed = new FakeChild('b', log, { stopMs: 10 });
    await supervisor.replace(changed.spec);
    expect(happened()).toEqual(['b down', 'b up']);
    expect(changed.alive).toBe(1);
    expect(supervisor.status().children.map((child) => child.id)).toEqual(['a', 'b', 'c']);
  });

  it('restarts by demand without counting, even many times', async () => {
    const [a, b, c] = three();
    const supervisor = await running([a, b, c], { strategy: 'one_for_all' });
    for (let n = 0; n < 20; n += 1) await supervisor.restartChild('b');
    expect(supervisor.status()).toMatchObject({ state: 'running', recentFailures: 0 });
    expect([a.starts, b.starts, c.starts]).toEqual([1, 21, 1]);
  });

  it('restarts by demand at once, back-off or not', async () => {
    const a = fake('a');
    const supervisor = await running([a], { backoff: { minMs: 30_000 } });
    a.crash();
    await after(10);
    await supervisor.restartChild('a');
    expect(a.alive).toBe(1);
    await after(60_000);
    expect(a.starts).toBe(2);
  });

  it('tells the operator when a restart failed, and goes on with back-off', async () => {
    const a = fake('a');
    const supervisor = await running([a]);
    a.failStarts = 1;
    await expect(supervisor.restartChild('a')).rejects.toMatchObject({ code: 'ACT_START' });
    expect(stateOf(supervisor, 'a')).toBe('backoff');
    await after(50);
    expect(stateOf(supervisor, 'a')).toBe('running');
    expect(supervisor.status().recentFailures).toBe(0);
  });

  it('keeps a stopped child down until it is started', async () => {
    const a = fake('a');
    const supervisor = await running([a]);
    await supervisor.stopChild('a');
    await after(60_000);
    expect(a.alive).toBe(0);
    await supervisor.startChild('a');
    await supervisor.startChild('a');
    expect(a.starts).toBe(2);
  });

  it('stopping a child during its restart leaves nothing running', async () => {
    const a = fake('a', { startMs: 500 });
    const supervisor = supervise([a]);
    const started = supervisor.start();
    await after(500);
    await started;
    a.crash();
    await after(100);
    expect(stateOf(supervisor, 'a')).toBe('restarting');
    const stopped = supervisor.stopChild('a');
    await after(5_000);
    await stopped;
    expect(a.alive).toBe(0);
    expect(stateOf(supervisor, 'a')).toBe('stopped');
  });

  it('works on the others while one child takes long to end', async () => {
    const [a, b] = [fake('a'), fake('b', { stopMs: Number.POSITIVE_INFINITY, killMs: 60_000 })];
    const supervisor = await running([a, b]);
    const restarted = supervisor.restartChild('b');
    await after(2_000);
    expect(stateOf(supervisor, 'b')).toBe('terminating');
    a.crash();
    await after(50);
    expect(a.starts).toBe(2);
    await after(60_000);
    await restarted;
    expect(b.mostAlive).toBe(1);
  });

  it('never runs two instances of a child, whatever comes together', async () => {
    const a = fake('a', { startMs: 20, stopMs: 20 });
    const supervisor = supervise([a], { intensity: 1_000, backoff: { maxMs: 50 } });
    const started = supervisor.start();
    await after(20);
    await started;
    // A seeded walk: every interleaving it finds is found again.
    let seed = 12_345;
    const random = (below: number): number => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) % below;
    const calls: Promise<unknown>[] = [];
    for (let n = 0; n < 500; n += 1) {
      const action = random(6);
      if (action === 0) calls.push(supervisor.restartChild('a').catch(() => undefined));
      if (action === 1) calls.push(supervisor.stopChild('a'));
      if (action === 2) calls.push(supervisor.startChild('a').catch(() => undefined));
      if (action === 3) calls.push(supervisor.replace(a.spec).catch(() => undefined));
      if (action === 4 && stateOf(supervisor, 'a') === 'running') a.crash();
      if (action === 5) a.failStarts = random(3);
      await after(random(60));
    }
    await after(10_000);
    await Promise.all(calls);
    expect(a.mostAlive).toBe(1);
    a.failStarts = 0;
    const restarted = supervisor.restartChild('a');
    await after(1_000);
    await restarted;
    expect(stateOf(supervisor, 'a')).toBe('running');
    const stopped = supervisor.stop();
    await after(1_000);
    await stopped;
    expect(a.alive).toBe(0);
  });
});

describe('whatever comes together', () => {
  it.each(['one_for_one', 'rest_for_one', 'one_for_all'] as const)(
    '%s brings all children up again, in order, never two instances of one',
    async (strategy) => {
      const children = ['a', 'b', 'c', 'd'].map((id) => fake(id, { startMs: 7, stopMs: 5, killMs: 3 }));
      const supervisor = supervise(children, { strategy, intensity: 10_000, backoff: { maxMs: 40 } });
      const started = supervisor.start();
      await after(100);
      await started;
      let seed = 777;
      const random = (below: number): number => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) % below;
      const calls: Promise<unknown>[] = [];
      for (let n = 0; n < 2_000; n += 1) {
        const child = children[random(4)]!;
        const action = random(8);
        if (action < 3 && stateOf(supervisor, child.id) === 'running') child.crash();
        if (action === 3) child.failStarts = random(3);
        if (action === 4) calls.push(supervisor.restartChild(child.id).catch(() => undefined));
        if (action === 5) calls.push(supervisor.replace(child.spec).catch(() => undefined));
        await after(random(40));
      }
      await after(60_000);
      await Promise.all(calls);
      expect(supervisor.status().children.map((child) => child.state)).toEqual(Array(4).fill('running'));
      expect(children.map((child) => child.mostAlive)).toEqual([1, 1, 1, 1]);
      expect(vi.getTimerCount()).toBe(0);
      happened();
      const stopped = supervisor.stop();
      await after(100);
      await stopped;
      expect(happened()).toEqual(['d down', 'c down', 'b down', 'a down']);
    },
  );
});
