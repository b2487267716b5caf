/** A run of a stage as in a running server, timed: the ledger is open, the stage's own databases are not. */
import { performRun, type StageEnv, type StageFactory } from '../../src/actors/pipeline/stage/run.js';
import { parseValue } from '../../src/runtime/config-values.js';
import type { Keys } from '../../src/runtime/schema.js';
import { openStore } from '../../src/store/driver.js';
import { Ledger, type RunCounts } from '../../src/store/ledger.js';
import { silent } from './silent.js';

export interface StageModule {
  readonly createStage: StageFactory;
  readonly keys: Keys;
}

export interface StageRunTime {
  readonly seconds: number;
  /** CPU seconds of this process meanwhile. */
  readonly cpu: number;
  readonly counts: RunCounts;
}

export interface StageRunOptions {
  /** The run is recorded there. */
  readonly ledgerUrl?: string;
  readonly log?: StageEnv['log'];
  readonly cpu?: StageEnv['cpu'];
}

/** @param written conf keys as they would stand in a section. @throws whatever made the run fail */
export async function runStage(
  stage: StageModule,
  written: Readonly<Record<string, string>>,
  { ledgerUrl, log = silent, cpu }: StageRunOptions = {},
): Promise<StageRunTime> {
  const params: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(stage.keys)) {
    const text = written[name] ?? spec.default;
    if (text === undefined) continue;
    const parsed = parseValue(spec, text);
    if ('reason' in parsed) throw new Error(`${name} ${parsed.reason}`);
    params[name] = parsed.value;
  }
  const env = { name: 'bench', params, log, signal: new AbortController().signal, ...(cpu && { cpu }) };
  const store = ledgerUrl === undefined ? undefined : await openStore(ledgerUrl);
  const ledger = store === undefined ? undefined : await Ledger.open(store);
  const before = process.cpuUsage();
  const began = performance.now();
  const made = await stage.createStage(env);
  const result = await performRun(made, env.name, ledger, {
    log,
    signal: env.signal,
    dryRun: false,
    progress: () => undefined,
  });
  await made.close?.();
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(before);
  await store?.close();
  if (result.state !== 'ok') throw result.error as Error;
  return { seconds, cpu: (user + system) / 1e6, counts: result.counts };
}
