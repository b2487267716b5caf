/**
 * Real databases for tests: `await mariadb()` and `await postgres()` give the URL of a fresh, empty database. The server
 * behind it is private (loopback, free port, folder of this test run), starts when the first test file asks and serves all
 * of them; global-setup.ts ends it. Tests that kill or configure a server take an `ownMariadb()` / `ownPostgres()`.
 *
 * The databases live as long as the run; nobody has to drop them.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { findProgram } from './find-program.mjs';
import { freePort } from './program.js';
import { MARIADB, POSTGRES, REDIS } from './server-recipes.js';
import { unmountDisk } from './small-disk.js';
import { runFolder, ServerProcess, type ServerRecipe } from './server-process.js';

interface Shared {
  readonly port: number;
  readonly password: string;
}

function has(program: string, name: string): boolean {
  if (findProgram(program) !== undefined) return true;
  const line = `${name} is not installed (npm test installs it when run as root): its tests are skipped`;
  if (process.env['CI'] === 'true') throw new Error(line);
  console.error(`\n!!! ${line}\n`);
  return false;
}

/** For `describe.skipIf(!have.mariadb)`. Says loudly what is missing; with CI=true that is a failure. */
export const have = {
  get mariadb(): boolean {
    return has('mariadbd', 'MariaDB');
  },
  get postgres(): boolean {
    return has('postgres', 'PostgreSQL');
  },
  get redis(): boolean {
    return has('redis-server', 'Redis');
  },
};

async function launch(recipe: ServerRecipe, folder: string, disk?: number): Promise<ServerProcess> {
  for (let attempt = 1; ; attempt++) {
    const password = randomBytes(8).toString('hex');
    const server = new ServerProcess(recipe, folder, await freePort(), password, disk);
    try {
      await server.start();
      return server;
    } catch (error) {
      // Somebody else may have taken the port in between.
      unmountDisk(folder);
      rmSync(folder, { recursive: true, force: true });
      if (attempt === 3) throw error;
    }
  }
}

/** The server of this run, started by the first process that asks. */
async function shared(recipe: ServerRecipe): Promise<Shared> {
  const file = join(runFolder(), `${recipe.name}.json`);
  const read = (): Shared | { error: string } | undefined => {
    try {
      return JSON.parse(readFileSync(file, 'utf8')) as Shared | { error: string };
    } catch {
      return undefined;
    }
  };
  const write = (what: object): void => {
    writeFileSync(`${file}.new`, JSON.stringify(what));
    renameSync(`${file}.new`, file);
  };
  try {
    mkdirSync(join(runFolder(), `${recipe.name}.lock`));
    try {
      const { port, password } = await launch(recipe, join(runFolder(), recipe.name));
      write({ port, password });
    } catch (error) {
      write({ error: String(error) });
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const end = performance.now() + 240_000;
  for (let found = read(); performance.now() < end; found = read()) {
    if (found !== undefined && 'error' in found) throw new Error(found.error);
    if (found !== undefined) return found;
    await sleep(50);
  }
  throw new Error(`${recipe.name} was not started within 240 s`);
}

const freshName = (): string => `t_${randomBytes(6).toString('hex')}`;

async function freshMariadb({ port, password }: Shared): Promise<string> {
  const name = freshName();
  const connection = await mysql.createConnection({ host: '127.0.0.1', port, user: 'root', password });
  try {
    await connection.query(`CREATE DATABASE ${name}`);
  } finally {
    await connection.end();
  }
  return `mysql://root:${password}@127.0.0.1:${String(port)}/${name}`;
}

async function freshPostgres({ port, password }: Shared): Promise<string> {
  const name = freshName();
  const base = `postgres://root:${password}@127.0.0.1:${String(port)}`;
  const client = new pg.Client(`${base}/postgres`);
  await client.connect();
  try {
    await client.query(`CREATE DATABASE ${name}`);
  } finally {
    await client.end();
  }
  return `${base}/${name}`;
}

/** @returns `mysql://root:...@127.0.0.1:PORT/t_...` of a fresh, empty database (utf8mb4, local_infile allowed) */
export async function mariadb(): Promise<string> {
  return freshMariadb(await shared(MARIADB));
}

/** @returns `postgres://root:...@127.0.0.1:PORT/t_...` of a fresh, empty database (UTF8) */
export async function postgres(): Promise<string> {
  return freshPostgres(await shared(POSTGRES));
}

/** @returns `redis://127.0.0.1:PORT/N` of a database nobody else uses */
export async function redis(): Promise<string> {
  const { port } = await shared(REDIS);
  for (let index = 0; ; index++) {
    try {
      mkdirSync(join(runFolder(), `redis-database-${String(index)}`));
      return `redis://127.0.0.1:${String(port)}/${String(index)}`;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

/** A server of one test, which may kill it. */
export interface OwnServer {
  /** Of a fresh database. */
  readonly url: string;
  /** All it writes is in there. */
  readonly folder: string;
  /** As a power cut would; what was committed is there after `restart`. */
  kill(): Promise<void>;
  /** The same port and data again. */
  restart(): Promise<void>;
  /** Ends it and removes its data. Call it in `afterAll`. */
  stop(): Promise<void>;
}

export interface OwnOptions {
  /** Further arguments for the server's command line: `--max-connections=5`, `-c`, `deadlock_timeout=10ms`. */
  readonly args?: readonly string[];
  /** Megabytes of a disk of its own for all it writes; see small-disk.ts. */
  readonly disk?: number;
}

async function own(
  recipe: ServerRecipe,
  { args = [], disk }: OwnOptions,
  fresh: (server: Shared) => Promise<string>,
): Promise<OwnServer> {
  const extended = { ...recipe, command: (server: ServerProcess) => [...recipe.command(server), ...args] };
  const folder = join(runFolder(), `${recipe.name}-${randomBytes(4).toString('hex')}`);
  const server = await launch(extended, folder, disk);
  return {
    url: await fresh(server),
    folder,
    kill: () => server.kill(),
    restart: () => server.start(),
    stop: async () => {
      await server.kill();
      unmountDisk(folder);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export const ownMariadb = (options: OwnOptions = {}): Promise<OwnServer> =>
  own(MARIADB, options, freshMariadb);

export const ownPostgres = (options: OwnOptions = {}): Promise<OwnServer> =>
  own(POSTGRES, options, freshPostgres);
