/**
 * The whole chain on MariaDB, killed again and again: extract -> files -> load -> archive, and both kinds of sync beside it, while rows
 * keep arriving. In the end every database holds exactly the same rows and every file is in exactly one place.
 * FULL=1: 200 kills, else 12.
 */
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore, type Store } from '../../src/store/driver.js';
import { have, mariadb } from '../support/servers.js';
import { BASE, useWorkspace, type Program, type Sections } from '../support/program.js';

const KILLS = process.env['FULL'] === '1' ? 200 : 12;
const LONGEST_LIFE_MS = 2_500;
const COLUMNS = 'obtid, ddatetime, t, p, u, wd, wf, r, vis';
const FIELDS = COLUMNS.replaceAll(' ', '');

const table = (name: string): string => `CREATE TABLE ${name} (
  obtid VARCHAR(10) NOT NULL, ddatetime DATETIME NOT NULL,
  t INT, p INT, u INT, wd INT, wf INT, r INT, vis INT,
  upttime TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  keyid BIGINT NOT NULL AUTO_INCREMENT UNIQUE,
  PRIMARY KEY (obtid, ddatetime)) ENGINE=InnoDB`;

const workspace = useWorkspace();
let core: Store;
let app: Store;
let urls: { core: string; app: string };

beforeAll(async () => {
  if (!have.mariadb) return;
  urls = { core: await mariadb(), app: await mariadb() };
  core = await openStore(urls.core);
  app = await openStore(urls.app);
  await core.execute(table('T_ZHOBTMIND'));
  for (const name of ['T_ZHOBTMIND1', 'T_ZHOBTMIND2', 'T_ZHOBTMIND3']) await app.execute(table(name));
}, 300_000);
afterAll(async () => {
  await core?.close();
  await app?.close();
});

/** Everything runs as often as it can. */
function conf(): Sections {
  const file = (name: string): string => workspace().file(name);
  const often = { every: '100ms', retry_wait: '50ms', retry_max_wait: '200ms', retries: 100, pool: 'stages' };
  return {
    ...BASE,
    log: { ...BASE['log'], level: 'info' },
    'pool stages': { workers: 2 },
    'stage extract': {
      type: 'extract',
      ...often,
      source: urls.core,
      sql: `select ${FIELDS},keyid from T_ZHOBTMIND where keyid>:1`,
      fields: `${FIELDS},keyid`,
      inc_field: 'keyid',
      overlap: 5_000,
      file_rows: 300,
      prefix: 'ZHOBTMIND',
      suffix: 'test',
      out: file('in'),
      ledger: `sqlite:${file('ledger.db')}`,
    },
    'stage load': {
      type: 'load',
      ...often,
      store: urls.app,
      match: 'ZHOBTMIND_*.xml',
      table: 'T_ZHOBTMIND1',
      path: file('in'),
      done_path: file('done'),
      error_path: file('bad'),
      ledger: `sqlite:${file('ledger.db')}`,
    },
    'stage archive': {
      type: 'archive',
      ...often,
      store: urls.app,
      table: 'T_ZHOBTMIND1',
      target_table: 'T_ZHOBTMIND1_HIS',
      where: "where ddatetime<'2026-01-01 00:30:00'",
      batch_rows: 200,
      ledger: `sqlite:${file('ledger.db')}`,
    },
    'stage refresh': {
      type: 'sync-refresh',
      ...often,
      source: urls.core,
      target: urls.app,
      source_table: 'T_ZHOBTMIND',
      target_table: 'T_ZHOBTMIND2',
      source_columns: FIELDS,
      target_columns: FIELDS,
      mode: 'batched',
      source_key: 'obtid,ddatetime',
      target_key: 'obtid,ddatetime',
      ledger: `sqlite:${file('ledger.db')}`,
    },
    'stage increment': {
      type: 'sync-increment',
      ...often,
      source: urls.core,
      target: urls.app,
      source_table: 'T_ZHOBTMIND',
      target_table: 'T_ZHOBTMIND3',
      source_columns: `${FIELDS},keyid`,
      target_columns: `${FIELDS},keyid`,
      source_key: 'keyid',
      target_key: 'keyid',
      overlap: 5_000,
      ledger: `sqlite:${file('ledger.db')}`,
    },
  };
}

