/**
 * Signals and last-resort errors of the process. Main thread. docs/operations.md holds the table:
 *
 *     TERM INT  ordered stop within a deadline (exit 0); a second one: at once (exit 143 130)
 *     HUP       reload         USR1  reopen logs         USR2  drain and leave
 *     uncaught exception, unhandled rejection: logged, flushed, exit 70
 *
 * SIGPIPE is ignored by Node; a log terminal that went away must not end the process either.
 */
import { writeSync } from 'node:fs';
import { reasonOf } from './errors.js';
import type { Logger } from './log-contract.js';

export interface SignalActions {
  /** Ordered stop. The process exits when `exited` of the tree settles. */
  stop(reason: string): Promise<void>;
  reload(): Promise<void>;
  reopenLogs(): Promise<void>;
  drain(): Promise<void>;
  /** Last words before a hard exit: flush the log, remove the pid file. Must not throw. */
  beforeExit(): void;
}

export interface SignalOptions {
  readonly actions: SignalActions;
  readonly log: Logger;
  /** Milliseconds an ordered stop may take; then exit 70. Asked when the stop begins. */
  stopDeadlineMs(): number;
  /** Replaced by tests. */
  readonly exit?: (code: number) => void;
}

/** What `stop` may take over its own deadline before the process is ended from here. */
const GRACE_MS = 2000;
const EXIT_INTERNAL = 70;
const EXIT_BY_SIGNAL = { SIGTERM: 143, SIGINT: 130 } as const;

/** @returns removes all handlers */
export function installSignals(options: SignalOptions): () => void {
  const { actions, log } = options;
  const exit = options.exit ?? ((code: number) => process.exit(code));
  let stopping = false;
  let leaving = false;

  const leave = (code: number): void => {
    if (leaving) return;
    leaving = true;
    actions.beforeExit();
    exit(code);
  };

  const stop = (signal: 'SIGTERM' | 'SIGINT'): void => {
    if (stopping) {
      log.warn('signal.second', { signal });
      leave(EXIT_BY_SIGNAL[signal]);
      return;
    }
    stopping = true;
    const deadlineMs = options.stopDeadlineMs();
    log.notice('signal.stop', { signal, deadlineMs });
    setTimeout(() => {
      log.fatal('stop.deadline', {
        deadlineMs,
        hint: 'a child did not stop; see the log above',
      });
      leave(EXIT_INTERNAL);
    }, deadlineMs + GRACE_MS).unref();
    actions.stop(signal).catch((thrown: unknown) => {
      log.fatal('stop.failed', { reason: reasonOf(thrown) });
      leave(EXIT_INTERNAL);
    });
  };

  /** HUP, USR1, USR2: the action may fail; the process goes on. */
  const act = (signal: string, action: () => Promise<void>) => (): void => {
    log.notice('signal', { signal });
    action().catch((thrown: unknown) => log.error('signal.failed', { signal, reason: reasonOf(thrown) }));
  };

  const fatal = (error: unknown, origin: string): void => {
    try {
      log.fatal('process.uncaught', {
        origin,
        reason: reasonOf(error),
        stack: error instanceof Error ? error.stack : undefined,
      });
    } catch {
      writeSync(2, `switchyard: ${origin}: ${reasonOf(error)}\n`);
    }
    leave(EXIT_INTERNAL);
  };

  const handlers: readonly (readonly [NodeJS.Signals, () => void])[] = [
    ['SIGTERM', () => stop('SIGTERM')],
    ['SIGINT', () => stop('SIGINT')],
    ['SIGHUP', act('SIGHUP', () => actions.reload())],
    ['SIGUSR1', act('SIGUSR1', () => actions.reopenLogs())],
    ['SIGUSR2', act('SIGUSR2', () => actions.drain())],
  ];
  for (const [signal, handler] of handlers) process.on(signal, handler);
  // Node turns an unhandled rejection into this event with its own origin.
  process.on('uncaughtException', fatal);
  const ignore = (): void => undefined;
  process.stdout.on('error', ignore);
  process.stderr.on('error', ignore);
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
    process.off('uncaughtException', fatal);
    process.stdout.off('error', ignore);
    process.stderr.off('error', ignore);
  };
}
