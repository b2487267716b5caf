/**
 * The MySQL driver alone, on one thread and one connection, against the C client on the same server: rows read, rows inserted and
 * rows updated in bulk.
 */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openStore, type Store } from '../../src/store/driver.js';
import { inTemporaryFolder, type CaseResult, type Sample } from '../lib/compare.js';
import { BenchDatabase, databaseMissing, OBSERVATION_COLUMNS } from '../lib/database.js';
import { observationTab } from '../lib/observations.js';
import type { BenchOptions } from '../lib/options.js';
import type { Report } from '../lib/report.js';

const ROWS = 1_000_000;
const QUICK_ROWS = 300_000;
const COLUMNS = [...OBSERVATION_COLUMNS, 'keyid'];
const NAMES = OBSERVATION_COLUMNS.join(', ');
const CHUNK_ROWS = 10_000;

interface Stand {
  readonly database: BenchDatabase;
  readonly store: Store;
  readonly rows: number;
  /** Tab text of all rows: pieces for the store, a file for the client. */
  readonly chunks: readonly Buffer[];
  readonly file: string;
}

type Contest = readonly [contestant: string, run: (stand: Stand) => Promise<Sample>];

const SELECT = `SELECT ${COLUMNS.join(', ')} FROM src`;

async function timed({ rows }: Stand, work: () => Promise<number>): Promise<Sample> {
  const before = process.cpuUsage();
  const began = performance.now();
  const done = await work();
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(before);
  return {
    value: rows / seconds,
    failed: Math.abs(rows - done),
    generatorCpu: (user + system) / 1e6 / seconds,
    detail: { seconds },
  };
}

const read =
  (batches: (store: Store) => AsyncIterable<number>) =>
  async (stand: Stand): Promise<Sample> =>
    timed(stand, async () => {
      let rows = 0;
      for await (const count of batches(stand.store)) rows += count;
      return rows;
    });

async function* values(store: Store): AsyncGenerator<number> {
  for await (const { rows } of store.stream(SELECT)) yield rows.length;
}

async function* xml(store: Store): AsyncGenerator<number> {
  const options = { tags: COLUMNS, lengths: COLUMNS.map(() => undefined), escape: true, values: [9] };
  for await (const { ends } of store.streamXml?.(SELECT, [], options) ?? []) yield ends.length;
}

const dump: Contest = [
  'mariadb --quick --batch',
  async (stand) =>
    timed(stand, async () => {
      await stand.database.client(SELECT, { discard: true });
      return stand.rows;
    }),
];

async function inTable({ database }: Stand): Promise<number> {
  return Number((await database.client('SELECT COUNT(*) FROM dst')).output);
}

const filled =
  (work: (stand: Stand) => Promise<unknown>): Contest[1] =>
  async (stand) => {
    await stand.database.createObservations('dst');
    const sample = await timed(stand, async () => (await work(stand), stand.rows));
    return { ...sample, failed: stand.rows - (await inTable(stand)) };
  };

/** Every row is there before, with other values. */
const changed =
  (work: (stand: Stand) => Promise<unknown>): Contest[1] =>
  async (stand) => {
    const { database, rows } = stand;
    if ((await inTable(stand).catch(() => 0)) !== rows)
      await filled((s) => database.client(`LOAD DATA LOCAL INFILE '${s.file}' INTO TABLE dst (${NAMES})`))(
        stand,
      );
    await database.client('UPDATE dst SET vis = 1, t = 1');
    const sample = await timed(stand, async () => (await work(stand), rows));
    const { output } = await database.client('SELECT COUNT(*) FROM dst WHERE NOT (vis <=> 1 AND t <=> 1)');
    return { ...sample, failed: Number(output) > rows * 0.9 ? 0 : rows };
  };

const bulkOf = { onDuplicate: 'update', keys: ['obtid', 'ddatetime'], touch: ['upttime'] } as const;

const CASES: Readonly<Record<string, readonly Contest[]>> = {
  'select of 10 columns': [['streamXml', read(xml)], ['stream', read(values)], dump],
  'insert of 9 columns': [
    [
      'bulk',
      filled(({ store, chunks }) => store.bulk('dst', OBSERVATION_COLUMNS, chunks, { timeoutMs: 600_000 })),
    ],
    [
      'bulk of 10,000 each',
      filled(async ({ store, chunks }) => {
        for (const chunk of chunks) await store.bulk('dst', OBSERVATION_COLUMNS, [chunk]);
      }),
    ],
    [
      'LOAD DATA LOCAL',
      filled(({ database, file }) =>
        database.client(`LOAD DATA LOCAL INFILE '${file}' INTO TABLE dst (${NAMES})`),
      ),
    ],
  ],
  'update of 9 columns': [
    [
      'bulk',
      changed(({ store, chunks }) =>
        store.bulk('dst', OBSERVATION_COLUMNS, chunks, { ...bulkOf, timeoutMs: 600_000 }),
      ),
    ],
    [
      'bulk of 10,000 each',
      changed(async ({ store, chunks }) => {
        for (const chunk of chunks) await store.bulk('dst', OBSERVATION_COLUMNS, [chunk], bulkOf);
      }),
    ],
    [
      'LOAD DATA, INSERT ... ON DUPLICATE KEY',
      changed(({ database, file }) =>
        database.client(
          `CREATE TEMPORARY TABLE stage AS SELECT ${NAMES} FROM dst WHERE 1 = 0;
           LOAD DATA LOCAL INFILE '${file}' INTO TABLE stage (${NAMES});
           INSERT INTO dst (${NAMES}) SELECT ${NAMES} FROM stage ON DUPLICATE KEY UPDATE
           ${OBSERVATION_COLUMNS.slice(2)
             .map((name) => `${name} = VALUES(${name})`)
             .join(', ')}, upttime = NOW()`,
        ),
      ),
    ],
  ],
};

export async function storeMysql(options: BenchOptions): Promise<Report> {
  const missing = databaseMissing();
  if (missing !== undefined) throw new Error(missing);
  const rows = options.seconds < 5 ? QUICK_ROWS : ROWS;
  return inTemporaryFolder(async (dir) => {
    const database = await BenchDatabase.start(dir);
    try {
      await database.fillObservations('src', rows);
      const chunks = Array.from({ length: rows / CHUNK_ROWS }, (_, i) =>
        observationTab(i * CHUNK_ROWS, CHUNK_ROWS),
      );
      const file = join(dir, 'rows.tab');
      writeFileSync(file, Buffer.concat(chunks));
      chmodSync(file, 0o644);
      const store = await openStore(database.url, { maxConnections: 1 });
      const stand = { database, store, rows, chunks, file };
      const cases: CaseResult[] = [];
      for (const [name, contests] of Object.entries(CASES)) {
        const chosen = contests.filter(([contestant]) => options.only?.includes(contestant) ?? true);
        const series = chosen.map(([contestant]) => ({ contestant, samples: [] as Sample[] }));
        for (let round = 1; round <= options.rounds; round++) {
          for (const [i, [contestant, run]] of chosen.entries()) {
            process.stderr.write(`${name}: round ${round} of ${options.rounds}, ${contestant}\n`);
            series[i]?.samples.push(await run(stand));
          }
        }
        if (series.length > 0) cases.push({ name: `${name}, ${rows} rows`, series });
      }
      await store.close();
      return { bench: 'store-mysql', unit: 'rows/s', lessIsBetter: false, cases };
    } finally {
      await database.stop();
    }
  });
}
