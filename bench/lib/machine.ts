/** What a result has to say about where it comes from. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { root } from './paths.js';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryMiB: number;
  readonly node: string;
  readonly kernel: string;
  /** Load average of the last minute when the bench began: other work on the machine spoils figures. */
  readonly loadBefore: number;
}

export interface Commit {
  readonly id: string;
  /** True when the work tree differed from the commit. */
  readonly dirty: boolean;
}

export function machine(): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    memoryMiB: Math.round(totalmem() / 1_048_576),
    node: process.version,
    kernel: `${type()} ${release()}`,
    loadBefore: Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]),
  };
}

function git(...words: string[]): string {
  return execFileSync('git', words, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim();
}

/** `none` outside a git work tree. */
export function commit(): Commit {
  try {
    return { id: git('rev-parse', '--short=12', 'HEAD'), dirty: git('status', '--porcelain') !== '' };
  } catch {
    return { id: 'none', dirty: true };
  }
}
