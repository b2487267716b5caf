/**
 * Compresses files in place: FILE becomes FILE.gz with the same time and rights. FILE.gz appears whole and is on the disk
 * before FILE goes, so a kill at any moment leaves one of them or both. Runs on the threads of the cpu-pool, which may block: small files
 * are taken in handfuls with the system's blocking calls, because trips to the thread pool cost more than the compression.
 */
import {
  closeSync,
  createReadStream,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  futimesSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
  writeSync,
  type Stats,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip, gzipSync } from 'node:zlib';
import { syncFolder, TEMP_SUFFIX } from './atomic-file.js';
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

/** Up to this size a file is read as a whole. */
const WHOLE_BYTES = 16 << 20;
/** So many are made durable together. */
const HANDFUL = 64;

/** The original of a file that `gzipFiles` has not named FILE.gz yet; undefined for any other name. */
export function originalOfTemp(name: string): string | undefined {
  return TEMP.exec(name)?.[1];
}

/** Nobody else's: processes of two containers may have one number. */
const tempOf = (file: string): string =>
  `${file}.gz.${process.pid}-${randomBytes(6).toString('hex')}${TEMP_SUFFIX}`;
const TEMP = /^(.+)\.gz\.\d+-[0-9a-f]+\.tmp$/s;

interface Packed {
  readonly file: string;
  readonly temp: string;
  readonly before: Stats;
  fd: number | undefined;
  packed: number;
}

/** A file that cannot be compressed is skipped with the reason; an older FILE.gz is replaced, as `gzip -f` does. */
export async function gzipFiles({ files, level = 6 }: GzipFilesJob): Promise<readonly GzipFilesResult[]> {
  const results: GzipFilesResult[] = [];
  for (let at = 0; at < files.length; at += HANDFUL) {
    const skip = (file: string, error: unknown): void =>
      void results.push({ file, bytes: 0, packed: 0, skipped: reasonOf(error) });
    const made: Packed[] = [];
    for (const file of files.slice(at, at + HANDFUL)) {
      try {
        made.push(await pack(file, level));
      } catch (error) {
        skip(file, error);
      }
    }
    for (const done of await publish(made, skip)) {
      results.push({ file: done.file, bytes: done.before.size, packed: done.packed });
    }
  }
  return results;
}

/** Writes the packed content beside the file, under a temporary name. */
async function pack(file: string, level: number): Promise<Packed> {
  const before = lstatSync(file);
  if (!before.isFile()) throw new Error('it is not a regular file');
  const temp = tempOf(file);
  const fd = openSync(temp, 'wx', 0o600);
  try {
    if (before.size <= WHOLE_BYTES) {
      writeFileSync(fd, gzipSync(readFileSync(file), { level }));
    } else {
      const source = createReadStream(file, { highWaterMark: 1 << 20 });
      await pipeline(source, createGzip({ level }), async (pieces: AsyncIterable<Buffer>) => {
        for await (const piece of pieces) {
          for (let at = 0; at < piece.length;) at += writeSync(fd, piece, at);
        }
      });
    }
    const after = lstatSync(file);
    if (after.size !== before.size || after.mtimeMs !== before.mtimeMs || after.ino !== before.ino) {
      throw new Error('it changed while it was compressed');
    }
    fchmodSync(fd, before.mode & 0o7777);
    giveTo(fd, before);
    futimesSync(fd, before.atime, before.mtime);
    return { file, temp, before, fd, packed: fstatSync(fd).size };
  } catch (error) {
    closeSync(fd);
    unlinkSync(temp);
    throw error;
  }
}

/** Only root may give files away; the content matters more than the owner. */
function giveTo(fd: number, { uid, gid }: Stats): void {
  try {
    fchownSync(fd, uid, gid);
  } catch {
    // It stays ours.
  }
}

/** On the disk first, then the names, then the folders; only then the originals go. @returns those that made it */
async function publish(
  made: readonly Packed[],
  skip: (file: string, error: unknown) => void,
): Promise<readonly Packed[]> {
  const named: Packed[] = [];
  for (const one of made) {
    try {
      if (one.fd !== undefined) fsyncSync(one.fd);
      close(one);
      renameSync(one.temp, `${one.file}.gz`);
      named.push(one);
    } catch (error) {
      close(one);
      remove(one.temp);
      skip(one.file, error);
    }
  }
  for (const folder of new Set(named.map(({ file }) => dirname(file)))) await syncFolder(folder);
  return named.filter(({ file }) => {
    try {
      unlinkSync(file);
      return true;
    } catch (error) {
      skip(file, error);
      return false;
    }
  });
}

function close(one: Packed): void {
  if (one.fd !== undefined) closeSync(one.fd);
  one.fd = undefined;
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Gone already.
  }
}
