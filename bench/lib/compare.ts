/** Runs contestants in turns, each run with a fresh server, and keeps every figure. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchOptions } from './options.js';
import type { ServerProcess } from './server-process.js';

export interface Contestant {
  readonly name: string;
  /** Why it cannot run here, e.g. that it is not installed. Undefined: it can. */
  missing?(): string | undefined;
  /** @param dir an empty folder of this run, removed afterwards */
  start(dir: string): Promise<ServerProcess>;
}

/** One run. */
export interface Sample {
  /** The figure that is compared, in the unit of the bench. */
  readonly value: number;
  /** Wrong or missing answers; any makes the run invalid, and the table says so. */
  readonly failed: number;
  readonly p50Us?: number;
  readonly p99Us?: number;
  /** CPU seconds used per second of the run. */
  readonly serverCpu?: number;
  readonly generatorCpu?: number;
  /** Everything the tool reported. */
  readonly detail: unknown;
}

export interface Series {
  readonly contestant: string;
  readonly samples: readonly Sample[];
}

export interface CaseResult {
  readonly name: string;
  readonly series: readonly Series[];
}

/**
 * The contestants that can run here and were not deselected; prints why one is left out.
 * @throws Error when `--only` names one that does not exist
 */
export function choose(all: readonly Contestant[], options: BenchOptions): readonly Contestant[] {
  const names = all.map(({ name }) => name);
  const unknown = options.only?.find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new Error(`--only: no contestant "${unknown}" here; there are ${names.join(', ')}`);
  return all.filter((contestant) => {
    if (options.only && !options.only.includes(contestant.name)) return false;
    const reason = contestant.missing?.();
    if (reason !== undefined) console.log(`without ${contestant.name}: ${reason}`);
    return reason === undefined;
  });
}

/** A folder of its own around `use`, removed afterwards. */
export async function inTemporaryFolder<T>(use: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'switchyard-bench-'));
  try {
    return await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** One case: A B C, A B C, ... `rounds` times. */
export async function inTurns(
  name: string,
  contestants: readonly Contestant[],
  rounds: number,
  measure: (server: ServerProcess, contestant: Contestant, dir: string) => Promise<Sample>,
): Promise<CaseResult> {
  const series = contestants.map(({ name: contestant }) => ({ contestant, samples: [] as Sample[] }));
  for (let round = 1; round <= rounds; round++) {
    for (const [i, contestant] of contestants.entries()) {
      process.stderr.write(`${name}: round ${round} of ${rounds}, ${contestant.name}\n`);
      const sample = await inTemporaryFolder(async (dir) => {
        const server = await contestant.start(dir);
        try {
          return await measure(server, contestant, dir);
        } finally {
          await server.stop();
        }
      });
      series[i]?.samples.push(sample);
    }
  }
  return { name, series };
}
