import { execFileSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import { mkdir, readdir, readFile, truncate, utimes, writeFile } from 'node:fs/promises';
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

describe('the load stage, given bad input,', () => {
  it('keeps bad rows with line, reason and the whole record, and loads the others', async () => {
    await f.sql(OBS_TABLE);
    const bad = record({ obtid: 2, t: 'warm' });
    const refused = record({ obtid: 3, t: 950 });
    await f.put(
      'A_1.xml',
      file(
        record({ obtid: 1, t: 1 }),
        bad,
        refused,
        record({ obtid: '123456', t: 1 }),
        record({ obtid: 4, t: 4 }),
        record({ obtid: 5 }),
      ),
    );
    expect(await f.load()).toMatchObject({
      state: 'ok',
      counts: { files: 1, rowsIn: 6, rowsOut: 3, rowsRejected: 3 },
    });
    expect((await rows()).map(([id]) => id)).toEqual(['1', '4', '5']);
    const [name = ''] = await names(`${f.inbox}-errors`);
    expect(name).toMatch(/^A_1\.xml\.[0-9a-f]{12}\.reject$/);
    const text = await readFile(join(`${f.inbox}-errors`, name), 'utf8');
    expect(text.split('\n').slice(1)).toEqual([
      '<data>',
      '<!-- line 3: t "warm" is no number -->',
      bad.trim(),
      expect.stringMatching(/^<!-- line 4: the database refuses it: CHECK constraint failed: t \( 900 -->$/),
      refused.trim(),
      '<!-- line 5: obtid has 6 characters, the column takes 5 -->',
      record({ obtid: '123456', t: 1 }).trim(),
      '</data>',
      '',
    ]);
    expect(await f.sql('SELECT file_name, rows_in, rows_rejected FROM switchyard_files')).toEqual([
      ['A_1.xml', 3, 3],
    ]);
    expect(await names(`${f.inbox}-done`)).toEqual(['A_1.xml']);
  });

  it('rejects only the rows the database refuses, wherever they stand and whichever neighbours the file has', async () => {
    await f.sql(OBS_TABLE);
    const bad = new Set([1, 2, 700, 2_499, 2_500, 4_999]);
    const records = Array.from({ length: 5_000 }, (_, i) => record({ obtid: i, t: bad.has(i) ? 900 : 1 }));
    await f.put('A_1.xml', file(record({ obtid: 'a', t: 1 })));
    await f.put('A_2.xml', file(...records));
    await f.put('A_3.xml', file(record({ obtid: 'b', t: 1 })));
    expect(await f.load()).toMatchObject({
      state: 'ok',
      counts: { files: 3, rowsOut: 4_996, rowsRejected: 6 },
    });
    expect(await f.sql('SELECT count(*) FROM T_OBS')).toEqual([[4_996]]);
    expect(f.events('load.bad-row').map(({ at }) => at)).toEqual([...bad].map((i) => `A_2.xml:${i + 2}`));
  });

  it('applies nothing of a file with too many bad rows', async () => {
    await f.sql(OBS_TABLE);
    const bad = record({ obtid: 9, t: 'x' });
    const good = record({ obtid: 1, t: 1 });
    await f.put(
      'A_1.xml',
      file(
        ...Array.from({ length: 11 }, () => bad),
        ...Array.from({ length: 20 }, (_, i) => record({ obtid: i, t: 1 })),
      ),
    );
    await f.put('A_2.xml', file(good, bad, bad));
    await f.put('A_3.xml', file(good.replace('>1<', '>77<')));
    expect(await f.load({ max_rejects: '10' })).toMatchObject({
      counts: { files: 1, rowsOut: 1, errors: 2 },
    });
    expect((await rows()).map(([id]) => id)).toEqual(['77']);
    expect(await names(`${f.inbox}-errors`)).toEqual(['A_1.xml', 'A_2.xml']);
    expect(f.events('load.bad-file').map(({ reason }) => String(reason).split(';')[0])).toEqual([
      'more than 10 bad rows',
      '2 of its 3 rows are bad, more than 50 percent',
    ]);
  });

  it('puts aside what no rule, no table or no key is there for, and says so', async () => {
    await f.sql(OBS_TABLE, 'CREATE TABLE T_FREE (obtid VARCHAR(5), t INTEGER)');
    await writeFile(
      join(f.root, 'rules.xml'),
      `<?xml version='1.0' encoding='utf-8'?>\n<xmltodb>\n<!-- a rule <filename>*</filename><tname>T_NO</tname><endl/> -->
      <filename>OBS_*.XML,MORE_*</filename><tname>T_OBS</tname><uptbz>1</uptbz><endl/>
      <filename>GONE_*</filename><tname>T_GONE</tname><uptbz>2</uptbz><endl/>
      <filename>FREE_*</filename><tname>T_FREE</tname><uptbz>1</uptbz><endl/>\n</xmltodb>\n`,
    );
    for (const name of ['OBS_1.xml', 'more_1.xml', 'GONE_1.xml', 'FREE_1.xml', 'OTHER.xml'])
      await f.put(name, file(record({ obtid: name.slice(0, 4), t: 1 })));
    expect(await f.load({ rules: join(f.root, 'rules.xml') })).toMatchObject({
      state: 'ok',
      counts: { files: 2, errors: 3 },
    });
    expect((await rows()).map(([id]) => id)).toEqual(['OBS_', 'more']);
    expect(f.events('load.bad-file').map(({ file: name, reason }) => [name, reason])).toEqual([
      ['FREE_1.xml', expect.stringMatching(/^the table T_FREE has no primary or unique key/)],
      ['GONE_1.xml', 'the table T_GONE does not exist'],
      ['OTHER.xml', 'no rule matches its name'],
    ]);
  });

  it('is not stopped by hostile files', async () => {
    await f.sql(OBS_TABLE);
    const good = record({ obtid: 1, t: 1 });
    await f.put('01-nul.xml', Buffer.alloc(100_000));
    await f.put(
      '02-bytes.xml',
      Buffer.concat([Buffer.from(good.replace('</t>', '</t><name>')), Buffer.from([0xff, 0xfe])]),
    );
    await f.put('03-prose.xml', 'hello, world\n'.repeat(10));
    await f.put('04-line.xml', `<obtid>${'9'.repeat(3_000_000)}`);
    await f.put('05-large.xml', '');
    await truncate(join(f.inbox, '05-large.xml'), 9 << 20);
    execFileSync('mkfifo', [join(f.inbox, '06-pipe.xml')]);
    await mkdir(join(f.inbox, '07-folder.xml'));
    await f.put('08-bomb.xml.gz', gzipSync(Buffer.alloc(64 << 20, record({ obtid: 1 }))));
    await f.put('09-torn.xml.gz', gzipSync(file(good)).subarray(0, 40));
    await f.put('10-not.xml.gz', 'not packed');
    await f.put(`11-${'n'.repeat(210)}.xml`, good);
    await f.put('12-two\nlines.xml', file(good.replace('>1<', '>2<')));
    await f.put('13-nested.xml', file(record({ obtid: 3, t: '<name>5</name>' }), record({ obtid: 4, t: 4 })));
    await f.put('14-empty.xml', '');
    await f.put('15-none.xml', '<data>\n</data>\n');
    await f.put('16-good.xml.gz', gzipSync(file(record({ obtid: 5, t: 5 }))));
    const result = await f.load({ max_file_size: '8m' });
    expect(result).toMatchObject({ state: 'ok' });
    expect((await rows()).map(([id]) => id)).toEqual(['2', '4', '5']);
    expect(await names(f.inbox)).toEqual(['07-folder.xml']);
    expect(
      (await names(`${f.inbox}-errors`))
        .filter((name) => !name.endsWith('.reject'))
        .map((name) => name.slice(0, 2)),
    ).toEqual(
      ['01', '02', '03', '04', '05', '06', '08', '09', '10', '11'], // prettier-ignore
    );
    expect((await names(`${f.inbox}-done`)).map((name) => name.slice(0, 2))).toEqual([
      '12',
      '13',
      '14',
      '15',
      '16',
    ]);
    const reasons = Object.fromEntries(
      f.events('load.bad-file').map(({ file: name, reason }) => [String(name).slice(0, 2), reason]),
    );
    expect(reasons).toMatchObject({
      '04': 'its record at line 1 is longer than 1048576 bytes',
      '05': 'it is larger than 8388608 bytes',
      '06': 'it is not a regular file',
      '08': 'it unfolds to more than 8388608 bytes',
      '11': 'its name is too long',
    });
    expect(reasons['09']).toMatch(/^it is no whole gzip file/);
    expect(reasons['10']).toMatch(/^it is no whole gzip file/);
  });

  it('bounds what a small .gz unfolds to by its size', async () => {
    await f.sql(OBS_TABLE);
    await f.put('bomb.xml.gz', gzipSync(Buffer.alloc(64 << 20, record({ obtid: 1 }))));
    await f.load({ max_ratio: '100' });
    expect(f.events('load.bad-file')[0]?.['reason']).toBe('it unfolds to more than 100 times its size');
  });

  it('leaves a file that changes while it is read for a later run', async () => {
    await f.sql(OBS_TABLE);
    await f.put('A.xml', file(...Array.from({ length: 20_000 }, (_, i) => record({ obtid: i, t: 1 }))));
    const params = paramsOf(keys, {
      path: f.inbox,
      store: f.url,
      table: 'T_OBS',
      mode: 'upsert',
      group_bytes: '64k',
    });
    const env = { name: 'load', params, log: f.log, signal: new AbortController().signal };
    const stage = createStage(env);
    const growing = runOnce(() => stage, env, { dryRun: false, ledgerUrl: undefined });
    for (let i = 0; i < 200; i++) {
      const [claimed] = (
        await readdir(join(f.inbox, '.claimed'), { recursive: true }).catch(() => [])
      ).filter((name) => name.endsWith('.xml'));
      if (claimed !== undefined)
        await utimes(join(f.inbox, '.claimed', claimed), i, i).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await growing;
    if (f.log.named('load.changing').length > 0) {
      expect(await f.sql('SELECT count(*) FROM T_OBS')).toEqual([[0]]);
      expect(await names(f.inbox)).toEqual(['A.xml']);
    }
    await f.load();
    expect(await f.sql('SELECT count(*) FROM T_OBS')).toEqual([[20_000]]);
    expect(await names(f.inbox)).toEqual([]);
  });

  it('reads other encodings and refuses what is none', async () => {
    await f.sql(OBS_TABLE);
    const gbk = Buffer.concat([
      Buffer.from('<obtid>1</obtid><ddatetime>20230706154300</ddatetime><name>'),
      Buffer.from([0xd5, 0xbe, 0xb5, 0xe3]),
      Buffer.from('</name><endl/>\n'),
    ]);
    await f.put('A.xml', gbk);
    await f.load({ charset: 'Simplified Chinese_China.ZHS16GBK' });
    expect(await rows()).toEqual([['1', null, '站点']]);
    await f.put(
      'B.xml',
      Buffer.concat([gbk, Buffer.from(record({ obtid: 2 })), Buffer.from(record({ obtid: 3 }))]),
    );
    await f.load();
    expect(f.events('load.bad-row')[0]).toMatchObject({
      at: 'B.xml:1',
      reason: 'name is no utf-8 text at byte 61 of the file (0xB5)',
    });
    const [reject = ''] = await names(`${f.inbox}-errors`);
    expect(
      (await readFile(join(`${f.inbox}-errors`, reject))).includes(Buffer.from([0xd5, 0xbe, 0xb5, 0xe3])),
    ).toBe(true);
  });
});
