/**
 * A child process in a process group of its own, so that it ends with everything it started. Its output is read in whole lines,
 * bounded. Worker thread.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { access, constants, stat } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LineReader } from '../../../protocol/lines.js';
import { touchFile } from '../../../runtime/touch-file.js';
import type { Logger } from '../../../runtime/log-contract.js';

export interface ChildOptions {
  readonly argv: readonly [string, ...string[]];
  readonly dir: string | undefined;
  readonly environment: Readonly<Record<string, string>>;
  readonly beatFile: string | undefined;
  readonly stopWaitMs: number;
  /** Lines logged in a minute; 0: none. */
  readonly outputLines: number;
  readonly log: Logger;
}

export interface ChildEnd {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const MAX_LINE = 1_000;
const LAST_LINES = 10;
const MINUTE = 60_000;
/** Output may stay open after the end: a child of the child holds it. */
const OUTPUT_GRACE = 1_000;

export class Child {
  readonly lastLines: string[] = [];
  readonly ended: Promise<ChildEnd>;
  private readonly started = performance.now();
  private readonly startedAt = Date.now();
  private over = false;
  private minute = 0;
  private logged = 0;
  private dropped = 0;

  private constructor(
    private readonly process: ChildProcess,
    private readonly options: ChildOptions,
  ) {
    const closed = new Promise<void>((done) => process.once('close', () => done()));
    this.ended = new Promise((done) => {
      process.once('exit', (code, signal) => {
        void Promise.race([closed, sleep(OUTPUT_GRACE, undefined, { ref: false })]).then(() => {
          this.over = true;
          process.stdout?.destroy();
          process.stderr?.destroy();
          this.tellDropped();
          done({ code, signal });
        });
      });
    });
    for (const stream of ['stdout', 'stderr'] as const) {
      const say = (text: string): void => this.line(stream, text);
      const reader = new LineReader({ line: say, tooLong: say }, MAX_LINE);
      const decoder = new TextDecoder();
      process[stream]?.on('data', (chunk: Buffer) => reader.push(decoder.decode(chunk, { stream: true })));
      process[stream]?.on('close', () => reader.end());
    }
  }

  /** @throws the system's error when the program cannot be started */
  static async start(options: ChildOptions): Promise<Child> {
    const [program, ...args] = options.argv;
    if (options.beatFile !== undefined) await touchFile(options.beatFile);
    const process = spawn(program, args, {
      cwd: options.dir,
      env: { ...globalThis.process.env, ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    await new Promise<void>((done, failed) => process.once('spawn', done).once('error', failed));
    process.on('error', () => undefined);
    return new Child(process, options);
  }

  /** Where a program would be found. @throws Error when nowhere */
  static async find(program: string, dir: string | undefined): Promise<string> {
    const folders = program.includes('/') ? [dir ?? '.'] : (process.env['PATH'] ?? '').split(delimiter);
    for (const folder of folders) {
      const path = program.includes('/') ? resolve(folder, program) : join(folder, program);
      const found = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (found) return path;
    }
    throw new Error(`${program} is no program that can be run`);
  }

  /** TERM to the group, KILL when `gone` does not come true in time. */
  static async endGroup(
    pid: number,
    waitMs: number,
    alive: () => Promise<boolean | undefined>,
  ): Promise<void> {
    signalGroup(pid, 'SIGTERM');
    for (const until = performance.now() + waitMs; performance.now() < until;) {
      if ((await alive()) !== true) return;
      await sleep(50);
    }
    signalGroup(pid, 'SIGKILL');
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  get ageMs(): number {
    return performance.now() - this.started;
  }

  /** Since the beat file was last touched. */
  async silenceMs(): Promise<number> {
    const { beatFile } = this.options;
    if (beatFile === undefined) return 0;
    const info = await stat(beatFile).catch(() => undefined);
    // A removed file, or a clock that was set back, is no sign of life, but none of death either before its time.
    const last = Math.min(Math.max(info?.mtimeMs ?? 0, this.startedAt), Date.now());
    return Date.now() - last;
  }

  async endsWithin(ms: number): Promise<boolean> {
    if (this.over) return true;
    const timer = new AbortController();
    const late = sleep(ms, false, { signal: timer.signal }).catch(() => false);
    const ended = this.ended.then(() => true);
    const result = await Promise.race([ended, late]);
    timer.abort();
    return result;
  }

  /** Ends the whole group; `ended` tells when it is over. */
  stop(): void {
    void Child.endGroup(this.pid, this.options.stopWaitMs, async () => !this.over).then(() =>
      // Members that outlived their leader.
      signalGroup(this.pid, 'SIGKILL'),
    );
  }

  private line(stream: 'stdout' | 'stderr', text: string): void {
    // eslint-disable-next-line no-control-regex
    const clean = text.replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, '?');
    this.lastLines.push(clean.slice(0, 200));
    if (this.lastLines.length > LAST_LINES) this.lastLines.shift();
    if (this.options.outputLines === 0) return;
    const minute = Math.floor(this.ageMs / MINUTE);
    if (minute !== this.minute) {
      this.tellDropped();
      this.minute = minute;
      this.logged = 0;
    }
    if (this.logged++ < this.options.outputLines)
      this.options.log.info('run.output', { stream, text: clean });
    else this.dropped++;
  }

  private tellDropped(): void {
    if (this.dropped > 0) this.options.log.warn('run.output-dropped', { lines: this.dropped });
    this.dropped = 0;
  }
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  if (pid <= 1) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // No member is left.
  }
}
