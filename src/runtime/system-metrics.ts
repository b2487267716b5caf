/** Publishes the control plane's snapshots as metrics. Main thread. */
import type { ControlPlane, StageSnapshot } from './control-plane.js';
import type { MetricRegistry } from './metrics.js';

const STAGE_REFRESH_MS = 10_000;

/**
 * Fills gauges before each exposition. Stage state comes from the ledger, which answers later: its last answer is
 * published. @returns unregisters and stops refreshing
 */
export function systemMetrics(
  registry: MetricRegistry,
  control: Pick<ControlPlane, 'totals' | 'queues' | 'ps' | 'stages' | 'ready'>,
): () => void {
  const removeTotals = totalsMetrics(registry, control);
  const removeActors = actorMetrics(registry, control);
  const stages = stageMetrics(registry);
  const refresh = (): void => {
    control.stages().then(stages, () => undefined); // a ledger that fails is seen in its own actor's state
  };
  refresh();
  const timer = setInterval(refresh, STAGE_REFRESH_MS).unref();
  return () => {
    clearInterval(timer);
    removeTotals();
    removeActors();
  };
}

function totalsMetrics(
  registry: MetricRegistry,
  control: Pick<ControlPlane, 'totals' | 'ready'>,
): () => void {
  const ready = registry.gauge('ready', 'Whether /readyz answers 200').at({});
  const connections = registry.gauge('connections', 'Open client connections').at({});
  const limit = registry.gauge('connections_limit', 'Most client connections at one time').at({});
  const accepted = registry.counter('connections_accepted_total', 'Accepted client connections').at({});
  const refused = registry.counter('connections_refused_total', 'Connections over a limit').at({});
  const packets = registry.counter('packets_total', 'Packets received and sent', ['direction']);
  const bytes = registry.counter('bytes_total', 'Bytes received and sent', ['direction']);
  const bad = registry.counter('packets_bad_total', 'Bad packets received').at({});
  const discarded = registry.counter('packets_discarded_total', 'Outgoing packets thrown away').at({});
  const sendQueue = registry.gauge('send_queue_bytes', 'Bytes in all send queues').at({});
  const timers = registry.gauge('timers', 'Entries in the timing wheel').at({});
  return registry.collect(() => {
    const t = control.totals();
    ready.set(control.ready().ready ? 1 : 0);
    connections.set(t.connections);
    limit.set(t.connectionLimit);
    accepted.set(t.accepted);
    refused.set(t.refused);
    packets.at({ direction: 'in' }).set(t.packetsIn);
    packets.at({ direction: 'out' }).set(t.packetsOut);
    bytes.at({ direction: 'in' }).set(t.bytesIn);
    bytes.at({ direction: 'out' }).set(t.bytesOut);
    bad.set(t.badPackets);
    discarded.set(t.discarded);
    sendQueue.set(t.sendQueueBytes);
    timers.set(t.timers);
  });
}

function actorMetrics(registry: MetricRegistry, control: Pick<ControlPlane, 'queues' | 'ps'>): () => void {
  const depth = registry.gauge('mailbox_messages', 'Messages waiting', ['actor']);
  const bytes = registry.gauge('mailbox_bytes', 'Bytes waiting', ['actor']);
  const oldest = registry.gauge('mailbox_oldest_seconds', 'Age of the oldest waiting message', ['actor']);
  const refused = registry.counter('mailbox_refused_total', 'Messages refused by a full mailbox', ['actor']);
  const dropped = registry.counter('mailbox_dropped_total', 'Messages dropped by a full mailbox', ['actor']);
  const up = registry.gauge('actor_up', 'Whether the actor runs', ['actor', 'pool']);
  const handled = registry.counter('actor_handled_total', 'Handled messages', ['actor', 'pool']);
  const restarts = registry.counter('actor_restarts_total', 'Restarts', ['actor', 'pool']);
  const all = [depth, bytes, oldest, refused, dropped, up, handled, restarts];
  return registry.collect(() => {
    for (const metric of all) metric.clear();
    for (const q of control.queues()) {
      const labels = { actor: q.name };
      depth.at(labels).set(q.depth);
      bytes.at(labels).set(q.bytes);
      oldest.at(labels).set((q.oldestMs ?? 0) / 1000);
      refused.at(labels).set(q.refused);
      dropped.at(labels).set(q.dropped);
    }
    for (const a of control.ps()) {
      const labels = { actor: a.ref, pool: a.pool };
      up.at(labels).set(a.state === 'running' ? 1 : 0);
      handled.at(labels).set(a.handled);
      restarts.at(labels).set(a.restarts);
    }
  });
}

function stageMetrics(registry: MetricRegistry): (stages: readonly StageSnapshot[]) => void {
  const ok = registry.gauge('stage_last_run_ok', 'Whether the last finished run succeeded', ['stage']);
  const start = registry.gauge('stage_last_start_seconds', 'Start of the last run, Unix time', ['stage']);
  const took = registry.gauge('stage_last_duration_seconds', 'Duration of the last run', ['stage']);
  const due = registry.gauge('stage_next_due_seconds', 'Next due time, Unix time', ['stage']);
  const rows = registry.gauge('stage_last_rows', 'Rows of the last run', ['stage']);
  return (stages) => {
    for (const metric of [ok, start, took, due, rows]) metric.clear();
    for (const s of stages) {
      const labels = { stage: s.name };
      if (s.lastResult === 'ok' || s.lastResult === 'failed')
        ok.at(labels).set(s.lastResult === 'ok' ? 1 : 0);
      if (s.lastStartAt !== undefined) start.at(labels).set(s.lastStartAt / 1000);
      if (s.lastDurationMs !== undefined) took.at(labels).set(s.lastDurationMs / 1000);
      if (s.nextDueAt !== undefined) due.at(labels).set(s.nextDueAt / 1000);
      rows.at(labels).set(s.rows);
    }
  };
}
