/** Compiles the C load generators and peers when they are first needed, and again when a source is newer. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { output, source } from './paths.js';

const sources = {
  'packet-load': 'load/packet-load.c',
  'http-load': 'load/http-load.c',
  'epoll-echo': 'peers/epoll-echo.c',
} as const;

export type NativeTool = keyof typeof sources;

function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function newest(folder: string): number {
  return Math.max(
    ...readdirSync(folder)
      .filter((name) => /\.[ch]$/.test(name))
      .map((name) => modified(`${folder}/${name}`)),
  );
}

/**
 * @returns the path of the program
 * @throws Error that names the missing compiler, or holds what it said
 */
export function native(tool: NativeTool): string {
  const from = source(sources[tool]);
  const to = output(tool);
  if (modified(to) > newest(dirname(from))) return to;
  mkdirSync(dirname(to), { recursive: true });
  const compiler = process.env['CC'] ?? 'cc';
  const flags = ['-O2', '-std=gnu11', '-Wall', '-Wextra', '-Wno-format-truncation'];
  const run = spawnSync(compiler, [...flags, '-o', to, from], { encoding: 'utf8' });
  if (run.error) {
    throw new Error(
      `${tool} is written in C and there is no compiler "${compiler}" here (${run.error.message}); ` +
        'install one (Debian: apt-get install gcc libc6-dev) or name yours in CC',
    );
  }
  if (run.status !== 0) throw new Error(`${compiler} could not build ${from}:\n${run.stderr}`);
  return to;
}

export function hasCompiler(): boolean {
  return spawnSync(process.env['CC'] ?? 'cc', ['--version']).status === 0;
}
