/**
 * The pid file: one process per file. Start-up and exit of the main thread only (synchronous on purpose).
 *
 * A file left by a killed process is replaced. Its pid may meanwhile belong to somebody else, so a holder counts as
 * live only if /proc says it runs a switchyard (process title or script path); where there is no /proc, if it exists.
 */
import { linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';

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

function isSwitchyard(pid: number): boolean {
  if (pid === process.pid) return false; // a container's process 1 finds its predecessor's file
  try {
    process.kill(pid, 0);
  } catch (thrown) {
    if (codeOf(thrown) !== 'EPERM') return false;
  }
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const script = basename(process.argv[1] ?? 'main.js');
    return (words[0] ?? '').startsWith('switchyard') || words.some((word) => basename(word) === script);
  } catch (thrown) {
    return codeOf(thrown) !== 'ESRCH' && process.platform !== 'linux';
  }
}

/**
 * Takes the file for this process.
 * @returns removes the file if it still names this process; never throws
 * @throws PidFileHeld when a live switchyard holds it; Error when it can't be written
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
      if (holder !== undefined && isSwitchyard(holder)) throw new PidFileHeld(file, holder);
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
