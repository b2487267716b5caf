import { describe, expect, it, vi } from 'vitest';
import {
  after,
  fake,
  happened,
  reports,
  running,
  stateOf,
  supervise,
  three,
  useFakeTime,
} from '../support/supervision.js';

useFakeTime();

describe('strategies', () => {
  it('one_for_one restarts the failed child alone', async () => {
    const [a, b, c] = three();
    await running([a, b, c], { strategy: 'one_for_one' });
    b.crash();
    await after(50);
    expect(happened()).toEqual(['b crash', 'b up']);
  });

  it('rest_for_one restarts the failed child and those started after it', async () => {
    const [a, b, c] = three();
    const d = fake('d');
    await running([a, b, c, d], { strategy: 'rest_for_one' });
    b.crash();
    await after(50);
    expect(happened()).toEqual(['b crash', 'd down', 'c down', 'b up', 'c up', 'd up']);
  });

  it('one_for_all restarts all', async () => {
    const [a, b, c] = three();
    await running([a, b, c], { strategy: 'one_for_all' });
    b.crash();
    await after(50);
    expect(happened()).toEqual(['b crash', 'c down', 'a down', 'a up', 'b up', 'c up']);
  });

  it('a temporary sibling is stopped with the others but not started again', async () => {
    const [a, b] = [fake('a'), fake('b', { restart: 'temporary' })];
    const supervisor = await running([a, b], { strategy: 'one_for_all' });
    a.crash();
    await after(50);
    expect(happened()).toEqual(['a crash', 'b down', 'a up']);
    expect(stateOf(supervisor, 'b')).toBe('stopped');
  });

  it('a sibling that the operator stopped stays stopped', async () => {
    const [a, b, c] = three();
    const supervisor = await running([a, b, c], { strategy: 'one_for_all' });
    await supervisor.stopChild('b');
    happened();
    a.crash();
    await after(50);
    expect(happened()).toEqual(['a crash', 'c down', 'a up', 'c up']);
  });

  it('a transient child that had finished runs again with the others', async () => {
    const [a, b] = [fake('a'), fake('b', { restart: 'transient' })];
    await running([a, b], { strategy: 'rest_for_one' });
    b.exit({ kind: 'normal', message: 'migrated' });
    a.crash();
    await after(50);
    expect(happened()).toEqual(['b normal', 'a crash', 'a up', 'b up']);
  });

  it('one_for_one: a slow end or back-off of one child does not hold up another', async () => {
    const [a, b] = [fake('a'), fake('b')];
    await running([a, b], { backoff: { minMs: 1_000 } });
    a.crash();
    await after(500);
    b.crash();
    await after(500);
    expect(a.starts).toBe(2);
    expect(b.starts).toBe(1);
    await after(500);
    expect(b.starts).toBe(2);
  });

  it('a sibling that crashes while it waits for its end is not a second failure', async () => {
    const [a, b] = [fake('a'), fake('b')];
    const c = fake('c', { stopMs: 100 });
    const supervisor = await running([a, b, c], { strategy: 'one_for_all' });
    a.crash();
    await after(10);
    b.crash();
    await after(1_000);
    expect(supervisor.status().recentFailures).toBe(1);
    expect([a.starts, b.starts, c.starts]).toEqual([2, 2, 2]);
  });

  it('a failure to the left during a restart widens the restart', async () => {
    const [a, b] = [fake('a'), fake('b')];
    const c = fake('c', { startMs: 100 });
    const supervisor = supervise([a, b, c], { strategy: 'rest_for_one' });
    const started = supervisor.start();
    await after(100);
    await started;
    happened();
    b.crash();
    await after(60);
    expect(happened()).toEqual(['b crash', 'c down', 'b up']);
    a.crash();
    await after(1_000);
    expect(happened()).toEqual(['a crash', 'c up', 'c down', 'b down', 'a up', 'b up', 'c up']);
    expect(supervisor.status().recentFailures).toBe(2);
  });

  it('a child that crashes as soon as it is up is restarted within the same round', async () => {
    const [a, b] = [fake('a'), fake('b', { startMs: 10 })];
    const supervisor = supervise([a, b], { strategy: 'one_for_all' });
    const started = supervisor.start();
    await after(10);
    await started;
    happened();
    a.crash();
    await after(55);
    a.crash();
    await after(1_000);
    expect(happened()).toEqual(['a crash', 'b down', 'a up', 'a crash', 'b up', 'b down', 'a up', 'b up']);
    expect(supervisor.status().children.every((child) => child.state === 'running')).toBe(true);
  });

  it('one_for_all: a sibling that does not start again begins the round anew', async () => {
    const [a, b, c] = three();
    await running([a, b, c], { strategy: 'one_for_all' });
    b.failStarts = 1;
    a.crash();
    await after(50);
    expect(happened()).toEqual(['a crash', 'c down', 'b down', 'a up', 'b no start', 'a down']);
    await after(50);
    expect(happened()).toEqual(['a up', 'b up', 'c up']);
  });
});

