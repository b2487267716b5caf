import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { computedColumns, createLike } from '../../src/store/create-like.js';
import { openStore, type Dialect, type Store, type TableInfo } from '../../src/store/driver.js';
import { have, mariadb } from '../support/servers.js';
import { mssqlDialect } from '../../src/store/mssql/dialect.js';
import { oracleDialect } from '../../src/store/oracle/dialect.js';

const info: TableInfo = { columns: [], primaryKey: ['OBTID', 'DDATETIME'], uniqueKeys: [['KEYID']] };

/** Writes down what it is told to do. */
function recorder(dialect: Dialect): { store: Store; told: string[] } {
  const told: string[] = [];
  const parts: Partial<Store> = {
    dialect,
    columns: async () => info,
    execute: async (sql) => told.push(sql),
  };
  return { store: parts as Store, told };
}

describe('a table like another', () => {
  it('is an empty copy with the same keys on Oracle', async () => {
    const { store, told } = recorder(oracleDialect);
    await createLike(store, 'OBS', 'OBS_HIS');
    expect(told).toEqual([
      'CREATE TABLE "OBS_HIS" AS SELECT * FROM "OBS" WHERE 1 = 0',
      'ALTER TABLE "OBS_HIS" ADD PRIMARY KEY ("OBTID", "DDATETIME")',
      'ALTER TABLE "OBS_HIS" ADD UNIQUE ("KEYID")',
    ]);
  });

  it('is an empty copy without identity on SQL Server', async () => {
    const { store, told } = recorder(mssqlDialect);
    await createLike(store, 'dbo.OBS', 'dbo.OBS_HIS');
    expect(told[0]).toBe(
      'SELECT TOP 0 * INTO [dbo].[OBS_HIS] FROM [dbo].[OBS] UNION ALL SELECT TOP 0 * FROM [dbo].[OBS]',
    );
    expect(told.slice(1)).toEqual([
      'ALTER TABLE [dbo].[OBS_HIS] ADD PRIMARY KEY ([OBTID], [DDATETIME])',
      'ALTER TABLE [dbo].[OBS_HIS] ADD UNIQUE ([KEYID])',
    ]);
  });

  it('is not made in another database of another kind', async () => {
    const one = recorder(oracleDialect);
    await expect(createLike(one.store, 'OBS', 'OBS_HIS', recorder(mssqlDialect).store)).rejects.toThrow(
      /made there by hand/,
    );
    expect(one.told).toEqual([]);
  });

  it('keeps everything SQLite knows of the table, whatever its name looks like', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'like-'));
    const store = await openStore(`sqlite:${folder}/a.db`);
    try {
      for (const [name, quoted] of [
        ['plain', 'plain'],
        ['o"dd (x)', '"o""dd (x)"'],
        ['sq', '[sq]'],
        ['tick', '`tick`'],
      ] as const) {
        await store.execute(
          `CREATE TABLE ${quoted}(a INT CHECK (a > 0), b TEXT DEFAULT 'x (', c INT AS (a + 1), k INTEGER PRIMARY KEY AUTOINCREMENT, UNIQUE (b, a))`,
        );
        await store.execute(
          `CREATE UNIQUE INDEX "i ${name.replaceAll('"', '""')}" ON ${quoted} (a DESC) WHERE a > 5`,
        );
        const to = `${name.replace(/\W/g, '')}_HIS`;
        await createLike(store, name, to);
        await createLike(store, name, to);
        expect(await store.columns(to)).toEqual(await store.columns(name));
        expect([...(await computedColumns(store, to))]).toEqual(['c']);
        await store.execute(`INSERT INTO ${to} (a) VALUES (6)`);
        await expect(store.execute(`INSERT INTO ${to} (a, b) VALUES (6, 'y')`)).rejects.toThrow(/UNIQUE/);
        await expect(store.execute(`INSERT INTO ${to} (a) VALUES (0)`)).rejects.toThrow(/CHECK/);
      }
    } finally {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it.skipIf(!have.mariadb)(
    'has no column that counts on MariaDB, in this database and in another',
    async () => {
      const [one, two] = await Promise.all([openStore(await mariadb()), openStore(await mariadb())]);
      try {
        const tables = {
          plain: 'k BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, a INT DEFAULT 5',
          told: "a INT COMMENT 'no AUTO_INCREMENT, but', `k``k` INT(9) NOT NULL AUTO_INCREMENT COMMENT 'it''s AUTO_INCREMENT' UNIQUE, PRIMARY KEY (a)",
          none: "a INT, b VARCHAR(20) DEFAULT 'x AUTO_INCREMENT', CONSTRAINT c CHECK (a > 0)",
        };
        for (const [name, columns] of Object.entries(tables)) {
          await one.execute(`CREATE TABLE ${name} (${columns})`);
          await createLike(one, name, `${name}_HIS`);
          await createLike(one, name, `${name}_HIS`);
          await createLike(one, name, `${name}_HIS`, two);
          const before = await one.columns(name);
          for (const store of [one, two]) {
            const made = await store.columns(`${name}_HIS`);
            expect(made.columns.map((column) => column.generated)).not.toContain(true);
            const plain = before.columns.map((column) => ({ ...column, generated: false }));
            expect(made).toEqual({ ...before, columns: plain });
          }
        }
        const comments = `SELECT column_comment FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'told_HIS'`;
        const texts = [['no AUTO_INCREMENT, but'], ["it's AUTO_INCREMENT"]];
        for (const store of [one, two]) expect((await store.query(comments)).rows).toEqual(texts);
        await expect(two.execute('INSERT INTO plain_HIS (a) VALUES (1)')).rejects.toThrow(/default/i);
      } finally {
        await one.close();
        await two.close();
      }
    },
  );
});
