import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runOnce, type RunResult } from '../../../src/actors/pipeline/stage/run.js';
import { createStage, keys } from '../../../src/actors/pipeline/transform.js';
import { RowXmlReader } from '../../../src/protocol/rowxml.js';
import { FakeLog } from '../../support/fake-context.js';
import { paramsOf } from '../../support/stage-params.js';

let root = '';
let inbox = '';
let out = '';
let log = new FakeLog();
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'transform-'));
  inbox = join(root, 'in');
  out = join(root, 'out');
  await mkdir(inbox);
  log = new FakeLog();
});
afterEach(() => rm(root, { recursive: true, force: true }));

function env(written: Record<string, string> = {}): Parameters<typeof createStage>[0] {
  const { signal } = new AbortController();
  return { name: 'transform', params: paramsOf(keys, { path: inbox, out, ...written }), log, signal };
}

async function run(written: Record<string, string> = {}, dryRun = false): Promise<RunResult> {
  return runOnce(createStage, env(written), { dryRun, ledgerUrl: undefined });
}

const put = (name: string, content: string | Uint8Array): Promise<void> =>
  writeFile(join(inbox, name), content);
const published = async (): Promise<string[]> => (await readdir(out).catch(() => [])).sort();
const text = (name: string): Promise<string> => readFile(join(out, name), 'utf8');

