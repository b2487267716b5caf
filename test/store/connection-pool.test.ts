import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConnectionPool, type PooledConnection } from '../../src/store/connection-pool.js';
import { StoreError } from '../../src/store/driver.js';
import { Deadline } from '../../src/store/give-up.js';
import { codeOf, failureOf } from './contract.js';

class Fake implements PooledConnection {
  lost: StoreError | undefined;
  usedAt = performance.now();
  ended = false;
  answers = true;
  pings = 0;

  constructor(readonly number: number) {}

  async alive(): Promise<boolean> {
    this.pings += 1;
    return this.answers;
  }

  end(): void {
    this.ended = true;
  }
}

const LOST = new StoreError('LOST', 'cannot reach the server');
let made: Fake[];
/** What connecting fails with at present. */
let failure: StoreError | undefined;
/** When connecting was tried, in ms since the test began. */
let attempts: number[];
let began: number;

function pool(maxConnections = 2, maxPending = 3): ConnectionPool<Fake> {
  return new ConnectionPool({
    label: 'the test',
    maxConnections,
    maxPending,
    connect: async () => {
      attempts.push(Math.round(performance.now() - began));
      if (failure !== undefined) throw failure;
      const connection = new Fake(made.length);
      made.push(connection);
      return connection;
    },
  });
}

const within = (timeoutMs: number, signal?: AbortSignal): Deadline =>
  new Deadline(signal === undefined ? { timeoutMs } : { timeoutMs, signal }, 0);

beforeEach(() => {
  vi.useFakeTimers();
  made = [];
  attempts = [];
  failure = undefined;
  began = performance.now();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a pool of connections', () => {
  it('opens them when needed and hands them out in the order of asking', async () => {
    const connections = pool();
    const [a, b] = [await connections.acquire(within(1_000)), await connections.acquire(within(1_000))];
    expect(made).toEqual([a, b]);
    const order: string[] = [];
    const third = connections.acquire(within(1_000)).then((got) => (order.push('third'), got));
    const fourth = connections.acquire(within(1_000)).then((got) => (order.push('fourth'), got));
    connections.release(b);
    expect(await third).toBe(b);
    connections.release(a);
    expect(await fourth).toBe(a);
    expect(order).toEqual(['third', 'fourth']);
    expect(made).toHaveLength(2);
  });

  it('lets only so many wait, each until its deadline or its caller gives up', async () => {
    const connections = pool(1, 2);
    const held = await connections.acquire(within(1_000));
    const stop = new AbortController();
    const late = codeOf(connections.acquire(within(100)));
    const stopped = codeOf(connections.acquire(within(1_000, stop.signal)));
    expect(await codeOf(connections.acquire(within(1_000)))).toBe('QUEUE_FULL');
    stop.abort();
    await vi.advanceTimersByTimeAsync(150);
    expect([await late, await stopped]).toEqual(['TIMEOUT', 'CANCELLED']);
    connections.release(held);
    expect(await connections.acquire(within(1_000))).toBe(held);
  });

  it('tries a lost server again with growing pauses, at most 5 s, and says why it gave up', async () => {
    const connections = pool();
    failure = LOST;
    const given = failureOf(connections.acquire(within(20_000)));
    await vi.advanceTimersByTimeAsync(20_000);
    expect(await given).toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('cannot reach') as string,
    });
    expect(attempts).toEqual([0, 100, 300, 700, 1500, 3100, 6300, 11300, 16300]);
    failure = undefined;
    const found = connections.acquire(within(20_000));
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await found).toBe(made[0]);
    await connections.acquire(within(1_000));
    expect(made).toHaveLength(2);
  });

  it('tells a call that has more time than a minute that the server is away', async () => {
    const connections = pool();
    failure = LOST;
    const given = failureOf(connections.acquire(within(1_800_000)));
    await vi.advanceTimersByTimeAsync(66_000);
    expect(await given).toMatchObject({ code: 'LOST', message: 'tried for 60 s: cannot reach the server' });
    failure = undefined;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await connections.acquire(within(1_000))).toBe(made[0]);
  });

  it('counts attempts of several calls at once as one', async () => {
    const connections = pool(4);
    failure = LOST;
    const given = [1, 2, 3, 4].map(() => codeOf(connections.acquire(within(650))));
    await vi.advanceTimersByTimeAsync(700);
    expect(await Promise.all(given)).toEqual(['TIMEOUT', 'TIMEOUT', 'TIMEOUT', 'TIMEOUT']);
    expect([...new Set(attempts)]).toEqual([0, 100, 300]);
  });

  it('does not try again what will not work', async () => {
    const connections = pool();
    failure = new StoreError('OPEN', 'no such user');
    expect(await codeOf(connections.acquire(within(10_000)))).toBe('OPEN');
    expect(await codeOf(connections.start(1_000))).toBe('OPEN');
    failure = LOST;
    expect(await codeOf(connections.start(1_000))).toBe('OPEN');
    expect(attempts).toHaveLength(3);
  });

  it('replaces lost connections and those that do not answer after a long rest', async () => {
    const connections = pool(1);
    const first = await connections.acquire(within(1_000));
    first.lost = LOST;
    const waiting = connections.acquire(within(1_000));
    connections.release(first);
    const second = await waiting;
    expect([first.ended, second === first]).toEqual([true, false]);
    connections.release(second);
    await vi.advanceTimersByTimeAsync(31_000);
    expect(await connections.acquire(within(1_000))).toBe(second);
    connections.release(second);
    second.answers = false;
    const third = await connections.acquire(within(1_000));
    expect([second.pings, second.ended, third.pings]).toEqual([2, true, 0]);
  });

  it('closes when those that are out have come back, and refuses everybody else', async () => {
    const connections = pool(1);
    const held = await connections.acquire(within(1_000));
    const waiting = codeOf(connections.acquire(within(1_000)));
    let closed = false;
    const closing = connections.close().then(() => (closed = true));
    expect(await waiting).toBe('CLOSED');
    expect([closed, held.ended]).toEqual([false, false]);
    connections.release(held);
    await closing;
    expect(held.ended).toBe(true);
    expect(await codeOf(connections.acquire(within(1_000)))).toBe('CLOSED');
    await connections.close();
  });
});