let station = 0;
/** A few hundred rows of new stations, half of them old enough for the archive; some transactions end late. */
async function arrive(): Promise<void> {
  const many = async (rows: number, lateMs: number): Promise<void> => {
    const first = station;
    station += rows;
    await core.transaction(async (tx) => {
      const values = Array.from({ length: rows }, (_, i) => [
        String(10_000 + first + i),
        `2026-01-01 00:${String((first + i) % 60).padStart(2, '0')}:00`,
        ...[i, 10_000 + i, null, i % 360, 0, i % 7 === 0 ? null : i, -i],
      ]);
      await tx.batch(`INSERT INTO T_ZHOBTMIND (${COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)`, values);
      await sleep(lateMs);
    });
  };
  await Promise.all([many(150, 0), many(50, 150), many(100, 20)]);
}

/** Rows and a checksum over all of them, in no order. */
async function digest(store: Store, from: string): Promise<string> {
  const text = COLUMNS.split(', ')
    .map((name) => `ifnull(${name},'~')`)
    .join(",'|',");
  const { rows } = await store.query(
    `SELECT count(*), coalesce(sum(crc32(concat(${text}))),0) FROM (${from}) q`,
  );
  return (rows[0] ?? []).join(' ');
}

async function settled(program: Program, wanted: string): Promise<void> {
  const tables = ['T_ZHOBTMIND2', 'T_ZHOBTMIND3'];
  const both = async (): Promise<string> => {
    const history = await app.query(`SHOW TABLES LIKE 'T_ZHOBTMIND1_HIS'`);
    const second = history.rows.length === 0 ? '' : ` UNION ALL SELECT ${COLUMNS} FROM T_ZHOBTMIND1_HIS`;
    return digest(app, `SELECT ${COLUMNS} FROM T_ZHOBTMIND1${second}`);
  };
  await expect.poll(both, { timeout: 60_000, interval: 500 }).toBe(wanted);
  for (const name of tables) {
    await expect
      .poll(() => digest(app, `SELECT ${COLUMNS} FROM ${name}`), { timeout: 60_000, interval: 500 })
      .toBe(wanted);
  }
  expect(program.logged('stage.failed-for-good')).toEqual([]);
}

describe.skipIf(!have.mariadb)('the chain of stages on MariaDB', () => {
  it(
    `loses and doubles nothing in ${KILLS} kills`,
    async () => {
      workspace().conf(conf());
      for (let kill = 0; kill < KILLS; kill++) {
        const program = workspace().launch();
        const life = sleep(300 + Math.random() * LONGEST_LIFE_MS);
        await arrive();
        await life;
        await program.kill();
      }
      const program = await workspace().start();
      await arrive();
      await settled(program, await digest(core, `SELECT ${COLUMNS} FROM T_ZHOBTMIND`));
      // Archived is archived: only young rows are left.
      await expect
        .poll(async () => {
          const old = await app.query(
            `SELECT count(*) FROM T_ZHOBTMIND1 WHERE ddatetime < '2026-01-01 00:30:00'`,
          );
          return Number(old.rows[0]?.[0]);
        })
        .toBe(0);
      await settled(program, await digest(core, `SELECT ${COLUMNS} FROM T_ZHOBTMIND`));
      expect(await program.stop()).toBe(0);

      const files = (name: string): string[] => {
        try {
          return readdirSync(workspace().file(name), { recursive: true, withFileTypes: true })
            .filter((entry) => entry.isFile() && !entry.parentPath.includes('/.extract'))
            .map((entry) => entry.name);
        } catch {
          return [];
        }
      };
      expect(files('in')).toEqual([]);
      expect(files('bad')).toEqual([]);
      const done = files('done');
      expect(done.length).toBeGreaterThan(0);
      expect(new Set(done).size).toBe(done.length);
      // No name was taken twice and put beside another.
      expect(done.filter((name) => !name.endsWith('.xml'))).toEqual([]);
    },
    KILLS * 6_000 + 240_000,
  );
});
