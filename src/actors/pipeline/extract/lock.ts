/**
 * One worker at a time on a folder: a lock file with the identity of its holder, taken over when the holder no longer lives.
 * A holder proves before each step that the lock is still its own, so that one that was given up for dead and comes back
 * does no harm. Worker thread.
 */
import { randomUUID } from 'node:crypto';
import { constants, copyFile, link, readFile, rename, stat, unlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { TEMP_SUFFIX, writeFileAtomic } from '../../../runtime/atomic-file.js';
import { isAlive, ownIdentity } from '../../../store/process-identity.js';
import { StageError } from '../stage/run.js';

interface Holder {
  readonly token: string;
  readonly host: string;
  readonly pid: number;
  readonly started: string;
}

const BEAT_INTERVAL = 5_000;
const ATTEMPTS = 20;

export class FolderLock {
  private beaten = 0;

  private constructor(
    private readonly path: string,
    private readonly token: string,
    private readonly leaseMs: number,
  ) {}

  /**
   * @param folder exists. @param leaseMs a holder on another machine is dead after this time without a sign of life
   * @throws StageError (retryable) when somebody else is at work
   */
  static async take(folder: string, leaseMs: number): Promise<FolderLock> {
    const path = join(folder, 'lock');
    const self: Holder = { ...(await ownIdentity()), token: randomUUID() };
    const mine = join(folder, `lock-${self.token}${TEMP_SUFFIX}`);
    await writeFileAtomic(mine, JSON.stringify(self));
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (await linked(mine, path)) return new FolderLock(path, self.token, leaseMs);
        const text = await readFile(path, 'utf8').catch(() => undefined);
        const holder = text === undefined ? undefined : parse(text);
        if (text === undefined) continue;
        if (holder !== undefined && (await lives(holder, path, self, leaseMs))) {
          throw new StageError(
            `process ${holder.pid} on ${holder.host} is extracting into ${folder}; two at once would send rows twice`,
            true,
          );
        }
        await removeStale(path, text, join(folder, `lock-${self.token}-stale${TEMP_SUFFIX}`));
      }
      throw new StageError(`the lock ${path} cannot be had`, true);
    } finally {
      await unlink(mine).catch(() => undefined);
    }
  }

  /** A sign of life for processes on other machines; cheap to call often. */
  async beat(): Promise<void> {
    const now = Date.now();
    if (Math.abs(now - this.beaten) < Math.min(BEAT_INTERVAL, this.leaseMs / 4)) return;
    this.beaten = now;
    await utimes(this.path, new Date(now), new Date(now)).catch(() => undefined);
  }

  /** @throws StageError when somebody else has taken the lock over */
  async prove(): Promise<void> {
    const text = await readFile(this.path, 'utf8').catch(() => '');
    if (parse(text)?.token === this.token) return;
    throw new StageError('another process took this extraction over; nothing of this step is sent', true);
  }

  /** Never throws. */
  async release(): Promise<void> {
    const text = await readFile(this.path, 'utf8').catch(() => '');
    if (parse(text)?.token === this.token) await unlink(this.path).catch(() => undefined);
  }
}

async function linked(mine: string, path: string): Promise<boolean> {
  try {
    await link(mine, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS') throw error;
  }
  // A file system without hard links: copied, which another may see half done and then takes for damaged.
  try {
    await copyFile(mine, path, constants.COPYFILE_EXCL);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function parse(text: string): Holder | undefined {
  try {
    const { token, host, pid, started } = JSON.parse(text) as Partial<Holder>;
    if (token === undefined || host === undefined || pid === undefined || started === undefined)
      return undefined;
    return { token, host, pid, started };
  } catch {
    return undefined;
  }
}

async function lives(holder: Holder, path: string, self: Holder, leaseMs: number): Promise<boolean> {
  // An earlier instance of this very stage, crashed or given up for stuck: it will find that its lock is gone.
  if (holder.host === self.host && holder.pid === self.pid && holder.started === self.started) return false;
  const alive = await isAlive(holder.host, holder.pid, holder.started);
  if (alive !== undefined) return alive;
  const info = await stat(path).catch(() => undefined);
  return info !== undefined && Date.now() - info.mtimeMs <= leaseMs;
}

/** Takes away the lock that was found dead, and no other that may have come into its place. */
async function removeStale(path: string, text: string, aside: string): Promise<void> {
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  // It has the age of the dead lock, so whoever has the lock by now may have swept it.
  const taken = await readFile(aside, 'utf8').catch(() => text);
  if (taken !== text) await link(aside, path).catch(() => undefined);
  await unlink(aside).catch(() => undefined);
}
