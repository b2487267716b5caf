/**
 * Samples what the process itself costs, once per interval: event loop delay and utilisation, memory, CPU, open files.
 * Main thread. The statistics line and the metrics read the last finished sample, so neither disturbs the other.
 */
import { readdir, readFile } from 'node:fs/promises';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import type { MetricRegistry } from './metrics.js';

export interface ProcessSample {
  /** Event loop delay over the last interval. */
  readonly delayP50Ms: number;
  readonly delayP99Ms: number;
  readonly delayMaxMs: number;
  /** 0..1: share of the interval in which the main thread was not waiting. */
  readonly utilisation: number;
  readonly rssBytes: number;
  readonly heapUsedBytes: number;
  readonly externalBytes: number;
  /** Since process start, all threads. */
  readonly cpuUserSeconds: number;
  readonly cpuSystemSeconds: number;
  /** -1 where /proc is missing. */
  readonly openFiles: number;
  readonly maxFiles: number;
}

const RESOLUTION_MS = 20;
const NANOS_PER_MS = 1e6;

export class ProcessSampler {
  private readonly delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  private utilisation = performance.eventLoopUtilization();
  private openFiles = -1;
  private maxFiles = -1;
  private readonly timer: NodeJS.Timeout;
  private current: ProcessSample;

  constructor(intervalMs = 10_000) {
    this.delay.enable();
    this.current = this.take();
    void this.countFiles();
    this.timer = setInterval(() => this.refresh(), intervalMs);
    this.timer.unref();
  }

  /** Ends the interval early: the next sample is of now. */
  refresh(): void {
    this.current = this.take();
    void this.countFiles();
  }

  get sample(): ProcessSample {
    return this.current;
  }

  private take(): ProcessSample {
    const memory = process.memoryUsage();
    const cpu = process.cpuUsage();
    const before = this.utilisation;
    this.utilisation = performance.eventLoopUtilization();
    // The histogram measures the whole sleep of its timer; what is over the resolution is the delay.
    const over = (nanos: number): number =>
      this.delay.count === 0 ? 0 : Math.max(0, nanos / NANOS_PER_MS - RESOLUTION_MS);
    const sample: ProcessSample = {
      delayP50Ms: over(this.delay.percentile(50)),
      delayP99Ms: over(this.delay.percentile(99)),
      delayMaxMs: over(this.delay.max),
      utilisation: performance.eventLoopUtilization(this.utilisation, before).utilization || 0,
      rssBytes: memory.rss,
      heapUsedBytes: memory.heapUsed,
      externalBytes: memory.external,
      cpuUserSeconds: cpu.user / 1e6,
      cpuSystemSeconds: cpu.system / 1e6,
      openFiles: this.openFiles,
      maxFiles: this.maxFiles,
    };
    this.delay.reset();
    return sample;
  }

  close(): void {
    clearInterval(this.timer);
    this.delay.disable();
  }

  private async countFiles(): Promise<void> {
    try {
      this.openFiles = (await readdir('/proc/self/fd')).length;
      const limits = await readFile('/proc/self/limits', 'utf8');
      const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
      if (soft !== undefined) this.maxFiles = Number(soft);
    } catch {
      this.openFiles = -1; // not Linux, or no descriptor left: said by the accept path
    }
  }
}

/** Publishes the samples. @returns unregisters */
export function processMetrics(
  registry: MetricRegistry,
  sampler: ProcessSampler,
  version: string,
): () => void {
  const gauge = (name: string, help: string): { set(value: number): void } =>
    registry.gauge(name, help).at({});
  const build = registry.gauge('build_info', 'Version of the program and of Node', ['version', 'node']);
  build.at({ version, node: process.versions.node }).set(1);
  gauge('process_start_time_seconds', 'Start of the process, Unix time').set(performance.timeOrigin / 1000);
  const delay = registry.gauge(
    'event_loop_delay_seconds',
    'Delay of the main event loop over the last sample interval',
    ['quantile'],
  );
  const utilisation = gauge('event_loop_utilization_ratio', 'Share of time the main event loop was busy');
  const rss = gauge('process_resident_memory_bytes', 'Resident memory of the process');
  const heap = gauge('process_heap_used_bytes', 'Used JavaScript heap of the main thread');
  const external = gauge('process_external_memory_bytes', 'Memory outside the heap, buffers included');
  const openFiles = gauge('process_open_fds', 'Open file descriptors');
  const maxFiles = gauge('process_max_fds', 'Soft limit of open file descriptors');
  const cpu = registry.counter('process_cpu_seconds_total', 'CPU time of all threads', ['mode']);
  return registry.collect(() => {
    const s = sampler.sample;
    delay.at({ quantile: '0.5' }).set(s.delayP50Ms / 1000);
    delay.at({ quantile: '0.99' }).set(s.delayP99Ms / 1000);
    delay.at({ quantile: '1' }).set(s.delayMaxMs / 1000);
    utilisation.set(s.utilisation);
    rss.set(s.rssBytes);
    heap.set(s.heapUsedBytes);
    external.set(s.externalBytes);
    cpu.at({ mode: 'user' }).set(s.cpuUserSeconds);
    cpu.at({ mode: 'system' }).set(s.cpuSystemSeconds);
    if (s.openFiles >= 0) openFiles.set(s.openFiles);
    if (s.maxFiles >= 0) maxFiles.set(s.maxFiles);
  });
}
