/**
 * One run of a stage as a user starts it, `switchyard stage NAME --once`, in a process of its own whose memory is watched from
 * outside: nothing of the bench is in the figures.
 */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunCounts } from '../../src/store/ledger.js';
import { build } from '../peers/switchyard.js';
import type { Sample } from './compare.js';
import type { BenchOptions } from './options.js';
import { root } from './paths.js';

export interface StageProcessRun {
  readonly dir: string;
  /** Keys of the stage's section, `type` among them. */
  readonly written: Readonly<Record<string, string>>;
  /** Rows it has to bring; every other number makes the run invalid. */
  readonly rows: number;
}

/** MiB resident at one moment: all, and without mapped files (Node's own program among them). */
interface Resident {
  readonly all: number;
  readonly anonymous: number;
  readonly highest: number;
}

const INTERVAL = 100;
const NAME = 'bench';
/** Node's own, for a look into what grows: `BENCH_NODE_FLAGS="--trace-gc"`; what is printed then goes to the terminal. */
const FLAGS = (process.env['BENCH_NODE_FLAGS'] ?? '').split(' ').filter(Boolean);

/** @returns undefined when the process has ended */
function residentOf(pid: number): Resident | undefined {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return undefined;
  }
  const mib = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024;
  const all = mib('VmRSS');
  // A process that has ended and was not yet waited for has no memory.
  return Number.isNaN(all) ? undefined : { all, anonymous: mib('RssAnon'), highest: mib('VmHWM') };
}

/** @returns MiB at most as the value of the sample. @throws whatever made the run fail */
export async function measureStage(
  { dir, written, rows }: StageProcessRun,
  options: BenchOptions,
): Promise<Sample> {
  build(options);
  const conf = join(dir, 'stage.conf');
  const keys = Object.entries({ ledger: `sqlite:${join(dir, 'ledger.db')}`, ...written });
  const lines = keys.map(([key, value]) => `${key} = ${value}`);
  // A stage of a running server has a schedule; here it is run once, whatever that is.
  writeFileSync(conf, ['[log]', 'level = warn', `[stage ${NAME}]`, ...lines, 'every = 1h', ''].join('\n'));
  const args = [...FLAGS, `${root}/dist/main.js`, 'stage', NAME, '--once', '--json', conf];
  const child = spawn(process.execPath, args, { cwd: dir, stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  const sizes: Resident[] = [];
  const timer = setInterval(() => {
    const size = residentOf(child.pid ?? 0);
    if (size !== undefined) sizes.push(size);
  }, INTERVAL);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).finally(() => clearInterval(timer));
  if (FLAGS.length > 0) process.stderr.write(said);
  const answer = said.split('\n').findLast((line) => line.startsWith('{'));
  if (code !== 0 || answer === undefined) throw new Error(`the stage ended with ${code}: ${said}`);
  const { ms, ...counts } = JSON.parse(answer) as RunCounts & { readonly ms: number };
  return sample(sizes, ms / 1_000, rows, counts);
}

function sample(sizes: readonly Resident[], seconds: number, rows: number, counts: RunCounts): Sample {
  const middle = sizes.length >> 1;
  const peak = (some: readonly Resident[]): number => Math.max(...some.map(({ all }) => all));
  const [firstHalf, secondHalf] = [peak(sizes.slice(0, middle)), peak(sizes.slice(middle))];
  const detail = {
    firstHalf,
    secondHalf,
    /** 1: it did not grow any more once half of the rows were through. */
    growth: secondHalf / firstHalf,
    anonymous: Math.max(...sizes.map(({ anonymous }) => anonymous)),
    /** Mean of each tenth of the run. */
    tenths: tenths(sizes.map(({ all }) => all)),
    seconds,
    rowsPerSecond: rows / seconds,
    counts,
  };
  // The kernel's own mark misses nothing between two looks.
  return { value: sizes.at(-1)?.highest ?? NaN, failed: Math.abs(rows - counts.rowsOut), detail };
}

function tenths(sizes: readonly number[]): readonly number[] {
  return Array.from({ length: 10 }, (_, i) => {
    const some = sizes.slice(Math.floor((i * sizes.length) / 10), Math.floor(((i + 1) * sizes.length) / 10));
    return Math.round(some.reduce((sum, size) => sum + size, 0) / some.length);
  });
}
