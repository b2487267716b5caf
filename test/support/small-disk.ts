/** Small disks that fill up: a tmpfs each, for which one has to be root. */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BALLAST = 'ballast';
const mounted = new Set<string>();

/** @param folder made when missing. @returns false when we may not */
export function mountDisk(folder: string, megabytes: number): boolean {
  mkdirSync(folder, { recursive: true });
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${String(megabytes)}m`, 'tmpfs', folder]);
  if (status === 0) mounted.add(folder);
  return status === 0;
}

/** What it holds is gone. Nothing happens to a folder that is no disk. */
export function unmountDisk(folder: string): void {
  const isMounted = mounted.delete(folder) || readFileSync('/proc/mounts', 'utf8').includes(` ${folder} `);
  if (isMounted) spawnSync('umount', ['-l', folder]);
}

/** All that this process mounted. */
export function unmountAll(): void {
  for (const folder of mounted) unmountDisk(folder);
}

/** For `describe.runIf`; says loudly when the tests are left out. */
export function mayMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'mount-try-'));
  const may = mountDisk(folder, 1);
  unmountDisk(folder);
  rmSync(folder, { recursive: true, force: true });
  if (!may) console.error('!!! no permission to mount a tmpfs: the tests of a full disk are skipped');
  return may;
}

/** Takes every last byte but so many. */
export function fillDisk(folder: string, leave = 0): void {
  const fd = openSync(join(folder, BALLAST), 'a');
  for (const size of [1 << 20, 1 << 12, 1]) {
    const piece = Buffer.alloc(size, 1);
    try {
      for (;;) if (writeSync(fd, piece) < size) break;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOSPC') throw thrown;
    }
  }
  if (leave > 0) ftruncateSync(fd, Math.max(0, fstatSync(fd).size - leave));
  closeSync(fd);
}

export function makeRoom(folder: string): void {
  rmSync(join(folder, BALLAST), { force: true });
}
