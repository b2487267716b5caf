/** Starts a server for one run, waits until it listens, and stops it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A port nobody listens on now. */
export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** True when a TCP connection to the port of this machine is accepted. */
export async function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

export interface StartOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** All of them must accept before the server counts as started. */
  readonly ports: readonly number[];
  /** Default 20,000. */
  readonly timeoutMs?: number;
}

export class ServerProcess {
  /** Milliseconds from just before spawn until every port accepted, in steps of about 2 ms. */
  readonly startedMs: number;

  private constructor(
    private readonly child: ChildProcess,
    readonly port: number,
    startedMs: number,
  ) {
    this.startedMs = startedMs;
  }

  /** @throws Error with what the server printed, when it ends or does not listen in time */
  static async start(options: StartOptions): Promise<ServerProcess> {
    const began = performance.now();
    const child = spawn(options.command, options.args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    let ended: string | undefined;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-4000);
      });
    }
    child.on('error', (error) => (ended = error.message));
    child.on('exit', (code, signal) => (ended ??= `ended with ${signal ?? code}`));
    const name = [options.command, ...options.args].join(' ');
    const waiting = [...options.ports];
    while (waiting.length > 0) {
      const port = waiting[0];
      if (port !== undefined && (await accepts(port))) {
        waiting.shift();
        continue;
      }
      if (ended !== undefined || performance.now() - began > (options.timeoutMs ?? 20_000)) {
        child.kill('SIGKILL');
        throw new Error(`${name}: ${ended ?? `port ${port} is not listening in time`}\n${said}`);
      }
      await sleep(2);
    }
    return new ServerProcess(child, options.ports[0] ?? 0, performance.now() - began);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Processes of this server: itself, or for a master such as nginx the one child that does the work. */
  get workingPid(): number {
    const children = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8').trim();
    return children === '' ? this.pid : Number(children.split(' ')[0]);
  }

  /** Bytes of memory the process holds now: resident set. */
  residentBytes(): number {
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1];
    return Number(kib) * 1024;
  }

  /** Asks it to stop, and kills it when it has not within ten seconds. */
  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => this.child.once('exit', () => resolve()));
    this.child.kill('SIGTERM');
    const killer = setTimeout(() => this.child.kill('SIGKILL'), 10_000);
    await gone;
    clearTimeout(killer);
  }
}
