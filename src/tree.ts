/**
 * The supervision tree on one page: what is started, in which order, restarted by which rule, and stopped the other
 * way round. No logic of any child is here.
 *
 *     root      rest_for_one   an escalation restarts what comes after as well; gives up: the process ends with 70
 *     ├─ actors one_for_one    one child for each [actor] and [stage] and shard, in the order of the conf
 *     └─ front  one_for_one    one child for each [listener] and [http]; last, so that nobody is served too early
 *
 * Intensity, period and back-off of all three: section [supervisor]. Shutdown time: `shutdown` of an actor;
 * listeners have until the stop deadline. The admin port is outside (cli/service.ts): it is there to see a tree that fails.
 */
import type { Config, ConfigSection } from './runtime/config.js';
import { maskConfig } from './runtime/config-diff.js';
import { sectionsOf, valuesOf } from './runtime/config.js';
import { confSchema } from './conf-schema.js';
import type { RunningTree, SystemState, TreeOptions } from './runtime/control-plane.js';
import { CpuPool } from './runtime/cpu-pool.js';
import { gatewayKeys } from './runtime/gateway-keys.js';
import { HttpGateway } from './runtime/http-gateway.js';
import { HttpRouter } from './runtime/http-router.js';
import { reactorKeys } from './runtime/listener-keys.js';
import { Reactor } from './runtime/reactor.js';
import type { Ref } from './runtime/ref.js';
import { processKeys, supervisorKeys } from './runtime/process-keys.js';
import { Supervisor, type SupervisorReport } from './runtime/supervisor.js';
import { System } from './runtime/system.js';
import { actorChildren, actorSections, addPools } from './tree/actors.js';
import { countersInto } from './tree/counters.js';
import { TreeControl } from './tree/control.js';
import { frontChild, frontSections, type FrontParts } from './tree/front.js';
import { ledgerReader } from './tree/ledger-reader.js';
import { reloader } from './tree/reload.js';
import { sectionReloaders } from './tree/reloaders.js';
import { until } from './tree/until.js';

/** How long a drain waits for clients that stay connected, in ms. */
const DRAIN_MS = 30_000;
const EXIT_FAILED = 70;

/** @throws SwitchyardError when a child does not start; everything started before it is stopped then */
export async function startTree(config: Config, options: TreeOptions): Promise<RunningTree> {
  const { log, metrics } = options;
  let current = config;
  let state: SystemState = 'starting';
  const deadline = (): number => valuesOf(current, 'process', processKeys).stop_deadline;

  // What the children share.
  const gatewayConf = valuesOf(config, 'http_gateway', gatewayKeys);
  const router = new HttpRouter<Ref>();
  const system = new System({
    log,
    writeEvent: (level, event, fields) => log.writeEvent(level, event, fields),
    onCounters: countersInto(metrics),
    onRoute: (ref, method, path) => router.add(method, path, ref),
  });
  const reactor = new Reactor({ log, values: valuesOf(config, 'reactor', reactorKeys) });
  const gateway = new HttpGateway(system.registry, {
    maxExchanges: gatewayConf.max_requests,
    responseTimeout: gatewayConf.response_timeout,
  });
  const cpu = new CpuPool();
  system.setReplyTarget(reactor);
  system.setResponses(gateway);
  system.service('cpu', (job, _from, timeoutMs) => cpu.runMessage(job, timeoutMs));
  addPools(system, config);
  const parts: FrontParts = { system, reactor, router, gateway, https: new Map(), log, graceMs: deadline };

  // The tree.
  const rules = valuesOf(config, 'supervisor', supervisorKeys);
  const supervision = {
    intensity: rules.intensity,
    periodMs: rules.period,
    backoff: { minMs: rules.backoff_min, maxMs: rules.backoff_max },
    onEvent: (report: SupervisorReport) => logReport(report),
  };
  const childrenOf = (section: ConfigSection) => actorChildren(system, section);
  const actors = new Supervisor({ id: 'actors', ...supervision }, actorSections(config).flatMap(childrenOf));
  const front = new Supervisor(
    { id: 'front', ...supervision },
    frontSections(config).map((section) => frontChild(parts, section)),
  );
  const root = new Supervisor({ id: 'root', strategy: 'rest_for_one', ...supervision }, [
    actors.asChild(),
    front.asChild(),
  ]);

  const ledger = ledgerReader(() => sectionsOf(current, 'stage'));
  let ending: Promise<void> | undefined;
  let settleExit: (code: number) => void = () => undefined;
  const exited = new Promise<number>((resolve) => (settleExit = resolve));

  const stop = (reason: string, deadlineMs: number): Promise<void> => (ending ??= end(reason, deadlineMs));
  const end = async (reason: string, deadlineMs: number): Promise<void> => {
    state = 'stopping';
    log.notice('tree.stopping', { reason });
    // Clients first: what they sent is handled and answered before the actors go.
    reactor.stopAccepting();
    await until(() => system.idle, deadlineMs / 2);
    await Promise.race([
      root.stop(reason),
      until(() => false, deadlineMs).then(() => root.kill('stop deadline')),
    ]);
    await reactor.stop(0);
    await Promise.all([system.shutdown(), cpu.close(), ledger.close()]);
    gateway.close();
    state = 'stopped';
    settleExit(0);
  };
  const drain = (reason: string): void => {
    if (state !== 'running') return;
    state = 'draining';
    reactor.stopAccepting();
    void Promise.race([reactor.whenEmpty(), until(() => false, DRAIN_MS)]).then(() =>
      stop(reason, deadline()),
    );
  };

  try {
    await root.start();
  } catch (thrown) {
    await reactor.stop(0);
    await Promise.all([system.shutdown(), cpu.close(), ledger.close()]);
    throw thrown;
  }
  state = 'running';
  void root.exited.then((reason) => {
    if (reason.kind === 'normal') return;
    log.fatal('tree.failed', { reason: reason.message });
    void system.shutdown().finally(() => settleExit(EXIT_FAILED));
  });

  const reload = reloader({
    files: options.files,
    env: options.env,
    current: () => current,
    adopt: (next) => (current = next),
    reloaders: sectionReloaders({
      ...parts,
      actors,
      front,
      options: log,
      onProcessConf: (values) => options.onProcessConf(values),
    }),
  });
  const control = new TreeControl({
    system, reactor, actors, root, https: parts.https, log, metrics, reload, drain,
    ledger: () => ledger.open(),
    state: () => state,
    reopenLogs: () => log.reopen(),
    shutdown: (reason) => void stop(reason, deadline()),
    about: () => ({ pid: process.pid, node: process.version, conf: maskConfig(current, confSchema()) }),
  }); // prettier-ignore
  return { control, stop, exited };

  function logReport({ supervisor, context, reason, offender, restartMs }: SupervisorReport): void {
    const fields = {
      supervisor,
      child: offender.id,
      restarts: offender.restarts,
      kind: reason?.kind,
      reason: reason?.message,
      restartMs,
    };
    if (context === 'started') log.debug('supervisor.started', fields);
    else if (context === 'restarted') log.notice('supervisor.restarted', fields);
    else log.error(`supervisor.${context}`, fields);
  }
}
