/** How much room a file system has. Any thread. */
import { statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/**
 * @param folder may not exist yet: then its nearest ancestor that does is asked.
 * @returns bytes that this program may still write. @throws the system's error
 */
export async function freeBytes(folder: string): Promise<number> {
  for (let path = resolve(folder); ; path = dirname(path)) {
    try {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || path === dirname(path)) throw error;
    }
  }
}
