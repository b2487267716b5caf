/**
 * A million observations out of MariaDB into files of row XML, 1,000 rows a file: the stage with its ledger and its files synced,
 * against C programs that print rows as they come (peers/row-xml.c) and the dump of the database's own client.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, openSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createStage, keys } from '../../src/actors/pipeline/extract.js';
import { choose, inTemporaryFolder, type CaseResult, type Sample } from '../lib/compare.js';
import { BenchDatabase, databaseMissing } from '../lib/database.js';
import type { BenchOptions } from '../lib/options.js';
import { output, source } from '../lib/paths.js';
import type { Report } from '../lib/report.js';
import { runStage, type StageRunTime } from '../lib/stage.js';

const ROWS = 1_000_000;
const FILE_ROWS = 1_000;
const FIELDS = 'obtid,ddatetime,t,p,u,wd,wf,r,vis,keyid';
const SELECT =
  "SELECT obtid, date_format(ddatetime,'%Y%m%d%H%i%s'), t, p, u, wd, wf, r, vis, keyid FROM T_ZHOBTMIND";

/** @throws whatever made the run fail */
async function extracted(dir: string, written: Readonly<Record<string, string>>): Promise<StageRunTime> {
  const given: Readonly<Record<string, string>> = {
    prefix: 'ZHOBTMIND',
    suffix: 'bench',
    file_rows: String(FILE_ROWS),
    out: join(dir, 'out'),
    fields: FIELDS,
    ...written,
  };
  return runStage({ createStage, keys }, given, { ledgerUrl: `sqlite:${join(dir, 'ledger.db')}` });
}

function rowXmlProgram(): string {
  const to = output('row-xml');
  mkdirSync(output('.'), { recursive: true });
  const flags = ['--cflags', '--libs'].map((flag) => {
    const { stdout } = spawnSync('mariadb_config', [flag], { encoding: 'utf8' });
    return (stdout ?? '').trim().split(/\s+/).filter(Boolean);
  });
  const args = [
    '-O2',
    '-std=gnu11',
    ...(flags[0] ?? []),
    '-o',
    to,
    source('peers/row-xml.c'),
    ...(flags[1] ?? []),
  ];
  const { status, stderr } = spawnSync(process.env['CC'] ?? 'cc', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`row-xml: ${stderr}`);
  return to;
}

/** @returns seconds */
async function program(
  command: string,
  args: readonly string[],
  url: URL,
  to: string | undefined,
): Promise<number> {
  const began = performance.now();
  const file = to === undefined ? undefined : openSync(to, 'w');
  const child = spawn(command, args, {
    env: { ...process.env, MYSQL_PWD: url.password },
    stdio: ['ignore', file ?? 'ignore', 'inherit'],
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (file !== undefined) closeSync(file);
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
  return (performance.now() - began) / 1_000;
}

type Work = (dir: string, url: URL, select: string) => Promise<{ seconds: number; files: number }>;

function byProgram(mode: 'plain' | 'prepared'): Work {
  return async (dir, url, select) => {
    const out = join(dir, 'out');
    mkdirSync(out);
    const args = [mode, url.port, url.pathname.slice(1), select, FIELDS, out, String(FILE_ROWS)];
    const seconds = await program(output('row-xml'), args, url, undefined);
    return { seconds, files: readdirSync(out).length };
  };
}

const byClient: Work = async (dir, url, select) => {
  const args = ['--no-defaults', `--host=${url.hostname}`, `--port=${url.port}`, '--user=root', '--quick', '--batch', `--execute=${select}`, url.pathname.slice(1)]; // prettier-ignore
  const to = join(dir, 'dump.tsv');
  const seconds = await program('mariadb', args, url, to);
  return { seconds, files: statSync(to).size > 0 ? ROWS / FILE_ROWS : 0 };
};

function byStage(written: Readonly<Record<string, string>>): Work {
  return async (dir, url) => {
    const { seconds, counts } = await extracted(dir, { source: url.href, sql: SELECT, ...written });
    if (counts.rowsOut !== ROWS) throw new Error(`${counts.rowsOut} rows`);
    return { seconds, files: counts.files };
  };
}

export async function extract(options: BenchOptions): Promise<Report> {
  const missing = databaseMissing();
  if (missing !== undefined) throw new Error(missing);
  rowXmlProgram();
  const cases: readonly { name: string; select: string; work: Readonly<Record<string, Work>> }[] = [
    {
      name: 'all rows, as they come',
      select: SELECT,
      work: {
        extract: byStage({}),
        'extract without sync': byStage({ sync: 'no' }),
        'C program, as the reference': byProgram('prepared'),
        'C program, at its best': byProgram('plain'),
        'client dump': byClient,
      },
    },
    {
      name: 'new rows, by key, in steps',
      select: `${SELECT} WHERE keyid > 0 ORDER BY keyid`,
      work: {
        extract: byStage({ inc_field: 'keyid' }),
        'C program, as the reference': byProgram('prepared'),
        'C program, at its best': byProgram('plain'),
        'client dump': byClient,
      },
    },
  ];
  return inTemporaryFolder(async (root) => {
    // The server may run as a user of its own.
    chmodSync(root, 0o711);
    const folder = join(root, 'db');
    mkdirSync(folder);
    const database = await BenchDatabase.start(folder);
    const results: CaseResult[] = [];
    let runs = 0;
    try {
      await database.fillObservations('T_ZHOBTMIND', ROWS);
      const url = new URL(database.url);
      for (const { name, select, work } of cases) {
        const start = (): Promise<never> => Promise.reject(new Error('no server of its own'));
        const chosen = choose(
          Object.keys(work).map((one) => ({ name: one, start })),
          options,
        );
        const series = chosen.map((one) => ({ contestant: one.name, samples: [] as Sample[] }));
        // Round 0 is not counted: code is compiled while it runs, and a service has run before.
        for (let round = 0; round <= options.rounds; round++) {
          for (const { contestant, samples } of series) {
            process.stderr.write(`${name}: round ${round} of ${options.rounds}, ${contestant}\n`);
            // Nothing is removed until the end: an ext4 without journal passes over each file that was removed in the last minutes
            // when it makes one, which costs many times what the file does.
            const dir = join(root, `run-${++runs}`);
            mkdirSync(dir);
            const done = await (work[contestant] ?? byClient)(dir, url, select);
            // What one leaves to be written later is not to burden the next.
            spawnSync('sync');
            const failed = ROWS / FILE_ROWS - done.files;
            if (round > 0) samples.push({ value: ROWS / done.seconds, failed, detail: done });
          }
        }
        results.push({ name, series });
      }
    } finally {
      await database.stop();
    }
    return { bench: 'extract', unit: 'rows/s', lessIsBetter: false, cases: results };
  });
}
