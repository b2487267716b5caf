/**
 * Compresses files in place: FILE becomes FILE.gz with the same time and rights. FILE.gz appears whole and is on the disk
 * before FILE goes, so a kill at any moment leaves one of them or both. Runs on the threads of the cpu-pool.
 */
import { createReadStream } from 'node:fs';
import { lstat, readFile, unlink } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGzip, gzipSync } from 'node:zlib';
import { createAtomic } from './atomic-file.js';
import { reasonOf } from './errors.js';

export interface GzipFilesJob {
  readonly files: readonly string[];
  /** 1 (fast) to 9 (small); default 6. */
  readonly level?: number;
}

export interface GzipFilesResult {
  readonly file: string;
  /** Size before and after. */
  readonly bytes: number;
  readonly packed: number;
  /** Why the file was left as it is. */
  readonly skipped?: string;
}

/** Up to this size a file is read as a whole, which is faster. */
const WHOLE_BYTES = 16 << 20;

/** A file that cannot be compressed is skipped with the reason; an older FILE.gz is replaced, as `gzip -f` does. */
export async function gzipFiles({ files, level = 6 }: GzipFilesJob): Promise<readonly GzipFilesResult[]> {
  const results: GzipFilesResult[] = [];
  for (const file of files) {
    try {
      results.push({ file, ...(await gzipFile(file, level)) });
    } catch (error) {
      results.push({ file, bytes: 0, packed: 0, skipped: reasonOf(error) });
    }
  }
  return results;
}

async function gzipFile(path: string, level: number): Promise<{ bytes: number; packed: number }> {
  const before = await lstat(path);
  if (!before.isFile()) throw new Error('it is not a regular file');
  const target = await createAtomic(`${path}.gz`);
  let packed: number;
  try {
    if (before.size <= WHOLE_BYTES) {
      await target.handle.writeFile(gzipSync(await readFile(path), { level }));
    } else {
      const source = createReadStream(path, { highWaterMark: 1 << 20 });
      // writeFile of a handle goes on where it stands.
      await pipeline(source, createGzip({ level }), async (packed: AsyncIterable<Buffer>) => {
        for await (const chunk of packed) await target.handle.writeFile(chunk);
      });
    }
    const after = await lstat(path);
    if (after.size !== before.size || after.mtimeMs !== before.mtimeMs || after.ino !== before.ino) {
      throw new Error('it changed while it was compressed');
    }
    await target.handle.chmod(before.mode & 0o7777);
    // Only root may give files away; the content matters more than the owner.
    await target.handle.chown(before.uid, before.gid).catch(() => undefined);
    await target.handle.utimes(before.atime, before.mtime);
    packed = (await target.handle.stat()).size;
  } catch (error) {
    await target.discard();
    throw error;
  }
  await target.commit();
  await unlink(path);
  return { bytes: before.size, packed };
}
