/** A table of observations in each database that runs here, for the stages that work through tables. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tabLine, type TabValue } from '../../../src/protocol/tab-text.js';
import { openStore, type SqlRow, type Store } from '../../../src/store/driver.js';
import { have, mariadb, postgres } from '../../support/servers.js';

export interface Database {
  readonly name: 'sqlite' | 'mariadb' | 'postgres';
  readonly missing: boolean;
  url(folder: string): Promise<string>;
}

export const databases: readonly Database[] = [
  { name: 'sqlite', missing: false, url: async (folder) => `sqlite:${folder}/data.db` },
  { name: 'mariadb', missing: !have.mariadb, url: async () => mariadb() },
  { name: 'postgres', missing: !have.postgres, url: async () => postgres() },
];

const DDL: Readonly<Record<string, string>> = {
  sqlite: `CREATE TABLE "OBS" (obtid VARCHAR(10) NOT NULL, ddatetime DATETIME NOT NULL, t INT, r DECIMAL(8,2), raw BLOB, twice INT AS (t * 2),
    keyid INTEGER PRIMARY KEY AUTOINCREMENT, UNIQUE (obtid, ddatetime))`,
  mysql: `CREATE TABLE OBS (obtid VARCHAR(10) NOT NULL, ddatetime DATETIME NOT NULL, t INT, r DECIMAL(8,2), raw VARBINARY(20), twice INT AS (t * 2) STORED,
    keyid BIGINT NOT NULL AUTO_INCREMENT, PRIMARY KEY (obtid, ddatetime), UNIQUE KEY (keyid))`,
  postgres: `CREATE TABLE obs (obtid VARCHAR(10) NOT NULL, ddatetime TIMESTAMP NOT NULL, t INT, r DECIMAL(8,2), raw BYTEA, twice INT GENERATED ALWAYS AS (t * 2) STORED,
    keyid BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, UNIQUE (obtid, ddatetime))`,
};

export class TableFixture {
  private constructor(
    readonly folder: string,
    readonly url: string,
    readonly store: Store,
  ) {}

  static async make(database: Database): Promise<TableFixture> {
    const folder = mkdtempSync(join(tmpdir(), 'table-'));
    const url = await database.url(folder);
    const store = await openStore(url);
    await store.execute(DDL[store.dialect.name] ?? '');
    return new TableFixture(folder, url, store);
  }

  /** Hour after hour from the beginning of 2025, two stations in turns; t counts from 0, keyid from 1. */
  async fill(rows: number): Promise<void> {
    const lines: string[] = [];
    for (let i = 0; i < rows; i++) lines.push(tabLine([...observation(i), i + 1]));
    const columns = ['obtid', 'ddatetime', 't', 'r', 'raw', 'keyid'];
    await this.store.bulk('OBS', columns, [Buffer.from(lines.join(''))], { hex: ['raw'] });
  }

  async rows(sql: string): Promise<readonly SqlRow[]> {
    return (await this.store.query(sql)).rows;
  }

  async count(table: string, where = '1 = 1'): Promise<number> {
    return Number((await this.rows(`SELECT COUNT(*) FROM ${table} WHERE ${where}`))[0]?.[0]);
  }

  async close(): Promise<void> {
    await this.store.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function observation(i: number): TabValue[] {
  const at = new Date(Date.UTC(2025, 0, 1) + Math.floor(i / 2) * 3_600_000);
  const time = at.toISOString().slice(0, 19).replace('T', ' ');
  return [
    i % 2 === 0 ? 'a' : 'b',
    time,
    i,
    i % 5 === 0 ? null : `${i}.25`,
    i % 7 === 0 ? null : Buffer.from([i & 255, 9, 10]),
  ];
}
