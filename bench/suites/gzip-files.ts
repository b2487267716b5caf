/** 1,000 log files compressed in place: the stage with its cpu-pool of two threads, against gzip(1) in two processes. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createStage, keys } from '../../src/actors/pipeline/gzip-files.js';
import { CpuPool } from '../../src/runtime/cpu-pool.js';
import type { CpuJobName } from '../../src/runtime/cpu-jobs.js';
import { choose, inTemporaryFolder, type Sample } from '../lib/compare.js';
import type { BenchOptions } from '../lib/options.js';
import type { Report } from '../lib/report.js';
import { runStage } from '../lib/stage.js';

const FILES = 1_000;
const LINES = 1_000;
const THREADS = 2;

/** Lines as a packet server logs them; the same in every run. @returns bytes in all */
function writeLogs(dir: string): number {
  let seed = 1;
  const next = (): number => (seed = (seed * 48_271) % 2_147_483_647);
  const old = new Date(Date.now() - 3_600_000);
  let bytes = 0;
  for (let file = 0; file < FILES; file++) {
    let text = '';
    for (let line = 0; line < LINES; line++) {
      const ip = `10.0.${next() % 256}.${next() % 256}`;
      text += `2026-11-21 06:${String(line % 60).padStart(2, '0')}:00.${next() % 1_000} info conn.close remote=${ip}:${next() % 65_536} packets=${next() % 100_000}\n`;
    }
    const path = join(dir, `server.log.2026${file}`);
    writeFileSync(path, text);
    utimesSync(path, old, old);
    bytes += text.length;
  }
  return bytes;
}

async function withStage(dir: string): Promise<void> {
  const pool = new CpuPool({ maxThreads: THREADS });
  const written = {
    path: dir,
    match: '*.log.20*',
    older_than: '1m',
    threads: String(THREADS),
    job_timeout: '10m',
  };
  try {
    await runStage({ createStage, keys }, written, {
      cpu: (job, data, options) => pool.run(job as CpuJobName, data as never, options),
    });
  } finally {
    await pool.close();
  }
}

function withGzip(dir: string): void {
  const command = `find . -name '*.log.20*' -print0 | xargs -0 -n 32 -P ${THREADS} gzip -f`;
  const { status, stderr } = spawnSync('sh', ['-c', command], { cwd: dir, encoding: 'utf8' });
  if (status !== 0) throw new Error(`gzip: ${stderr}`);
}

async function measure(compress: (dir: string) => void | Promise<void>): Promise<Sample> {
  return inTemporaryFolder(async (root) => {
    const dir = join(root, 'logs');
    mkdirSync(dir);
    const bytes = writeLogs(dir);
    const start = performance.now();
    await compress(dir);
    const seconds = (performance.now() - start) / 1_000;
    const names = readdirSync(dir);
    const packed = names.reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
    const failed = FILES - names.filter((name) => name.endsWith('.gz')).length;
    return { value: bytes / 1e6 / seconds, failed, detail: { seconds, bytes, packed } };
  });
}

export async function gzipFiles(options: BenchOptions): Promise<Report> {
  const work: Readonly<Record<string, (dir: string) => void | Promise<void>>> = {
    'gzip-files': withStage,
    'gzip(1)': withGzip,
  };
  const chosen = choose(
    Object.keys(work).map((name) => ({ name, start: () => Promise.reject(new Error('no server')) })),
    options,
  );
  const series = chosen.map(({ name }) => ({ contestant: name, samples: [] as Sample[] }));
  for (let round = 0; round < options.rounds; round++) {
    for (const one of series) one.samples.push(await measure(work[one.contestant] ?? withGzip));
  }
  const cases = [{ name: `${FILES} files, 2 at once`, series }];
  return { bench: 'gzip-files', unit: 'MB/s', lessIsBetter: false, cases };
}
