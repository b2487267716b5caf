import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import iconv from 'iconv-lite';
import { openStore } from '../../../src/store/driver.js';
import { Extracting, range } from '../../support/extracting.js';

let ex: Extracting;
beforeEach(async () => {
  ex = await Extracting.open();
});
afterEach(() => ex.close());

const ALL = { sql: 'select keyid, v from r', fields: 'keyid,v' };
const INC = { sql: 'select keyid, v from r where keyid>:1', fields: 'keyid,v', inc_field: 'keyid' };

async function observations(): Promise<void> {
  await ex.store.execute(
    'CREATE TABLE obs (obtid TEXT, ddatetime TEXT, t INT, p INT, vis TEXT, name TEXT, keyid INTEGER PRIMARY KEY)',
  );
  await ex.store.batch('INSERT INTO obs VALUES (?, ?, ?, ?, ?, ?, ?)', [
    ['58015', '2023-05-08 11:30:00', 141, 10153, null, 'Dang Shan', 6127135],
    ['58102', '2023-05-08 11:30:00', -5, 0, '', '<b> & "亳州"\r\n\'', 6127136],
    ['58107', '2023-05-08 11:30:00', 12, 9007199, '0.50', '𠮷𠮷𠮷', 6127137n],
  ]);
}

const OBS = {
  sql: 'select obtid, ddatetime, t, p, vis, name, keyid from obs order by keyid',
  fields: 'obtid,ddatetime,t,p,vis,name,keyid',
};

describe('the files of an extraction', () => {
  beforeEach(observations);

  it('have the bytes of the reference, values escaped', async () => {
    await ex.well({
      ...OBS,
      time_fields: 'ddatetime',
      prefix: 'ZHOBTMIND',
      suffix: 'togxpt',
      file_rows: '2',
    });
    const names = await ex.files();
    expect(names).toHaveLength(2);
    expect(names[0]).toMatch(/^ZHOBTMIND_20\d{12}_togxpt_1\.xml$/);
    expect(names[1]).toMatch(/^ZHOBTMIND_20\d{12}_togxpt_2\.xml$/);
    expect((await ex.readFile(names[0] ?? '')).toString('utf8')).toBe(
      '<data>\n' +
        '<obtid>58015</obtid><ddatetime>20230508113000</ddatetime><t>141</t><p>10153</p><vis></vis><name>Dang Shan</name><keyid>6127135</keyid><endl/>\n' +
        '<obtid>58102</obtid><ddatetime>20230508113000</ddatetime><t>-5</t><p>0</p><vis></vis><name>&lt;b&gt; &amp; &quot;亳州&quot;&#13;\n&apos;</name><keyid>6127136</keyid><endl/>\n' +
        '</data>\n',
    );
    expect((await ex.readFile(names[1] ?? '')).toString('utf8')).toBe(
      '<data>\n<obtid>58107</obtid><ddatetime>20230508113000</ddatetime><t>12</t><p>9007199</p><vis>0.50</vis><name>𠮷𠮷𠮷</name><keyid>6127137</keyid><endl/>\n</data>\n',
    );
    expect(await ex.traces()).toEqual([]);
  });

  it('hold the values as they are with escape = no', async () => {
    await ex.well({ ...OBS, sql: 'select name, t from obs where t < 0', fields: 'n,t', escape: 'no' });
    const [name = ''] = await ex.files();
    expect((await ex.readFile(name)).toString('utf8')).toBe(
      '<data>\n<n><b> & "亳州"\r\n\'</n><t>-5</t><endl/>\n</data>\n',
    );
  });

  it('cut values to their length in characters, never within one', async () => {
    await ex.well({ ...OBS, lengths: '3,10,2,19,1,2,20' });
    expect(await ex.values('obtid')).toEqual(['580', '581', '581']);
    expect(await ex.values('ddatetime')).toEqual(Array(3).fill('2023-05-08'));
    expect(await ex.values('t')).toEqual(['14', '-5', '12']);
    expect(await ex.values('name')).toEqual(['Da', '<b', '𠮷𠮷']);
  });

  it('are written in GBK, with entities for what GBK lacks', async () => {
    await ex.well({ ...OBS, charset: 'Simplified Chinese_China.ZHS16GBK' });
    const [name = ''] = await ex.files();
    const bytes = await ex.readFile(name);
    expect(bytes.includes(iconv.encode('亳州', 'gbk'))).toBe(true);
    expect(iconv.decode(bytes, 'gbk')).toContain('<name>&#134071;&#134071;&#134071;</name>');
    expect(iconv.decode(bytes, 'gbk')).toContain('&quot;亳州&quot;');
  });

  it('take raw bytes as hexadecimal digits and more than 256 fields', async () => {
    const columns = range(1, 300).map((i) => `x'0aff' AS a${i}`);
    await ex.well({
      sql: `select ${columns.join(', ')}`,
      fields: range(1, 300)
        .map((i) => `f${i}`)
        .join(','),
    });
    expect(await ex.values('f300')).toEqual(['0aff']);
  });
});

