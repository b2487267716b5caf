/**
 * Tells systemd about readiness and life (Type=notify, WatchdogSec). Main thread. Node has no datagram UNIX sockets, so
 * the `systemd-notify` program does it; the unit needs NotifyAccess=all. Without NOTIFY_SOCKET nothing happens.
 */
import { execFile } from 'node:child_process';
import { reasonOf } from './errors.js';
import type { Logger } from './log-contract.js';

export interface SystemdNotifier {
  ready(status: string): void;
  stopping(): void;
  close(): void;
}

const NOTIFY_TIMEOUT_MS = 5000;

/**
 * @param alive asked before each watchdog beat; a false answer withholds the beat, so that systemd restarts us. The
 *   beat comes from a timer of the main event loop: a stuck loop sends none either.
 */
export function systemdNotifier(
  log: Logger,
  alive: () => boolean,
  env: Readonly<Record<string, string | undefined>> = process.env,
): SystemdNotifier {
  const none = (): void => undefined;
  if (env['NOTIFY_SOCKET'] === undefined) return { ready: none, stopping: none, close: none };
  let warned = false;
  let running = 0;
  const notify = (...states: string[]): void => {
    if (running >= 4) return; // a hanging program must not pile up
    running += 1;
    const args = [`--pid=${process.pid}`, ...states];
    execFile('systemd-notify', args, { timeout: NOTIFY_TIMEOUT_MS, env: { ...env } }, (error) => {
      running -= 1;
      if (error === null || warned) return;
      warned = true;
      log.warn('systemd.notify', {
        reason: reasonOf(error),
        hint: 'is systemd-notify installed, NotifyAccess=all?',
      });
    });
  };
  const watchdogMs = Number(env['WATCHDOG_USEC'] ?? '0') / 1000;
  const forUs = env['WATCHDOG_PID'] === undefined || env['WATCHDOG_PID'] === String(process.pid);
  const beat =
    watchdogMs > 0 && forUs
      ? setInterval(() => {
          if (alive()) notify('WATCHDOG=1');
        }, watchdogMs / 2).unref()
      : undefined;
  return {
    ready: (status) => notify('READY=1', `STATUS=${status}`),
    stopping: () => notify('STOPPING=1'),
    close: () => clearInterval(beat),
  };
}
