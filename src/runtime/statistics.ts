/**
 * The statistics line (spec packet-server 12): once at start and then each interval, also when idle. Main thread.
 */
import type { ControlPlane, TotalsSnapshot } from './control-plane.js';
import type { Logger } from './log-contract.js';
import type { ProcessSampler } from './process-sampler.js';

export interface StatisticsOptions {
  readonly control: Pick<ControlPlane, 'totals' | 'queues'>;
  readonly sampler: ProcessSampler;
  readonly log: Logger;
  readonly intervalMs: number;
  /** A mailbox with at least this many messages is warned about. */
  readonly warnDepth: number;
}

/** @returns stops it */
export function startStatistics(options: StatisticsOptions): () => void {
  let before = options.control.totals();
  let beforeAt = performance.now();
  const report = (): void => {
    const now = performance.now();
    const totals = options.control.totals();
    options.log.info('statistics', fields(options, totals, before, now - beforeAt));
    warnDeepQueues(options);
    before = totals;
    beforeAt = now;
  };
  options.sampler.refresh();
  report();
  const timer = setInterval(report, options.intervalMs).unref();
  return () => clearInterval(timer);
}

function fields(
  { sampler }: StatisticsOptions,
  totals: TotalsSnapshot,
  before: TotalsSnapshot,
  elapsedMs: number,
): Record<string, unknown> {
  const perSecond = (now: number, then: number): number =>
    elapsedMs < 1 ? 0 : Math.round(((now - then) * 1000) / elapsedMs);
  const process = sampler.sample;
  return {
    connections: `${totals.connections}/${totals.connectionLimit}`,
    accepted: totals.accepted,
    refused: totals.refused,
    packetsInPerSecond: perSecond(totals.packetsIn, before.packetsIn),
    packetsOutPerSecond: perSecond(totals.packetsOut, before.packetsOut),
    queued: totals.queued,
    sendQueueBytes: totals.sendQueueBytes,
    discarded: totals.discarded,
    badPackets: totals.badPackets,
    timers: totals.timers,
    rssMb: Math.round(process.rssBytes / 1048576),
    heapMb: Math.round(process.heapUsedBytes / 1048576),
    loopDelayP99Ms: Math.round(process.delayP99Ms * 10) / 10,
    loopBusyPercent: Math.round(process.utilisation * 100),
  };
}

function warnDeepQueues({ control, log, warnDepth }: StatisticsOptions): void {
  for (const queue of control.queues()) {
    if (queue.depth < warnDepth) continue;
    log.warn('queue.deep', {
      queue: queue.name,
      depth: queue.depth,
      capacity: queue.capacity,
      oldestMs: queue.oldestMs,
      hint: 'limit the clients, add shards or workers to its pool, or see `ctl ps` for what it is busy with',
    });
  }
}
