// The service shell around a tree of nothing. argv: conf file. For service.test.ts and cli e2e.
// Environment: TREE = ok | fail | slow (never ready) | crash (ends the process while starting).
import { setInterval, clearInterval } from 'node:timers';
import { confSchema } from '../../../dist/conf-schema.js';
import { runService } from '../../../dist/cli/service.js';
import { loadConfig, valuesOf } from '../../../dist/runtime/config.js';
import { isDaemonChild, startDaemon } from '../../../dist/runtime/daemon.js';
import { SwitchyardError } from '../../../dist/runtime/errors.js';
import { createLog } from '../../../dist/runtime/log.js';
import { logKeys, processKeys } from '../../../dist/runtime/process-keys.js';

async function startTree(config, { log, metrics, onProcessConf }) {
  const how = process.env['TREE'] ?? 'ok';
  if (how === 'crash') process.exit(3);
  if (how === 'throw') {
    setTimeout(() => {
      throw new Error('thrown by a timer');
    }, 10);
  }
  if (how === 'slow' || how === 'throw') await new Promise((resolve) => setTimeout(resolve, 60_000));
  if (how === 'fail') throw new SwitchyardError('ACT_START', { ref: 'packet', reason: 'no' });
  const alive = setInterval(() => undefined, 1000);
  let state = 'running';
  let leave;
  const exited = new Promise((resolve) => (leave = resolve));
  const end = async (next) => {
    state = next;
    clearInterval(alive);
    leave(0);
  };
  const nothing = {
    connections: 0,
    connectionLimit: 10,
    accepted: 0,
    refused: 0,
    packetsIn: 0,
    packetsOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    queued: 0,
    sendQueueBytes: 0,
    discarded: 0,
    badPackets: 0,
    timers: 0,
  };
  const control = {
    ps: () => [],
    queues: () => [],
    conns: () => [],
    totals: () => nothing,
    stages: async () => [],
    runs: async () => [],
    deadLetters: () => [],
    logLevels: () => log.levels(),
    setLogLevel: (level, ref) => (log.setLevel(level, ref), { ok: true, detail: `level ${level}` }),
    reopenLogs: async () => (await log.reopen(), { ok: true, detail: 'reopened' }),
    reload: async () => {
      onProcessConf({ ...valuesOf(config, 'process', processKeys), title: 'another title' });
      return { ok: true, changes: ['~ [process] title (unset) -> another title (live)'], problems: [] };
    },
    kick: () => ({ ok: false, detail: 'no such connection' }),
    drain: async () => (void end('draining'), { ok: true, detail: 'draining' }),
    shutdown: async () => (void end('stopping'), { ok: true, detail: 'stopping' }),
    dump: async () => ({ state, padding: 'x'.repeat(4 << 20) }),
    metricsText: () => metrics.text(),
    live: () => ({ ok: true, detail: 'live' }),
    ready: () => ({ ready: state === 'running', state, reasons: [] }),
  };
  return { control, exited, stop: () => end('stopping') };
}

const file = process.argv[2];
const { config, problems } = await loadConfig([file], confSchema());
if (problems.length > 0) throw new Error(JSON.stringify(problems));
if (valuesOf(config, 'process', processKeys).daemon && !isDaemonChild()) {
  const started = await startDaemon({ args: process.argv.slice(1), readyTimeoutMs: 8000 });
  process.stdout.write(`${JSON.stringify(started)}\n`);
  process.exit(started.exitCode);
}
const log = createLog(valuesOf(config, 'log', logKeys));
const options = { config, files: [file], env: process.env, log, version: '1.2.3', startTree };
process.exit(await runService(options));
