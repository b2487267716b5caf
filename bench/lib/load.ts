/** Runs the C load generators and reads their JSON. */
import { spawn } from 'node:child_process';
import { native, type NativeTool } from './native.js';

export interface Latency {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  readonly mean: number;
}

export interface Cpu {
  /** Seconds. */
  readonly user: number;
  readonly system: number;
}

export interface ServerCpu extends Cpu {
  /** Threads that used at least 5 ms. */
  readonly threads: readonly { readonly tid: number; readonly name: string; readonly seconds: number }[];
}

export interface LoadResult {
  readonly perSecond: number;
  readonly seconds: number;
  readonly latencyUs: Latency;
  /** Wrong, missing or unanswered requests. */
  readonly failed: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly cpu: { readonly generator: Cpu; readonly server: ServerCpu };
}

export interface PacketLoadOptions {
  readonly port: number;
  readonly connections: number;
  readonly window: number;
  /** `0`, `6`, a list in turn such as `0,6`, or `redis-ping`. */
  readonly code: string;
  readonly seconds: number;
  readonly warmup: number;
  readonly pid: number;
  readonly user?: string;
  readonly password?: string;
  readonly processes?: number;
  readonly core?: number;
}

export interface HttpLoadOptions {
  readonly url: string;
  readonly clients: number;
  readonly seconds: number;
  readonly warmup: number;
  readonly pid: number;
  readonly version: '0.9' | '1.0' | '1.1';
  readonly keepAlive: boolean;
  /** File with the body of a right answer. */
  readonly bodyFile: string;
  readonly core?: number;
}

/**
 * Exit code 3 of packet-load (wrong replies) is a result, not an error: the caller reads `failed`.
 * @param core CPU core the generator is kept on; undefined leaves it to the system
 */
async function runTool(
  tool: NativeTool,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  core: number | undefined,
): Promise<LoadResult> {
  const words = [native(tool), ...args];
  if (core !== undefined) words.unshift('taskset', '-c', String(core));
  const [command = '', ...rest] = words;
  const child = spawn(command, rest, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const line = out.split('\n').find((text) => text.startsWith('{'));
  if (line === undefined) throw new Error(`${tool} ${args.join(' ')} ended with ${code}: ${err.trim()}`);
  return JSON.parse(line) as LoadResult;
}

export async function packetLoad(options: PacketLoadOptions): Promise<LoadResult> {
  const { user, password, core, ...numbers } = options;
  const args = Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)]);
  if (user !== undefined) args.push('--user', user);
  return runTool('packet-load', args, password === undefined ? {} : { PACKET_LOAD_PASSWORD: password }, core);
}

export async function httpLoad(options: HttpLoadOptions): Promise<LoadResult> {
  const version = { '0.9': '-9', '1.0': '-1', '1.1': '-2' }[options.version];
  const args = [version, '-c', String(options.clients), '-t', String(options.seconds), '--json'];
  args.push('--warmup', String(options.warmup), '--pid', String(options.pid), '--body', options.bodyFile);
  if (options.keepAlive) args.push('-k');
  return runTool('http-load', [...args, options.url], {}, options.core);
}

/** A packet generator that only holds its connections open. */
export interface HeldConnections {
  /** Pings every connection once. @returns how many answered */
  release(): Promise<number>;
}

/** @throws Error when not all could be opened */
export async function holdConnections(port: number, connections: number): Promise<HeldConnections> {
  const args = ['--port', String(port), '--connections', String(connections), '--hold'];
  const child = spawn(native('packet-load'), args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  const closed = new Promise<void>((resolve) => child.on('close', () => resolve()));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const ready = new Promise<void>((resolve) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      if (out.includes('"connected"')) resolve();
    });
  });
  await Promise.race([ready, closed]);
  if (!out.includes('"connected"')) throw new Error(`packet-load ${args.join(' ')}: ${err.trim()}`);
  return {
    async release() {
      child.stdin.end('\n');
      await closed;
      return Number(/"alive":(\d+)/.exec(out)?.[1] ?? 0);
    },
  };
}
