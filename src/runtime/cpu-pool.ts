/**
 * Runs stateless CPU jobs (cpu-jobs.ts) on a few threads of their own, so that neither the reactor nor an actor computes
 * for long. Nothing is started before the first job; idle threads leave. Main thread.
 */
import { availableParallelism } from 'node:os';
import { Piscina } from 'piscina';
import { CPU_JOB_NAMES, type CpuJobName, type CpuJobs } from './cpu-jobs.js';
import { entryUrl } from './entry.js';
import { reasonOf, SwitchyardError } from './errors.js';

export interface CpuPoolOptions {
  /** Default: one less than the machine has processors, at least 2: they compute beside an idle reactor. */
  readonly maxThreads?: number;
  /** Jobs that may wait for a thread; default 256. */
  readonly maxQueue?: number;
  /** Time in ms after which an idle thread leaves; default 10,000. */
  readonly idleMs?: number;
  /** Heap of one thread in MB; default 256. A job that needs more fails. Does not count Buffers. */
  readonly maxHeapMb?: number;
}

export interface CpuRunOptions {
  /** Deadline in ms, waiting included. The thread of a job that exceeds it is ended. */
  readonly timeoutMs: number;
  /** ArrayBuffers that are handed over instead of copied; unusable for the caller afterwards. */
  readonly transfer?: ArrayBuffer[];
}

export class CpuPool {
  private readonly maxThreads: number;
  private readonly maxQueue: number;
  private pool: Piscina | undefined;
  private open = 0;
  private closed = false;
  /** Called when the last open job has ended. */
  private idle: () => void = () => undefined;

  constructor(private readonly options: CpuPoolOptions = {}) {
    this.maxThreads = options.maxThreads ?? Math.max(2, availableParallelism() - 1);
    this.maxQueue = options.maxQueue ?? 256;
  }

  /** Threads alive now. */
  get threads(): number {
    return this.pool?.threads.length ?? 0;
  }

  /** Jobs running and waiting. */
  get jobs(): number {
    return this.open;
  }

  /**
   * @throws SwitchyardError CPU_UNKNOWN_JOB, CPU_BUSY (queue full), CPU_TIMEOUT, CPU_FAILED (the job threw or ran out
   *   of memory), ACT_STOPPED
   */
  async run<N extends CpuJobName>(
    name: N,
    data: CpuJobs[N]['data'],
    { timeoutMs, transfer = [] }: CpuRunOptions,
  ): Promise<CpuJobs[N]['result']> {
    if (this.closed) throw new SwitchyardError('ACT_STOPPED', { to: 'cpu' });
    if (!CPU_JOB_NAMES.includes(name))
      throw new SwitchyardError('CPU_UNKNOWN_JOB', { job: name, known: CPU_JOB_NAMES.join(', ') });
    if (this.open >= this.maxThreads + this.maxQueue)
      throw new SwitchyardError('CPU_BUSY', { job: name, limit: this.maxQueue });
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), timeoutMs);
    this.open += 1;
    try {
      const options = { name: 'runJob', signal: deadline.signal, transferList: transfer };
      return (await this.started().run({ name, data }, options)) as CpuJobs[N]['result'];
    } catch (cause) {
      throw this.failure(name, timeoutMs, deadline.signal.aborted, cause);
    } finally {
      clearTimeout(timer);
      this.open -= 1;
      if (this.open === 0) this.idle();
    }
  }

  /** A job as an actor asks for it: `[name, data]`. @throws as `run` */
  runMessage(message: unknown, timeoutMs: number): Promise<unknown> {
    const [name, data] = Array.isArray(message) ? (message as unknown[]) : [String(message)];
    return this.run(name as CpuJobName, data as CpuJobs[CpuJobName]['data'], { timeoutMs });
  }

  /** Takes no more jobs, waits for those it has until the deadline in ms, then ends the threads. */
  async close(deadlineMs = 5_000): Promise<void> {
    this.closed = true;
    const { pool } = this;
    this.pool = undefined;
    if (pool === undefined) return;
    let timer: NodeJS.Timeout | undefined;
    // Piscina's own close drops jobs whose thread is still starting.
    if (this.open > 0)
      await new Promise<void>((resolve) => {
        this.idle = resolve;
        timer = setTimeout(resolve, deadlineMs);
      });
    clearTimeout(timer);
    await pool.destroy();
  }

  private started(): Piscina {
    this.pool ??= new Piscina({
      filename: entryUrl('./cpu-jobs.js', import.meta.url).href,
      minThreads: 0,
      maxThreads: this.maxThreads,
      maxQueue: this.maxQueue,
      idleTimeout: this.options.idleMs ?? 10_000,
      // The faster modes park the thread between jobs, which stops its timers and file reads.
      atomics: 'disabled',
      resourceLimits: { maxOldGenerationSizeMb: this.options.maxHeapMb ?? 256 },
      // Flags of this process (an inspector, a preloaded module) are not meant for the jobs.
      execArgv: [],
    });
    return this.pool;
  }

  private failure(job: string, timeoutMs: number, late: boolean, cause: unknown): SwitchyardError {
    if (late) return new SwitchyardError('CPU_TIMEOUT', { job, timeoutMs }, { cause });
    if (this.closed) return new SwitchyardError('ACT_STOPPED', { to: 'cpu' }, { cause });
    return new SwitchyardError('CPU_FAILED', { job, reason: reasonOf(cause) }, { cause });
  }
}
