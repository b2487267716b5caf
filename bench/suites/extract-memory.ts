/** Resident memory of a process that extracts 10 M rows from MariaDB into files of 1,000. */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { inTemporaryFolder, type Sample } from '../lib/compare.js';
import { BenchDatabase, databaseMissing, OBSERVATION_COLUMNS, observationSelect } from '../lib/database.js';
import type { BenchOptions } from '../lib/options.js';
import type { Report } from '../lib/report.js';
import { measureStage } from '../lib/stage-process.js';

const ROWS = 10_000_000;
const QUICK_ROWS = 1_000_000;
const FILE_ROWS = 1_000;

/** The table is made up by the server as it goes. `--quick` takes a tenth of the rows, which shows no growth. */
export async function extractMemory(options: BenchOptions): Promise<Report> {
  const missing = databaseMissing();
  if (missing !== undefined) throw new Error(missing);
  const rows = options.seconds < 5 ? QUICK_ROWS : ROWS;
  return inTemporaryFolder(async (root) => {
    // The server may run as a user of its own.
    chmodSync(root, 0o711);
    const folder = join(root, 'db');
    mkdirSync(folder);
    const database = await BenchDatabase.start(folder);
    const samples: Sample[] = [];
    try {
      for (let round = 0; round < Math.min(options.rounds, 2); round++) {
        const dir = join(root, 'run');
        mkdirSync(dir);
        const written = {
          type: 'extract',
          source: database.url,
          sql: observationSelect(rows)
            .replace(/ ORDER BY seq$/, '')
            .replace(/\s+/g, ' '),
          prefix: 'ZHOBTMIND',
          suffix: 'bench',
          file_rows: String(FILE_ROWS),
          out: join(dir, 'out'),
          fields: OBSERVATION_COLUMNS.join(','),
        };
        samples.push(await measureStage({ dir, written, rows }, options));
        rmSync(dir, { recursive: true });
      }
    } finally {
      await database.stop();
    }
    const name = `${rows / 1e6} M rows from mariadb into files of ${FILE_ROWS}`;
    const cases = [{ name, series: [{ contestant: 'extract', samples }] }];
    return { bench: 'extract-memory', unit: 'MiB', lessIsBetter: true, cases };
  });
}
