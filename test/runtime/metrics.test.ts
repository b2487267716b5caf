import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MetricRegistry } from '../../src/runtime/metrics.js';
import { processMetrics, ProcessSampler } from '../../src/runtime/process-sampler.js';
import { systemMetrics } from '../../src/runtime/system-metrics.js';
import { fakeControlPlane } from '../support/fake-control-plane.js';

const SAMPLE =
  /^[a-z_][a-z0-9_]*(\{[a-z_]+="([^"\\\n]|\\[\\"n])*"(,[a-z_]+="([^"\\\n]|\\[\\"n])*")*\})? \S+$/;

/** Every line of the exposition is a comment or a sample. @returns name{labels} -> value */
function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  expect(text.endsWith('\n')).toBe(true);
  for (const line of text.split('\n').slice(0, -1)) {
    if (/^# (HELP|TYPE) switchyard_[a-z0-9_]+ .+$/.test(line)) continue;
    expect(line).toMatch(SAMPLE);
    const at = line.lastIndexOf(' ');
    expect(samples.has(line.slice(0, at)), line).toBe(false);
    samples.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return samples;
}

describe('the metric registry', () => {
  it('writes counters and gauges in the Prometheus text form', () => {
    const registry = new MetricRegistry();
    registry.counter('packets_total', 'Packets', ['direction']).at({ direction: 'in' }).inc(3);
    registry.gauge('connections', 'Open connections\nnow').at({}).set(7);
    expect(registry.text().split('\n').slice(3)).toEqual([
      '# HELP switchyard_packets_total Packets',
      '# TYPE switchyard_packets_total counter',
      'switchyard_packets_total{direction="in"} 3',
      '# HELP switchyard_connections Open connections\\nnow',
      '# TYPE switchyard_connections gauge',
      'switchyard_connections 7',
      '',
    ]);
  });

  it('writes histograms with cumulative buckets', () => {
    const registry = new MetricRegistry();
    const latency = registry.histogram('ask_seconds', 'Ask latency', [0.01, 0.1, 1], ['actor']);
    for (const value of [0.005, 0.01, 0.5, 30]) latency.at({ actor: 'a' }).observe(value);
    const samples = parse(registry.text());
    const bucket = (le: string): number | undefined =>
      samples.get(`switchyard_ask_seconds_bucket{actor="a",le="${le}"}`);
    expect(['0.01', '0.1', '1', '+Inf'].map(bucket)).toEqual([2, 2, 3, 4]);
    expect(samples.get('switchyard_ask_seconds_count{actor="a"}')).toBe(4);
    expect(samples.get('switchyard_ask_seconds_sum{actor="a"}')).toBeCloseTo(30.515);
  });

  it('stays parseable whatever label values a caller gives', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { maxLength: 20 }), (values) => {
        const registry = new MetricRegistry();
        for (const actor of values) registry.counter('x_total', 'X', ['actor']).at({ actor }).inc();
        const counted = [...parse(registry.text())].filter(([name]) => name.startsWith('switchyard_x_total'));
        expect(counted.reduce((sum, [, value]) => sum + value, 0)).toBe(values.length);
      }),
      { numRuns: 30 },
    );
  });

  it('keeps memory bounded: label sets past the limit are counted as other', () => {
    const registry = new MetricRegistry({ maxFamilies: 10, maxSeries: 3 });
    const users = registry.counter('logins_total', 'Logins', ['user']);
    for (let user = 0; user < 100; user++) users.at({ user: String(user) }).inc();
    const samples = parse(registry.text());
    expect(samples.get('switchyard_logins_total{user="other"}')).toBe(97);
    expect(samples.get('switchyard_metrics_overflow_total')).toBe(97);
    expect([...samples.keys()].filter((name) => name.includes('logins'))).toHaveLength(4);
  });

  it('takes counts of actors by name and loses bad ones without a throw', () => {
    const registry = new MetricRegistry({ maxFamilies: 4, maxSeries: 5 });
    registry.gauge('depth_total', 'taken by a gauge').at({}).set(1);
    registry.count('obs_rows', 5, { stage: 'load' });
    registry.count('obs_rows_total', 2, { stage: 'load' });
    registry.count('Bad Name!');
    registry.count('obs_rows', -1, { stage: 'load' });
    registry.count('depth_total');
    registry.count('one');
    registry.count('two');
    const samples = parse(registry.text());
    expect(samples.get('switchyard_obs_rows_total{stage="load"}')).toBe(7);
    expect(samples.get('switchyard_one_total')).toBe(1);
    expect(samples.has('switchyard_two_total')).toBe(false);
    expect(samples.get('switchyard_metrics_overflow_total')).toBe(4);
  });

  it('refuses one name for two kinds, and names that are none', () => {
    const registry = new MetricRegistry();
    registry.counter('a_total', 'A');
    expect(() => registry.gauge('a_total', 'A')).toThrow('already a counter');
    expect(() => registry.counter('a-b', 'A')).toThrow('lower_snake_case');
    expect(() => registry.histogram('h', 'H', [2, 1])).toThrow('ascend');
  });
});

describe('process and system metrics', () => {
  it('cover event loop, memory, CPU and files', async () => {
    const registry = new MetricRegistry();
    const sampler = new ProcessSampler(300);
    const remove = processMetrics(registry, sampler, '1.2.3');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const until = Date.now() + 120;
    while (Date.now() < until) Math.sqrt(2); // a blocked loop must show
    await expect.poll(() => sampler.sample.delayMaxMs, { timeout: 5000, interval: 20 }).toBeGreaterThan(50);
    await expect.poll(() => sampler.sample.openFiles, { timeout: 5000 }).toBeGreaterThan(3);
    const samples = parse(registry.text());
    expect(samples.get('switchyard_process_resident_memory_bytes')).toBeGreaterThan(1e7);
    expect(samples.get('switchyard_process_cpu_seconds_total{mode="user"}')).toBeGreaterThan(0);
    expect(samples.get(`switchyard_build_info{version="1.2.3",node="${process.versions.node}"}`)).toBe(1);
    expect(samples.get('switchyard_process_max_fds')).toBeGreaterThan(100);
    remove();
    sampler.close();
  });

  it('mirror the control plane and forget what is gone', async () => {
    const registry = new MetricRegistry();
    const control = fakeControlPlane();
    const stop = systemMetrics(registry, control);
    await new Promise((resolve) => setImmediate(resolve));
    let samples = parse(registry.text());
    expect(samples.get('switchyard_ready')).toBe(1);
    expect(samples.get('switchyard_connections_limit')).toBe(2048);
    expect(samples.get('switchyard_packets_total{direction="out"}')).toBe(90);
    expect(samples.get('switchyard_mailbox_messages{actor="packet#0"}')).toBe(7);
    expect(samples.get('switchyard_actor_restarts_total{actor="packet#0",pool="packet"}')).toBe(1);
    expect(samples.get('switchyard_stage_last_run_ok{stage="load-obs"}')).toBe(1);
    control.queues = () => [];
    samples = parse(registry.text());
    expect(samples.has('switchyard_mailbox_messages{actor="packet#0"}')).toBe(false);
    stop();
  });
});
