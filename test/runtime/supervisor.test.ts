import { describe, expect, it } from 'vitest';
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

describe('start and stop', () => {
  it('starts children left to right, one after the other', async () => {
    const supervisor = supervise([fake('a', { startMs: 30 }), fake('b', { startMs: 10 }), fake('c')]);
    const started = supervisor.start();
    await after(35);
    expect(happened()).toEqual(['a up']);
    expect(supervisor.status().children.map((child) => child.state)).toEqual([
      'running', 'starting', 'stopped',
    ]); // prettier-ignore
    await after(10);
    await started;
    expect(happened()).toEqual(['b up', 'c up']);
    expect(supervisor.status().state).toBe('running');
  });

  it('stops children right to left, one after the other', async () => {
    const supervisor = await running([fake('a'), fake('b', { stopMs: 20 }), fake('c', { stopMs: 20 })]);
    const stopped = supervisor.stop();
    await after(25);
    expect(happened()).toEqual(['c down']);
    await after(25);
    await stopped;
    expect(happened()).toEqual(['b down', 'a down']);
    expect(supervisor.status().state).toBe('stopped');
    await expect(supervisor.exited).resolves.toMatchObject({ kind: 'normal' });
  });

  it('fails to start when a child does not, after it has stopped the started ones', async () => {
    const [a, b, c] = three();
    c.failStarts = 1;
    const supervisor = supervise([a, b, c]);
    await expect(supervisor.start()).rejects.toMatchObject({
      code: 'ACT_START',
      message: 'c did not start: c cannot start',
    });
    expect(happened()).toEqual(['a up', 'b up', 'c no start', 'b down', 'a down']);
    expect(supervisor.status().state).toBe('failed');
  });

  it('can be started again after an end', async () => {
    const [a, b, c] = three();
    b.failStarts = 1;
    const supervisor = supervise([a, b, c]);
    await expect(supervisor.start()).rejects.toThrow();
    happened();
    await supervisor.start();
    expect(happened()).toEqual(['a up', 'b up', 'c up']);
    await supervisor.stop();
    await supervisor.start();
    expect(supervisor.status().state).toBe('running');
  });

  it('refuses a second start', async () => {
    const supervisor = await running(three());
    await expect(supervisor.start()).rejects.toThrow('started already');
  });

  it('goes on without a child that may be retried, and starts it later', async () => {
    const [a, b, c] = [fake('a'), fake('b', { startupErrorBehavior: 'retry' }), fake('c')];
    b.failStarts = 2;
    const supervisor = supervise([a, b, c]);
    await supervisor.start();
    expect(happened()).toEqual(['a up', 'b no start', 'c up']);
    expect(stateOf(supervisor, 'b')).toBe('backoff');
    await after(50);
    expect(happened()).toEqual(['b no start']);
    await after(100);
    expect(happened()).toEqual(['b up']);
  });

  it('never gives up because of a child that may be retried', async () => {
    const b = fake('b', { startupErrorBehavior: 'retry' });
    b.failStarts = 20;
    const supervisor = supervise([fake('a'), b], { strategy: 'one_for_all', backoff: { maxMs: 1_000 } });
    await supervisor.start();
    await after(20_000);
    expect(b.failStarts).toBe(0);
    expect(supervisor.status()).toMatchObject({ state: 'running', recentFailures: 0 });
    expect(happened().filter((line) => line.startsWith('a'))).toEqual(['a up']);
  });

  it('leaves a child as failed when its start error is to be ignored', async () => {
    const b = fake('b', { startupErrorBehavior: 'ignore' });
    b.failStarts = 1;
    const supervisor = await running([fake('a'), b]);
    await after(60_000);
    expect(stateOf(supervisor, 'b')).toBe('failed');
    expect(happened()).toEqual([]);
  });

  it('ends a start in progress when it is stopped meanwhile', async () => {
    const [a, b, c] = [fake('a'), fake('b', { startMs: 500 }), fake('c')];
    const supervisor = supervise([a, b, c]);
    const started = expect(supervisor.start()).rejects.toMatchObject({ code: 'ACT_STOPPED' });
    await after(10);
    const stopped = supervisor.stop();
    await after(0);
    expect(b.aborted).toBe(1);
    await after(500);
    await Promise.all([started, stopped]);
    expect(happened()).toEqual(['a up', 'b up', 'b down', 'a down']);
  });

  it('handles a crash during the start of the others once they are up', async () => {
    const [a, b] = [fake('a'), fake('b', { startMs: 100 })];
    const supervisor = supervise([a, b]);
    const started = supervisor.start();
    await after(10);
    a.crash();
    await after(80);
    expect(happened()).toEqual(['a up', 'a crash']);
    await after(10);
    await started;
    await after(50);
    expect(happened()).toEqual(['b up', 'a up']);
  });
});

