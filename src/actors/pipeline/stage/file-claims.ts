/**
 * Who works on which file of a shared folder. A file is claimed by renaming it into `<folder>/.claimed/<owner>/`, which
 * only one process can do; the claims of a process that no longer lives are taken over by whoever scans next. So a
 * kill at any moment leaves every file either in the folder or in a claim that somebody will find. Worker thread.
 */
import {
  copyFile,
  constants,
  link,
  lstat,
  mkdir,
  open,
  opendir,
  readdir,
  rename,
  rmdir,
  stat,
  unlink,
  utimes,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncFolder, TEMP_SUFFIX } from '../../../runtime/atomic-file.js';
import { isAlive, ownIdentity } from '../../../store/process-identity.js';

const CLAIMS = '.claimed';
/** Between the parts of an owner and between serial and name; it occurs in no host name. */
const MARK = '~';

export interface FileClaimsOptions {
  readonly folder: string;
  /** Name of the stage, unique in this process. */
  readonly stage: string;
  readonly matches: (name: string) => boolean;
  /** After this time in ms without a sign of life the claim of a process on another machine is taken over. */
  readonly leaseMs: number;
}

export interface Candidate {
  readonly name: string;
  readonly path: string;
}

/** A file that is ours alone. */
export interface ClaimedFile {
  /** The name it had in the folder. */
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly mtimeMs: number;
  /** False for a folder, pipe, link or device that bears the name of a file. */
  readonly regular: boolean;
}

let serial = 0;

export class FileClaims {
  private readonly own: string;
  private readonly root: string;
  private touched = 0;

  private constructor(
    private readonly options: FileClaimsOptions,
    owner: string,
  ) {
    this.root = join(options.folder, CLAIMS);
    this.own = join(this.root, owner);
  }

  static async open(options: FileClaimsOptions): Promise<FileClaims> {
    const { host, pid, started } = await ownIdentity();
    const stage = options.stage.replace(/[^\w.-]/g, '_');
    return new FileClaims(options, [host, pid, started.replaceAll('/', '_'), stage].join(MARK));
  }

  /**
   * What waits, abandoned claims included, sorted by name so that older time stamps come first.
   * @param limit most candidates returned: the first by name, whatever the order of the folder (spec data-centre L16).
   * Creates the folder when it is missing (spec data-centre 1.4).
   * @param without names to leave out. @throws the system's error
   */
  async scan(limit: number, without: ReadonlySet<string>): Promise<Candidate[]> {
    await mkdir(this.options.folder, { recursive: true });
    const found: Candidate[] = [];
    const add = (candidate: Candidate): void => {
      found.push(candidate);
      if (found.length >= limit * 2 + 1_000) cut(found, limit);
    };
    for await (const entry of await opendir(this.options.folder)) {
      const { name } = entry;
      if (name.startsWith('.') || name.endsWith(TEMP_SUFFIX) || without.has(name)) continue;
      // A folder is never taken for a file, however it is named; links and pipes are claimed and then put aside.
      if (!entry.isDirectory() && this.options.matches(name))
        add({ name, path: join(this.options.folder, name) });
    }
    for (const owner of await readdir(this.root).catch(() => [])) {
      const folder = join(this.root, owner);
      if (folder !== this.own && !(await this.abandoned(owner, folder))) continue;
      for (const claimed of await readdir(folder).catch(() => [])) {
        const name = claimed.slice(claimed.indexOf(MARK) + 1);
        if (!without.has(name)) add({ name, path: join(folder, claimed) });
      }
      // Succeeds only when it is empty, which is what is wanted.
      if (folder !== this.own) await rmdir(folder).catch(() => undefined);
    }
    cut(found, limit);
    return found;
  }

