/** From spawn until every address of the demo conf accepts connections. */
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { inTurns, type Contestant } from '../lib/compare.js';
import type { BenchOptions } from '../lib/options.js';
import { root } from '../lib/paths.js';
import type { Report } from '../lib/report.js';
import { freePort, ServerProcess } from '../lib/server-process.js';
import { startProgram } from '../peers/switchyard.js';

const ADDRESS = /^(#?)((?:http_)?address\s*=\s*)\S+$/;

/**
 * Gives every address of a conf text a free port, so that a running demo is not in the way. The admin ports have
 * defaults and are only a comment in the demo conf.
 */
async function onFreePorts(text: string, ports: number[]): Promise<string> {
  const lines = [];
  let section = '';
  for (const line of text.split('\n')) {
    section = /^\[(.*)\]/.exec(line)?.[1] ?? section;
    const match = ADDRESS.exec(line);
    if (!match || (match[1] === '#' && section !== 'admin')) {
      lines.push(line);
      continue;
    }
    const port = await freePort();
    ports.push(port);
    lines.push(`${match[2] ?? ''}127.0.0.1:${port}`);
  }
  return lines.join('\n');
}

function demo(options: BenchOptions): Contestant {
  return {
    name: 'switchyard',
    async start(dir) {
      cpSync(`${root}/conf`, `${dir}/conf`, { recursive: true });
      const confs = readdirSync(`${dir}/conf`)
        .filter((name) => name.endsWith('.conf'))
        .map((name) => `conf/${name}`);
      if (confs.length === 0) throw new Error(`no conf file in ${root}/conf`);
      const ports: number[] = [];
      for (const conf of confs) {
        writeFileSync(`${dir}/${conf}`, await onFreePorts(readFileSync(`${dir}/${conf}`, 'utf8'), ports));
      }
      return startProgram(dir, options, confs, ports);
    },
  };
}

/** What any Node program with one listening socket takes on this machine. */
const bareNode: Contestant = {
  name: 'bare node',
  async start(dir) {
    const port = await freePort();
    const code = `require('node:net').createServer().listen(${port}, '127.0.0.1')`;
    return ServerProcess.start({ command: process.execPath, args: ['-e', code], cwd: dir, ports: [port] });
  },
};

export async function startTime(options: BenchOptions): Promise<Report> {
  const result = await inTurns('demo conf', [demo(options), bareNode], options.rounds, (server) =>
    Promise.resolve({ value: server.startedMs, failed: 0, detail: { startedMs: server.startedMs } }),
  );
  return { bench: 'start-time', unit: 'ms to listening', lessIsBetter: true, cases: [result] };
}
