import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStage, keys } from '../../../src/actors/pipeline/load-obs.js';
import { runOnce, type RunResult } from '../../../src/actors/pipeline/stage/run.js';
import { inventObservation } from '../../../src/actors/pipeline/generate.js';
import { formatObservations, type ObservationFormat } from '../../../src/protocol/observations.js';
import { openStore, type SqlRow } from '../../../src/store/driver.js';
import { FakeLog } from '../../support/fake-context.js';
import { fakeRun } from '../../support/fake-run.js';
import { paramsOf } from '../../support/stage-params.js';

let root = '';
let inbox = '';
let log = new FakeLog();
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'load-obs-'));
  inbox = join(root, 'in');
  await mkdir(inbox);
  log = new FakeLog();
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function load(
  written: Record<string, string> = {},
  dryRun = false,
  name = 'load-obs',
  signal = new AbortController().signal,
): Promise<RunResult> {
  const params = paramsOf(keys, { path: inbox, store: `sqlite:${join(root, 'data.db')}`, ...written });
  const env = { name, params, log, signal };
  return runOnce(createStage, env, { dryRun, ledgerUrl: undefined });
}

async function table(): Promise<readonly SqlRow[]> {
  const store = await openStore(`sqlite:${join(root, 'data.db')}`);
  const { rows } = await store.query(
    'SELECT obtid, ddatetime, t, p, u, wd, wf, r, vis FROM T_ZHOBTMIND ORDER BY ddatetime, obtid',
  );
  await store.close();
  return rows;
}

function content(format: ObservationFormat, time: string, stations: number): string {
  return formatObservations(
    format,
    Array.from({ length: stations }, (_, i) => inventObservation(String(10_000 + i), time)),
  );
}

const put = (name: string, text: string | Uint8Array): Promise<void> => writeFile(join(inbox, name), text);
const line = '58015,20230706154300,30.1,1025.3,80,189,7.7,1.3,10459.5';

