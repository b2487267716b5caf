/**
 * One private database server as a child process: its own folder, a free loopback port, the user its package made for it
 * when we are root. Everything it is lies in the folder `<run folder>/<name>`, so that a sweep can find it.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { mountDisk, unmountDisk } from './small-disk.js';

/** Set by global-setup.ts: the folder of this test run. */
export const RUN_FOLDER = 'TEST_SERVERS_FOLDER';
const PREFIX = 'switchyard-servers-';
const START_MS = 60_000;

export interface ServerRecipe {
  readonly name: string;
  /** System user that runs it when we are root. */
  readonly user: string;
  /** Makes the data folder. Runs as `identity`. */
  readonly prepare: (server: ServerProcess) => void;
  readonly command: (server: ServerProcess) => readonly string[];
  /** Fails as long as the server does not take logins. */
  readonly probe: (server: ServerProcess) => Promise<void>;
}

/** @returns the folder of this test run. @throws Error outside of one */
export function runFolder(): string {
  const folder = process.env[RUN_FOLDER];
  if (folder === undefined) throw new Error(`${RUN_FOLDER} is not set: run tests with vitest`);
  return folder;
}

/** @returns uid and gid of a system user for `spawn`; nothing when we are not root and so run it as ourselves */
function identityOf(user: string): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string): number => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

export class ServerProcess {
  readonly identity: { uid?: number; gid?: number };
  private child: ChildProcess | undefined;

  /** @param folder made here; must not exist. @param disk megabytes of a disk of its own, for which we have to be root */
  constructor(
    readonly recipe: ServerRecipe,
    readonly folder: string,
    readonly port: number,
    readonly password: string,
    disk?: number,
  ) {
    this.identity = identityOf(recipe.user);
    mkdirSync(folder, { mode: 0o711 });
    if (disk !== undefined && !mountDisk(folder, disk)) throw new Error('no permission to mount a disk');
    const { uid, gid } = this.identity;
    if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid);
    recipe.prepare(this);
  }

  /** Runs a tool of the server to its end. @throws Error with what it said */
  run(command: string, args: readonly string[]): void {
    execFileSync(command, args, { ...this.identity, cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Starts it and waits until it answers. @throws Error with the end of its log */
  async start(): Promise<void> {
    const [command = '', ...args] = this.recipe.command(this);
    const log = openSync(join(this.folder, 'log'), 'a');
    // Detached: a Ctrl-C meant for vitest must not end it before the tests that use it.
    const child = spawn(command, args, {
      ...this.identity,
      cwd: this.folder,
      detached: true,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    child.unref();
    this.child = child;
    writeFileSync(join(this.folder, 'process'), String(child.pid));
    const end = performance.now() + START_MS;
    for (;;) {
      try {
        await this.recipe.probe(this);
        return;
      } catch (error) {
        const dead = child.exitCode !== null || child.signalCode !== null;
        if (!dead && performance.now() < end) {
          await sleep(50);
          continue;
        }
        killServer(this.folder);
        const log = readFileSync(join(this.folder, 'log'), 'utf8').slice(-2000);
        throw new Error(`${this.recipe.name} did not start (${String(error)}):\n${log}`, { cause: error });
      }
    }
  }

  /** Ends all its processes as a power cut would, and waits until they are gone. */
  async kill(): Promise<void> {
    const child = this.child;
    const gone = new Promise((resolve) => {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) resolve(undefined);
      else child.once('exit', resolve);
    });
    const family = killServer(this.folder);
    await gone;
    while (family.some(isAlive)) await sleep(10);
  }
}

/** Alive and not a zombie: in a container nobody may be there to reap an orphan. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${String(pid)}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const linesOf = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

/**
 * SIGKILL for the server of a folder and its children: PostgreSQL's back ends are processes, which would go on for a moment.
 * @returns the processes killed
 */
export function killServer(folder: string): number[] {
  const pid = Number(linesOf(join(folder, 'process')));
  // The number may belong to somebody else by now.
  if (!(pid > 1) || !linesOf(`/proc/${String(pid)}/cmdline`).includes(folder)) return [];
  const children = linesOf(`/proc/${String(pid)}/task/${String(pid)}/children`)
    .trim()
    .split(' ')
    .map(Number);
  const family = [pid, ...children].filter((one) => one > 1);
  for (const one of family) {
    try {
      process.kill(one, 'SIGKILL');
    } catch {
      // Gone already.
    }
  }
  return family;
}

/** Ends every server of a test run and removes its folder. */
export function removeRun(folder: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    killServer(join(folder, name));
    unmountDisk(join(folder, name));
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}

/** Removes what runs left behind that were killed before they could. */
export function sweepRuns(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length).split('-')[0]) : 0;
    if (pid > 0 && !isAlive(pid)) removeRun(join(tmpdir(), name));
  }
}

/** Start of the name of a run's folder, for mkdtemp; the sweep finds the run's process in it. */
export const runFolderPrefix = (): string => join(tmpdir(), `${PREFIX}${String(process.pid)}-`);
