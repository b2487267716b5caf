/**
 * Ten columns of a table brought from one MariaDB server to another, without a link: refreshed, extended and compared by the stages,
 * against the ways of the database itself: a dump piped into a client, and INSERT ... SELECT within one server.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import * as compare from '../../src/actors/pipeline/compare.js';
import * as increment from '../../src/actors/pipeline/sync-increment.js';
import * as refresh from '../../src/actors/pipeline/sync-refresh.js';
import { inTemporaryFolder, type CaseResult, type Sample } from '../lib/compare.js';
import { BenchDatabase, databaseMissing, OBSERVATION_COLUMNS } from '../lib/database.js';
import type { BenchOptions } from '../lib/options.js';
import type { Report } from '../lib/report.js';
import { runStage, type StageModule } from '../lib/stage.js';

const COLUMNS = [...OBSERVATION_COLUMNS, 'keyid'].join(', ');
const ROWS = 1_000_000;
const QUICK_ROWS = 300_000;

class Servers {
  private constructor(
    readonly source: BenchDatabase,
    readonly target: BenchDatabase,
    readonly rows: number,
  ) {}

  static async start(dir: string, rows: number): Promise<Servers> {
    const [from, to] = await Promise.all(
      ['source', 'target'].map(async (name) => BenchDatabase.start(folder(dir, name))),
    );
    if (from === undefined || to === undefined) throw new Error('no servers');
    await from.fillObservations('src', rows);
    return new Servers(from, to, rows);
  }

  async stop(): Promise<void> {
    await Promise.all([this.source.stop(), this.target.stop()]);
  }

  /** What the target holds before the run: nothing, or all rows, of which `change` makes some different. */
  async prepare(change: string | undefined): Promise<void> {
    await this.target.createObservations('dst');
    if (change === undefined) return;
    this.pipe();
    if (change !== '') await this.target.client(`UPDATE dst SET ${change}`);
  }

  async stage(stage: StageModule, written: Readonly<Record<string, string>>): Promise<Sample> {
    const given: Readonly<Record<string, string>> = {
      source: this.source.url,
      target: this.target.url,
      source_table: 'src',
      target_table: 'dst',
      source_columns: COLUMNS,
      target_columns: COLUMNS,
      ...written,
    };
    const { seconds, counts } = await runStage(stage, given);
    return this.sample(seconds, { ...counts });
  }

  async dumped(): Promise<Sample> {
    const began = performance.now();
    this.pipe();
    return this.sample((performance.now() - began) / 1000, {});
  }

  /** Within one server, so without the network and half of the work. */
  async insertSelect(): Promise<Sample> {
    await this.source.createObservations('copy');
    const { seconds } = await this.source.client(`INSERT INTO copy (${COLUMNS}) SELECT ${COLUMNS} FROM src`);
    return { value: this.rows / seconds, failed: 0, detail: { seconds } };
  }

  private async sample(seconds: number, detail: Record<string, unknown>): Promise<Sample> {
    const sum = `SELECT COUNT(*), SUM(CRC32(CONCAT_WS(',', ${COLUMNS}))) FROM`;
    const source = await this.source.client(`${sum} src`);
    const target = await this.target.client(`${sum} dst`);
    const failed = source.output === target.output ? 0 : 1;
    return { value: this.rows / seconds, failed, detail: { seconds, ...detail } };
  }

  private pipe(): void {
    const from = new URL(this.source.url);
    const to = new URL(this.target.url);
    const where = (url: URL): string => `--no-defaults -h127.0.0.1 -P${url.port} -uroot`;
    const line = `{ MYSQL_PWD=$FROM mariadb-dump ${where(from)} --quick --compact --skip-add-locks --no-create-info --single-transaction bench src |
      sed 's/^INSERT INTO .src./INSERT INTO dst/' | MYSQL_PWD=$TO mariadb ${where(to)} bench; }`;
    const { status, stderr } = spawnSync('sh', ['-c', line], {
      encoding: 'utf8',
      env: { ...process.env, FROM: from.password, TO: to.password },
    });
    if (status !== 0 || stderr !== '') throw new Error(`mariadb-dump: ${stderr}`);
  }
}

function folder(dir: string, name: string): string {
  const path = join(dir, name);
  mkdirSync(path);
  // The server runs as another user.
  chmodSync(dir, 0o711);
  return path;
}

type Contest = readonly [contestant: string, run: (servers: Servers) => Promise<Sample>];

const dump: Contest = ['mariadb-dump | mariadb', async (s) => (await s.prepare(undefined), s.dumped())];
const insertSelect: Contest = ['INSERT ... SELECT in one server', (s) => s.insertSelect()];
const stageAfter =
  (change: string | undefined, stage: StageModule, written: Record<string, string> = {}) =>
  async (servers: Servers): Promise<Sample> => {
    await servers.prepare(change);
    return servers.stage(stage, written);
  };

const CASES: Readonly<Record<string, readonly Contest[]>> = {
  'refresh of an empty table': [
    ['sync-refresh batched', stageAfter(undefined, refresh)],
    ['sync-refresh whole', stageAfter(undefined, refresh, { mode: 'whole' })],
    dump,
    insertSelect,
  ],
  'refresh, every row different': [['sync-refresh', stageAfter('vis = 1', refresh)], dump],
  'refresh, one row in ten different': [
    ['sync-refresh', stageAfter('vis = 1 WHERE keyid % 10 = 0', refresh)],
    dump,
  ],
  'refresh, all rows equal': [['sync-refresh', stageAfter('', refresh)], dump],
  'increment into an empty table': [
    ['sync-increment', stageAfter(undefined, increment, { target_key: 'keyid' })],
    dump,
    insertSelect,
  ],
  'compare of equal tables': [
    ['checksums', stageAfter('', compare)],
    ['row by row', stageAfter('', compare, { method: 'rows' })],
  ],
};

export async function sync(options: BenchOptions): Promise<Report> {
  const missing = databaseMissing();
  if (missing !== undefined) throw new Error(missing);
  const rows = options.seconds < 5 ? QUICK_ROWS : ROWS;
  return inTemporaryFolder(async (dir) => {
    const servers = await Servers.start(dir, rows);
    try {
      const cases: CaseResult[] = [];
      for (const [name, contests] of Object.entries(CASES)) {
        const chosen = contests.filter(([contestant]) => options.only?.includes(contestant) ?? true);
        const series = chosen.map(([contestant]) => ({ contestant, samples: [] as Sample[] }));
        for (let round = 1; round <= options.rounds; round++) {
          for (const [i, [contestant, run]] of chosen.entries()) {
            process.stderr.write(`${name}: round ${round} of ${options.rounds}, ${contestant}\n`);
            series[i]?.samples.push(await run(servers));
          }
        }
        if (series.length > 0) cases.push({ name: `${name}, ${rows} rows of 10 columns`, series });
      }
      return { bench: 'sync', unit: 'rows/s', lessIsBetter: false, cases };
    } finally {
      await servers.stop();
    }
  });
}
