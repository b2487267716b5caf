/** The stage `extract` on real servers: the same files as from SQLite, and nothing lost when the server dies. */
import { afterEach, describe, expect, it } from 'vitest';
import iconv from 'iconv-lite';
import type { SqlRow } from '../../src/store/driver.js';
import { Extracting, range } from '../support/extracting.js';
import { have, mariadb, ownMariadb, ownPostgres, postgres } from '../support/servers.js';

let ex: Extracting | undefined;
afterEach(async () => {
  await ex?.close();
  ex = undefined;
});

const servers = [
  {
    name: 'MariaDB',
    here: have.mariadb,
    url: mariadb,
    own: ownMariadb,
    time: "to_char(d,'yyyymmddhh24miss')",
  },
  {
    name: 'PostgreSQL',
    here: have.postgres,
    url: postgres,
    own: ownPostgres,
    time: "to_char(d,'yyyymmddhh24miss')",
  },
] as const;

const ROWS: readonly SqlRow[] = [
  [1, '58015', '2023-05-08 11:30:00', -141, '1015.30', ''],
  [2, '58102', '2023-05-08 11:31:00', null, null, null],
  [
    9_007_199_254_740_993n,
    '58107',
    '2024-02-29 23:59:59',
    2_147_483_647,
    '-0.05',
    '<b>亳州 & "𠮷"</b><endl/>\r\n\'x\'',
  ],
];

