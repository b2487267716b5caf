/**
 * Files of row XML into a table by the stage `load`, with its run ledger and its table of files, against the database's own way:
 * one LOAD DATA LOCAL of the same rows by the C client, one .import by the sqlite3 shell.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as stage from '../../src/actors/pipeline/load.js';
import { openStore } from '../../src/store/driver.js';
import { inTemporaryFolder, type CaseResult, type Sample } from '../lib/compare.js';
import { BenchDatabase, databaseMissing, OBSERVATION_COLUMNS, sqliteObservations } from '../lib/database.js';
import { observationFile, observationTab } from '../lib/observations.js';
import type { BenchOptions } from '../lib/options.js';
import type { Report } from '../lib/report.js';
import { runStage } from '../lib/stage.js';

const FILE_ROWS = 1_000;
const ROWS = 1_000_000;
const QUICK_ROWS = 200_000;
const COLUMNS = OBSERVATION_COLUMNS.join(', ');

/** The files and the same rows as tab text, made once. */
class Rows {
  readonly tab: string;
  private readonly inbox: string;
  private readonly done: string;

  constructor(
    private readonly dir: string,
    readonly count: number,
  ) {
    this.tab = join(dir, 'rows.tsv');
    this.inbox = join(dir, 'in');
    this.done = join(dir, 'in-done');
    mkdirSync(this.inbox);
    mkdirSync(this.done);
    const pieces: Buffer[] = [];
    for (let at = 0; at < count; at += FILE_ROWS) {
      const name = `OBS_${String(at / FILE_ROWS).padStart(6, '0')}.xml`;
      writeFileSync(join(this.done, name), observationFile(at, FILE_ROWS));
      pieces.push(observationTab(at, FILE_ROWS));
    }
    writeFileSync(this.tab, Buffer.concat(pieces));
  }

  /** One run of the stage over all files. @returns seconds */
  async load(
    store: string,
    mode: 'insert' | 'upsert',
  ): Promise<{ seconds: number; detail: Record<string, unknown> }> {
    for (const name of readdirSync(this.done)) renameSync(join(this.done, name), join(this.inbox, name));
    const ledger = `sqlite:${join(this.dir, 'ledger.db')}`;
    const written: Readonly<Record<string, string>> = {
      path: this.inbox,
      store,
      table: 'obs',
      mode,
      repeat: 'load',
    };
    const { seconds, cpu, counts } = await runStage(stage, written, { ledgerUrl: ledger });
    const rss = Math.round(process.memoryUsage.rss() / 2 ** 20);
    return { seconds, detail: { seconds, cpu, rssMb: rss, ...counts } };
  }
}

async function intoMariadb(rows: Rows, db: BenchDatabase, rounds: number): Promise<CaseResult[]> {
  const bulk = (table: string, replace: string): Promise<{ seconds: number }> =>
    db.client(`LOAD DATA LOCAL INFILE '${rows.tab}' ${replace} INTO TABLE ${table} (${COLUMNS})`);
  const sum = async (table: string): Promise<string> =>
    (await db.client(`SELECT COUNT(*), SUM(CRC32(CONCAT_WS(',', ${COLUMNS}))) FROM ${table}`)).output;
  const sample = async (table: string, seconds: number, detail: unknown): Promise<Sample> => {
    const failed = (await sum(table)) === (await sum('wanted')) ? 0 : 1;
    return { value: rows.count / seconds, failed, detail };
  };
  await db.createObservations('wanted');
  await bulk('wanted', '');
  const cases: CaseResult[] = [];
  for (const mode of ['insert', 'upsert'] as const) {
    const ours: Sample[] = [];
    const theirs: Sample[] = [];
    const prepare = async (table: string): Promise<void> => {
      await db.createObservations(table);
      if (mode === 'insert') return;
      await bulk(table, '');
      await db.client(`UPDATE ${table} SET t = -999`);
    };
    for (let round = 1; round <= rounds; round++) {
      process.stderr.write(`mariadb ${mode}: round ${round} of ${rounds}\n`);
      await prepare('obs');
      const { seconds, detail } = await rows.load(db.url, mode);
      ours.push(await sample('obs', seconds, detail));
      await prepare('peer');
      const peer = await bulk('peer', mode === 'insert' ? '' : 'REPLACE');
      theirs.push(await sample('peer', peer.seconds, peer));
    }
    cases.push({
      name: `mariadb, ${mode === 'insert' ? 'new rows' : 'every row exists'}`,
      series: [
        { contestant: 'stage load', samples: ours },
        { contestant: mode === 'insert' ? 'one LOAD DATA' : 'one LOAD DATA REPLACE', samples: theirs },
      ],
    });
  }
  return cases;
}

