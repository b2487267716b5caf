/**
 * Daemon mode: the process starts itself again as a detached child (own session, no terminal, stdio on /dev/null) and
 * waits until the child says over IPC that it is listening, or why it is not. Main thread, at start only.
 */
import { spawn } from 'node:child_process';

/** Set in the child's environment. Not `SWITCHYARD_...`: those variables are conf values. */
const CHILD_MARK = 'DAEMON_OF_SWITCHYARD';

type ChildMessage =
  { readonly type: 'ready' } | { readonly type: 'failed'; readonly text: string; readonly exitCode: number };

export interface DaemonOptions {
  /** Script and its arguments, as in `process.argv.slice(1)`. */
  readonly args: readonly string[];
  /** Milliseconds until the child must be listening; it is ended when it is not. */
  readonly readyTimeoutMs: number;
}

export interface DaemonStart {
  readonly pid: number | undefined;
  /** What the starting process exits with. */
  readonly exitCode: number;
  /** For standard error; empty when all went well. */
  readonly text: string;
}

export function isDaemonChild(): boolean {
  return process.env[CHILD_MARK] !== undefined && process.send !== undefined;
}

/** Never rejects: what went wrong is in the result. */
export function startDaemon(options: DaemonOptions): Promise<DaemonStart> {
  const child = spawn(process.execPath, [...process.execArgv, ...options.args], {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: { ...process.env, [CHILD_MARK]: '1' },
  });
  return new Promise((resolve) => {
    const settle = (exitCode: number, text: string): void => {
      clearTimeout(timer);
      child.removeAllListeners();
      if (child.connected) child.disconnect();
      child.unref();
      resolve({ pid: child.pid, exitCode, text });
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      settle(75, `not listening after ${options.readyTimeoutMs} ms; run with --no-daemon to see why`);
    }, options.readyTimeoutMs);
    child.on('message', (message: ChildMessage) => {
      if (message.type === 'ready') settle(0, '');
      else settle(message.exitCode, message.text);
    });
    child.on('error', (error) => settle(70, error.message));
    child.on('exit', (code, signal) => {
      const how = signal === null ? `with code ${code}` : `by ${signal}`;
      settle(code === null || code === 0 ? 70 : code, `the daemon ended ${how} before it was listening`);
    });
  });
}

/** In the child: everything is listening, the starting process may leave. */
export function reportReady(): void {
  void report({ type: 'ready' });
}

/** In the child: why it could not start. The caller exits afterwards. @returns settles when it is sent */
export function reportFailure(text: string, exitCode: number): Promise<void> {
  return report({ type: 'failed', text, exitCode });
}

function report(message: ChildMessage): Promise<void> {
  return new Promise((resolve) => {
    if (!isDaemonChild() || !process.connected) return resolve();
    process.send?.(message, () => {
      if (process.connected) process.disconnect();
      resolve();
    });
  });
}
