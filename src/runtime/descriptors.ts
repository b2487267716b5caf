/**
 * The limit of open files. When it is reached the event loop's `accept` closes the new client without telling us,
 * and goes on; so the reactor refuses clients before that, and a probe notices when something else used the rest up.
 */
import { close, open, readdir, readdirSync, readFileSync } from 'node:fs';

/** Kept free for files, databases and outgoing connections. */
const RESERVE = 64;

/** Most connections the limit of open files leaves room for; Infinity where it cannot be read. Start-up only (reads /proc). */
export function connectionRoom(): number {
  try {
    return Math.max(1, openFileLimit() - readdirSync('/proc/self/fd').length - RESERVE);
  } catch {
    return Infinity;
  }
}

/** The soft limit; Infinity where it cannot be read. Start-up only. */
function openFileLimit(): number {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return soft === undefined ? Infinity : Number(soft);
  } catch {
    return Infinity;
  }
}

const limitAtStart = openFileLimit();

/** Counts, without blocking, how many descriptors can be had. Not for every second: it lists all that are open. */
export function descriptorsLeft(result: (left: number) => void): void {
  readdir('/proc/self/fd', (error, names) => {
    if (error === null) return result(limitAtStart - names.length);
    // Without /proc: one that can be had has to do.
    probeDescriptors((exhausted) => result(exhausted ? 0 : Infinity));
  });
}

/** Tells, without blocking, whether another descriptor can be had. */
export function probeDescriptors(result: (exhausted: boolean) => void): void {
  open('/dev/null', 'r', (error, fd) => {
    if (error === null) return close(fd, () => result(false));
    result(error.code === 'EMFILE' || error.code === 'ENFILE');
  });
}