describe('deadlines', () => {
  it('kills a child that does not stop within its deadline', async () => {
    const [a, b] = [fake('a'), fake('b', { stopMs: Number.POSITIVE_INFINITY, shutdownMs: 300 })];
    const supervisor = await running([a, b]);
    const stopped = supervisor.stop();
    await after(299);
    expect(stateOf(supervisor, 'b')).toBe('terminating');
    expect(b.kills).toBe(0);
    await after(1);
    await stopped;
    expect(happened()).toEqual(['b killed', 'a down']);
    expect(reports.map((report) => report.context)).toContain('shutdown_error');
  });

  it('kills a child whose stop fails', async () => {
    const b = fake('b', { stopFails: true });
    const supervisor = await running([b]);
    await supervisor.stop();
    expect(b.kills).toBe(1);
  });

  it('kills at once when the deadline is 0', async () => {
    const b = fake('b', { shutdownMs: 0 });
    const supervisor = await running([b]);
    await supervisor.stop();
    expect(happened()).toEqual(['b killed']);
  });

  it('waits for a killed child that is not gone yet, and says so', async () => {
    const b = fake('b', { shutdownMs: 0, killMs: 8_000 });
    const supervisor = await running([b]);
    let done = false;
    void supervisor.stop().then(() => (done = true));
    await after(7_999);
    expect(done).toBe(false);
    expect(stateOf(supervisor, 'b')).toBe('terminating');
    expect(reports.filter((report) => report.context === 'kill_pending')).toHaveLength(1);
    await after(1);
    expect(done).toBe(true);
  });

  it('ends a stop in progress at once when it is killed', async () => {
    const slow = { stopMs: Number.POSITIVE_INFINITY, shutdownMs: 60_000 };
    const [a, b] = [fake('a', slow), fake('b', slow)];
    const supervisor = await running([a, b]);
    const stopped = supervisor.stop();
    await after(100);
    await supervisor.kill();
    await stopped;
    expect([a.alive, b.alive]).toEqual([0, 0]);
    expect([a.kills, b.kills]).toEqual([1, 1]);
  });

  it('does not take a crash while stopping for a failure', async () => {
    const b = fake('b', { stopMs: 100 });
    const supervisor = await running([b]);
    const stopped = supervisor.stop();
    await after(50);
    b.crash();
    await after(10_000);
    await stopped;
    expect(b.starts).toBe(1);
  });
});

describe('which child is restarted', () => {
  it.each(['crash', 'hang', 'lost', 'killed', 'normal'] as const)(
    'restarts a permanent child after %s',
    async (kind) => {
      const a = fake('a');
      await running([a]);
      a.exit({ kind, message: 'over' });
      await after(50);
      expect(a.starts).toBe(2);
    },
  );

  it('restarts a transient child after a crash only', async () => {
    const a = fake('a', { restart: 'transient' });
    const supervisor = await running([a]);
    a.crash();
    await after(50);
    expect(a.starts).toBe(2);
    a.exit({ kind: 'normal', message: 'finished' });
    await after(60_000);
    expect(a.starts).toBe(2);
    expect(stateOf(supervisor, 'a')).toBe('stopped');
  });

  it('never restarts a temporary child', async () => {
    const a = fake('a', { restart: 'temporary' });
    const supervisor = await running([a]);
    a.crash();
    await after(60_000);
    expect(a.starts).toBe(1);
    expect(supervisor.status().children[0]).toMatchObject({
      state: 'failed',
      lastReason: { kind: 'crash', message: 'boom' },
    });
  });
});

describe('reports', () => {
  it('have one shape: supervisor, context, reason, offender', async () => {
    const a = fake('a');
    await running([a]);
    a.crash('division by zero');
    await after(50);
    expect(reports).toEqual([
      { supervisor: 'top', context: 'started', reason: undefined, offender: { id: 'a', restarts: 0 } },
      {
        supervisor: 'top',
        context: 'child_terminated',
        reason: { kind: 'crash', message: 'division by zero' },
        offender: { id: 'a', restarts: 0 },
        restartMs: 50,
      },
      {
        supervisor: 'top',
        context: 'restarted',
        reason: { kind: 'crash', message: 'division by zero' },
        offender: { id: 'a', restarts: 1 },
      },
    ]);
  });

  it('status tells when the next start is due and why the last instance ended', async () => {
    const a = fake('a');
    const supervisor = await running([a], { backoff: { minMs: 1_000 } });
    a.exit({ kind: 'hang', message: 'no progress on code 6' });
    await after(400);
    expect(supervisor.status().children[0]).toEqual({
      id: 'a',
      state: 'backoff',
      restart: 'permanent',
      restarts: 0,
      sinceMs: 400,
      nextRestartMs: 600,
      lastReason: { kind: 'hang', message: 'no progress on code 6' },
    });
  });
});
