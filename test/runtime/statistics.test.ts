import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ProcessSampler } from '../../src/runtime/process-sampler.js';
import { startStatistics } from '../../src/runtime/statistics.js';
import { fakeControlPlane, memoryLogger } from '../support/fake-control-plane.js';

let sampler: ProcessSampler;
beforeEach(() => {
  vi.useFakeTimers();
  sampler = new ProcessSampler();
});
afterEach(() => {
  sampler.close();
  vi.useRealTimers();
});

describe('the statistics line', () => {
  it('comes at start and each interval, also when nothing happens, with rates per second', () => {
    const control = fakeControlPlane();
    const log = memoryLogger();
    const stop = startStatistics({ control, sampler, log, intervalMs: 10_000, warnDepth: 100 });
    expect(log.events).toHaveLength(1);
    expect(log.events[0]).toMatchObject({
      level: 'info',
      event: 'statistics',
      fields: {
        connections: '1/2048',
        accepted: 10,
        queued: 7,
        discarded: 3,
        timers: 5,
        packetsInPerSecond: 0,
      },
    });
    const before = control.totals();
    control.totals = () => ({
      ...before,
      packetsIn: before.packetsIn + 5000,
      packetsOut: before.packetsOut + 20,
    });
    vi.advanceTimersByTime(10_000);
    expect(log.events[1]?.fields).toMatchObject({ packetsInPerSecond: 500, packetsOutPerSecond: 2 });
    vi.advanceTimersByTime(10_000);
    expect(log.events[2]?.fields).toMatchObject({ packetsInPerSecond: 0, packetsOutPerSecond: 0 });
    stop();
    vi.advanceTimersByTime(60_000);
    expect(log.events).toHaveLength(3);
  });

  it('warns about a deep queue and says what to do', () => {
    const log = memoryLogger();
    const stop = startStatistics({
      control: fakeControlPlane(),
      sampler,
      log,
      intervalMs: 10_000,
      warnDepth: 7,
    });
    expect(log.events[1]).toMatchObject({
      level: 'warn',
      event: 'queue.deep',
      fields: { queue: 'packet#0', depth: 7, capacity: 10_000 },
    });
    expect(String(log.events[1]?.fields['hint'])).toContain('shards');
    stop();
  });
});