describe('the transform stage', () => {
  it('makes row XML out of every format it knows by name, and removes the files', async () => {
    await put('a.csv', 'id,v\n1,<x> & "y"\n2,\n');
    await put('b.tsv.gz', gzipSync('id\tv\n3\tz\n'));
    await put('c.json', '[{"id":4,"v":null}]');
    await put('d.ndjson', '{"id":5,"v":"</v><endl/>"}\n');
    await put('e.md', 'no format');
    expect(await run()).toMatchObject({
      state: 'ok',
      counts: { files: 4, rowsIn: 5, rowsOut: 5, errors: 1 },
    });
    expect(await published()).toEqual(['a.csv.xml', 'b.tsv.gz.xml', 'c.json.xml', 'd.ndjson.xml']);
    expect(await text('a.csv.xml')).toBe(
      '<data>\n<id>1</id><v>&lt;x&gt; &amp; &quot;y&quot;</v><endl/>\n<id>2</id><v></v><endl/>\n</data>\n',
    );
    const rows: (string | undefined)[][] = [];
    const reader = new RowXmlReader(['id', 'v'], {
      row: (values) => void rows.push(values),
      bad: () => expect.fail(),
    });
    reader.push(await text('d.ndjson.xml'));
    reader.end();
    expect(rows).toEqual([['5', '</v><endl/>']]);
    expect(await readdir(inbox)).toEqual([]);
    expect(await readdir(`${inbox}-errors`)).toEqual(['e.md']);
    expect(log.named('transform.bad-file')[0]?.fields['reason']).toContain('its name tells no format');
  });

  it('names files as the reference does, splits them, and keeps the source', async () => {
    await put('a.csv', `id\n${'1\n'.repeat(5)}`);
    await put('b.csv', 'id\n9\n');
    await run({ prefix: 'ZHOBTMIND', suffix: 'togxpt', file_rows: '2', done_path: join(root, 'done') });
    const names = await published();
    expect(names.map((name) => name.replace(/\d{14}/, 'T'))).toEqual(
      [1, 2, 3, 4].map((seq) => `ZHOBTMIND_T_togxpt_${seq}.xml`),
    );
    const counts = await Promise.all(
      names.map(async (name) => (await text(name)).split('<endl/>').length - 1),
    );
    expect(counts).toEqual([2, 2, 1, 1]);
    expect((await readdir(join(root, 'done'))).sort()).toEqual(['a.csv', 'b.csv']);
  });

  it('never overwrites what waits in out', async () => {
    await put('a.csv', 'id\n1\n');
    await run();
    await put('a.csv', 'id\n2\n');
    await run();
    expect(await published()).toEqual(['a.csv-2.xml', 'a.csv.xml']);
    expect(await text('a.csv-2.xml')).toContain('<id>2</id>');
  });

  it('writes no file for no rows', async () => {
    await put('a.csv', 'id\n');
    expect(await run()).toMatchObject({ state: 'ok', counts: { files: 1, rowsOut: 0 } });
    expect(await published()).toEqual([]);
  });

  it('keeps bad rows with line, reason and value, and goes on', async () => {
    await writeFile(
      join(root, 'x.map'),
      '[columns]\nid\nt = shift(v, 1)\n[checks]\nt = int max=600\n[filter]\nid != "3"\n',
    );
    await put('a.csv', 'id,v\n1,30.1\n2,99\n3,1\n4,x\n5\n6,0\n7,0\n8,1\n');
    const result = await run({ mapping: join(root, 'x.map') });
    expect(result).toMatchObject({ state: 'ok', counts: { rowsIn: 8, rowsOut: 4, rowsRejected: 3 } });
    const [name = ''] = await readdir(`${inbox}-errors`);
    expect(name).toMatch(/^a\.csv\.\d+\.reject$/);
    expect(await readFile(join(`${inbox}-errors`, name), 'utf8')).toBe(
      '# a.csv:6: 1 fields instead of 2\n5\n# a.csv:3: t "990" is above 600\n2,99\n' +
        '# a.csv:5: shift(v, 1): "x" is no number\n4,x\n',
    );
    expect(log.named('transform.file')[0]?.fields).toMatchObject({
      total: 8,
      rows: 4,
      filtered: 1,
      rejected: 3,
    });
  });

  it('keeps bad records in the form of their format, so that they can be put back', async () => {
    const written = { columns: 'id,v:shift(v, 1)' };
    await put('a.csv', 'id,v\n"1,""2""",x\n3,4\n');
    await put('b.json', '[{"id":"<\\n>","v":"x"},{"id":5,"v":6}]');
    await run(written);
    const lines: string[] = [];
    for (const name of (await readdir(`${inbox}-errors`)).sort()) {
      lines.push((await readFile(join(`${inbox}-errors`, name), 'utf8')).split('\n')[1] ?? '');
    }
    expect(lines).toEqual(['"1,""2""",x', '{"id":"<\\n>","v":"x"}']);
  });

  it('puts a file aside with more bad rows than allowed, and one without a good row, and leaves nothing of it', async () => {
    await put('a.csv', `id,v\n${'1\n'.repeat(30)}${'1,2\n'.repeat(100)}`);
    await put('b.csv', `id,v\n${'1\n'.repeat(9)}${'1,2\n'.repeat(8)}`);
    await put('c.csv', 'id,v\n1\n');
    await put('d.csv', 'x,v\n1,2\n');
    const written = { max_rejects: '20', columns: 'id,v' };
    expect(await run(written)).toMatchObject({ state: 'ok', counts: { files: 0, errors: 4 } });
    expect((await readdir(`${inbox}-errors`)).sort()).toEqual(['a.csv', 'b.csv', 'c.csv', 'd.csv']);
    expect(await readdir(out)).toEqual([]);
    expect(log.named('transform.bad-file').map(({ fields }) => fields['reason'])).toEqual([
      'more than 20 of its records are bad; the first: line 2: 1 fields instead of 2',
      '9 of its 17 records are bad, more than 50 %; the first: line 2: 1 fields instead of 2',
      'none of its 1 records is good; the first: line 2: 1 fields instead of 2',
      'column id needs the field id, which the file does not have; found: x, v',
    ]);
  });

  it('puts hostile files aside and goes on', async () => {
    await put('1.csv', '');
    await truncate(join(inbox, '1.csv'), 3 << 20);
    await put('2.csv.gz', gzipSync(Buffer.alloc(17 << 20, '1,2\n'), { level: 1 }));
    await put('3.json', '['.repeat(1 << 20));
    await put('4.csv', Buffer.from('id\n1\n'));
    const result = await run({ max_record_bytes: '64k', max_ratio: '50' });
    expect(result).toMatchObject({ state: 'ok', counts: { files: 1, errors: 3 } });
    expect(await published()).toEqual(['4.csv.xml']);
  });

  it('puts a file aside whose format the conf does not describe, and goes on', async () => {
    await put('1.xml', '<a/>');
    await put('2.csv', 'id\n1\n');
    expect(await run()).toMatchObject({ state: 'ok', counts: { files: 1, errors: 1 } });
    expect(log.named('transform.bad-file')[0]?.fields['reason']).toBe(
      'it is xml by its name: xml needs records = /path/of/element',
    );
  });

  it('waits while too much waits in out', async () => {
    for (const name of ['a', 'b', 'c']) await put(`${name}.csv`, 'id\n1\n');
    await run({ max_waiting_files: '2' });
    expect(await published()).toEqual(['a.csv.xml', 'b.csv.xml']);
    expect(await readdir(inbox)).toEqual(['c.csv']);
    await rm(join(out, 'a.csv.xml'));
    await run({ max_waiting_bytes: '10' });
    expect(await readdir(inbox)).toEqual(['c.csv']);
    expect(log.named('transform.waiting')).toHaveLength(2);
    await run();
    expect(await readdir(inbox)).toEqual([]);
  });

  it('reads the mapping again when it changes, and leaves the files alone while it is wrong', async () => {
    const mapping = join(root, 'x.map');
    const stage = createStage(env({ mapping }));
    const step = async (): Promise<unknown> => {
      const counts = { rowsIn: 0, rowsOut: 0, rowsRejected: 0, files: 0, bytes: 0, errors: 0 };
      const { signal } = new AbortController();
      const state = { get: async () => undefined, set: async () => undefined };
      const rest = {
        progress: () => undefined,
        expect: () => undefined,
        runId: undefined,
        cutOff: async () => false,
        state,
      };
      return stage.run({ log, signal, dryRun: false, counts, ...rest }).catch((error: unknown) => error);
    };
    await put('a.csv', 'id\n1\n');
    expect(String(await step())).toContain(mapping);
    await writeFile(mapping, 'a = id +');
    expect(String(await step())).toContain('no expression');
    expect(await readdir(inbox)).toEqual(['a.csv']);
    await writeFile(mapping, 'a = id');
    await step();
    await writeFile(mapping, 'renamed = id');
    await put('b.csv', 'id\n2\n');
    await step();
    expect(await text('a.csv.xml')).toContain('<a>1</a>');
    expect(await text('b.csv.xml')).toContain('<renamed>2</renamed>');
    await stage.close?.();
  });

  it('changes nothing in a dry run, and shows the first rows', async () => {
    await put('a.csv', 'id,v\n1,2\n3,4\n5,6\n7\n');
    expect(await run({}, true)).toMatchObject({
      state: 'ok',
      counts: { rowsIn: 4, rowsOut: 3, rowsRejected: 1 },
    });
    const stage = createStage(env({ columns: 'v,id' }));
    expect(await stage.preview?.(2)).toEqual({
      columns: ['v', 'id'],
      rows: [
        ['2', '1'],
        ['4', '3'],
      ],
    });
    expect(await stage.check?.()).toEqual([`path: ${inbox}, 1 files`, 'columns: v, id']);
    expect(await readdir(inbox)).toEqual(['a.csv']);
    await expect(stat(out)).rejects.toThrow('ENOENT');
  });

  it('refuses a conf that cannot work', () => {
    expect(() => createStage(env({ columns: 'a b:c +' }))).toThrow();
    expect(() => createStage(env({ format: 'xml' }))).toThrow('xml needs records');
    expect(() => createStage(env({ format: 'csv', separator: ';;' }))).toThrow('one character');
    expect(() => createStage(env({ format: 'csv', charset: 'klingon' }))).toThrow('klingon');
    expect(() => createStage(env({ format: 'fixed-width', fields: 'a:0:1' }))).toThrow('name:start:length');
    expect(() => createStage(env({ mapping: 'x', columns: 'a' }))).toThrow('mapping stands for');
  });

  it('goes on where a killed process had finished the file but not removed it', async () => {
    await put('a.csv', 'id\n1\n');
    // The source goes last: a folder without the right to remove from it stops the run exactly there.
    const done = join(root, 'done');
    await writeFile(done, 'a file where a folder should be');
    expect(await run({ done_path: join(done, 'x') })).toMatchObject({ state: 'failed' });
    expect(await published()).toEqual(['.staging']);
    expect(await readdir(inbox)).toEqual(['a.csv']);
    // The mapping would now give something else: what was finished counts.
    await run({ columns: 'other:id' });
    expect(await text('a.csv.xml')).toContain('<id>1</id>');
    expect(await published()).toEqual(['a.csv.xml']);
    expect(await readdir(inbox)).toEqual([]);
  });

  it('removes what is left of a folder whose removal was cut off', async () => {
    // The last moment of a publication: the parts are out and source.json is gone, and then comes the kill.
    const dead = join(out, '.staging', `0123456789abcdef01234567~${hostname()}~999999999~x~transform.ready`);
    await mkdir(dead, { recursive: true });
    await put('a.csv', 'id\n1\n');
    expect(await run()).toMatchObject({ state: 'ok' });
    expect(await published()).toEqual(['a.csv.xml']);
  });
});
