/** Children of a supervisor under test: they do what the test says and write down what happened to them. */
import type { ChildHandle, ChildSpec, ExitReason } from '../../src/runtime/supervisor.js';

export interface FakeOptions {
  readonly restart?: ChildSpec['restart'];
  readonly shutdownMs?: number;
  readonly startupErrorBehavior?: NonNullable<ChildSpec['startupErrorBehavior']>;
  /** Time in ms `start` takes. */
  readonly startMs?: number;
  /** Time in ms `stop` takes; Infinity: it never reacts. */
  readonly stopMs?: number;
  /** Time in ms `kill` takes. */
  readonly killMs?: number;
  /** `stop` rejects. */
  readonly stopFails?: boolean;
}

const sleep = (ms: number): Promise<void> =>
  ms === 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms));

export class FakeChild {
  /** How many of the next starts fail. */
  failStarts = 0;
  alive = 0;
  mostAlive = 0;
  starts = 0;
  kills = 0;
  aborted = 0;
  private end: ((reason: ExitReason) => void) | undefined;

  constructor(
    readonly id: string,
    private readonly log: string[],
    private readonly options: FakeOptions = {},
  ) {}

  get spec(): ChildSpec {
    const { restart = 'permanent', shutdownMs = 1_000, startupErrorBehavior } = this.options;
    return {
      id: this.id,
      restart,
      shutdownMs,
      ...(startupErrorBehavior && { startupErrorBehavior }),
      start: (signal) => this.start(signal),
    };
  }

  crash(message = 'boom', cause?: object): void {
    this.exit({ kind: 'crash', message, ...(cause && { cause }) });
  }

  exit(reason: ExitReason): void {
    if (this.end === undefined) throw new Error(`${this.id} does not run`);
    this.log.push(`${this.id} ${reason.kind}`);
    this.gone(reason);
  }

  private gone(reason: ExitReason): void {
    if (this.end === undefined) return;
    this.alive -= 1;
    const end = this.end;
    this.end = undefined;
    end(reason);
  }

  private async start(signal: AbortSignal): Promise<ChildHandle> {
    signal.addEventListener('abort', () => (this.aborted += 1));
    this.alive += 1;
    this.mostAlive = Math.max(this.mostAlive, this.alive);
    await sleep(this.options.startMs ?? 0);
    if (this.failStarts > 0) {
      this.failStarts -= 1;
      this.alive -= 1;
      this.log.push(`${this.id} no start`);
      throw new Error(`${this.id} cannot start`);
    }
    this.starts += 1;
    this.log.push(`${this.id} up`);
    const exited = new Promise<ExitReason>((resolve) => (this.end = resolve));
    return {
      exited,
      stop: async (reason) => {
        if (this.options.stopFails) throw new Error('stop failed');
        if (this.options.stopMs === Number.POSITIVE_INFINITY) return new Promise(() => undefined);
        await sleep(this.options.stopMs ?? 0);
        this.log.push(`${this.id} down`);
        this.gone({ kind: 'normal', message: reason });
      },
      kill: async () => {
        this.kills += 1;
        await sleep(this.options.killMs ?? 0);
        this.log.push(`${this.id} killed`);
        this.gone({ kind: 'killed', message: 'killed' });
      },
    };
  }
}