describe('back-off', () => {
  it('doubles from the least to the longest delay', async () => {
    const a = fake('a');
    await running([a], { intensity: 100 });
    for (const delay of [50, 100, 200, 400, 800]) {
      a.crash();
      await after(delay - 1);
      expect(a.alive).toBe(0);
      await after(1);
      expect(a.alive).toBe(1);
    }
    expect(
      reports.filter((report) => report.context === 'child_terminated').map((report) => report.restartMs),
    ).toEqual([50, 100, 200, 400, 800]);
  });

  it('is never longer than its maximum', async () => {
    const a = fake('a');
    await running([a], { intensity: 100, backoff: { maxMs: 300 } });
    for (let n = 0; n < 20; n += 1) {
      a.crash();
      await after(300);
      expect(a.alive).toBe(1);
    }
  });

  it('starts again from the least delay after a healthy period', async () => {
    const a = fake('a');
    await running([a], { intensity: 100 });
    for (let n = 0; n < 5; n += 1) {
      a.crash();
      await after(5_000);
    }
    await after(6_000);
    a.crash();
    await after(50);
    expect(a.alive).toBe(1);
  });

  it('is spread by the jitter', async () => {
    const a = fake('a');
    const b = fake('b');
    const values = [0, 0.999];
    await running([a, b], { random: () => values.shift() ?? 0.5, backoff: { minMs: 1_000 } });
    a.crash();
    b.crash();
    await after(800);
    expect([a.alive, b.alive]).toEqual([1, 0]);
    await after(400);
    expect([a.alive, b.alive]).toEqual([1, 1]);
  });

  it('grows for a child that does not start', async () => {
    const a = fake('a');
    const supervisor = await running([a], { intensity: 100 });
    a.failStarts = 3;
    a.crash();
    await after(50 + 100 + 200 + 399);
    expect(stateOf(supervisor, 'a')).toBe('backoff');
    await after(1);
    expect(stateOf(supervisor, 'a')).toBe('running');
  });

  it('is cancelled by a stop of the supervisor', async () => {
    const a = fake('a');
    const supervisor = await running([a], { backoff: { minMs: 30_000 } });
    a.crash();
    await after(10);
    await supervisor.stop();
    await after(60_000);
    expect(a.starts).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is cancelled by a stop of the child', async () => {
    const a = fake('a');
    const supervisor = await running([a], { backoff: { minMs: 30_000 } });
    a.crash();
    await after(10);
    await supervisor.stopChild('a');
    expect(stateOf(supervisor, 'a')).toBe('stopped');
    await after(60_000);
    expect(a.starts).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('intensity and escalation', () => {
  it('gives up at the failure that exceeds the intensity, and stops the others', async () => {
    const [a, b, c] = three();
    const supervisor = await running([a, b, c], { intensity: 2 });
    for (let n = 0; n < 2; n += 1) {
      b.crash();
      await after(1_000);
    }
    expect(b.alive).toBe(1);
    happened();
    b.crash('again');
    await after(0);
    expect(happened()).toEqual(['b crash', 'c down', 'a down']);
    await expect(supervisor.exited).resolves.toMatchObject({
      kind: 'crash',
      message: 'top gave up after too many failures, the last: b: again',
    });
    expect(supervisor.status().state).toBe('failed');
    await after(60_000);
    expect(b.starts).toBe(3);
  });

  it('forgets failures older than the period', async () => {
    const a = fake('a');
    const supervisor = await running([a], { intensity: 2, periodMs: 10_000, backoff: { maxMs: 50 } });
    for (let n = 0; n < 10; n += 1) {
      a.crash();
      await after(5_000);
    }
    expect(supervisor.status().state).toBe('running');
    expect(a.starts).toBe(11);
  });

  it('counts a failed restart', async () => {
    const a = fake('a');
    const supervisor = await running([a], { intensity: 2 });
    a.failStarts = 10;
    a.crash();
    await after(60_000);
    expect(supervisor.status().state).toBe('failed');
    expect(a.failStarts).toBe(8);
  });

  it('gives up at once with intensity 0', async () => {
    const a = fake('a');
    const supervisor = await running([a], { intensity: 0 });
    a.crash();
    await expect(supervisor.exited).resolves.toMatchObject({ kind: 'crash' });
  });

  it('does not count a child that is not to be restarted', async () => {
    const children = Array.from({ length: 20 }, (_, n) => fake(`t${n}`, { restart: 'temporary' }));
    const supervisor = await running(children);
    for (const child of children) child.crash();
    await after(1_000);
    expect(supervisor.status()).toMatchObject({ state: 'running', recentFailures: 0 });
  });

  it('counts many exits of one cause as one event and restarts each child', async () => {
    const children = Array.from({ length: 20 }, (_, n) => fake(`n${n}`));
    const supervisor = await running(children);
    const cause = { thread: 7 };
    for (const child of children) child.exit({ kind: 'lost', message: 'thread 7 died', cause });
    await after(100);
    expect(supervisor.status()).toMatchObject({ state: 'running', recentFailures: 1 });
    expect(children.every((child) => child.starts === 2)).toBe(true);
  });

  it('counts exits of different causes one by one', async () => {
    const children = Array.from({ length: 6 }, (_, n) => fake(`n${n}`));
    const supervisor = await running(children);
    for (const child of children) child.exit({ kind: 'lost', message: 'died', cause: {} });
    await after(100);
    expect(supervisor.status().state).toBe('failed');
  });

  it('one_for_all restarts once for many exits of one cause', async () => {
    const [a, b, c] = three();
    const supervisor = await running([a, b, c], { strategy: 'one_for_all' });
    const cause = {};
    for (const child of [a, b, c]) child.crash('thread', cause);
    await after(1_000);
    expect([a.starts, b.starts, c.starts]).toEqual([2, 2, 2]);
    expect(supervisor.status().recentFailures).toBe(1);
  });
});
