import { describe, expect, it } from 'vitest';
import * as stage from '../../../src/actors/pipeline/sync-trigger.js';
import { changeLogSql } from '../../../src/actors/pipeline/sync/trigger-sql.js';
import { oracleDialect } from '../../../src/store/oracle/dialect.js';
import { numbers, PAIRS, usePair } from './sync-fixture.js';

describe.each(PAIRS)('sync-trigger from %s to %s', (from, to) => {
  const pair = usePair([from, to]);
  const install = { install: 'yes' };
  const left = async (): Promise<number> =>
    Number((await pair.source.query('SELECT COUNT(*) FROM src_sync_log')).rows[0]?.[0]);

  it('brings inserts, updates, deletes and moved keys, and empties its log', async () => {
    await pair.tables(numbers(0, 200), numbers(150, 250));
    await pair.ok(stage, install);
    await pair.expectEqual();
    await pair.put(pair.source, 'src', numbers(300, 320));
    await pair.source.execute(`UPDATE src SET note = 'new' WHERE keyid < 10`);
    await pair.source.execute(`UPDATE src SET obtid = '9999' WHERE keyid BETWEEN 20 AND 22`);
    await pair.source.execute('DELETE FROM src WHERE keyid BETWEEN 100 AND 139');
    await pair.source.execute('DELETE FROM src WHERE keyid = 300');
    expect(await left()).toBe(20 + 10 + 6 + 40 + 1);
    const { counts } = await pair.ok(stage, { install: 'no', batch_rows: '15' });
    expect(counts.rowsIn).toBe(77);
    expect(await left()).toBe(0);
    await pair.expectEqual();
  });

  it('takes an entry that was committed late', async () => {
    await pair.tables(numbers(0, 10));
    await pair.ok(stage, install);
    await pair.source.execute('UPDATE src SET t = 1 WHERE keyid < 9');
    await pair.ok(stage, install);
    // As if its transaction had got this number long ago, and has committed only now.
    const [key] = (await pair.source.query(`SELECT obtid, ddatetime FROM src WHERE keyid = 9`)).rows;
    await pair.source.execute('UPDATE src SET t = 2 WHERE keyid = 9');
    await pair.source.execute('DELETE FROM src_sync_log');
    const insert = pair.source.dialect.insert('src_sync_log', ['sync_id', 'sync_op', 'obtid', 'ddatetime']);
    await pair.source.batch(insert, [[1, 'U', ...(key ?? [])]]);
    await pair.ok(stage, install);
    await pair.expectEqual();
  });

  it('follows a table whose key is called id, changed again and again', async () => {
    const create = (name: string): string =>
      `CREATE TABLE ${name} (id BIGINT NOT NULL PRIMARY KEY, op VARCHAR(20))`;
    await pair.source.execute(create('people'));
    await pair.target.execute(create('people'));
    const people = { ...install, source_table: 'people', target_table: 'people' };
    await pair.ok(stage, people);
    for (const id of [1, 2, 3])
      await pair.source.execute('INSERT INTO people (id, op) VALUES (?, ?)', [id, 'a']);
    for (const op of ['b', 'c']) await pair.source.execute('UPDATE people SET op = ? WHERE id < 3', [op]);
    await pair.source.execute('DELETE FROM people WHERE id = 3');
    await pair.ok(stage, people);
    expect((await pair.target.query('SELECT id, op FROM people ORDER BY id')).rows).toEqual([
      [1, 'c'],
      [2, 'c'],
    ]);
    expect((await pair.source.query('SELECT COUNT(*) FROM people_sync_log')).rows).toEqual([[0]]);
  });

  it('keeps the entries of what it could not bring', async () => {
    await pair.tables(numbers(0, 10));
    await pair.ok(stage, install);
    await pair.source.execute('UPDATE src SET t = 5');
    await pair.target.execute('ALTER TABLE dst RENAME TO elsewhere');
    expect((await pair.run(stage, install)).state).toBe('failed');
    expect(await left()).toBe(10);
    await pair.target.execute('ALTER TABLE elsewhere RENAME TO dst');
    await pair.ok(stage, install);
    expect(await left()).toBe(0);
    await pair.expectEqual();
  });

  it('loses nothing while rows change under two runs at once', async () => {
    await pair.tables(numbers(0, 100));
    await pair.ok(stage, install);
    let writing = true;
    const drain = async (name: string): Promise<void> => {
      while (writing) await pair.run(stage, { ...install, batch_rows: '7', initial: 'no' }, { name });
    };
    const draining = Promise.all([drain('one'), drain('two')]);
    for (let round = 0; round < 60; round++) {
      const n = (round * 37) % 100;
      if (round % 9 === 4) await pair.source.execute('DELETE FROM src WHERE keyid = ?', [n]);
      else await pair.source.execute('UPDATE src SET t = ? WHERE keyid IN (?, ?)', [round, n, (n + 1) % 100]);
    }
    writing = false;
    await draining;
    await pair.ok(stage, install);
    expect(await left()).toBe(0);
    await pair.expectEqual();
  }, 60_000);

  it('shows its SQL in a dry run, and takes everything away again', async () => {
    await pair.tables(numbers(0, 5));
    await pair.ok(stage, install, { dryRun: true });
    const shown = pair.log.named('sync-trigger.would-execute').map(({ fields }) => String(fields['sql']));
    expect(shown.some((sql) => /CREATE TRIGGER/.test(sql))).toBe(true);
    await expect(pair.source.columns('src_sync_log')).rejects.toThrow();
    await pair.ok(stage, install);
    await pair.ok(stage, install);
    await pair.ok(stage, { install: 'remove' });
    await expect(pair.source.columns('src_sync_log')).rejects.toThrow();
    await pair.put(pair.source, 'src', numbers(5, 6));
    expect((await pair.run(stage, { install: 'no' })).state).toBe('failed');
  });

  it('honours conditions: a row that no longer meets them leaves the target', async () => {
    await pair.tables(numbers(0, 50));
    const settings = { ...install, source_where: 'keyid < 1000' };
    await pair.ok(stage, settings);
    await pair.source.execute('UPDATE src SET keyid = 2000 WHERE keyid = 7');
    await pair.ok(stage, settings);
    expect((await pair.targetRows()).map((row) => row[5])).not.toContain('7');
    expect(await pair.targetRows()).toHaveLength(49);
  });
});