describe('a full extraction', () => {
  it('brings every row each time, in files of file_rows rows, and no file when there is none', async () => {
    await ex.fill(1, 0);
    expect(await ex.well(ALL)).toMatchObject({ counts: { rowsIn: 0, rowsOut: 0, files: 0 } });
    expect(await ex.files()).toEqual([]);
    await ex.fill(1, 2_500);
    const result = await ex.well({ ...ALL, file_rows: '1000' });
    expect(result.counts).toMatchObject({ rowsIn: 2_500, rowsOut: 2_500, files: 3 });
    expect(await ex.numbers()).toEqual(range(1, 2_500));
    await ex.well(ALL);
    const names = await ex.files();
    expect(names).toHaveLength(4);
    const sizes = await Promise.all(names.map(async (name) => (await ex.readFile(name)).length));
    expect(result.counts.bytes).toBeLessThan(sizes.reduce((sum, size) => sum + size));
  });

  it('counts on within a second, so that no name comes twice', async () => {
    await ex.fill(1, 10);
    for (let i = 0; i < 4; i++) await ex.well({ ...ALL, file_rows: '5' });
    expect(await ex.files()).toHaveLength(8);
    expect(await ex.numbers()).toHaveLength(40);
  });

  it('keeps the order of its select, and brings columns of the same name', async () => {
    await ex.fill(1, 30);
    await ex.well({ sql: 'select v, v, keyid from r order by keyid desc;', fields: 'a,b,keyid' });
    expect((await ex.values('keyid')).map(Number)).toEqual(range(1, 30).reverse());
    expect(await ex.values('b')).toEqual(await ex.values('a'));
  });

  it('by key goes on where it was cut off, and from the beginning the next time', async () => {
    await ex.fill(1, 5_000);
    const conf = { ...ALL, key: 'keyid', file_rows: '100', step_files: '5' };
    // The out folder takes 17 files: the run ends when nobody takes them.
    const full = await ex.run({ ...conf, max_waiting_files: '17', room_wait: '0' });
    expect(full).toMatchObject({ state: 'failed', retryable: true });
    expect(String(full.error)).toContain('17 files wait');
    expect(await ex.files()).toHaveLength(17);
    expect(await ex.well(conf)).toMatchObject({ state: 'ok' });
    expect(await ex.numbers()).toEqual(range(1, 5_000));
    expect(await ex.files()).toHaveLength(50);
    expect(ex.log.named('extract.resumes')).toHaveLength(1);
    await ex.well(conf);
    expect(await ex.numbers()).toHaveLength(10_000);
    expect(await ex.traces()).toEqual([]);
  });

  it('begins anew when its select has changed or too much time has passed', async () => {
    await ex.fill(1, 1_000);
    const conf = { ...ALL, key: 'keyid', file_rows: '100', step_files: '2' };
    await ex.run({ ...conf, max_waiting_files: '2', room_wait: '0' });
    await ex.well({ ...conf, sql: 'select keyid, v from r where keyid > 500' });
    expect(await ex.numbers()).toEqual([...range(1, 400), ...range(501, 1_000)]);
    expect(ex.log.named('extract.begins-anew')).toHaveLength(1);
  });

  it('by a key that is NULL somewhere sends nothing', async () => {
    await ex.fill(1, 10);
    await ex.store.execute("UPDATE r SET v = 'x' || keyid WHERE keyid > 1");
    await ex.store.execute('UPDATE r SET v = NULL WHERE keyid = 1');
    const result = await ex.run({ ...ALL, key: 'v' });
    expect(result).toMatchObject({ state: 'failed', retryable: false });
    expect(String(result.error)).toContain('key: v is NULL in some rows');
    expect(await ex.files()).toEqual([]);
  });
});

