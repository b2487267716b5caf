/**
 * The shell around the tree: pid file, daemon, admin port, admin HTTP, metrics, statistics, signals, systemd. It knows
 * the tree only as `startTree`, so that tests run it around a small one. Main thread.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { startAdminHttp } from '../runtime/admin-http.js';
import { ensureToken, startAdmin } from '../runtime/admin.js';
import { valuesOf, type Config } from '../runtime/config.js';
import type { ControlPlane, RunningTree, TreeOptions } from '../runtime/control-plane.js';
import { reportFailure, reportReady } from '../runtime/daemon.js';
import { reasonOf, SwitchyardError } from '../runtime/errors.js';
import type { Log } from '../runtime/log.js';
import { MetricRegistry } from '../runtime/metrics.js';
import { PidFileHeld, takePidFile } from '../runtime/pid-file.js';
import { adminKeys, processKeys, type ProcessValues } from '../runtime/process-keys.js';
import { processMetrics, ProcessSampler } from '../runtime/process-sampler.js';
import { installSignals } from '../runtime/signals.js';
import { startStatistics } from '../runtime/statistics.js';
import { systemMetrics } from '../runtime/system-metrics.js';
import { systemdNotifier, type SystemdNotifier } from '../runtime/systemd.js';
import { addressOf, adminFiles, processConf } from './conf.js';
import { EXIT } from './verb.js';

export interface ServiceOptions {
  readonly config: Config;
  readonly files: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  readonly version: string;
  startTree(config: Config, options: TreeOptions): Promise<RunningTree>;
}

/** A mailbox this deep is warned about with every statistics line (spec packet-server 12). */
const WARN_DEPTH = 100_000;

type CleanUp = () => void | Promise<void>;

/**
 * Runs the service until it ends.
 * @returns the process exit code; never rejects
 */
export async function runService(options: ServiceOptions): Promise<number> {
  const { log } = options;
  const cleanUps: CleanUp[] = [];
  let code: number;
  try {
    code = await serve(options, cleanUps);
  } catch (thrown) {
    code = exitCodeOf(thrown);
    const text = startFailure(thrown);
    log.fatal('start.failed', { reason: text, exitCode: code });
    await reportFailure(text, code);
  }
  for (const cleanUp of cleanUps.reverse()) {
    try {
      await cleanUp();
    } catch (thrown) {
      log.error('stop.cleanup', { reason: reasonOf(thrown) });
    }
  }
  log.notice('process.exit', { exitCode: code });
  log.flushSync();
  return code;
}

async function serve(options: ServiceOptions, cleanUps: CleanUp[]): Promise<number> {
  const { config, files, env, version, log } = options;
  let settings: ProcessValues = valuesOf(config, 'process', processKeys);
  const showTitle = (): void => {
    process.title = settings.title ?? `${settings.name}: main ${files.join(' ')}`;
  };
  showTitle();
  await mkdir(settings.data_dir, { recursive: true });
  const removePidFile = settings.pid_file === undefined ? undefined : takePidFile(settings.pid_file);
  cleanUps.push(() => removePidFile?.());
  log.notice('process.start', { version, node: process.versions.node, pid: process.pid, files });

  const started: { tree?: RunningTree } = {};
  const systemd = systemdNotifier(log, () => started.tree?.control.live().ok ?? true);
  cleanUps.push(() => systemd.close());
  const beforeExit = (): void => {
    log.flushSync();
    removePidFile?.();
  };
  cleanUps.push(
    handleSignals({ log, started, systemd, deadlineMs: () => settings.stop_deadline, beforeExit }),
  );

  const metrics = new MetricRegistry();
  const sampler = new ProcessSampler();
  cleanUps.push(() => sampler.close(), processMetrics(metrics, sampler, version));
  const http = addressOf(valuesOf(config, 'admin', adminKeys).http_address);
  const adminHttp = await startAdminHttp({ ...http, control: () => started.tree?.control, log, version });
  cleanUps.push(() => adminHttp.close());

  let stopStatistics: (() => void) | undefined;
  const restartStatistics = (): void => {
    stopStatistics?.();
    const { tree } = started;
    const intervalMs = settings.statistics_every;
    if (tree === undefined || intervalMs === 0) return;
    stopStatistics = startStatistics({
      control: tree.control,
      sampler,
      log,
      intervalMs,
      warnDepth: WARN_DEPTH,
    });
  };
  const onProcessConf = (values: ProcessValues): void => {
    const another = values.statistics_every !== settings.statistics_every;
    settings = values;
    showTitle();
    if (another) restartStatistics();
  };
  const tree = await options.startTree(config, { log, metrics, files, env, onProcessConf });
  started.tree = tree;
  // From here on whatever fails must first stop the tree.
  cleanUps.push(() => tree.stop('exit', settings.stop_deadline));
  await openAdmin(config, tree.control, log, cleanUps);
  cleanUps.push(systemMetrics(metrics, tree.control));
  restartStatistics();
  cleanUps.push(() => stopStatistics?.());
  log.notice('process.ready', { startMs: Math.round(performance.now()) });
  systemd.ready(`running, pid ${process.pid}`);
  reportReady();
  return tree.exited;
}

