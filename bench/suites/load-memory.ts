/** Resident memory of a process that loads 10 M rows into MariaDB and into SQLite: in one file, and in 10,000 files. */
import { appendFileSync, chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openStore } from '../../src/store/driver.js';
import { inTemporaryFolder, type CaseResult, type Sample } from '../lib/compare.js';
import { BenchDatabase, databaseMissing, sqliteObservations } from '../lib/database.js';
import { observationFile } from '../lib/observations.js';
import type { BenchOptions } from '../lib/options.js';
import type { Report } from '../lib/report.js';
import { measureStage } from '../lib/stage-process.js';

const ROWS = 10_000_000;
const FILE_ROWS = 1_000;
const QUICK_ROWS = 1_000_000;
const TABLE = 'obs';
const DATABASES = ['mariadb', 'sqlite'] as const;

/** Where files wait, and where the stage puts them when they are loaded. */
interface Folders {
  readonly inbox: string;
  readonly done: string;
}

function writeRows(inbox: string, rows: number, asOne: boolean): void {
  mkdirSync(inbox);
  const one = join(inbox, 'OBS.xml');
  if (asOne) writeFileSync(one, '<data>\n');
  for (let at = 0; at < rows; at += FILE_ROWS) {
    const file = observationFile(at, FILE_ROWS);
    if (asOne) appendFileSync(one, file.subarray('<data>\n'.length, file.length - '</data>\n'.length));
    else writeFileSync(join(inbox, `OBS_${String(at / FILE_ROWS).padStart(6, '0')}.xml`), file);
  }
  if (asOne) appendFileSync(one, '</data>\n');
}

async function intoMariadb(
  dir: string,
  folders: Folders,
  rows: number,
  options: BenchOptions,
): Promise<Sample> {
  const folder = join(dir, 'server');
  mkdirSync(folder);
  const db = await BenchDatabase.start(folder);
  try {
    await db.createObservations(TABLE);
    return await measureStage({ dir, written: written(folders, db.url), rows }, options);
  } finally {
    await db.stop();
  }
}

async function intoSqlite(
  dir: string,
  folders: Folders,
  rows: number,
  options: BenchOptions,
): Promise<Sample> {
  const url = `sqlite:${join(dir, 'rows.db')}`;
  const store = await openStore(url);
  await store.execute(sqliteObservations(TABLE));
  await store.close();
  return measureStage({ dir, written: written(folders, url), rows }, options);
}

function written({ inbox, done }: Folders, store: string): Readonly<Record<string, string>> {
  return { type: 'load', path: inbox, done_path: done, store, table: TABLE, file_timeout: '30m' };
}

/** @param options `--only mariadb,sqlite`; `--quick` for a tenth of the rows, which shows no growth */
export async function loadMemory(options: BenchOptions): Promise<Report> {
  const missing = databaseMissing();
  const wanted = DATABASES.filter((name) => options.only?.includes(name) ?? true);
  if (missing !== undefined && wanted.includes('mariadb')) throw new Error(missing);
  const rows = options.seconds < 5 ? QUICK_ROWS : ROWS;
  return inTemporaryFolder(async (root) => {
    // The server may run as a user of its own.
    chmodSync(root, 0o711);
    const cases: CaseResult[] = [];
    for (const asOne of [true, false]) {
      const folders = { inbox: join(root, 'in'), done: join(root, 'done') };
      const shape = asOne ? 'one file' : `files of ${FILE_ROWS}`;
      process.stderr.write(`writing ${rows} rows in ${shape}\n`);
      writeRows(folders.inbox, rows, asOne);
      for (const name of wanted) {
        process.stderr.write(`${name}, ${shape}\n`);
        const dir = join(root, name);
        mkdirSync(dir);
        chmodSync(dir, 0o711);
        const sample = await (name === 'mariadb' ? intoMariadb : intoSqlite)(dir, folders, rows, options);
        rmSync(dir, { recursive: true });
        // Loaded files go back for the next database.
        rmSync(folders.inbox, { recursive: true });
        renameSync(folders.done, folders.inbox);
        const series = [{ contestant: 'load', samples: [sample] }];
        cases.push({ name: `${rows / 1e6} M rows in ${shape} into ${name}`, series });
      }
      rmSync(folders.inbox, { recursive: true });
    }
    return { bench: 'load-memory', unit: 'MiB', lessIsBetter: true, cases };
  });
}
