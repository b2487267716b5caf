import { link, mkdir, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStage, keys } from '../../../src/actors/pipeline/load.js';
import { runOnce } from '../../../src/actors/pipeline/stage/run.js';
import type { SqlRow } from '../../../src/store/driver.js';
import { file, LoadFixture, names, OBS_TABLE, record } from '../../support/load-fixture.js';
import { paramsOf } from '../../support/stage-params.js';

let f: LoadFixture;
beforeEach(async () => {
  f = await LoadFixture.make();
});
afterEach(() => f.remove());

const rows = (): Promise<readonly SqlRow[]> =>
  f.sql('SELECT obtid, t, name FROM T_OBS ORDER BY obtid, ddatetime');

describe('the load stage', () => {
  it('loads files in the order of their names, updates rows that are there and moves the files', async () => {
    await f.sql(OBS_TABLE);
    await f.put(
      'A_1.xml',
      file(record({ obtid: 1, t: 10, name: 'a', keyid: 7 }), record({ obtid: 2, t: '', name: '站点&lt;' })),
    );
    await f.put('A_2.XML', file(record({ obtid: 1, t: '11.5', name: 'b' })));
    await f.put('A_3.txt', 'not ours');
    expect(await f.load()).toMatchObject({
      state: 'ok',
      counts: { files: 2, rowsIn: 3, rowsOut: 3, rowsRejected: 0, errors: 0 },
    });
    expect(await rows()).toEqual([
      ['1', 11.5, 'b'],
      ['2', null, '站点<'],
    ]);
    expect(await f.sql('SELECT keyid FROM T_OBS WHERE keyid IS NOT NULL')).toEqual([]);
    expect(await names(f.inbox)).toEqual(['A_3.txt']);
    expect(await names(`${f.inbox}-done`)).toEqual(['A_1.xml', 'A_2.XML']);
  });

  it('takes everything that waits in one run although one look takes only a few', async () => {
    await f.sql(OBS_TABLE);
    for (let i = 1; i <= 7; i++) await f.put(`A_${i}.xml`, file(record({ obtid: i, t: i })));
    expect(await f.load({ files_per_scan: '2' })).toMatchObject({ counts: { files: 7, rowsOut: 7 } });
    expect(await names(f.inbox)).toEqual([]);
  });

  it('touches upttime of updated rows', async () => {
    await f.sql(OBS_TABLE, `INSERT INTO T_OBS (obtid, ddatetime) VALUES ('1', '2023-07-06 15:43:00')`);
    await f.put('A_1.xml', file(record({ obtid: 1, t: 1 })));
    await f.load();
    const changed = await f.sql("SELECT obtid, upttime > '2020' FROM T_OBS ORDER BY 1");
    expect(changed).toEqual([['1', 1]]);
  });

  it('leaves rows alone that are there when it only inserts', async () => {
    await f.sql(OBS_TABLE);
    await f.put('A_1.xml', file(record({ obtid: 1, t: 10 })));
    await f.put('A_2.xml', file(record({ obtid: 1, t: 99 }), record({ obtid: 2, t: 20 })));
    expect(await f.load({ mode: 'insert' })).toMatchObject({
      counts: { rowsIn: 3, rowsOut: 2, rowsRejected: 0 },
    });
    expect(await rows()).toEqual([
      ['1', 10, null],
      ['2', 20, null],
    ]);
    expect(f.events('load.done')[0]).toMatchObject({ files: 2, rows: 3, inserted: 2, duplicates: 1 });
  });

  it('makes a missing tag NULL, never the value of another', async () => {
    await f.sql(OBS_TABLE);
    await f.put(
      'A_1.xml',
      file(
        record({ obtid: 1, t: 10, name: 'x' }),
        record({ obtid: 2, name: 'y' }),
        record({ obtid: 3, t: 5 }),
      ),
    );
    await f.load();
    expect(await rows()).toEqual([
      ['1', 10, 'x'],
      ['2', null, 'y'],
      ['3', 5, null],
    ]);
  });

  it('runs the SQL before a file in the transaction of its rows', async () => {
    await f.sql(OBS_TABLE, `INSERT INTO T_OBS (obtid, ddatetime) VALUES ('old', '2023-07-06 15:43:00')`);
    await f.put('A_1.xml', file(record({ obtid: 1 }), record({ obtid: 2 })));
    expect(await f.load({ before_sql: 'delete from T_OBS;' })).toMatchObject({ counts: { rowsOut: 2 } });
    expect((await rows()).map(([id]) => id)).toEqual(['1', '2']);
    await f.put('A_2.xml', file(record({ obtid: 'x', t: 'y' })));
    await f.load({ before_sql: 'delete from T_OBS' });
    expect((await rows()).map(([id]) => id)).toEqual(['1', '2']);
    await f.put('A_3.xml', file(record({ obtid: 3 })));
    await f.load({ before_sql: 'delete from T_NO' });
    await f.put('A_4.xml', file(record({ obtid: 4 })));
    await f.load({ before_sql: 'commit' });
    expect(
      f
        .events('load.bad-file')
        .slice(1)
        .map(({ reason }) => reason),
    ).toEqual([
      expect.stringMatching(/^the SQL before the file failed: no such table: T_NO/),
      'the SQL before the file: commit would end the transaction of the file; use delete or update',
    ]);
    expect((await rows()).map(([id]) => id)).toEqual(['1', '2']);
  });

  it('does not load a file twice that was committed and not yet moved', async () => {
    await f.sql('CREATE TABLE T_LOG (obtid VARCHAR(5), t INTEGER)');
    const text = file(record({ obtid: 1 }), record({ obtid: 2 }));
    await f.put('A_1.xml', text);
    await f.put('A_2.xml', text);
    await f.load({ table: 'T_LOG', mode: 'insert', repeat: 'load' });
    // As if the process had died between the commit and the move, which keeps the time of the file.
    await f.sql('UPDATE switchyard_files SET moved = 0');
    for (const name of ['A_1.xml', 'A_2.xml'])
      await rename(join(`${f.inbox}-done`, name), join(f.inbox, name));
    expect(await f.load({ table: 'T_LOG', mode: 'insert', repeat: 'load' })).toMatchObject({
      state: 'ok',
      counts: { files: 0, rowsIn: 0 },
    });
    expect(await f.sql('SELECT count(*) FROM T_LOG')).toEqual([[4]]);
    expect(f.events('load.known').map(({ file: name }) => name)).toEqual(['A_1.xml', 'A_2.xml']);
    expect(await names(f.inbox)).toEqual([]);
    expect(await names(`${f.inbox}-done`)).toEqual(['A_1.xml', 'A_2.xml']);
  });

  it('loads a file once that stands both in a dead claim and in the folder', async () => {
    await f.sql('CREATE TABLE T_LOG (obtid VARCHAR(5), t INTEGER)');
    await f.put('A_1.xml', file(record({ obtid: 1 })));
    const dead = join(f.inbox, '.claimed', `${hostname()}~999999999~0~load`);
    await mkdir(dead, { recursive: true });
    await link(join(f.inbox, 'A_1.xml'), join(dead, 'x-1~A_1.xml'));
    expect(await f.load({ table: 'T_LOG', mode: 'insert' })).toMatchObject({
      state: 'ok',
      counts: { files: 1, rowsIn: 1 },
    });
    expect(await f.sql('SELECT count(*) FROM T_LOG')).toEqual([[1]]);
    expect(await names(f.inbox)).toEqual([]);
    expect(await names(`${f.inbox}-done`)).toEqual(['A_1.xml']);
  });

  it('loads the same name again when its content is new, and the same content only when told', async () => {
    await f.sql('CREATE TABLE T_LOG (obtid VARCHAR(5), t INTEGER)');
    const insert = { table: 'T_LOG', mode: 'insert', done: 'delete' };
    const count = async (): Promise<unknown> => (await f.sql('SELECT count(*) FROM T_LOG'))[0]?.[0];
    await f.put('A.xml', file(record({ obtid: 1 })));
    await f.load(insert);
    await f.put('A.xml', file(record({ obtid: 2 })));
    await f.load(insert);
    expect(await count()).toBe(2);
    await f.put('A.xml', file(record({ obtid: 2 })));
    await f.load(insert);
    expect(await count()).toBe(2);
    await f.put('A.xml', file(record({ obtid: 2 })));
    await f.load({ ...insert, repeat: 'load' });
    expect(await count()).toBe(3);
    await f.put('B.xml', file(record({ obtid: 2 })));
    await f.load(insert);
    expect(await count()).toBe(4);
    expect(await names(f.inbox)).toEqual([]);
  });

  it('forgets files that are gone for long', async () => {
    await f.sql(OBS_TABLE);
    await f.put('A.xml', file(record({ obtid: 1 })));
    await f.load();
    await f.sql(`UPDATE switchyard_files SET loaded_at = '2020-01-01T00:00:00.000Z'`);
    await f.put('B.xml', file(record({ obtid: 2 })));
    await f.load();
    expect(await f.sql('SELECT file_name FROM switchyard_files')).toEqual([['B.xml']]);
  });

  it('writes down which run and file a row came from', async () => {
    await f.sql(
      `CREATE TABLE T_OBS (obtid VARCHAR(5) PRIMARY KEY, t INTEGER, src_run INTEGER, src_file VARCHAR(20))`,
    );
    await f.put('A_1.xml', file(record({ obtid: 1 })));
    await f.put('A_2.xml', file(record({ obtid: 2 })));
    const params = paramsOf(keys, {
      path: f.inbox,
      store: f.url,
      table: 'T_OBS',
      mode: 'upsert',
      provenance: 'src_run, src_file',
    });
    const env = { name: 'load', params, log: f.log, signal: new AbortController().signal };
    await runOnce(createStage, env, { dryRun: false, ledgerUrl: `sqlite:${join(f.root, 'ledger.db')}` });
    expect(await f.sql('SELECT obtid, src_run, src_file FROM T_OBS ORDER BY 1')).toEqual([
      ['1', 1, 'A_1.xml'],
      ['2', 1, 'A_2.xml'],
    ]);
    const wrong = await f.load({ provenance: 'nope,src_file' });
    expect(wrong).toMatchObject({ state: 'ok' });
    await f.put('A_3.xml', file(record({ obtid: 3 })));
    expect(await f.load({ provenance: 'nope,src_file' })).toMatchObject({
      state: 'failed',
      retryable: false,
    });
    expect(await names(f.inbox)).toEqual(['A_3.xml']);
  });

  it('says what it would do without doing it', async () => {
    await f.sql(OBS_TABLE);
    await f.put(
      'A.xml',
      file(record({ obtid: 1, t: 1 }), record({ obtid: 2, t: 2 }), record({ obtid: 3, t: 'x' })),
    );
    await f.put('B.xml', 'prose');
    expect(await f.load({}, true)).toMatchObject({
      state: 'ok',
      counts: { files: 2, rowsIn: 3, rowsRejected: 1, errors: 1 },
    });
    expect(f.events('load.would-load')).toEqual([{ file: 'A.xml', table: 'T_OBS', rows: 2, rejected: 1 }]);
    expect(await names(f.inbox)).toEqual(['A.xml', 'B.xml']);
    const params = paramsOf(keys, { path: f.inbox, store: f.url, table: 'T_OBS', mode: 'upsert' });
    const stage = createStage({
      name: 'load',
      params,
      log: f.log,
      signal: new AbortController().signal,
    });
    expect(await stage.preview?.(1)).toEqual({
      columns: ['obtid', 'ddatetime', 't', 'name'],
      rows: [['1', '2023-07-06 15:43:00', '1', null]],
    });
    expect(await stage.check?.()).toEqual([
      expect.stringMatching(/^store: SQLite/),
      'table T_OBS: upsert by obtid, ddatetime, 4 columns',
    ]);
    await stage.close?.();
    expect(await names(f.inbox)).toEqual(['A.xml', 'B.xml']);
  });

  it('takes a rule file anew when it changes and keeps the old rules when it is broken', async () => {
    await f.sql(OBS_TABLE, 'CREATE TABLE T_TWO (obtid VARCHAR(5) PRIMARY KEY)');
    const rules = join(f.root, 'rules.xml');
    const rule = (table: string): string =>
      `<filename>*.xml</filename><tname>${table}</tname><uptbz>1</uptbz><endl/>\n`;
    await writeFile(rules, rule('T_OBS'));
    const params = paramsOf(keys, { path: f.inbox, store: f.url, rules });
    const env = { name: 'load', params, log: f.log, signal: new AbortController().signal };
    const stage = createStage(env);
    const run = async (name: string): Promise<void> => {
      await f.put(name, file(record({ obtid: name.slice(0, 1) })));
      const keep = { run: stage.run.bind(stage) };
      expect(await runOnce(() => keep, env, { dryRun: false, ledgerUrl: undefined })).toMatchObject({
        state: 'ok',
      });
    };
    await run('1.xml');
    await writeFile(rules, rule('T_TWO'));
    await utimes(rules, new Date(), new Date(Date.now() + 5_000));
    await run('2.xml');
    await writeFile(rules, '<filename>*.xml</filename>');
    await utimes(rules, new Date(), new Date(Date.now() + 10_000));
    await run('3.xml');
    await run('4.xml');
    await rm(rules);
    await run('5.xml');
    await stage.close?.();
    expect((await rows()).map(([id]) => id)).toEqual(['1']);
    expect((await f.sql('SELECT obtid FROM T_TWO ORDER BY 1')).flat()).toEqual(['2', '3', '4', '5']);
    expect(f.events('load.bad-rules').map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/rules\.xml:1: the last record has no <endl\/>$/),
      expect.stringMatching(/ENOENT/),
    ]);
    const failed = await f.load({ rules });
    expect(failed.state).toBe('failed');
    expect(String(failed.error)).toMatch(/rules\.xml cannot be read: ENOENT/);
  });

  it('wants exactly one way to find a table', () => {
    const make = (written: Record<string, string>): unknown =>
      createStage({
        name: 'load',
        params: paramsOf(keys, { path: f.inbox, ...written }),
        log: f.log,
        signal: new AbortController().signal,
      });
    expect(() => make({})).toThrow('either rules or table is needed');
    expect(() => make({ rules: 'r.xml', table: 'T' })).toThrow('either rules or table is needed');
    expect(() => make({ table: 'T', charset: 'klingon' })).toThrow(RangeError);
  });
});
