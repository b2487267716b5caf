/** The files of a rotated log: FILE is written, FILE.1 the youngest kept, FILE.N the oldest. Main thread. */
import { fstatSync, statSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

/** The local date, as text that differs per day. */
export function dayOf(ms: number): string {
  return new Date(ms).toDateString();
}

/**
 * FILE.2 -> FILE.3, FILE.1 -> FILE.2, FILE -> FILE.1; what would be beyond `keep` is removed.
 * @param fd the open FILE. @throws Error of the file system
 */
export async function shiftFiles(file: string, keep: number, fd: number): Promise<void> {
  const numbers = await rotatedNumbers(file);
  for (const n of numbers.filter((n) => n >= keep)) await rm(`${file}.${n}`, { force: true });
  const kept = numbers.filter((n) => n < keep).sort((a, b) => b - a);
  for (const n of kept) await rename(`${file}.${n}`, `${file}.${n + 1}`);
  // Somebody else may have renamed or replaced it: then it is theirs.
  if (!isOpenAs(file, fd)) return;
  await (keep > 0 ? rename(file, `${file}.1`) : rm(file, { force: true }));
}

function isOpenAs(path: string, fd: number): boolean {
  const [there, open] = [statSync(path, { throwIfNoEntry: false }), fstatSync(fd)];
  return there !== undefined && there.ino === open.ino && there.dev === open.dev;
}

async function rotatedNumbers(file: string): Promise<number[]> {
  const prefix = `${basename(file)}.`;
  const names = await readdir(dirname(file));
  return names
    .filter((name) => name.startsWith(prefix) && /^[1-9]\d{0,4}$/.test(name.slice(prefix.length)))
    .map((name) => Number(name.slice(prefix.length)));
}
