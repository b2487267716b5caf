/**
 * The built program as a child process: in a folder of its own, on free ports, with its log as events. Everything a test
 * started is ended and its folder removed afterwards, whatever happens.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach } from 'vitest';
import { AdminClient, type AdminAnswer } from '../../src/runtime/admin-client.js';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = join(ROOT, 'dist/main.js');
/** Generous: the machine has few cores and many tests. */
const LIMIT_MS = 30_000;

export interface LogEvent {
  readonly event: string;
  readonly level: string;
  readonly actor: string;
  readonly [field: string]: unknown;
}

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

type Fields = Readonly<Record<string, unknown>>;
type SectionKeys = Readonly<Record<string, string | number>>;

/** Section title -> keys; `confText` writes it. */
export type Sections = Readonly<Record<string, SectionKeys>>;

/** JSON log to stderr and the admin port on any free port: what every conf of a test begins with. */
export const BASE: Sections = {
  log: { format: 'json', repeat_limit: 0 },
  admin: { address: '127.0.0.1:0', http_address: '127.0.0.1:0' },
};

/** Later sections replace earlier ones key by key. */
export function confText(...parts: readonly Sections[]): string {
  const merged = new Map<string, SectionKeys>();
  for (const part of parts)
    for (const [title, keys] of Object.entries(part)) merged.set(title, { ...merged.get(title), ...keys });
  return [...merged]
    .map(([title, keys]) =>
      [`[${title}]`, ...Object.entries(keys).map(([key, value]) => `${key} = ${value}`)].join('\n'),
    )
    .join('\n\n')
    .concat('\n');
}

/** A packet server that hashes quickly. @param listener, actor further keys */
export function packetSections(listener: SectionKeys = {}, actor: SectionKeys = {}): Sections {
  return {
    'listener packet': { protocol: 'packet', address: '127.0.0.1:0', actor: 'packet', ...listener },
    'actor packet': { type: 'packet', hash_cost: 10, ...actor },
  };
}

/** The data service behind both engines, with its demo user `demo`/`demo`. */
export function dataApiSections(actor: SectionKeys = {}): Sections {
  return {
    'http fast': { address: '127.0.0.1:0', engine: 'uws' },
    'http full': { address: '127.0.0.1:0', engine: 'node' },
    'actor data-api': { type: 'data-api', demo: 'yes', demo_user: 'demo', demo_password: 'demo', ...actor },
  };
}

interface LaunchOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Program and arguments in front of node, such as `prlimit`. */
  readonly wrapper?: readonly string[];
}

/** Those that run; a test process that ends in mid-test leaves none behind. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A folder of one test; the program's working directory. */
export class Workspace {
  readonly path = mkdtempSync(join(tmpdir(), 'program-'));
  private readonly children: ChildProcess[] = [];

  file(name: string): string {
    return join(this.path, name);
  }

  read(name: string): string {
    return readFileSync(this.file(name), 'utf8');
  }

  write(name: string, text: string | Buffer): string {
    mkdirSync(dirname(this.file(name)), { recursive: true });
    // Whole or not at all: the program may be reading it just now.
    writeFileSync(this.file(`${name}.new`), text);
    renameSync(this.file(`${name}.new`), this.file(name));
    return name;
  }

  /** Writes `switchyard.conf`. @returns its name */
  conf(...parts: readonly Sections[]): string {
    return this.write('switchyard.conf', confText(BASE, ...parts));
  }

  spawn(args: readonly string[], { env = {}, wrapper = [] }: LaunchOptions = {}): ChildProcess {
    const [command = '', ...rest] = [...wrapper, process.execPath, MAIN, ...args];
    const child = spawn(command, rest, {
      cwd: this.path,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.children.push(child);
    running.add(child);
    child.once('exit', () => running.delete(child));
    return child;
  }

  /** Runs a verb to its end. */
  async cli(...args: readonly string[]): Promise<Finished> {
    const child = this.spawn(args);
    let [out, err] = ['', ''];
    child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString()));
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    return { code, signal, out, err };
  }

  /** Starts the service without waiting for it. */
  launch(files: readonly string[] = ['switchyard.conf'], options: LaunchOptions = {}): Program {
    return new Program(this, this.spawn([...(options.args ?? []), ...files], options));
  }

  /** Starts the service and waits until everything listens. */
  async start(files?: readonly string[], options?: LaunchOptions): Promise<Program> {
    const program = this.launch(files, options);
    await program.seen('process.ready');
    return program;
  }

