/** Options that every bench understands. */
import { parseArgs } from 'node:util';

export interface BenchOptions {
  readonly rounds: number;
  /** Measured seconds of one run, and seconds of the same load before it. */
  readonly seconds: number;
  readonly warmup: number;
  readonly connections?: readonly number[];
  readonly windows?: readonly number[];
  /** Contestants to run; all that are installed when absent. */
  readonly only?: readonly string[];
  /** Extra conf lines of the program's listener and of its actor: `reactors = 2`. */
  readonly listenerKeys: readonly string[];
  readonly actorKeys: readonly string[];
  /** Use dist/ as it is instead of building it first. */
  readonly build: boolean;
  /** Generator processes of packet-load. */
  readonly processes: number;
  /** CPU core the generator is kept on (`taskset`); the server stays free. */
  readonly core?: number;
}

export const optionHelp = `  --quick                 1 s runs, 3 rounds
  --rounds N              turns of all contestants, default 5
  --seconds S             measured time of one run, default 5
  --warmup S              the same load before it, default 2
  --connections 1,100     instead of the bench's own list
  --windows 1,32          instead of the bench's own list
  --only A,B              these contestants only
  --listener-key "K = V"  extra line of the program's listener section; may be repeated
  --actor-key "K = V"     extra line of its actor section; may be repeated
  --processes N           processes of the packet generator, default 1
  --load-core N           keep the generator on CPU core N (from 0); the server stays free
  --no-build              measure dist/ as it is`;

/** @throws Error naming the option that is wrong */
function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name}: "${text}" is not a number above 0`);
  return value;
}

function count(name: string, text: string): number {
  const value = positive(name, text);
  if (!Number.isInteger(value)) throw new Error(`--${name}: "${text}" is not a whole number`);
  return value;
}

function counts(name: string, text: string | undefined): readonly number[] | undefined {
  return text?.split(',').map((part) => count(name, part));
}

/** @throws Error naming the option that is wrong or unknown */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    strict: true,
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      warmup: { type: 'string' },
      connections: { type: 'string' },
      windows: { type: 'string' },
      only: { type: 'string' },
      'listener-key': { type: 'string', multiple: true, default: [] },
      'actor-key': { type: 'string', multiple: true, default: [] },
      'load-core': { type: 'string' },
      processes: { type: 'string', default: '1' },
      'no-build': { type: 'boolean', default: false },
    },
  });
  const connections = counts('connections', values.connections);
  const windows = counts('windows', values.windows);
  const core = values['load-core'];
  if (core !== undefined && !/^\d+$/.test(core))
    throw new Error(`--load-core: "${core}" is not a core number`);
  return {
    rounds: count('rounds', values.rounds ?? (values.quick ? '3' : '5')),
    seconds: positive('seconds', values.seconds ?? (values.quick ? '1' : '5')),
    warmup: positive('warmup', values.warmup ?? (values.quick ? '1' : '2')),
    ...(connections && { connections }),
    ...(windows && { windows }),
    ...(core !== undefined && { core: Number(core) }),
    ...(values.only !== undefined && { only: values.only.split(',') }),
    listenerKeys: values['listener-key'],
    actorKeys: values['actor-key'],
    build: !values['no-build'],
    processes: count('processes', values.processes),
  };
}
