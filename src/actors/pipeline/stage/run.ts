/**
 * One run of a stage: counting, the ledger's entry at start and end, and what kind of failure it was. Used by the stage actor
 * and by `switchyard stage <name> --once`. Worker or main thread.
 */
import { access } from 'node:fs/promises';
import { freeBytes } from '../../../runtime/disk-space.js';
import { reasonOf } from '../../../runtime/errors.js';
import type { Logger } from '../../../runtime/log-contract.js';
import { openStore, StoreError, type RowSet, type Store } from '../../../store/driver.js';
import { Ledger, type RunCounts } from '../../../store/ledger.js';
import { RunProgress, type Progress } from './progress.js';

/** What a stage gets when it is made, once per (re)start. */
export interface StageEnv {
  /** Unique in the process; the key of the ledger. */
  readonly name: string;
  /** Values of its conf section by conf key. */
  readonly params: Readonly<Record<string, unknown>>;
  readonly log: Logger;
  /** Aborted when the stage is to stop: end between two files, or at once if that takes long. */
  readonly signal: AbortSignal;
  /** Runs a stateless job of src/runtime/cpu-jobs.ts on the cpu-pool. Absent where there is no pool. */
  readonly cpu?: (job: string, data: unknown, options: { readonly timeoutMs: number }) => Promise<unknown>;
}

/** What a run gets. */
export interface StageRun {
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Look, count and log, but change nothing. */
  readonly dryRun: boolean;
  /** Add to it while working. */
  readonly counts: { -readonly [K in keyof RunCounts]: RunCounts[K] };
  /** To be called at least every few seconds of work: it is the heartbeat. */
  progress(): void;
  /** Tells how much there is to do, as soon as that is known, for the time that is left. */
  expect(total: { readonly rows?: number; readonly bytes?: number }): void;
  /** The run's number in the ledger; undefined when there is none: a dry run. */
  readonly runId: number | undefined;
  /** Whether neither that run of the stage nor a later one came to its end. False for one that the ledger does not know. */
  cutOff(runId: number): Promise<boolean>;
  /** What the stage remembers from run to run, kept with the ledger. A dry run forgets it again. */
  readonly state: StageState;
}

export interface StageState {
  get(key: string): Promise<string | undefined>;
  /** Durable when it returns. @param key at most 100 characters. @param value at most 4,000 */
  set(key: string, value: string): Promise<void>;
}

export interface Stage {
  /** @throws whatever failed; `isRetryable` decides what follows. */
  run(run: StageRun): Promise<void>;
  /** The first rows a run would bring, for `stage NAME --preview`; changes nothing. */
  preview?(limit: number): Promise<RowSet>;
  /** Reaches for everything a run needs. @returns a line for each: `store: MariaDB 10.11.6`. @throws what cannot be reached */
  check?(): Promise<readonly string[]>;
  /** Folders whose change makes a run due at once when `watch` is set. */
  readonly folders?: readonly string[];
  /** Folders the stage writes files into: before a run their disk must have `min_free` left. */
  readonly outputs?: readonly string[];
  /** Before the end of the process or a restart. */
  close?(): Promise<void>;
}

/** Must not touch the outside world beyond checking its parameters: databases are opened by the first run. */
export type StageFactory = (env: StageEnv) => Stage | Promise<Stage>;

/** A failure of a stage in its own words. */
export class StageError extends Error {
  constructor(
    message: string,
    /** True when the same run may succeed a little later. */
    readonly retryable: boolean,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = 'StageError';
  }
}

const RETRYABLE_SYSTEM_ERRORS: ReadonlySet<string> = new Set([
  'EAGAIN', 'EBUSY', 'ECONNREFUSED', 'ECONNRESET', 'EAI_AGAIN', 'EDQUOT', 'EHOSTUNREACH', 'EMFILE', 'ENETUNREACH',
  'ENFILE', 'ENOBUFS', 'ENOMEM', 'ENOSPC', 'EPIPE', 'ESTALE', 'ETIMEDOUT', 'EIO',
]); // prettier-ignore

/** Whether trying again soon makes sense. A database that cannot be opened may be starting; a wrong SQL text stays wrong. */
export function isRetryable(error: unknown): boolean {
  if (error instanceof StageError) return error.retryable;
  if (error instanceof StoreError) return error.retryable || error.code === 'OPEN' || error.code === 'CLOSED';
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && RETRYABLE_SYSTEM_ERRORS.has(code);
}

export interface RunResult {
  readonly state: 'ok' | 'failed';
  readonly counts: RunCounts;
  readonly ms: number;
  /** Why it failed. */
  readonly error?: unknown;
  readonly retryable: boolean;
}

export interface RunOptions {
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly dryRun: boolean;
  readonly progress: () => void;
  /** How far it is, asked after every `progress` of the stage; without it a line goes to the log every ten seconds. */
  readonly show?: (state: () => Progress) => void;
  /** Bytes the disks of the stage's outputs must have free. */
  readonly minFree?: number;
  /** Planned next run in ms since 1970, asked when the run has ended. */
  readonly nextDue?: (result: RunResult) => number | undefined;
}

/** A line in the log, and the run's row of the ledger, at most this often (ms). */
const TELL_INTERVAL = 10_000;
const MAX_STATE_NAME = 100;
const MAX_STATE_VALUE = 4_000;

