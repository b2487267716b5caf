/**
 * Reads where a stuck worker thread is, from the main thread, through the inspector: nothing is attached until it is
 * called. Works for endless loops, runaway regular expressions and Atomics.wait; not for a blocking system call.
 * Main thread.
 *
 * Two surprises of Node's inspector. A thread that is paused neither terminates nor lets the process exit: so a pause is
 * always undone, as soon as its stack was seen, at the deadline, and at process exit. And a message to a thread that is
 * being torn down can abort the process: so whoever terminates a thread waits for `stackProbeEnd` first.
 */
import { Session } from 'node:inspector';

const MAX_FRAMES = 20;

export interface StackSample {
  /** Innermost first: `loopForever (dist/actors/a.js:12)`. At most 20; Node's own frames are left out. */
  readonly frames: readonly string[];
  /** Milliseconds from the call to the sample. */
  readonly tookMs: number;
}

interface WorkerNotice {
  readonly sessionId: string;
  readonly workerInfo: { readonly title: string };
}

/** What we read of a message of the worker's own inspector. */
interface WorkerMessage {
  readonly method?: string;
  readonly params?: {
    readonly scriptId?: string;
    readonly url?: string;
    readonly callFrames?: readonly CallFrame[];
  };
}

interface CallFrame {
  readonly functionName: string;
  /** Zero-based. */
  readonly location: { readonly scriptId: string; readonly lineNumber: number };
}

const running = new Map<number, Promise<StackSample | undefined>>();

/**
 * Two calls for one thread at a time share one sample.
 * @param threadId of a `Worker`, nested ones included
 * @param timeoutMs the answer comes within this time
 * @returns undefined when the thread does not react, ends meanwhile, or is idle. Never rejects.
 */
export function readStack(threadId: number, timeoutMs: number): Promise<StackSample | undefined> {
  let sample = running.get(threadId);
  if (sample === undefined) {
    sample = new Promise<StackSample | undefined>((resolve) => {
      const probe = new Probe(threadId, resolve);
      const timer = setTimeout(() => probe.finish(undefined), timeoutMs);
      probe.onDone = () => clearTimeout(timer);
      probe.start();
    }).finally(() => running.delete(threadId));
    running.set(threadId, sample);
  }
  return sample;
}

/** Settles when nobody reads the thread's stack; from then on it may be terminated. Never rejects. */
export async function stackProbeEnd(threadId: number): Promise<void> {
  await running.get(threadId);
}

class Probe {
  onDone: () => void = () => undefined;
  private readonly session = new Session();
  private readonly urls = new Map<string, string>();
  private readonly startedAt = performance.now();
  private workerSession: string | undefined;
  private done = false;
  private nextId = 1;
  private readonly atExit = (): void => this.finish(undefined);

  constructor(
    private readonly threadId: number,
    private readonly answer: (sample: StackSample | undefined) => void,
  ) {}

  start(): void {
    process.once('exit', this.atExit);
    try {
      this.session.connect();
      this.session.on('NodeWorker.attachedToWorker', ({ params }) => this.onAttached(params));
      this.session.on('NodeWorker.detachedFromWorker', ({ params }) => {
        if (params.sessionId !== this.workerSession) return;
        this.workerSession = undefined;
        this.finish(undefined);
      });
      this.session.on('NodeWorker.receivedMessageFromWorker', ({ params }) => {
        if (params.sessionId === this.workerSession)
          this.onMessage(JSON.parse(params.message) as WorkerMessage);
      });
      // Tells of every thread that lives now; only the one we look for is spoken to.
      this.session.post('NodeWorker.enable', { waitForDebuggerOnStart: false }, (error) => {
        if (error !== null || this.workerSession === undefined) this.finish(undefined);
      });
    } catch {
      this.finish(undefined); // a Node built without inspector, or another front end owns it
    }
  }

  finish(sample: StackSample | undefined): void {
    if (this.done) return;
    this.done = true;
    process.off('exit', this.atExit);
    this.onDone();
    this.tell('Debugger.resume');
    this.tell('Debugger.disable');
    try {
      if (this.workerSession !== undefined)
        this.session.post('NodeWorker.detach', { sessionId: this.workerSession });
      this.session.post('NodeWorker.disable');
      this.session.disconnect();
    } catch {
      // The thread or the session is gone already.
    }
    this.answer(sample);
  }

  private onAttached(notice: WorkerNotice): void {
    // The worker's own id in workerInfo counts attachments; only the title has the thread's: `[worker 7] name`.
    const title = /^\[worker (\d+)\]/.exec(notice.workerInfo.title);
    if (Number(title?.[1]) !== this.threadId) return;
    this.workerSession = notice.sessionId;
    this.tell('Debugger.enable');
    this.tell('Debugger.pause');
  }

  private onMessage({ method, params }: WorkerMessage): void {
    if (method === 'Debugger.scriptParsed' && params?.scriptId !== undefined)
      this.urls.set(params.scriptId, params.url ?? '');
    if (method !== 'Debugger.paused') return;
    const frames = (params?.callFrames ?? [])
      .filter((frame) => this.urls.get(frame.location.scriptId)?.startsWith('node:') !== true)
      .slice(0, MAX_FRAMES)
      .map((frame) => this.describe(frame));
    this.finish({ frames, tookMs: Math.round(performance.now() - this.startedAt) });
  }

  private describe({ functionName, location }: CallFrame): string {
    const url = this.urls.get(location.scriptId) ?? '';
    const path = url.replace(/^file:\/\//, '').replace(`${process.cwd()}/`, '');
    return `${functionName || '(anonymous)'} (${path || 'unknown'}:${location.lineNumber + 1})`;
  }

  private tell(method: string): void {
    if (this.workerSession === undefined) return;
    const message = JSON.stringify({ id: this.nextId++, method });
    try {
      this.session.post('NodeWorker.sendMessageToWorker', { sessionId: this.workerSession, message });
    } catch {
      // As in finish.
    }
  }
}