describe.each(servers.filter(({ here }) => here))('an extraction from $name', ({ url, own, time }) => {
  it('has the bytes of the reference', async () => {
    ex = await Extracting.open(await url());
    await ex.store.execute(
      'CREATE TABLE obs (keyid BIGINT PRIMARY KEY, obtid VARCHAR(10), d TIMESTAMP NULL, t INT, p DECIMAL(10,2), name VARCHAR(100))',
    );
    await ex.store.batch('INSERT INTO obs VALUES (?, ?, ?, ?, ?, ?)', ROWS);
    const conf = {
      sql: `select obtid, ${time}, t, p, name, keyid from obs where keyid>:1 and obtid like '58%%'`,
      fields: 'obtid,ddatetime,t,p,name,keyid',
      inc_field: 'keyid',
      file_rows: '2',
    };
    await ex.well(conf);
    const names = await ex.files();
    const text = await Promise.all(names.map(async (name) => (await ex?.readFile(name))?.toString('utf8')));
    expect(text).toEqual([
      '<data>\n' +
        '<obtid>58015</obtid><ddatetime>20230508113000</ddatetime><t>-141</t><p>1015.30</p><name></name><keyid>1</keyid><endl/>\n' +
        '<obtid>58102</obtid><ddatetime>20230508113100</ddatetime><t></t><p></p><name></name><keyid>2</keyid><endl/>\n</data>\n',
      '<data>\n<obtid>58107</obtid><ddatetime>20240229235959</ddatetime><t>2147483647</t><p>-0.05</p>' +
        '<name>&lt;b&gt;亳州 &amp; &quot;𠮷&quot;&lt;/b&gt;&lt;endl/&gt;&#13;\n&apos;x&apos;</name><keyid>9007199254740993</keyid><endl/>\n</data>\n',
    ]);
    expect((await ex.well(conf)).counts.rowsIn).toBe(0);
    // The same through the renderer here, which time_fields needs, and in another encoding.
    await ex.well({
      ...conf,
      sql: 'select obtid, d, t, p, name, keyid from obs',
      time_fields: 'ddatetime',
      inc_file: `${ex.root}/other.txt`,
      charset: 'gbk',
      prefix: 'GBK',
    });
    const gbk = (await ex.files()).filter((name) => name.startsWith('GBK'));
    const again = await Promise.all(
      gbk.map(async (name) => iconv.decode((await ex?.readFile(name)) ?? Buffer.of(), 'gbk')),
    );
    expect(again).toEqual(text.map((one) => one?.replace('𠮷', '&#134071;')));
  });

  it(
    'reads in steps, overlaps, and keeps its position in a table of the same server',
    { timeout: 60_000 },
    async () => {
      ex = await Extracting.open(await url());
      await ex.fill(1, 3_000);
      await ex.store.execute('DELETE FROM r WHERE keyid IN (2950, 2999)');
      const conf = {
        sql: 'select keyid, v from r where keyid>:1',
        fields: 'keyid,v',
        inc_field: 'keyid',
        inc_store: ex.url,
        overlap: '100',
        file_rows: '50',
        step_files: '7',
      };
      await ex.run({ ...conf, max_waiting_files: '10', room_wait: '0' });
      await ex.well(conf);
      for (const late of [2_950, 2_999])
        await ex.store.execute('INSERT INTO r VALUES (?, ?)', [late, 'late']);
      await ex.well(conf);
      expect(await ex.numbers()).toEqual(range(1, 3_000));
      const { rows } = await ex.store.query('SELECT pname, maxincvalue FROM T_MAXINCVALUE');
      expect(rows.map((row) => row.map(String))).toEqual([['ex', '3000']]);
      // As they come, in one step.
      await ex.well({ ...conf, overlap: '0', ordered: 'no', inc_name: 'other', prefix: 'Q' });
      expect(await ex.numbers()).toHaveLength(6_000);
      await ex.well({ ...conf, overlap: '0', ordered: 'no', inc_name: 'other', prefix: 'Q' });
      expect(await ex.numbers()).toHaveLength(6_000);
    },
  );

  it('takes a position that its table cannot hold for an error', async () => {
    ex = await Extracting.open(await url());
    await ex.store.execute(
      'CREATE TABLE T_MAXINCVALUE (pname VARCHAR(50) PRIMARY KEY, maxincvalue NUMERIC(3))',
    );
    await ex.fill(998, 1_001);
    const conf = { sql: 'select keyid, v from r', fields: 'keyid,v', inc_field: 'keyid', inc_store: ex.url };
    expect(await ex.run(conf)).toMatchObject({ state: 'failed' });
    // The files are out, so only the position is left to be stored, and not a row is sent again.
    await ex.store.execute('DROP TABLE T_MAXINCVALUE');
    await ex.well(conf);
    expect(await ex.numbers()).toEqual(range(998, 1_001));
  });

  it('stops in the middle when it is told to, and goes on in the next run', { timeout: 60_000 }, async () => {
    ex = await Extracting.open(await url());
    await ex.fill(1, 20_000);
    const conf = {
      sql: 'select keyid, v from r',
      fields: 'keyid,v',
      key: 'keyid',
      file_rows: '50',
      step_files: '10',
      batch_rows: '100',
    };
    const stop = new AbortController();
    const running = ex.run(conf, { signal: stop.signal });
    const end = performance.now() + 20_000;
    while ((await ex.files()).length === 0 && performance.now() < end)
      await new Promise((resolve) => setTimeout(resolve, 2));
    stop.abort();
    expect(await running).toMatchObject({ state: 'ok' });
    expect((await ex.numbers()).length).toBeLessThan(20_000);
    await ex.well(conf);
    expect(await ex.numbers()).toEqual(range(1, 20_000));
  });

  // Memory of written rows is used for the next ones.
  it.each(['1000', '700', '0'])('keeps its rows apart in files of %s', { timeout: 60_000 }, async (rows) => {
    ex = await Extracting.open(await url());
    await ex.fill(1, 40_000);
    await ex.well({ sql: 'select keyid, v from r', fields: 'keyid,v', file_rows: rows, sync: 'no' });
    const [keys, texts] = [await ex.values('keyid'), await ex.values('v')];
    expect(keys.map(Number).sort((a, b) => a - b)).toEqual(range(1, 40_000));
    expect(texts).toEqual(keys.map((key) => `row ${key}`));
  });

  it('is not moved by keys that change under way', { timeout: 60_000 }, async () => {
    ex = await Extracting.open(await url());
    await ex.fill(1, 4_000);
    const conf = {
      sql: 'select keyid, v from r',
      fields: 'keyid,v',
      key: 'keyid',
      file_rows: '100',
      step_files: '5',
      batch_rows: '100',
    };
    const running = ex.run(conf);
    for (let i = 1; i <= 40; i++)
      await ex.store.execute('UPDATE r SET keyid = ? WHERE keyid = ?', [10_000 + i, i * 100]);
    expect(await running).toMatchObject({ state: 'ok' });
    const keys = await ex.numbers();
    // One view of the table: each row once, under its old key or its new one.
    expect(keys.map((key) => (key > 10_000 ? (key - 10_000) * 100 : key)).sort((a, b) => a - b)).toEqual(
      range(1, 4_000),
    );
  });

  it('loses and repeats nothing when the server dies in the middle', { timeout: 180_000 }, async () => {
    const server = await own();
    try {
      ex = await Extracting.open(server.url);
      await ex.fill(1, 60_000);
      const conf = {
        sql: 'select keyid, v from r where keyid>:1',
        fields: 'keyid,v',
        inc_field: 'keyid',
        overlap: '10',
        file_rows: '50',
        step_files: '20',
        inc_file: `${ex.root}/last.txt`,
      };
      for (let round = 0; round < 2; round++) {
        let ended = false;
        const running = ex.run(conf).finally(() => (ended = true));
        const before = (await ex.files()).length;
        const end = performance.now() + 20_000;
        while (!ended && (await ex.files()).length < before + 40 && performance.now() < end)
          await new Promise((resolve) => setTimeout(resolve, 2));
        await server.kill();
        const result = await running;
        if (result.state === 'failed') expect(result.retryable).toBe(true);
        await server.restart();
      }
      await ex.well(conf);
      expect(await ex.numbers()).toEqual(range(1, 60_000));
    } finally {
      await ex?.close();
      ex = undefined;
      await server.stop();
    }
  });
});
