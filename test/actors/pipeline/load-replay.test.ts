import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SqlRow } from '../../../src/store/driver.js';
import { file, LoadFixture, names, OBS_TABLE, record } from '../../support/load-fixture.js';

let f: LoadFixture;
beforeEach(async () => {
  f = await LoadFixture.make();
  await f.sql(OBS_TABLE);
});
afterEach(() => f.remove());

const rows = (): Promise<readonly SqlRow[]> => f.sql('SELECT obtid, t FROM T_OBS ORDER BY obtid');
const rejects = (): Promise<string[]> => names(`${f.inbox}-errors`);

async function mend(name: string, from: string, to: string): Promise<void> {
  const path = join(`${f.inbox}-errors`, name);
  const text = await readFile(path, 'utf8');
  expect(text).toContain(from);
  await writeFile(path, text.replace(from, to));
}

describe('a replay of rejects', () => {
  beforeEach(async () => {
    await f.put(
      'A_1.xml',
      file(
        record({ obtid: 1, t: 1 }),
        record({ obtid: 2, t: 'x2' }).replace('x2', 'two'),
        record({ obtid: 3, t: 'three' }),
        record({ obtid: 4, t: 4 }),
      ),
    );
    await f.load();
    expect((await rows()).map(([id]) => id)).toEqual(['1', '4']);
  });

  it('loads mended rows once, keeps those that are still bad, and moves the file away', async () => {
    const [name = ''] = await rejects();
    await mend(name, 'two</t>', '2</t>');
    expect(await f.replay()).toMatchObject({
      state: 'ok',
      counts: { files: 1, rowsIn: 2, rowsOut: 1, rowsRejected: 1 },
    });
    expect(await rows()).toEqual([
      ['1', 1],
      ['2', 2],
      ['4', 4],
    ]);
    const [second = ''] = await rejects();
    expect(second).toMatch(/^A_1\.xml\.[0-9a-f]{12}\.reject$/);
    expect(second).not.toBe(name);
    expect(await names(`${f.inbox}-done`)).toEqual(['A_1.xml', name]);
    await mend(second, 'three</t>', '3</t>');
    expect(await f.replay([second])).toMatchObject({ state: 'ok', counts: { rowsOut: 1, rowsRejected: 0 } });
    expect((await rows()).map(([id]) => id)).toEqual(['1', '2', '3', '4']);
    expect(await rejects()).toEqual([]);
  });

  it('does not load again what was loaded and not yet moved', async () => {
    const [name = ''] = await rejects();
    await mend(name, 'two</t>', '2</t>');
    await mend(name, 'three</t>', '3</t>');
    const mended = await readFile(join(`${f.inbox}-errors`, name));
    await f.replay();
    await f.sql('DELETE FROM T_OBS');
    await writeFile(join(`${f.inbox}-errors`, name), mended);
    expect(await f.replay()).toMatchObject({ state: 'ok', counts: { rowsIn: 0 } });
    expect(await rows()).toEqual([]);
    expect(await rejects()).toEqual([]);
  });

  it('leaves a file alone in which nothing was mended', async () => {
    const before = await rejects();
    expect(await f.replay()).toMatchObject({ state: 'ok', counts: { files: 0, rowsOut: 0, errors: 1 } });
    expect(await rejects()).toEqual(before);
    expect(f.events('load.not-replayed')[0]?.['reason']).toMatch(
      /^none of its rows is mended; line 4: t "two" is no number/,
    );
    expect(await f.replay(['no-such.reject'])).toMatchObject({ state: 'failed', retryable: false });
  });

  it('does not run the SQL before a file again', async () => {
    const [name = ''] = await rejects();
    await mend(name, 'two</t>', '2</t>');
    await f.replay([], { before_sql: 'delete from T_OBS' });
    expect((await rows()).map(([id]) => id)).toEqual(['1', '2', '4']);
  });
});
