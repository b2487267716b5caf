/**
 * The files that housekeeping is about: below a folder, by name and age (spec data-centre 1.4, 3). Read as they are asked for,
 * so a folder of any size needs little memory. Links are neither followed nor taken. Worker thread.
 */
import type { Stats } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';

export interface OldFile {
  readonly path: string;
  readonly size: number;
  readonly mtimeMs: number;
}

export interface OldFilesOptions {
  readonly matches: (name: string) => boolean;
  /** Only files whose last change is at least this long ago (ms). */
  readonly olderThanMs: number;
  readonly recursive: boolean;
  /** ms since 1970 */
  readonly now: number;
  /** Called with each file, whatever its name and age. */
  readonly seen?: (path: string, info: Stats) => Promise<void>;
  /** Called with each folder when everything in it has been looked at, the innermost first. */
  readonly left?: (folder: string) => Promise<void>;
}

const MAX_DEPTH = 64;

/** Names with a leading dot are passed over, and so is what vanishes or may not be read. @throws when `folder` itself can't be read */
export async function* oldFiles(folder: string, options: OldFilesOptions): AsyncGenerator<OldFile> {
  yield* below(folder, options, 0);
}

async function* below(folder: string, options: OldFilesOptions, depth: number): AsyncGenerator<OldFile> {
  for await (const entry of await opendir(folder)) {
    if (entry.name.startsWith('.')) continue;
    const path = join(folder, entry.name);
    // The type in the entry may be unknown on some file systems, so each one is asked.
    const info = await lstat(path).catch(() => undefined);
    if (info === undefined) continue;
    if (info.isDirectory()) {
      if (!options.recursive || depth >= MAX_DEPTH) continue;
      try {
        yield* below(path, options, depth + 1);
        await options.left?.(path);
      } catch (error) {
        if (!isUnreadable(error)) throw error;
      }
      continue;
    }
    if (!info.isFile()) continue;
    await options.seen?.(path, info);
    if (options.now - info.mtimeMs < options.olderThanMs) continue;
    if (options.matches(entry.name)) yield { path, size: info.size, mtimeMs: info.mtimeMs };
  }
}

function isUnreadable(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOENT' || code === 'EACCES' || code === 'EPERM';
}