  /** Makes the file ours. @returns undefined when another process was faster. @throws the system's error */
  async claim(candidate: Candidate): Promise<ClaimedFile | undefined> {
    let path = candidate.path;
    try {
      if (!path.startsWith(this.own + '/')) {
        await mkdir(this.own, { recursive: true });
        path = join(this.own, `${Date.now().toString(36)}-${++serial}${MARK}${candidate.name}`);
        await rename(candidate.path, path);
        // Taken over from a dead owner: its folder goes with its last file.
        const from = dirname(candidate.path);
        if (dirname(from) === this.root) await rmdir(from).catch(() => undefined);
      }
      const info = await lstat(path);
      return { name: candidate.name, path, size: info.size, mtimeMs: info.mtimeMs, regular: info.isFile() };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Where a file of that name is, in the folder or claimed by anybody. It may be moved at any moment. */
  async places(name: string): Promise<readonly string[]> {
    const found = [join(this.options.folder, name)];
    for (const owner of await readdir(this.root).catch(() => [])) {
      const folder = join(this.root, owner);
      for (const claimed of await readdir(folder).catch(() => [])) {
        if (claimed.slice(claimed.indexOf(MARK) + 1) === name) found.push(join(folder, claimed));
      }
    }
    return found;
  }

  /** A sign of life for processes on other machines; call it while a long file is being worked on. */
  async beat(): Promise<void> {
    const now = Date.now();
    if (now - this.touched < Math.min(5_000, this.options.leaseMs / 4)) return;
    this.touched = now;
    await utimes(this.own, new Date(now), new Date(now)).catch(() => undefined);
  }

  /** Puts claims that were not worked on back into the folder, and removes our traces. Never overwrites. */
  async release(): Promise<void> {
    for (const claimed of await readdir(this.own).catch(() => [])) {
      const path = join(this.own, claimed);
      const target = join(this.options.folder, claimed.slice(claimed.indexOf(MARK) + 1));
      await moveWithoutOverwriting(path, target).catch(() => undefined);
    }
    await rmdir(this.own).catch(() => undefined);
    await rmdir(this.root).catch(() => undefined);
  }

  private async abandoned(owner: string, folder: string): Promise<boolean> {
    const [host = '', pid, started = ''] = owner.split(MARK);
    const alive = await isAlive(host, Number(pid), started.replaceAll('_', '/'));
    if (alive !== undefined) return !alive;
    const info = await stat(folder).catch(() => undefined);
    return info !== undefined && Date.now() - info.mtimeMs > this.options.leaseMs;
  }
}

/**
 * Moves a claimed file into another folder under its own name, or `name.2`, `name.3` ... when that is taken.
 * @returns the new path. @throws the system's error; the file is then still where it was
 */
export async function putAside(file: ClaimedFile, folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (let n = 1; ; n++) {
    const target = join(folder, n === 1 ? file.name : `${file.name}.${n}`);
    try {
      await moveWithoutOverwriting(file.path, target);
      return target;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || n >= 10_000) throw error;
    }
  }
}

/** rename(2) would replace an older file of that name; link(2) refuses. */
async function moveWithoutOverwriting(path: string, target: string): Promise<void> {
  try {
    await link(path, target);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A process that was killed between the two calls below has linked it already.
    if (code === 'EEXIST' && (await isSameFile(path, target))) return unlink(path);
    if (code !== 'EXDEV' && code !== 'EPERM' && code !== 'ENOTSUP') throw error;
    await copyWithoutOverwriting(path, target);
  }
  await unlink(path);
}

/** To another file system: whole under another name first. */
async function copyWithoutOverwriting(path: string, target: string): Promise<void> {
  const temp = `${target}.${process.pid}-${++serial}${TEMP_SUFFIX}`;
  try {
    await copyFile(path, temp, constants.COPYFILE_EXCL);
    const copy = await open(temp, 'r+');
    await copy.sync().finally(() => copy.close());
    await link(temp, target).catch(async (error: unknown) => {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EPERM' && code !== 'ENOTSUP') throw error;
      // A file system without hard links: then the name alone is taken without overwriting, and what it names comes after.
      await (await open(target, 'wx')).close();
      await rename(temp, target);
    });
  } finally {
    await unlink(temp).catch(() => undefined);
  }
  await syncFolder(dirname(target));
}

async function isSameFile(path: string, target: string): Promise<boolean> {
  const [a, b] = await Promise.all([lstat(path), lstat(target)]);
  return a.ino === b.ino && a.dev === b.dev;
}

function cut(list: Candidate[], limit: number): void {
  list.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  if (list.length > limit) list.length = limit;
}