describe('the load-obs stage', () => {
  it('loads csv and xml, scaled, skips what is there already and removes the files', async () => {
    await put('a.csv', content('csv', '20230706154300', 3));
    await put('b.XML', content('xml', '20230706154300', 5));
    await put('c.json', content('json', '20230706154300', 5));
    await put('d.csv.7-1.tmp', 'half');
    expect(await load()).toMatchObject({
      state: 'ok',
      counts: { files: 2, rowsIn: 8, rowsOut: 5, rowsRejected: 0 },
    });
    expect(
      log.named('load-obs.file').map((entry) => [entry.fields['inserted'], entry.fields['duplicates']]),
    ).toEqual([
      [3, 0],
      [2, 3],
    ]);
    const one = inventObservation('10000', '20230706154300');
    const tenths = (text: string): number => Number(text.replace('.', ''));
    expect((await table())[0]).toEqual([
      '10000',
      '2023-07-06 15:43:00',
      tenths(one.t),
      tenths(one.p),
      Number(one.u),
      Number(one.wd),
      tenths(one.wf),
      tenths(one.r),
      tenths(one.vis),
    ]);
    expect(await table()).toHaveLength(5);
    expect((await readdir(inbox)).sort()).toEqual(['c.json', 'd.csv.7-1.tmp']);
  });

  it('keeps empty values as NULL', async () => {
    await put('a.xml', '<data>\n<obtid>1</obtid><ddatetime>20230706154300</ddatetime><t></t><u>5</u><endl/>');
    await load();
    expect(await table()).toEqual([['1', '2023-07-06 15:43:00', null, null, 5, null, null, null, null]]);
  });

  it('keeps bad rows in a reject file with line and reason, and loads the others', async () => {
    await put('a.csv', `站点代码\n${line}\n58016,2023,1,1,1,1,1,1,1\nx\n${line.replace('58015', '58017')}`);
    expect(await load()).toMatchObject({ state: 'ok', counts: { rowsIn: 4, rowsOut: 2, rowsRejected: 2 } });
    expect(await readdir(inbox)).toEqual([]);
    const [name = ''] = await readdir(`${inbox}-errors`);
    expect(name).toMatch(/^a\.csv\.\d+\.reject$/);
    expect(await readFile(join(`${inbox}-errors`, name), 'utf8')).toBe(
      '# a.csv:3: ddatetime "2023" is no time of 14 digits\n58016,2023,1,1,1,1,1,1,1\n# a.csv:4: 1 fields instead of 9\nx\n',
    );
    expect(log.named('load-obs.bad-row')[0]?.fields).toEqual({
      at: 'a.csv:3',
      reason: 'ddatetime "2023" is no time of 14 digits',
    });
  });

  it('puts hostile files aside without touching the table and goes on', async () => {
    await put('1-nul.csv', Buffer.alloc(100_000));
    await put('2-latin.csv', Buffer.from(`${line}\n\xff\xfe\n`, 'latin1'));
    await put('3-prose.xml', 'hello, world\n'.repeat(10));
    await put('4-many.csv', `${line.replace('58015', '4')}\n${'x\n'.repeat(20)}`);
    await put('5-large.csv', '');
    await truncate(join(inbox, '5-large.csv'), 3 << 20);
    execFileSync('mkfifo', [join(inbox, '6-pipe.csv')]);
    await put('7-line.xml', `<obtid>${'9'.repeat(2_000_000)}`);
    await put('8-good.csv', line);
    const result = await load({ max_rejects: '10', max_file_size: '2m' });
    expect(result).toMatchObject({ state: 'ok', counts: { files: 1, rowsOut: 1, errors: 7 } });
    expect(await readdir(inbox)).toEqual([]);
    expect((await readdir(`${inbox}-errors`)).map((name) => name[0])).toEqual([
      '1',
      '2',
      '3',
      '4',
      '5',
      '6',
      '7',
    ]);
    expect((await table()).map((row) => row[0])).toEqual(['58015']);
    const reasons = log.named('load-obs.bad-file').map((entry) => String(entry.fields['reason']));
    expect(reasons[1]).toBe('it is not utf-8 text');
    expect(reasons[3]).toBe('more than 10 bad rows');
    expect(reasons[5]).toBe('it is not a regular file');
  });

  it('is not stopped by names that have no room for more', async () => {
    await put(`${'a'.repeat(251)}.csv`, line);
    await put(`${'b'.repeat(220)}.csv`, line);
    await put('c.csv', line);
    expect(await load()).toMatchObject({ state: 'ok', counts: { rowsOut: 1, errors: 1 } });
    expect((await readdir(inbox)).map((name) => name[0])).toEqual(['a']);
    expect((await readdir(`${inbox}-errors`)).map((name) => name[0])).toEqual(['b']);
    expect(log.named('load-obs.stuck-file')).toHaveLength(1);
  });

  it('reads other encodings when told', async () => {
    await put('a.csv', Buffer.concat([Buffer.from([0xd5, 0xbe, 0xb5, 0xe3, 0x0a]), Buffer.from(line)]));
    expect(await load({ charset: 'gb18030' })).toMatchObject({ counts: { rowsOut: 1, rowsRejected: 0 } });
    await expect(load({ charset: 'klingon' })).rejects.toThrow(RangeError);
  });

  it('takes everything that waits although one look takes only a few', async () => {
    for (let i = 0; i < 7; i++) await put(`${i}.csv`, line.replace('58015', String(i)));
    expect(await load({ files_per_scan: '2' })).toMatchObject({ counts: { files: 7, rowsOut: 7 } });
  });

  it('leaves the file when the database cannot be had, and loads it later', async () => {
    await put('a.csv', line);
    await mkdir(join(root, 'data.db'));
    expect(await load()).toMatchObject({ state: 'failed', retryable: true });
    expect(await readdir(inbox)).toEqual(['a.csv']);
    await rm(join(root, 'data.db'), { recursive: true });
    expect(await load()).toMatchObject({ state: 'ok', counts: { rowsOut: 1 } });
  });

  it('leaves the file when the table refuses, and says that trying again cannot help', async () => {
    await put('a.csv', line);
    await load({}, false);
    const store = await openStore(`sqlite:${join(root, 'data.db')}`);
    await store.execute('ALTER TABLE T_ZHOBTMIND RENAME TO elsewhere');
    await store.close();
    await put('b.csv', line);
    expect(await load()).toMatchObject({ state: 'failed', retryable: false });
    expect(await readdir(inbox)).toEqual(['b.csv']);
  });

  it('does not open the database without files, nor change anything in a dry run', async () => {
    expect(await load()).toMatchObject({ state: 'ok', counts: { files: 0 } });
    await put('a.csv', `${line}\nx`);
    await put('b.csv', 'x1');
    expect(await load({}, true)).toMatchObject({
      counts: { files: 2, rowsIn: 2, rowsRejected: 1, errors: 1 },
    });
    expect((await readdir(root)).sort()).toEqual(['in']);
    expect((await readdir(inbox)).sort()).toEqual(['a.csv', 'b.csv']);
  });

  it('shares a folder with another stage', async () => {
    for (let i = 0; i < 30; i++)
      await put(`${String(i).padStart(2, '0')}.csv`, line.replace('58015', String(i)));
    const results = await Promise.all([load(), load({}, false, 'load-too')]);
    expect(results.map((result) => result.state)).toEqual(['ok', 'ok']);
    expect(results.reduce((sum, result) => sum + result.counts.rowsOut, 0)).toBe(30);
    expect(await table()).toHaveLength(30);
  });

  it('stops between two files and leaves no claim behind', async () => {
    for (let i = 0; i < 5; i++) await put(`${i}.csv`, line.replace('58015', String(i)));
    const abort = new AbortController();
    const info = log.info.bind(log);
    log.info = (event, fields) => {
      if (event === 'load-obs.file' && fields?.['file'] === '1.csv') abort.abort();
      info(event, fields);
    };
    expect(await load({}, false, 'load-obs', abort.signal)).toMatchObject({
      state: 'ok',
      counts: { files: 2 },
    });
    expect((await readdir(inbox)).sort()).toEqual(['2.csv', '3.csv', '4.csv']);
    expect((await load()).counts.rowsOut).toBe(3);
    expect(await table()).toHaveLength(5);
  });

  it('rolls a file back when it is stopped in the middle of it', async () => {
    await put('a.csv', content('csv', '20230706154300', 3_000));
    const abort = new AbortController();
    const stage = createStage({
      name: 'load-obs',
      params: paramsOf(keys, { path: inbox, store: `sqlite:${join(root, 'data.db')}`, batch_rows: '10' }),
      log,
      signal: abort.signal,
    });
    const run = fakeRun({ log, signal: abort.signal, progress: () => abort.abort() });
    await stage.run(run);
    await stage.close?.();
    expect(run.counts.files).toBe(0);
    expect(await readdir(inbox)).toEqual(['a.csv']);
    expect(await table()).toEqual([]);
    expect((await load()).counts.rowsOut).toBe(3_000);
  });

  it.skipIf(process.getuid?.() === 0)('puts a file aside that it may not read', async () => {
    await put('a.csv', line);
    await chmod(join(inbox, 'a.csv'), 0);
    expect(await load()).toMatchObject({ state: 'ok', counts: { errors: 1 } });
    expect(await readdir(`${inbox}-errors`)).toEqual(['a.csv']);
  });
});