describe('an incremental extraction', () => {
  it('brings what is new, and keeps its position in the ledger', async () => {
    await ex.fill(1, 2_500);
    expect((await ex.well({ ...INC, file_rows: '1000' })).counts.rowsOut).toBe(2_500);
    expect((await ex.well(INC)).counts).toMatchObject({ rowsIn: 0, rowsOut: 0, files: 0 });
    await ex.fill(2_501, 2_600);
    expect((await ex.well(INC)).counts.rowsOut).toBe(100);
    expect(await ex.numbers()).toEqual(range(1, 2_600));
  });

  it('keeps its position in a file as a plain number', async () => {
    await ex.fill(1, 20);
    const file = join(ex.root, 'pos', 'last.txt');
    await ex.well({ ...INC, inc_file: file });
    expect(await readFile(file, 'latin1')).toBe('20');
    await writeFile(file, '15\n');
    expect((await ex.well({ ...INC, inc_file: file })).counts.rowsOut).toBe(5);
  });

  it.each(['', 'abc', '12 13', '\0\0\0\0'])(
    'takes a position file that holds %j for damaged, not for 0',
    async (text) => {
      await ex.fill(1, 20);
      const file = join(ex.root, 'last.txt');
      await writeFile(file, text);
      const result = await ex.run({ ...INC, inc_file: file });
      expect(result).toMatchObject({ state: 'failed', retryable: false });
      expect(String(result.error)).toContain('instead of a position');
      expect(await ex.files()).toEqual([]);
    },
  );

  it('keeps its position in T_MAXINCVALUE, which it makes when missing', async () => {
    await ex.fill(1, 20);
    const url = `sqlite:${join(ex.root, 'state.db')}`;
    const conf = { ...INC, inc_store: url, inc_name: 'dmining_ZHOBTMIND' };
    await ex.well(conf);
    await ex.fill(21, 30);
    expect((await ex.well(conf)).counts.rowsOut).toBe(10);
    const state = await openStore(url);
    expect((await state.query('SELECT pname, maxincvalue FROM T_MAXINCVALUE')).rows).toEqual([
      ['dmining_ZHOBTMIND', 30],
    ]);
    await state.close();
    expect(await ex.numbers()).toEqual(range(1, 30));
  });

  it('keeps every digit of large keys, also in the order of the select alone', async () => {
    await ex.store.execute('CREATE TABLE r (keyid INTEGER PRIMARY KEY, v TEXT)');
    const big = 9_223_372_036_854_775_000n;
    await ex.store.batch('INSERT INTO r VALUES (?, ?)', [
      [big, 'a'],
      [big + 1n, 'b'],
      [5, 'c'],
    ]);
    const file = join(ex.root, 'last.txt');
    await ex.well({ ...INC, inc_file: file });
    expect(await readFile(file, 'latin1')).toBe(String(big + 1n));
    await ex.store.execute('INSERT INTO r VALUES (?, ?)', [big + 2n, 'd']);
    expect((await ex.well({ ...INC, inc_file: file })).counts.rowsOut).toBe(1);
  });

  it('needs no :1 and may be written for Oracle', async () => {
    await ex.store.execute('CREATE TABLE r (keyid INTEGER PRIMARY KEY, at TEXT)');
    await ex.store.execute("INSERT INTO r VALUES (7, '2024-02-29 12:30:45')");
    const conf = {
      sql: "select keyid, to_char(at,'yyyymmddhh24miss') from r where at like '2024%%'",
      fields: 'keyid,at',
      inc_field: 'KEYID',
    };
    await ex.well(conf);
    await ex.well(conf);
    expect(await ex.values('at')).toEqual(['20240229123045']);
  });

  it('overlap brings a row that was committed late, and no other again', async () => {
    await ex.fill(1, 100);
    await ex.store.execute('DELETE FROM r WHERE keyid IN (3, 60, 98)');
    const conf = { ...INC, overlap: '50', file_rows: '7', step_files: '2' };
    await ex.well(conf);
    expect(await ex.numbers()).toHaveLength(97);
    // 3 is beyond the window, 60 and 98 are within.
    for (const late of [3, 60, 98, 101])
      await ex.store.execute('INSERT INTO r VALUES (?, ?)', [late, 'late']);
    await ex.well(conf);
    expect(await ex.numbers()).toEqual(range(1, 101).filter((key) => key !== 3));
    await ex.well(conf);
    expect(await ex.numbers()).toHaveLength(100);
    await ex.fill(102, 200);
    await ex.well(conf);
    expect(await ex.numbers()).toEqual(range(1, 200).filter((key) => key !== 3));
  });

  it('overlap sends the window once more when the position was changed by hand', async () => {
    await ex.fill(1, 100);
    const file = join(ex.root, 'last.txt');
    const conf = { ...INC, overlap: '10', inc_file: file };
    await ex.well(conf);
    await writeFile(file, '0');
    await ex.well(conf);
    expect(await ex.numbers()).toHaveLength(200);
  });

  it('overlap refuses a field that is not unique, and sends nothing', async () => {
    await ex.store.execute('CREATE TABLE r (keyid INTEGER, v TEXT)');
    await ex.store.batch('INSERT INTO r VALUES (?, ?)', [
      [1, 'a'],
      [2, 'b'],
      [2, 'c'],
    ]);
    const result = await ex.run({ ...INC, overlap: '5' });
    expect(String(result.error)).toContain('inc_field keyid: 2 comes behind 2');
    expect(await ex.files()).toEqual([]);
  });

  it('ends a step only between two keys, so that equal ones are never parted', async () => {
    await ex.store.execute('CREATE TABLE r (keyid INTEGER, v TEXT)');
    await ex.store.batch(
      'INSERT INTO r VALUES (?, ?)',
      range(1, 60).map((i) => [Math.ceil(i / 7), `v${i}`]),
    );
    const conf = { ...INC, file_rows: '3', step_files: '1' };
    await ex.run({ ...conf, max_waiting_files: '7', room_wait: '0' });
    expect(await ex.files()).toHaveLength(7);
    await ex.well(conf);
    expect((await ex.values('v')).sort()).toEqual(
      range(1, 60)
        .map((i) => `v${i}`)
        .sort(),
    );
  });

  it('sends nothing when somebody else moved its position meanwhile', async () => {
    await ex.fill(1, 10);
    const file = join(ex.root, 'last.txt');
    const stage = ex.stage({ ...INC, inc_file: file });
    const { fakeRun } = await import('../../support/fake-run.js');
    let beats = 0;
    const run = fakeRun({
      log: ex.log,
      progress: () => {
        if (++beats === 2) void writeFile(file, '4');
      },
    });
    const failure = await stage.run(run).then(
      () => undefined,
      (error: unknown) => String(error),
    );
    await stage.close?.();
    expect(failure).toContain('was 0 when the run began and is 4 now');
    expect(await ex.files()).toEqual([]);
    expect(await ex.traces()).toEqual([]);
  });
});

