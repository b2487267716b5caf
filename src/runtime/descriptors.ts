/**
 * The limit of open files. When it is reached the event loop's `accept` closes the new client without telling us,
 * and goes on; so the reactor refuses clients before that, and a probe notices when something else used the rest up.
 */
import { close, open, readdirSync, readFileSync } from 'node:fs';

/** Kept free for files, databases and outgoing connections. */
const RESERVE = 64;

/** Most connections the limit of open files leaves room for; Infinity where it cannot be read. Start-up only (reads /proc). */
export function connectionRoom(): number {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    if (soft === undefined) return Infinity;
    return Math.max(1, Number(soft) - readdirSync('/proc/self/fd').length - RESERVE);
  } catch {
    return Infinity;
  }
}

/** Tells, without blocking, whether another descriptor can be had. */
export function probeDescriptors(result: (exhausted: boolean) => void): void {
  open('/dev/null', 'r', (error, fd) => {
    if (error === null) return close(fd, () => result(false));
    result(error.code === 'EMFILE' || error.code === 'ENFILE');
  });
}
