/**
 * Rows that go from a table of MariaDB, or move into its history table, by the stages in batches that lock for less than 100 ms;
 * against what the client does in one statement, which locks everything until it ends.
 */
import * as archive from '../../src/actors/pipeline/archive.js';
import * as purge from '../../src/actors/pipeline/purge.js';
import type { LogFields, Logger } from '../../src/runtime/log-contract.js';
import { inTemporaryFolder, type CaseResult, type Sample } from '../lib/compare.js';
import { BenchDatabase, databaseMissing } from '../lib/database.js';
import type { BenchOptions } from '../lib/options.js';
import type { Report } from '../lib/report.js';
import { runStage, type StageModule } from '../lib/stage.js';

const ROWS = 1_000_000;
const QUICK_ROWS = 300_000;

type Run = (database: BenchDatabase, rows: number) => Promise<Sample>;

/** @param given its batches follow the primary key and two are worked on at once, if not given otherwise */
function byStage(stage: StageModule, given: { readonly key?: 'keyid'; readonly writers?: string } = {}): Run {
  return async (database, rows) => {
    const conf = { store: database.url, table: 'obs', where: 'where 1=1', ...given };
    let told: LogFields = {};
    const quiet = (): void => undefined;
    const log: Logger = {
      debug: quiet,
      info: (event, fields = {}) => void (event.endsWith('.done') && (told = fields)),
      notice: quiet,
      warn: quiet,
      error: quiet,
      fatal: quiet,
      child: () => log,
    };
    const { seconds, counts } = await runStage(stage, conf, { log });
    process.stderr.write(`longest batch: ${String(told['longestMs'])} ms of ${String(told['batches'])}\n`);
    return { value: rows / seconds, failed: rows - counts.rowsOut, detail: { seconds, ...told } };
  };
}

function byClient(sql: string): Run {
  return async (database, rows) => {
    const { seconds } = await database.client(sql);
    return { value: rows / seconds, failed: 0, detail: { seconds } };
  };
}

/** The stage's two statements for eight stations at a time, which the client knows beforehand: 8,000 rows of a million. */
function byClientInBatches(): Run {
  const batches = Array.from({ length: 125 }, (_, n) => {
    const where = `WHERE obtid >= '${58_000 + 8 * n}' AND obtid < '${58_008 + 8 * n}'`;
    return `START TRANSACTION; INSERT INTO obs_HIS SELECT * FROM obs ${where} FOR UPDATE; DELETE FROM obs ${where}; COMMIT`;
  });
  return byClient(batches.join('; '));
}

const COPY = 'INSERT INTO obs_HIS SELECT * FROM obs';
const CASES: Readonly<Record<string, Readonly<Record<string, Run>>>> = {
  purge: {
    'stage, by primary key': byStage(purge),
    'the same, one writer': byStage(purge, { writers: '1' }),
    'stage, by keyid': byStage(purge, { key: 'keyid' }),
    'one DELETE': byClient('DELETE FROM obs'),
  },
  archive: {
    'stage, by primary key': byStage(archive),
    'the same, one writer': byStage(archive, { writers: '1' }),
    'stage, by keyid': byStage(archive, { key: 'keyid' }),
    'client, batches known beforehand': byClientInBatches(),
    'INSERT ... SELECT alone': byClient(COPY),
    'INSERT ... SELECT and DELETE': byClient(`START TRANSACTION; ${COPY}; DELETE FROM obs; COMMIT`),
  },
};

export async function archiveAndPurge(options: BenchOptions): Promise<Report> {
  const missing = databaseMissing();
  if (missing !== undefined) throw new Error(missing);
  const rows = options.seconds <= 1 ? QUICK_ROWS : ROWS;
  const cases = await inTemporaryFolder(async (dir) => {
    const database = await BenchDatabase.start(dir);
    try {
      const results: CaseResult[] = [];
      for (const [name, all] of Object.entries(CASES))
        results.push(await turns(name, all, database, rows, options));
      return results;
    } finally {
      await database.stop();
    }
  });
  return { bench: 'archive', unit: 'rows/s', lessIsBetter: false, cases };
}

async function turns(
  name: string,
  all: Readonly<Record<string, Run>>,
  database: BenchDatabase,
  rows: number,
  { rounds, only }: BenchOptions,
): Promise<CaseResult> {
  const chosen = Object.entries(all).filter(([contestant]) => only?.includes(contestant) ?? true);
  const series = chosen.map(([contestant]) => ({ contestant, samples: [] as Sample[] }));
  for (let round = 1; round <= rounds; round++) {
    for (const [i, [contestant, run]] of chosen.entries()) {
      process.stderr.write(`${name}: round ${round} of ${rounds}, ${contestant}\n`);
      await database.fillObservations('obs', rows);
      // As the stage makes it.
      await database.client(
        `DROP TABLE IF EXISTS obs_HIS; CREATE TABLE obs_HIS LIKE obs; ALTER TABLE obs_HIS MODIFY keyid BIGINT NOT NULL`,
      );
      await database.settled();
      series[i]?.samples.push(await run(database, rows));
    }
  }
  return { name, series };
}
