/** The program under test: writes a conf, starts `dist/main.js` with it. */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import type { Contestant } from '../lib/compare.js';
import type { BenchOptions } from '../lib/options.js';
import { root } from '../lib/paths.js';
import { ServerProcess, freePort } from '../lib/server-process.js';

const entry = `${root}/dist/main.js`;
let built = false;

/** Builds dist/ once in a process, so that what is measured is the source of the recorded commit. */
export function build(options: BenchOptions): void {
  if (built || !options.build) return;
  const tsc = `${root}/node_modules/typescript/bin/tsc`;
  const run = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.json'], { cwd: root, encoding: 'utf8' });
  if (run.status !== 0)
    throw new Error(`the program does not build; mend it or give --no-build:\n${run.stdout}`);
  built = true;
}

/** Everything the program writes stays in the folder of the run; its admin ports are in nobody's way. */
async function common(): Promise<readonly string[]> {
  const admin = [
    '[admin]',
    `address = 127.0.0.1:${await freePort()}`,
    `http_address = 127.0.0.1:${await freePort()}`,
  ];
  return ['[process]', 'data_dir = data', '[log]', 'file = bench.log', 'level = notice', ...admin];
}

/** Runs the program with conf files. @param nodeFlags flags of Node itself */
export async function startProgram(
  dir: string,
  options: BenchOptions,
  confs: readonly string[],
  ports: readonly number[],
  nodeFlags: readonly string[] = [],
): Promise<ServerProcess> {
  build(options);
  if (!existsSync(entry)) throw new Error(`${entry} is not there: npm run build`);
  return ServerProcess.start({
    command: process.execPath,
    args: [...nodeFlags, entry, ...confs],
    cwd: dir,
    ports,
  });
}

async function writeConf(dir: string, lines: readonly string[]): Promise<string> {
  writeFileSync(`${dir}/bench.conf`, [...(await common()), ...lines, ''].join('\n'));
  return 'bench.conf';
}

/** Packets through one worker actor. @param actorKeys further lines of the actor section */
export function packetServer(
  options: BenchOptions,
  actorKeys: readonly string[] = [],
  nodeFlags: readonly string[] = [],
): Contestant {
  return {
    name: 'switchyard',
    async start(dir) {
      const port = await freePort();
      const listener = [
        '[listener packet]',
        `address = 127.0.0.1:${port}`,
        'protocol = packet',
        'actor = packet',
      ];
      const limits = ['max_connections = 16000', 'backlog = 4096', ...options.listenerKeys];
      const actor = ['[actor packet]', 'type = packet', ...actorKeys, ...options.actorKeys];
      return startProgram(
        dir,
        options,
        [await writeConf(dir, [...listener, ...limits, ...actor])],
        [port],
        nodeFlags,
      );
    },
  };
}

/** Static files of `site` on one of the HTTP engines. */
export function webServer(options: BenchOptions, engine: 'uws' | 'node', site: string): Contestant {
  return {
    name: `switchyard-${engine}`,
    async start(dir) {
      const port = await freePort();
      const lines = ['[http web]', `address = 127.0.0.1:${port}`, `engine = ${engine}`, `root = ${site}`];
      return startProgram(dir, options, [await writeConf(dir, [...lines, ...options.listenerKeys])], [port]);
    },
  };
}
