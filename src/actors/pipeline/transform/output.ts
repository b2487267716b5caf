/**
 * What a file becomes, exactly once. Its parts are written in a folder of their own under `<out>/.staging`; one rename makes that folder
 * ready: from then on the file counts as done. Then the source goes, and only then do the parts appear in `out`. A kill in between
 * leaves a ready folder that the next run finishes: nothing is transformed twice, even when the parts were taken at once. Worker thread.
 */
import { createHash } from 'node:crypto';
import {
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  rmdir,
  symlink,
  unlink,
  type FileHandle,
} from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from '../../../runtime/atomic-file.js';
import { isAlive, ownIdentity } from '../../../store/process-identity.js';
import type { ClaimedFile, FileClaims } from '../stage/file-claims.js';

const STAGING = '.staging';
const READY = '.ready';
const PART = '.part';
const NAME = '.name';
const SOURCE = 'source.json';
const MARK = '~';
const MAX_TRIES = 10_000;

/** Says which file something was made of, whatever folder it lies in now. */
interface Source {
  readonly name: string;
  readonly id: string;
}

export interface Ready {
  readonly folder: string;
  readonly source: Source;
}

export interface StagingOptions {
  readonly out: string;
  /** Unique in this process. */
  readonly stage: string;
  /** Silence in ms after which what a process of another machine left is taken over. */
  readonly leaseMs: number;
}

let serial = 0;

export class Staging {
  private readonly root: string;
  /** Work under way in this object. */
  private readonly active = new Set<string>();

  private constructor(
    private readonly options: StagingOptions,
    private readonly owner: string,
  ) {
    this.root = join(options.out, STAGING);
  }

  static async open(options: StagingOptions): Promise<Staging> {
    const { host, pid, started } = await ownIdentity();
    const stage = options.stage.replace(/[^\w.-]/g, '_');
    return new Staging(options, [host, pid, started.replaceAll('/', '_'), stage].join(MARK));
  }

  /** A folder for the parts of this file. @throws the system's error */
  async begin(file: ClaimedFile): Promise<Parts> {
    const source = { name: file.name, id: await identityOf(file.path) };
    const folder = join(this.root, `${Date.now().toString(36)}-${++serial}${MARK}${this.owner}${PART}`);
    await mkdir(folder, { recursive: true });
    this.active.add(folder);
    const ended = (): boolean => this.active.delete(folder);
    return new Parts(this.root, this.options.out, folder, this.owner, source, ended);
  }

  /** What was made of this file by a process that was killed before the file was removed. @throws the system's error */
  async finished(file: ClaimedFile): Promise<Ready | undefined> {
    const id = await identityOf(file.path);
    for (const name of await this.list()) {
      if (name.startsWith(`${id}${MARK}`) && name.endsWith(READY)) return this.read(name);
    }
    return undefined;
  }

  /**
   * What killed processes left: unfinished work is removed, and finished work whose source is gone is returned, to be published.
   * Where the source still is, whoever claims it goes on.
   */
  async left(claims: FileClaims): Promise<readonly Ready[]> {
    const found: Ready[] = [];
    await this.dropNotes();
    for (const name of await this.list()) {
      if (name.endsWith(NAME)) continue;
      const folder = join(this.root, name);
      if (this.active.has(folder) || !(await this.abandoned(name, folder))) continue;
      if (name.endsWith(PART)) await remove(this.root, folder);
      else if (name.endsWith(READY)) {
        const ready = await this.read(name);
        // `publish` was cut off while it removed the folder, the last thing it does: source.json went, the folder is still there.
        if (ready === undefined) await rmdir(folder).catch(() => undefined);
        // Twice: it may have been moved from one place to another while we looked.
        if (ready !== undefined && !(await isThere(ready, claims)) && !(await isThere(ready, claims))) {
          found.push(ready);
        }
      }
    }
    return found;
  }

  /** The parts appear in `out`, complete and durable. @returns their paths. @throws the system's error; then call it again */
  async publish(ready: Ready): Promise<readonly string[]> {
    const published: string[] = [];
    for (const name of await readdir(ready.folder).catch(() => [])) {
      if (name === SOURCE) continue;
      const target = join(this.options.out, name);
      // The name was reserved when the folder became ready.
      if (!(await moved(join(ready.folder, name), target))) continue;
      published.push(target);
      await unlink(join(this.root, name + NAME)).catch(() => undefined);
    }
    await syncFolder(this.options.out);
    await rm(ready.folder, { recursive: true, force: true });
    return published;
  }

  /** Removes the staging folder when it is empty. */
  async close(): Promise<void> {
    await rmdir(this.root).catch(() => undefined);
  }

  private async list(): Promise<readonly string[]> {
    return readdir(this.root).catch(() => []);
  }

