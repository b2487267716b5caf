/**
 * `stage NAME --once`: one run of a pipeline stage in this process, recorded in the ledger, without a server; with --preview
 * or --check only a look at what a run would find.
 */
import { availableParallelism } from 'node:os';
import { CpuPool } from '../runtime/cpu-pool.js';
import type { CpuJobName } from '../runtime/cpu-jobs.js';
import { createLog } from '../runtime/log.js';
import { reasonOf } from '../runtime/errors.js';
import { nearest } from '../runtime/nearest.js';
import { logKeys } from '../runtime/process-keys.js';
import { sectionsOf, valuesOf, type Config, type ConfigSection } from '../runtime/config.js';
import type { RunResult, StageEnv, StageFactory } from '../actors/pipeline/stage/run.js';
import { loadOrPrint } from './conf.js';
import { REPLAY, replayFactory } from './replay-rejects.js';
import { checkStage, previewStage, progressLine } from './stage-view.js';
import { EXIT, UsageFault, type CliIo, type Verb, type VerbArgs } from './verb.js';

const BY_SIGNAL = { SIGINT: 130, SIGTERM: 143 } as const;

export const stage: Verb = {
  name: 'stage',
  usage:
    'NAME --once [--dry-run] | --preview [--limit N] | --check | replay-rejects NAME [FILE...]  [--json] CONF-FILE...',
  help: 'one run of a stage in this process, or a look at it; exit 75 when trying again may help',
  async run(args, io) {
    const replay = args.words[0] === REPLAY ? args.words.slice(2) : undefined;
    const [name, extra] = replay === undefined ? args.words : args.words.slice(1, 2);
    if (name === undefined) throw new UsageFault('which stage?');
    if (extra !== undefined) throw new UsageFault(`unexpected argument "${extra}"`);
    const { once, preview, check } = args.flags;
    if (Number(once || replay !== undefined) + Number(preview) + Number(check) !== 1) {
      const hint = `a running server runs it with: ctl run ${name}`;
      throw new UsageFault(`--once, --preview or --check, one of them; ${hint}`);
    }
    if (args.files.length === 0) throw new UsageFault('no conf file; try conf/*.conf');
    const config = await loadOrPrint(args.files, args.env, io);
    if (config === undefined) return EXIT.conf;
    return runStage(sectionOf(config, name), config, args, io, replay);
  },
};

function sectionOf(config: Config, name: string): ConfigSection {
  const stages = sectionsOf(config, 'stage');
  const found = stages.find((section) => section.name === name);
  if (found !== undefined) return found;
  const names = stages.map((section) => section.name);
  const near = nearest(name, names);
  const known = near === undefined ? `there are ${names.join(' ') || 'none'}` : `did you mean ${near}?`;
  throw new UsageFault(`the conf has no [stage ${name}]; ${known}`);
}

async function runStage(
  section: ConfigSection,
  config: Config,
  { flags }: VerbArgs,
  io: CliIo,
  replay: readonly string[] | undefined,
): Promise<number> {
  const log = createLog({ ...valuesOf(config, 'log', logKeys), file: undefined });
  const pool = new CpuPool({ maxThreads: availableParallelism() });
  const abort = new AbortController();
  let bySignal: keyof typeof BY_SIGNAL | undefined;
  const end = (signal: NodeJS.Signals): void => {
    bySignal = signal === 'SIGINT' ? 'SIGINT' : 'SIGTERM';
    abort.abort();
  };
  process.once('SIGINT', end).once('SIGTERM', end);
  try {
    const env: StageEnv = {
      name: section.name,
      params: section.values,
      log: log.child({ stage: section.name }),
      signal: abort.signal,
      cpu: (job, data, options) => pool.run(job as CpuJobName, data as never, options),
    };
    const type = section.values['type'];
    const { createStage: regular, runOnce } = await loadStage(type);
    const createStage = replay === undefined ? regular : await replayFactory(type, replay);
    if (flags.preview) return await previewStage(createStage, env, flags, io);
    if (flags.check) return await checkStage(createStage, env, flags.json, io);
    const ledger = section.values['ledger'];
    const ledgerUrl = typeof ledger === 'string' ? ledger : undefined;
    const line = progressLine(section.name);
    const result = await runOnce(createStage, env, {
      dryRun: flags.dryRun,
      ledgerUrl,
      ...(line && { show: line.show }),
    });
    line?.end();
    report(section.name, result, flags.json, io);
    if (bySignal !== undefined) return BY_SIGNAL[bySignal];
    return result.state === 'ok' ? EXIT.ok : result.retryable ? EXIT.temporary : EXIT.failed;
  } finally {
    process.off('SIGINT', end).off('SIGTERM', end);
    await pool.close();
    log.close();
  }
}

function report(
  name: string,
  { state, counts, ms, error, retryable }: RunResult,
  json: boolean,
  io: CliIo,
): void {
  const reason = error === undefined ? undefined : reasonOf(error);
  if (json) {
    io.out(JSON.stringify({ stage: name, state, ms, retryable, ...counts, error: reason }));
    return;
  }
  const sums = Object.entries(counts).map(([key, value]) => `${key} ${value}`);
  io.out(`${name}: ${state} after ${ms} ms; ${sums.join(', ')}`);
  if (reason !== undefined) io.err(`switchyard: ${reason}${retryable ? ' (trying again may help)' : ''}`);
}

/** Loaded late: the other verbs need no databases. */
async function loadStage(
  type: unknown,
): Promise<{ createStage: StageFactory; runOnce: typeof import('../actors/pipeline/stage/run.js').runOnce }> {
  const { actorTypes, actorModule } = await import('../actors/index.js');
  const found = actorTypes.find((known) => known.kind === 'stage' && known.type === type);
  if (found === undefined) throw new UsageFault(`"${String(type)}" is no stage type`);
  const { createStage } = (await import(actorModule(found))) as { createStage: StageFactory };
  const { runOnce } = await import('../actors/pipeline/stage/run.js');
  return { createStage, runOnce };
}
