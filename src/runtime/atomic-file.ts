/**
 * Files that appear under their name only when they are whole (design invariant 6): temporary name, fsync, rename,
 * fsync of the folder. Any thread; asynchronous.
 */
import { mkdir, open, readdir, rename, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** What every scanner of folders must pass over. */
export const TEMP_SUFFIX = '.tmp';

let serial = 0;

export interface AtomicFile {
  readonly handle: FileHandle;
  /** Makes the content durable and gives it its name; replaces an older file. On failure nothing is left behind. */
  commit(): Promise<void>;
  /** Closes and removes the temporary file. Never throws. */
  discard(): Promise<void>;
}

/** Creates missing folders and opens `<path>.<pid>-<n>.tmp` beside the target. @throws the system's error */
export async function createAtomic(path: string): Promise<AtomicFile> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const temp = `${path}.${process.pid}-${++serial}${TEMP_SUFFIX}`;
  const handle = await open(temp, 'wx', 0o644);
  let isOpen = true;
  const close = async (): Promise<void> => {
    if (!isOpen) return;
    isOpen = false;
    await handle.close();
  };
  const discard = async (): Promise<void> => {
    await close().catch(() => undefined);
    await unlink(temp).catch(() => undefined);
  };
  const commit = async (): Promise<void> => {
    try {
      await handle.sync();
      await close();
      await rename(temp, path);
    } catch (error) {
      await discard();
      throw error;
    }
    await syncFolder(folder);
  };
  return { handle, commit, discard };
}

/** The whole of `createAtomic` for content at hand. @throws the system's error; the target is then untouched */
export async function writeFileAtomic(path: string, content: string | Uint8Array): Promise<void> {
  const file = await createAtomic(path);
  try {
    await file.handle.writeFile(content);
  } catch (error) {
    await file.discard();
    throw error;
  }
  await file.commit();
}

/** Makes renames and removals in the folder durable. File systems that cannot sync a folder are left alone. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined);
  if (handle === undefined) return;
  try {
    await handle.sync();
  } catch {
    // EINVAL or EPERM: nothing to be had on this file system.
  } finally {
    await handle.close();
  }
}

/**
 * Removes temporary files that a killed writer left behind. @param prefix beginning of the names.
 * @param olderThanMs a younger file may still be written by somebody else.
 * @returns how many were removed
 */
export async function sweepTemps(folder: string, prefix: string, olderThanMs: number): Promise<number> {
  let removed = 0;
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.startsWith(prefix) || !name.endsWith(TEMP_SUFFIX)) continue;
    const path = join(folder, name);
    const info = await stat(path).catch(() => undefined);
    if (info === undefined || Date.now() - info.mtimeMs < olderThanMs) continue;
    await unlink(path).then(
      () => removed++,
      () => undefined,
    );
  }
  return removed;
}
