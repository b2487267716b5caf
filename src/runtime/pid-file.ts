/**
 * The pid file: one process per file. Start-up and exit of the main thread only (synchronous on purpose).
 *
 * A file left by a killed process is replaced. Its pid may meanwhile belong to somebody else, so a holder counts as
 * live only if it runs the same Node program as this one; where there is no /proc, if it exists.
 */
import { linkSync, readFileSync, readlinkSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';

const ATTEMPTS = 5;

export class PidFileHeld extends Error {
  constructor(
    readonly file: string,
    readonly pid: number,
  ) {
    super(
      `${file}: process ${pid} is running; stop it first, or give this one its own pid_file and data_dir`,
    );
  }
}

function codeOf(thrown: unknown): string | undefined {
  return (thrown as NodeJS.ErrnoException).code;
}

function readPid(file: string): number | undefined {
  try {
    const pid = Number(readFileSync(file, 'utf8').trim());
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return undefined;
    throw thrown;
  }
}

function isLive(pid: number): boolean {
  if (pid === process.pid) return false; // a container's process 1 finds its predecessor's file
  try {
    process.kill(pid, 0);
  } catch (thrown) {
    if (codeOf(thrown) !== 'EPERM') return false;
  }
  try {
    return readlinkSync(`/proc/${pid}/exe`) === readlinkSync('/proc/self/exe');
  } catch (thrown) {
    // Another user's process hides its program: better refuse than run twice.
    return codeOf(thrown) !== 'ENOENT' || process.platform !== 'linux';
  }
}

/**
 * Takes the file for this process.
 * @returns removes the file if it still names this process; never throws
 * @throws PidFileHeld when a live process holds it; Error when it can't be written
 */
export function takePidFile(file: string): () => void {
  const temporary = `${file}.${process.pid}`;
  writeFileSync(temporary, `${process.pid}\n`, { mode: 0o644 });
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      try {
        linkSync(temporary, file); // the only way in: fails when the file exists
        return () => release(file);
      } catch (thrown) {
        if (codeOf(thrown) !== 'EEXIST') throw thrown;
      }
      const holder = readPid(file);
      if (holder !== undefined && isLive(holder)) throw new PidFileHeld(file, holder);
      setAside(file, `${temporary}.stale`, holder);
    }
    throw new Error(`${file}: other processes keep taking it`);
  } finally {
    unlinkSync(temporary);
  }
}

/** Removes a stale file, unless another starting process has just replaced it by its own. */
function setAside(file: string, aside: string, stale: number | undefined): void {
  try {
    renameSync(file, aside);
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return;
    throw thrown;
  }
  if (readPid(aside) !== stale) {
    try {
      linkSync(aside, file);
    } catch (thrown) {
      if (codeOf(thrown) !== 'EEXIST') throw thrown;
    }
  }
  unlinkSync(aside);
}

function release(file: string): void {
  try {
    if (readPid(file) === process.pid) unlinkSync(file);
  } catch {
    // The folder is gone or read-only: the next start replaces the file.
  }
}
