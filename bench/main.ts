/** `npm run bench -- NAME [options]`. A new bench is a file under suites/ and a line in the table below. */
import { spawnSync } from 'node:child_process';
import { machine } from './lib/machine.js';
import { native } from './lib/native.js';
import { optionHelp, parseOptions, type BenchOptions } from './lib/options.js';
import { publish, type Report } from './lib/report.js';
import { archiveAndPurge } from './suites/archive.js';
import { bridge } from './suites/bridge.js';
import { extract } from './suites/extract.js';
import { extractMemory } from './suites/extract-memory.js';
import { gzipFiles } from './suites/gzip-files.js';
import { httpClose, httpStatic } from './suites/http.js';
import { idleConnections } from './suites/idle-connections.js';
import { load } from './suites/load.js';
import { loadMemory } from './suites/load-memory.js';
import { mailbox } from './suites/mailbox.js';
import { packets, packetsLogin, reactors } from './suites/packets.js';
import { recover } from './suites/recover.js';
import { rowxml } from './suites/rowxml.js';
import { startTime } from './suites/start-time.js';
import { transform } from './suites/transform.js';
import { storeMysql } from './suites/store-mysql.js';
import { sync } from './suites/sync.js';

interface Bench {
  readonly help: string;
  run(options: BenchOptions): Promise<Report>;
}

const benches: Readonly<Record<string, Bench>> = {
  packets: { help: 'pings through the worker actor and back; node-echo, epoll-echo, redis', run: packets },
  reactors: { help: 'bare echo with 1, 2 and 3 threads on one listening descriptor', run: reactors },
  'packets-login': { help: 'logins of one account; node-echo, epoll-echo', run: packetsLogin },
  'http-static': { help: '1 KB page, keep-alive, uws and node engines against nginx', run: httpStatic },
  'http-close': {
    help: 'a new connection per request against nginx; HTTP/1.0 at 1,000 clients',
    run: httpClose,
  },
  'idle-connections': {
    help: 'process memory of an idle packet connection, 10,000 of them',
    run: idleConnections,
  },
  'start-time': { help: 'spawn to listening with the demo conf', run: startTime },
  bridge: { help: 'frames main -> worker -> main, 200 bytes; buffers and postMessage', run: bridge },
  mailbox: { help: 'in and out of a mailbox on one thread; an array of Buffers', run: mailbox },
  extract: {
    help: '1 M rows of MariaDB into row XML by the stage extract; a C program, the client',
    run: extract,
  },
  'extract-memory': { help: 'memory of a process that extracts 10 M rows from MariaDB', run: extractMemory },
  'gzip-files': { help: '1,000 log files compressed in place; gzip(1) over two cores', run: gzipFiles },
  archive: {
    help: '1 M rows of MariaDB purged and archived in short batches; one DELETE, one INSERT ... SELECT',
    run: archiveAndPurge,
  },
  sync: {
    help: 'a table from one MariaDB server to another: refresh, increment, compare; dump and INSERT ... SELECT',
    run: sync,
  },
  'store-mysql': {
    help: 'the MySQL driver alone: select, bulk insert, bulk update; the C client, LOAD DATA LOCAL',
    run: storeMysql,
  },
  rowxml: { help: 'row XML to tab text on one thread; the same by strings', run: rowxml },
  transform: {
    help: 'CSV and NDJSON files into row XML by the stage transform; python3, awk',
    run: transform,
  },
  load: {
    help: 'files of row XML by the stage into MariaDB and SQLite (--only mariadb,sqlite); LOAD DATA, .import',
    run: load,
  },
  'load-memory': {
    help: 'memory of a process that loads 10 M rows into MariaDB and SQLite (--only mariadb,sqlite)',
    run: loadMemory,
  },
  recover: { help: 'an actor hangs in a loop: time beyond its heartbeat, messages lost', run: recover },
};

const tools = ['packet-load', 'http-load'] as const;

function usage(): string {
  const lines = Object.entries(benches).map(([name, { help }]) => `  ${name.padEnd(18)} ${help}`);
  return [
    'usage: npm run bench -- NAME [options]',
    ...lines,
    '  packet-load, http-load   the load generators themselves; their options follow (--help)',
    'options:',
    optionHelp,
  ].join('\n');
}

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h') {
    console.log(usage());
    return name === undefined ? 64 : 0;
  }
  const tool = tools.find((one) => one === name);
  if (tool) return spawnSync(native(tool), args, { stdio: 'inherit' }).status ?? 70;
  const bench = benches[name];
  if (!bench) {
    console.error(`bench: no bench "${name}"\n${usage()}`);
    return 64;
  }
  const before = machine();
  publish(await bench.run(parseOptions(args)), ['npm', 'run', 'bench', '--', name, ...args], before);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 70;
}
