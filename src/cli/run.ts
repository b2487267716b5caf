/** `run`, also without its name: the service in the foreground, or as a daemon. */
import { createLog } from '../runtime/log.js';
import { isDaemonChild, reportFailure, startDaemon } from '../runtime/daemon.js';
import { reasonOf } from '../runtime/errors.js';
import { logKeys, processKeys } from '../runtime/process-keys.js';
import { valuesOf, type Config } from '../runtime/config.js';
import { loadOrPrint } from './conf.js';
import { exitCodeOf, runService } from './service.js';
import { EXIT, UsageFault, type CliIo, type Verb, type VerbArgs } from './verb.js';
import { version } from './version.js';

/** A daemon that is not listening by then is ended. */
const DAEMON_READY_MS = 60_000;

export const run: Verb = {
  name: 'run',
  usage: '[--daemon] [--log-level LEVEL] [--pid-file FILE] CONF-FILE...',
  help: 'runs the service; also without the word run',
  async run(args, io) {
    if (args.files.length === 0) throw new UsageFault('no conf file; try conf/*.conf');
    const config = await loadOrPrint(args.files, args.env, io);
    if (config === undefined) {
      io.err('switchyard: the conf has errors, nothing was started');
      await reportFailure('the conf has errors', EXIT.conf);
      return EXIT.conf;
    }
    const { daemon } = valuesOf(config, 'process', processKeys);
    return daemon && !isDaemonChild() ? inBackground(io) : inForeground(config, args, io);
  },
};

async function inBackground(io: CliIo): Promise<number> {
  const started = await startDaemon({ args: process.argv.slice(1), readyTimeoutMs: DAEMON_READY_MS });
  if (started.exitCode === EXIT.ok) io.out(`switchyard runs in the background, pid ${started.pid}`);
  else io.err(`switchyard: ${started.text}`);
  return started.exitCode;
}

async function inForeground(config: Config, { files, env }: VerbArgs, io: CliIo): Promise<number> {
  let log;
  try {
    log = createLog(valuesOf(config, 'log', logKeys));
  } catch (thrown) {
    io.err(`switchyard: ${reasonOf(thrown)}`);
    await reportFailure(reasonOf(thrown), exitCodeOf(thrown));
    return exitCodeOf(thrown);
  }
  // Loaded late: the other verbs need neither the tree nor its databases.
  const { startTree } = await import('../tree.js');
  return runService({ config, files, env, log, version: await version(), startTree });
}