async function intoSqlite(rows: Rows, dir: string, rounds: number): Promise<CaseResult> {
  const shell = spawnSync('sqlite3', ['--version']).status === 0;
  if (!shell) console.log('without sqlite3 .import: sqlite3 not installed (Debian: apt-get install sqlite3)');
  const fresh = async (name: string): Promise<string> => {
    const file = join(dir, name);
    for (const end of ['', '-wal', '-shm']) rmSync(file + end, { force: true });
    const store = await openStore(`sqlite:${file}`);
    await store.execute(sqliteObservations('obs'));
    await store.close();
    return file;
  };
  const counted = async (file: string): Promise<number> => {
    const store = await openStore(`sqlite:${file}`);
    const { rows: found } = await store.query('SELECT count(*) FROM obs');
    await store.close();
    return Number(found[0]?.[0]);
  };
  const ours: Sample[] = [];
  const theirs: Sample[] = [];
  for (let round = 1; round <= rounds; round++) {
    process.stderr.write(`sqlite: round ${round} of ${rounds}\n`);
    const file = await fresh('ours.db');
    const { seconds, detail } = await rows.load(`sqlite:${file}`, 'insert');
    ours.push({ value: rows.count / seconds, failed: (await counted(file)) === rows.count ? 0 : 1, detail });
    if (!shell) continue;
    const peer = await fresh('peer.db');
    const began = performance.now();
    // .import wants as many fields as the table has columns.
    execFileSync('sqlite3', [peer, '-cmd', '.mode tabs', 'CREATE VIEW v AS SELECT ' + COLUMNS + ' FROM obs;' +
      ` CREATE TRIGGER i INSTEAD OF INSERT ON v BEGIN INSERT INTO obs (${COLUMNS}) VALUES (${OBSERVATION_COLUMNS.map((c) => `NEW.${c}`).join(', ')}); END;`, `.import ${rows.tab} v`]); // prettier-ignore
    const took = (performance.now() - began) / 1000;
    theirs.push({
      value: rows.count / took,
      failed: (await counted(peer)) === rows.count ? 0 : 1,
      detail: { seconds: took },
    });
  }
  const peers = shell ? [{ contestant: 'sqlite3 .import', samples: theirs }] : [];
  return { name: 'sqlite, new rows', series: [{ contestant: 'stage load', samples: ours }, ...peers] };
}

export async function load(options: BenchOptions): Promise<Report> {
  return inTemporaryFolder(async (dir) => {
    const wanted = (name: string): boolean => options.only === undefined || options.only.includes(name);
    const rows = new Rows(dir, options.seconds < 5 ? QUICK_ROWS : ROWS);
    const cases: CaseResult[] = [];
    const missing = databaseMissing();
    if (missing !== undefined) console.log(`without mariadb: ${missing}`);
    else if (wanted('mariadb')) {
      const folder = join(dir, 'mariadb');
      mkdirSync(folder);
      chmodSync(dir, 0o711);
      const db = await BenchDatabase.start(folder);
      try {
        cases.push(...(await intoMariadb(rows, db, options.rounds)));
      } finally {
        await db.stop();
      }
    }
    if (wanted('sqlite') && existsSync(rows.tab)) cases.push(await intoSqlite(rows, dir, options.rounds));
    return { bench: 'load', unit: 'rows/s', lessIsBetter: false, cases };
  });
}