interface SignalParts {
  readonly log: Log;
  /** Without a tree while it starts. */
  readonly started: { readonly tree?: RunningTree };
  readonly systemd: SystemdNotifier;
  readonly deadlineMs: () => number;
  readonly beforeExit: () => void;
}

function handleSignals({ log, started, systemd, deadlineMs, beforeExit }: SignalParts): () => void {
  /** Nobody was served yet: nothing to stop in order. */
  const leaveEarly = (): void => {
    beforeExit();
    process.exit(EXIT.ok);
  };
  return installSignals({
    log,
    stopDeadlineMs: deadlineMs,
    actions: {
      stop: async (reason) => {
        systemd.stopping();
        if (started.tree === undefined) leaveEarly();
        await started.tree?.stop(reason, deadlineMs());
      },
      reload: async () => {
        if (started.tree !== undefined) logReload(log, await started.tree.control.reload());
      },
      reopenLogs: () => log.reopen(),
      drain: async () => {
        systemd.stopping();
        if (started.tree === undefined) leaveEarly();
        await started.tree?.control.drain();
      },
      beforeExit,
    },
  });
}

async function openAdmin(
  config: Config,
  control: ControlPlane,
  log: Log,
  cleanUps: CleanUp[],
): Promise<void> {
  const { dataDir, admin, adminToken } = processConf(config);
  const paths = adminFiles(dataDir);
  const token = adminToken ?? (await ensureToken(paths.token));
  const server = await startAdmin({ host: admin.host ?? '127.0.0.1', port: admin.port, token, control, log });
  cleanUps.push(() => server.close());
  const shown = server.host.includes(':') ? `[${server.host}]` : server.host;
  await writeFile(paths.address, `${shown}:${server.port}\n`);
  cleanUps.push(() => rm(paths.address, { force: true }));
}

function logReload(log: Log, outcome: Awaited<ReturnType<ControlPlane['reload']>>): void {
  if (!outcome.ok) {
    log.error('reload.refused', { problems: outcome.problems });
    return;
  }
  log.notice('reload.done', { changes: outcome.changes.length });
  for (const line of outcome.changes) log.notice('reload.change', { line });
}

/** What made a child fail to start says more than that it did not. */
function rootOf(thrown: unknown): unknown {
  let root = thrown;
  while (root instanceof SwitchyardError && root.code === 'ACT_START' && root.cause !== undefined)
    root = root.cause;
  return root;
}

function startFailure(failure: unknown): string {
  const root = rootOf(failure);
  const thrown = root instanceof SwitchyardError ? root : failure;
  const { code, address, port } = thrown as NodeJS.ErrnoException & { address?: string; port?: number };
  if (code === 'EADDRINUSE') {
    return `${address}:${port} is taken by another process; stop it or change the address in the conf`;
  }
  if (code === 'EACCES' && port !== undefined) return `no permission to listen on ${address}:${port}`;
  if (thrown instanceof SwitchyardError) return `${thrown.message} (${thrown.hint})`;
  return reasonOf(thrown);
}

/** sysexits of a failed start. */
export function exitCodeOf(failure: unknown): number {
  const thrown = rootOf(failure);
  if (thrown instanceof SwitchyardError) return thrown.exitCode;
  if (thrown instanceof PidFileHeld) return EXIT.temporary;
  switch ((thrown as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
    case 'EADDRNOTAVAIL':
      return EXIT.unavailable;
    case 'EACCES':
    case 'EPERM':
      return EXIT.permission;
    case 'ENOENT':
    case 'ENOTDIR':
    case 'EROFS':
    case 'ENOSPC':
    case 'EEXIST':
      return EXIT.cannotCreate;
    default:
      return EXIT.internal;
  }
}