  /** Names reserved by a process that was killed before it used them. */
  private async dropNotes(): Promise<void> {
    const names = await this.list();
    const used = new Set<string>();
    for (const folder of names) {
      if (!folder.endsWith(NAME))
        for (const name of await readdir(join(this.root, folder)).catch(() => [])) used.add(name);
    }
    for (const note of names) {
      if (!note.endsWith(NAME) || used.has(note.slice(0, -NAME.length))) continue;
      const path = join(this.root, note);
      const owner = await readlink(path).catch(() => undefined);
      if (owner !== undefined && (await this.abandoned(`${MARK}${owner}${NAME}`, path))) {
        await unlink(path).catch(() => undefined);
      }
    }
  }

  private async read(name: string): Promise<Ready | undefined> {
    const folder = join(this.root, name);
    const text = await readFile(join(folder, SOURCE), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : { folder, source: JSON.parse(text) as Source };
  }

  private async abandoned(name: string, folder: string): Promise<boolean> {
    const [, host = '', pid, started = '', stage = ''] = name.slice(0, name.lastIndexOf('.')).split(MARK);
    // An earlier instance of this stage in this process.
    if ([host, pid, started, stage].join(MARK) === this.owner) return true;
    const alive = await isAlive(host, Number(pid), started.replaceAll('_', '/'));
    if (alive !== undefined) return !alive;
    const info = await lstat(folder).catch(() => undefined);
    return info !== undefined && Date.now() - info.mtimeMs > this.options.leaseMs;
  }
}

/** The parts of one file under way: one open at a time. */
export class Parts {
  count = 0;
  bytes = 0;
  private handle: FileHandle | undefined;
  private readonly opened: Date[] = [];

  constructor(
    private readonly root: string,
    private readonly out: string,
    private readonly folder: string,
    private readonly owner: string,
    private readonly source: Source,
    private readonly ended: () => unknown,
  ) {}

  get isOpen(): boolean {
    return this.handle !== undefined;
  }

  async write(text: string): Promise<void> {
    if (this.handle === undefined) {
      this.handle = await open(join(this.folder, String(this.count)), 'wx', 0o644);
      this.count++;
      this.opened.push(new Date());
    }
    const bytes = Buffer.from(text);
    this.bytes += bytes.length;
    // write() may take less than all; writeFile goes on at the present position.
    await this.handle.writeFile(bytes);
  }

  async endPart(): Promise<void> {
    const { handle } = this;
    if (handle === undefined) return;
    this.handle = undefined;
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  /**
   * The point after which the file is done. @param nameOf name of a part: its number from 0 and when it was opened; one that is taken
   * gets a number in front of its ending
   */
  async ready(nameOf: (part: number, opened: Date) => string): Promise<Ready> {
    for (let part = 0; part < this.count; part++) {
      const name = await this.reserve(nameOf(part, this.opened[part] ?? new Date()));
      await rename(join(this.folder, String(part)), join(this.folder, name));
    }
    const manifest = await open(join(this.folder, SOURCE), 'wx', 0o644);
    try {
      await manifest.writeFile(JSON.stringify(this.source));
      await manifest.sync();
    } finally {
      await manifest.close();
    }
    await syncFolder(this.folder);
    const folder = join(this.root, `${this.source.id}${MARK}${this.owner}${READY}`);
    await rename(this.folder, folder);
    await syncFolder(this.root);
    this.ended();
    return { folder, source: this.source };
  }

  /** Removes everything. Never throws. */
  async discard(): Promise<void> {
    await this.handle?.close().catch(() => undefined);
    this.handle = undefined;
    await remove(this.root, this.folder).catch(() => undefined);
    this.ended();
  }

  private async reserve(wanted: string): Promise<string> {
    const dot = wanted.lastIndexOf('.');
    for (let n = 1; n < MAX_TRIES; n++) {
      const name = n === 1 ? wanted : `${wanted.slice(0, dot)}-${n}${wanted.slice(dot)}`;
      const note = join(this.root, name + NAME);
      try {
        // A link, because it comes into being with its content: the owner.
        await symlink(this.owner, note);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
        throw error;
      }
      const taken = await lstat(join(this.out, name)).catch(() => undefined);
      if (taken === undefined) return name;
      await unlink(note);
    }
    throw new Error(`${this.out} has ${MAX_TRIES} files named like ${wanted}`);
  }
}

/** Unfinished work, and the names it reserved. */
async function remove(root: string, folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (/\D/.test(name) && name !== SOURCE) await unlink(join(root, name + NAME)).catch(() => undefined);
  }
  await rm(folder, { recursive: true, force: true });
}

async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    // Another process finishes the same folder.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function isThere(ready: Ready, claims: FileClaims): Promise<boolean> {
  for (const path of await claims.places(ready.source.name)) {
    if ((await identityOf(path).catch(() => '')) === ready.source.id) return true;
  }
  return false;
}

/** The same after every rename within the file system. */
async function identityOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs } = await lstat(path, { bigint: true });
  return createHash('sha256').update(`${dev} ${ino} ${size} ${mtimeNs}`).digest('hex').slice(0, 24);
}
