/** Who wrote a record, so that a later process can tell whether the writer still lives. Any thread. */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { SqlValue } from './driver.js';

export interface ProcessIdentity {
  readonly host: string;
  readonly pid: number;
  /** Start of the process in kernel ticks with the boot, so that a reused pid is another process; '' if unknown. */
  readonly started: string;
}

/** The fields behind the command name, which may itself hold blanks and brackets. */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie still has its number and start, but holds nothing any more.
    if (fields[0] === 'Z' || fields[0] === 'X') return 'ended';
    const ticks = fields[19] ?? '';
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'latin1')).trim();
    return `${boot}/${ticks}`;
  } catch {
    return undefined;
  }
}

export async function ownIdentity(): Promise<ProcessIdentity> {
  return processIdentity(process.pid);
}

/** Of a process of this machine. */
export async function processIdentity(pid: number): Promise<ProcessIdentity> {
  return { host: hostname(), pid, started: (await startOf(pid)) ?? '' };
}

/** @returns false for a process surely dead; undefined when it lived on another host. */
export async function isAlive(host: SqlValue, pid: number, started: SqlValue): Promise<boolean | undefined> {
  if (host !== hostname()) return undefined;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: alive, but somebody else's.
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'EPERM') return false;
  }
  const now = await startOf(pid);
  return now === undefined || started === '' || now === started;
}