  async remove(): Promise<void> {
    for (const child of this.children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, 'exit');
      if (child.kill('SIGKILL')) await gone;
    }
    rmSync(this.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

/** @returns the workspace of the running test; call it at the top of a file or `describe` */
export function useWorkspace(): () => Workspace {
  let current: Workspace | undefined;
  beforeEach(() => {
    current = new Workspace();
  });
  afterEach(async () => {
    await current?.remove();
    current = undefined;
  });
  return () => {
    if (current === undefined) throw new Error('only within a test');
    return current;
  };
}

export class Program {
  readonly events: LogEvent[] = [];
  /** Lines of stdout and stderr that are no JSON. */
  readonly text: string[] = [];
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  private readonly watchers = new Set<() => void>();
  private gone = false;

  constructor(
    private readonly workspace: Workspace,
    readonly child: ChildProcess,
  ) {
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on('line', (line) => this.take(line));
    }
    // `close` comes after the last line, `exit` may come before it.
    this.exited = once(child, 'close').then(([code, signal]: unknown[]) => {
      this.gone = true;
      this.wake();
      return { code: code as number | null, signal: signal as NodeJS.Signals | null };
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  private take(line: string): void {
    if (line.startsWith('{"level"')) this.events.push(JSON.parse(line) as LogEvent);
    else this.text.push(line);
    this.wake();
  }

  private wake(): void {
    for (const watcher of [...this.watchers]) watcher();
  }

  logged(event: string, fields: Fields = {}): LogEvent[] {
    return this.events.filter(
      (one) => one.event === event && Object.entries(fields).every(([key, value]) => one[key] === value),
    );
  }

  /**
   * Waits until the event is in the log. @param from index into `events` where to begin to look
   * @throws Error with the last lines when the process ends before, or after 30 s
   */
  async seen(event: string, fields: Fields = {}, from = 0): Promise<LogEvent> {
    const find = (): LogEvent | undefined =>
      this.events
        .slice(from)
        .find((one) => one.event === event && Object.entries(fields).every(([k, v]) => one[k] === v));
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        this.watchers.delete(look);
        act();
      };
      const fail = (why: string): void =>
        settle(() => reject(new Error(`${why} before ${event} ${JSON.stringify(fields)}\n${this.tail()}`)));
      const look = (): void => {
        const found = find();
        if (found !== undefined) settle(() => resolve(found));
        else if (this.gone) fail('the program ended');
      };
      const timer = setTimeout(() => fail(`${LIMIT_MS} ms passed`), LIMIT_MS);
      this.watchers.add(look);
      look();
    });
  }

  /** The last lines, for messages of failures. */
  tail(): string {
    return [...this.text, ...this.events.slice(-25).map((event) => JSON.stringify(event))].join('\n');
  }

  /** Port that a listener is bound to at present. */
  port(listener: string): number {
    const bound = this.events.filter(
      ({ event, listener: name }) => /^(listener|http)\.listening$/.test(event) && name === listener,
    );
    const port = bound.at(-1)?.['port'];
    if (typeof port !== 'number') throw new Error(`no listener ${listener}\n${this.tail()}`);
    return port;
  }

  /** A page of the admin HTTP listener. */
  async page(path: string): Promise<{ status: number; body: string }> {
    const { port } = await this.seen('admin.http.listening');
    const response = await fetch(`http://127.0.0.1:${String(port)}${path}`);
    return { status: response.status, body: await response.text() };
  }

  /** The verb `ctl`, as an operator types it. */
  ctl(...words: readonly string[]): Promise<Finished> {
    return this.workspace.cli('ctl', ...words);
  }

  /** One command to the admin port, without a process for it. */
  async admin(line: string): Promise<AdminAnswer> {
    // A program whose log is elsewhere is found as `ctl` finds it.
    const written = existsSync(this.workspace.file('var/admin.address'))
      ? this.workspace.read('var/admin.address').trim().split(':').at(-1)
      : (await this.seen('admin.listening'))['port'];
    const token = this.workspace.read('var/admin.token').trim();
    const client = await AdminClient.connect({
      host: '127.0.0.1',
      port: Number(written),
      token,
      timeoutMs: LIMIT_MS,
    });
    try {
      return await client.request(line);
    } finally {
      client.close();
    }
  }

  /** The answer of a reading command. */
  async ask<T>(line: string): Promise<T> {
    const { ok, body } = await this.admin(`json ${line}`);
    if (!ok) throw new Error(`${line}: ${body}`);
    return JSON.parse(body) as T;
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** @returns exit code */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.signal(signal);
    return (await this.exited).code;
  }

  /** As a power cut would. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.exited;
  }
}

/** A port that was free a moment ago, for what has to be known beforehand. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