describe('what a run would do', () => {
  it('is told by a dry run, which leaves nothing behind', async () => {
    await ex.fill(1, 25);
    const result = await ex.run({ ...INC, file_rows: '10' }, { dryRun: true });
    expect(result).toMatchObject({ state: 'ok', counts: { rowsIn: 25, rowsOut: 0, files: 3 } });
    expect(await readFile(ex.out).catch(() => 'gone')).toBe('gone');
    await ex.well(INC);
    expect((await ex.run(INC, { dryRun: true })).counts.rowsIn).toBe(0);
  });

  it('is shown by the preview: the first rows of the next run', async () => {
    await ex.fill(1, 25);
    const conf = { ...INC, fields: 'keyid,text' };
    expect(await ex.stage(conf).preview?.(2)).toEqual({
      columns: ['keyid', 'text'],
      rows: [
        [1, 'row 1'],
        [2, 'row 2'],
      ],
    });
    await ex.well(conf);
    expect((await ex.stage(conf).preview?.(2))?.rows).toEqual([]);
    await ex.fill(26, 40);
    expect((await ex.stage(conf).preview?.(1))?.rows).toEqual([[26, 'row 26']]);
  });

  it('is checked without changing anything', async () => {
    await ex.fill(1, 2);
    const lines = await ex.stage({ ...INC, inc_file: join(ex.root, 'last.txt') }).check?.();
    expect(lines?.join('\n')).toMatch(
      /^source: .*\nsql: 2 columns, read in the order of a key\nposition: .*: 0\nout: .* will be made$/,
    );
    await mkdir(ex.out);
    expect((await ex.stage(ALL).check?.())?.at(-1)).toMatch(/is writable$/);
    await expect(ex.stage({ ...ALL, fields: 'a' }).check?.()).rejects.toThrow(
      'sql brings 2 columns, fields names 1',
    );
  });

  it('is how many rows there are, with count, and how old they are, with lag_field', async () => {
    await ex.store.execute('CREATE TABLE r (keyid INTEGER PRIMARY KEY, at TEXT)');
    const ago = (s: number): string =>
      new Date(Date.now() - s * 1_000 - new Date().getTimezoneOffset() * 60_000)
        .toISOString()
        .slice(0, 19)
        .replace('T', ' ');
    await ex.store.batch('INSERT INTO r VALUES (?, ?)', [
      [1, ago(100)],
      [2, ago(4_000)],
      [3, null],
    ]);
    const totals: unknown[] = [];
    const { fakeRun } = await import('../../support/fake-run.js');
    const run = fakeRun({ expect: (total) => totals.push(total) });
    const stage = ex.stage({
      ...INC,
      sql: 'select keyid, at from r',
      fields: 'keyid,at',
      count: 'yes',
      lag_field: 'at',
    });
    await stage.run(run);
    await stage.close?.();
    expect(totals).toEqual([{ rows: 3 }]);
    expect(run.counts.lagMs).toBeGreaterThan(3_990_000);
    expect(run.counts.lagMs).toBeLessThan(4_100_000);
  });
});
