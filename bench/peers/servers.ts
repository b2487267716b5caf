/** The servers that are compared: the program itself and its peers. Each run starts one of them afresh. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import type { Contestant } from '../lib/compare.js';
import { native } from '../lib/native.js';
import { source } from '../lib/paths.js';
import { ServerProcess, freePort } from '../lib/server-process.js';

/** Undefined when the program answers to `-v`, else what to do about it. */
function needs(program: string, debianPackage: string): string | undefined {
  const there = spawnSync(program, ['-v'], { stdio: 'ignore' }).error === undefined;
  return there ? undefined : `${program} is not installed (Debian: apt-get install ${debianPackage})`;
}

export const nodeEcho: Contestant = {
  name: 'node-echo',
  async start(dir) {
    const port = await freePort();
    const args = [source('peers/node-echo.mjs'), String(port)];
    return ServerProcess.start({ command: process.execPath, args, cwd: dir, ports: [port] });
  },
};

/** The bare echo with so many threads accepting from one listening descriptor. */
export function threadsEcho(threads: number): Contestant {
  return {
    name: `node-echo-${threads}-threads`,
    async start(dir) {
      const port = await freePort();
      const args = [source('peers/threads-echo.mjs'), String(port), String(threads)];
      return ServerProcess.start({ command: process.execPath, args, cwd: dir, ports: [port] });
    },
  };
}

export const epollEcho: Contestant = {
  name: 'epoll-echo',
  async start(dir) {
    const port = await freePort();
    return ServerProcess.start({
      command: native('epoll-echo'),
      args: [String(port)],
      cwd: dir,
      ports: [port],
    });
  },
};

export const redis: Contestant = {
  name: 'redis',
  missing: () => needs('redis-server', 'redis-server'),
  async start(dir) {
    const port = await freePort();
    const args = [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--appendonly',
      'no',
      '--maxclients',
      '16000',
    ];
    return ServerProcess.start({ command: 'redis-server', args, cwd: dir, ports: [port] });
  },
};

/** One nginx worker serving `site`, without access log and with keep-alive that does not end. */
export function nginx(site: string): Contestant {
  return {
    name: 'nginx',
    missing: () => needs('nginx', 'nginx-light'),
    async start(dir) {
      const port = await freePort();
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
        (part) => `${part}_temp_path ${dir}/${part};`,
      );
      const conf = [
        process.getuid?.() === 0 ? 'user root;' : '',
        `worker_processes 1; daemon off; pid ${dir}/pid; error_log stderr error; worker_rlimit_nofile 16000;`,
        'events { worker_connections 12000; }',
        `http { types { text/html html; } access_log off; sendfile on; open_file_cache max=100; ${temporary.join(' ')}`,
        '  keepalive_requests 1000000000; keepalive_timeout 600s;',
        `  server { listen 127.0.0.1:${port} backlog=4096; root ${site}; } }`,
      ];
      mkdirSync(dir, { recursive: true });
      writeFileSync(`${dir}/nginx.conf`, conf.join('\n'));
      const args = ['-p', dir, '-e', 'stderr', '-c', `${dir}/nginx.conf`];
      return ServerProcess.start({ command: 'nginx', args, cwd: dir, ports: [port] });
    },
  };
}