/** Runs once with its ledger entry. Never throws: a ledger that fails makes the run fail before it begins. */
export async function performRun(
  stage: Stage,
  name: string,
  ledger: Ledger | undefined,
  options: RunOptions,
): Promise<RunResult> {
  const started = performance.now();
  const counts: StageRun['counts'] = {
    rowsIn: 0,
    rowsOut: 0,
    rowsRejected: 0,
    files: 0,
    bytes: 0,
    errors: 0,
  };
  const elapsed = (): number => Math.round(performance.now() - started);
  let id: number | undefined;
  try {
    // A dry run leaves no trace, not even in the ledger.
    if (!options.dryRun) id = await ledger?.begin(name);
  } catch (error) {
    options.log.error('stage.ledger', { reason: reasonOf(error) });
    return { state: 'failed', counts, ms: elapsed(), error, retryable: isRetryable(error) };
  }
  const far = new RunProgress(started);
  let told = started;
  const progress = (): void => {
    options.progress();
    const now = performance.now();
    far.note(counts, now);
    options.show?.(() => far.state(counts, now));
    if (now - told < TELL_INTERVAL) return;
    told = now;
    if (options.show === undefined) {
      const { rowsPerSecond, share, leftMs } = far.state(counts, now);
      const percent = share === undefined ? undefined : Math.floor(share * 100);
      const leftS = leftMs === undefined ? undefined : Math.round(leftMs / 1_000);
      options.log.info('stage.progress', { ...counts, rowsPerSecond, percent, leftS });
    }
    if (id === undefined) return;
    ledger
      ?.progress(id, counts)
      .catch((error: unknown) => options.log.warn('stage.ledger', { reason: reasonOf(error) }));
  };
  const run: StageRun = {
    log: options.log,
    signal: options.signal,
    dryRun: options.dryRun,
    counts,
    progress,
    expect: (total) => far.expect(total),
    runId: id,
    cutOff: async (earlier) => (await ledger?.cutOff(name, earlier)) ?? false,
    state: stageState(name, ledger, options.dryRun),
  };
  let result: RunResult;
  try {
    await needRoom(stage.outputs ?? [], options.minFree ?? 0);
    await stage.run(run);
    result = { state: 'ok', counts, ms: elapsed(), retryable: false };
  } catch (error) {
    // Told to stop in the middle: what was under way is undone, and the rest is due at the next start.
    const stopped = options.signal.aborted && error instanceof StoreError && error.code === 'CANCELLED';
    if (!stopped) counts.errors++;
    result = stopped
      ? { state: 'ok', counts, ms: elapsed(), retryable: false }
      : { state: 'failed', counts, ms: elapsed(), error, retryable: isRetryable(error) };
  }
  if (id !== undefined) {
    const message =
      result.state === 'failed' ? reasonOf(result.error) : options.signal.aborted ? 'stopped' : undefined;
    await ledger
      ?.finish(id, result.state, counts, { message, nextDue: options.nextDue?.(result) })
      .catch((error: unknown) => options.log.error('stage.ledger', { reason: reasonOf(error) }));
  }
  return result;
}

async function needRoom(folders: readonly string[], minFree: number): Promise<void> {
  for (const folder of minFree > 0 ? folders : []) {
    const free = await freeBytes(folder);
    if (free >= minFree) continue;
    const [left, wanted] = [free, minFree].map((bytes) => `${Math.floor(bytes / 1e6)} MB`);
    throw new StageError(
      `the disk of ${folder} has ${left} free, min_free asks for ${wanted}: make room`,
      true,
    );
  }
}

/** Kept in the ledger; in memory for a run without one, or one that is to change nothing. */
function stageState(stage: string, ledger: Ledger | undefined, dryRun: boolean): StageState {
  const written = new Map<string, string>();
  return {
    get: async (key) => written.get(key) ?? (await ledger?.recall(stage, key)),
    async set(key, value) {
      if (key.length > MAX_STATE_NAME || value.length > MAX_STATE_VALUE) {
        throw new RangeError(`the state "${key.slice(0, 40)}" of ${value.length} characters is too long`);
      }
      if (dryRun || ledger === undefined) written.set(key, value);
      else await ledger.remember(stage, key, value);
    },
  };
}

/**
 * The whole life of a stage for a single run, for the command line. @param ledgerUrl the run is recorded there, unless dry.
 * @throws what the factory or the ledger throws; a failing run is in the result.
 */
export async function runOnce(
  factory: StageFactory,
  env: StageEnv,
  options: {
    readonly dryRun: boolean;
    readonly ledgerUrl: string | undefined;
    readonly show?: RunOptions['show'];
  },
): Promise<RunResult> {
  let store: Store | undefined;
  const stage = await factory(env);
  try {
    if (options.ledgerUrl !== undefined && (!options.dryRun || (await exists(options.ledgerUrl)))) {
      store = await openStore(options.ledgerUrl);
    }
    const ledger = store === undefined ? undefined : await Ledger.open(store);
    return await performRun(stage, env.name, ledger, {
      log: env.log,
      signal: env.signal,
      dryRun: options.dryRun,
      minFree: Number(env.params['min_free'] ?? 0),
      progress: () => undefined,
      ...(options.show && { show: options.show }),
    });
  } finally {
    await stage.close?.();
    await store?.close();
  }
}

/** A dry run reads where the last run ended, but makes no ledger. */
async function exists(url: string): Promise<boolean> {
  const file = /^sqlite:([^?]+)/.exec(url)?.[1];
  return (
    file === undefined ||
    access(file).then(
      () => true,
      () => false,
    )
  );
}
