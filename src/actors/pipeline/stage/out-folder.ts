/**
 * Back-pressure between stages: how much waits in a folder that another stage empties. Files only, without those that are
 * still being written and without claimed ones, which lie in a folder of their own. Worker thread.
 */
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TEMP_SUFFIX } from '../../../runtime/atomic-file.js';
import { defineKeys } from '../../../runtime/schema.js';

/** Keys of every stage that writes files for another one. */
export const outFolderKeys = defineKeys({
  max_waiting_files: {
    type: 'int',
    default: '100000',
    min: 0,
    help: 'The stage pauses while so many files wait in the folder it writes to; 0: any number',
    reload: 'child',
  },
  max_waiting_bytes: {
    type: 'size',
    default: '0',
    min: 0,
    help: 'The stage pauses while the files that wait have so many bytes together; 0: any number',
    reload: 'child',
  },
});

export interface OutFolderLimits {
  /** 0: any number */
  readonly max_waiting_files: number;
  /** Bytes; 0: any number */
  readonly max_waiting_bytes: number;
}

export interface Waiting {
  readonly files: number;
  readonly bytes: number;
}

/** What waits in the folder; stops counting at the limits. A missing folder holds nothing. @throws the system's error */
export async function waitingFiles(folder: string, limits: OutFolderLimits): Promise<Waiting> {
  let files = 0;
  let bytes = 0;
  const dir = await opendir(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
  if (dir === undefined) return { files, bytes };
  for await (const entry of dir) {
    if (entry.name.startsWith('.') || entry.name.endsWith(TEMP_SUFFIX) || entry.isDirectory()) continue;
    files++;
    if (limits.max_waiting_bytes > 0) {
      // It may have been taken in this moment.
      bytes += (await stat(join(folder, entry.name)).catch(() => ({ size: 0 }))).size;
    }
    if (isFull({ files, bytes }, limits)) break;
  }
  return { files, bytes };
}

export function isFull(waiting: Waiting, limits: OutFolderLimits): boolean {
  const { max_waiting_files: files, max_waiting_bytes: bytes } = limits;
  return (files > 0 && waiting.files >= files) || (bytes > 0 && waiting.bytes >= bytes);
}
