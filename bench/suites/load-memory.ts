/** Resident memory while 10 M rows are loaded into MariaDB: in one file, and in 10,000 files. */
import { appendFileSync, chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as stage from '../../src/actors/pipeline/load.js';
import { inTemporaryFolder, type CaseResult, type Sample } from '../lib/compare.js';
import { BenchDatabase, databaseMissing } from '../lib/database.js';
import { observationFile } from '../lib/observations.js';
import type { BenchOptions } from '../lib/options.js';
import type { Report } from '../lib/report.js';
import { runStage } from '../lib/stage.js';

const ROWS = 10_000_000;
const FILE_ROWS = 1_000;
const QUICK_ROWS = 1_000_000;

function writeRows(inbox: string, rows: number, asOne: boolean): void {
  const one = join(inbox, 'OBS.xml');
  if (asOne) writeFileSync(one, '<data>\n');
  for (let at = 0; at < rows; at += FILE_ROWS) {
    const file = observationFile(at, FILE_ROWS);
    if (asOne) appendFileSync(one, file.subarray('<data>\n'.length, file.length - '</data>\n'.length));
    else writeFileSync(join(inbox, `OBS_${String(at / FILE_ROWS).padStart(6, '0')}.xml`), file);
  }
  if (asOne) appendFileSync(one, '</data>\n');
}

async function measure(root: string, db: BenchDatabase, rows: number, asOne: boolean): Promise<Sample> {
  const inbox = join(root, 'in');
  mkdirSync(inbox);
  writeRows(inbox, rows, asOne);
  await db.createObservations('obs');
  const sizes: number[] = [];
  const timer = setInterval(() => sizes.push(process.memoryUsage.rss()), 100);
  const written = { path: inbox, store: db.url, table: 'obs', done: 'delete', file_timeout: '30m' };
  const { seconds, counts } = await runStage(stage, written, {
    ledgerUrl: `sqlite:${join(root, 'ledger.db')}`,
  });
  clearInterval(timer);
  rmSync(inbox, { recursive: true });
  const firstHalf = Math.max(...sizes.slice(0, sizes.length / 2)) / 2 ** 20;
  const value = Math.max(...sizes) / 2 ** 20;
  return { value, failed: rows - counts.rowsOut, detail: { firstHalf, seconds, counts } };
}

export async function loadMemory(options: BenchOptions): Promise<Report> {
  const missing = databaseMissing();
  if (missing !== undefined) throw new Error(missing);
  const rows = options.seconds < 5 ? QUICK_ROWS : ROWS;
  return inTemporaryFolder(async (root) => {
    // The server may run as a user of its own.
    chmodSync(root, 0o711);
    const folder = join(root, 'db');
    mkdirSync(folder);
    const db = await BenchDatabase.start(folder);
    const cases: CaseResult[] = [];
    try {
      for (const asOne of [true, false]) {
        const samples = [await measure(root, db, rows, asOne)];
        const name = `${rows / 1e6} M rows in ${asOne ? 'one file' : `files of ${FILE_ROWS}`}`;
        cases.push({ name, series: [{ contestant: 'load', samples }] });
      }
    } finally {
      await db.stop();
    }
    return { bench: 'load-memory', unit: 'MiB', lessIsBetter: true, cases };
  });
}
