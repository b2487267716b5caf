/**
 * The stateless CPU jobs, by name: the table to read first. Runs on the threads of cpu-pool.ts, one job at a time per
 * thread, so a job may compute for long; its deadline ends the thread. To add a job: one function and one line in JOBS.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import { move } from 'piscina';
import { gzipFiles, type GzipFilesJob, type GzipFilesResult } from './gzip-file.js';

/** A gunzip result is never larger, unless the job says otherwise: a small file can unfold to any size. */
const MAX_UNPACKED_BYTES = 256 * 1024 * 1024;

export interface GzipJob {
  readonly bytes: Uint8Array;
  /** 1 (fast) to 9 (small); default 6. */
  readonly level?: number;
}

export interface GunzipJob {
  readonly bytes: Uint8Array;
  /** Longest accepted result in bytes. */
  readonly maxBytes?: number;
}

/** Of bytes, or of a file's contents. */
export type Sha256Job = { readonly bytes: Uint8Array } | { readonly file: string };

function gzip({ bytes, level = 6 }: GzipJob): unknown {
  return moved(gzipSync(bytes, { level }));
}

function gunzip({ bytes, maxBytes = MAX_UNPACKED_BYTES }: GunzipJob): unknown {
  return moved(gunzipSync(bytes, { maxOutputLength: maxBytes }));
}

/** @returns 64 hexadecimal digits */
async function sha256(job: Sha256Job): Promise<string> {
  const hash = createHash('sha256');
  if ('bytes' in job) hash.update(job.bytes);
  else for await (const chunk of createReadStream(job.file)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

/** Hands the bytes over instead of copying them. Small results live in Node's shared slab, which cannot be moved. */
function moved(bytes: Buffer): unknown {
  return bytes.byteLength === bytes.buffer.byteLength ? move(bytes) : bytes;
}

const JOBS = { gzip, gunzip, sha256, 'gzip-files': gzipFiles } as const;

export type CpuJobs = {
  gzip: { data: GzipJob; result: Uint8Array };
  gunzip: { data: GunzipJob; result: Uint8Array };
  sha256: { data: Sha256Job; result: string };
  'gzip-files': { data: GzipFilesJob; result: readonly GzipFilesResult[] };
};

export type CpuJobName = keyof CpuJobs;

/** For the main thread: known names without loading a thread. */
export const CPU_JOB_NAMES: readonly string[] = Object.keys(JOBS);

/** Piscina's entry. */
export function runJob({ name, data }: { name: CpuJobName; data: unknown }): unknown {
  return (JOBS[name] as (data: unknown) => unknown)(data);
}