describe('the change log of Oracle', () => {
  it('is a table, a sequence and one trigger', () => {
    const column = {
      type: 'varchar2',
      kind: 'text',
      length: 20,
      scale: undefined,
      nullable: false,
      generated: false,
    } as const;
    const sql = changeLogSql(oracleDialect, {
      table: 'app.t_obt',
      log: 'app.t_obt_sync_log',
      key: [
        { ...column, name: 'obtid' },
        { ...column, name: 'ddatetime', type: 'date', kind: 'date' },
      ],
    });
    expect(sql.install.map((text) => text.replace(/\s+/g, ' '))).toMatchInlineSnapshot(`
      [
        "CREATE TABLE "APP"."T_OBT_SYNC_LOG" AS SELECT "OBTID", "DDATETIME" FROM "APP"."T_OBT" WHERE 1 = 0",
        "ALTER TABLE "APP"."T_OBT_SYNC_LOG" ADD ("SYNC_ID" NUMBER(19) NOT NULL PRIMARY KEY, "SYNC_OP" CHAR(1) NOT NULL, "SYNC_AT" DATE DEFAULT SYSDATE NOT NULL)",
        "CREATE SEQUENCE "APP"."T_OBT_SYNC_LOG_SEQ"",
        "CREATE OR REPLACE TRIGGER "APP"."T_OBT_SYNC_LOG_UPD" AFTER INSERT OR UPDATE OR DELETE ON "APP"."T_OBT" FOR EACH ROW BEGIN IF DELETING THEN INSERT INTO "APP"."T_OBT_SYNC_LOG" ("SYNC_ID", "SYNC_OP", "OBTID", "DDATETIME") VALUES ("APP"."T_OBT_SYNC_LOG_SEQ".NEXTVAL, 'D', :OLD."OBTID", :OLD."DDATETIME"); END IF; IF UPDATING AND ((:OLD."OBTID" <> :NEW."OBTID" OR (:OLD."OBTID" IS NULL AND :NEW."OBTID" IS NOT NULL)) OR (:OLD."DDATETIME" <> :NEW."DDATETIME" OR (:OLD."DDATETIME" IS NULL AND :NEW."DDATETIME" IS NOT NULL))) THEN INSERT INTO "APP"."T_OBT_SYNC_LOG" ("SYNC_ID", "SYNC_OP", "OBTID", "DDATETIME") VALUES ("APP"."T_OBT_SYNC_LOG_SEQ".NEXTVAL, 'D', :OLD."OBTID", :OLD."DDATETIME"); END IF; IF UPDATING THEN INSERT INTO "APP"."T_OBT_SYNC_LOG" ("SYNC_ID", "SYNC_OP", "OBTID", "DDATETIME") VALUES ("APP"."T_OBT_SYNC_LOG_SEQ".NEXTVAL, 'U', :NEW."OBTID", :NEW."DDATETIME"); END IF; IF INSERTING THEN INSERT INTO "APP"."T_OBT_SYNC_LOG" ("SYNC_ID", "SYNC_OP", "OBTID", "DDATETIME") VALUES ("APP"."T_OBT_SYNC_LOG_SEQ".NEXTVAL, 'I', :NEW."OBTID", :NEW."DDATETIME"); END IF; END;",
      ]
    `);
    expect(sql.remove).toMatchInlineSnapshot(`
      [
        "DROP TRIGGER "APP"."T_OBT_SYNC_LOG_UPD"",
        "DROP SEQUENCE "APP"."T_OBT_SYNC_LOG_SEQ"",
        "DROP TABLE "APP"."T_OBT_SYNC_LOG"",
      ]
    `);
  });
});
