/** The stage `load` and input that is wrong in ways each database meets differently, or that changes under it. */
import { readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { openStore, type SqlRow } from '../../src/store/driver.js';
import { DATABASES } from '../support/databases.js';
import { file, LoadFixture, names, OBS_TABLE, record } from '../support/load-fixture.js';

let f: LoadFixture | undefined;
afterEach(async () => {
  await f?.remove();
  f = undefined;
});

const text = (rows: readonly SqlRow[]): unknown[] => rows.map((row) => row.map((value) => String(value)));

for (const { name, present, fresh, clean } of DATABASES) {
  describe.skipIf(!present)(`the load stage on ${name}`, { timeout: 60_000 }, () => {
    afterEach(clean);

    async function begin(...statements: readonly string[]): Promise<LoadFixture> {
      f = await LoadFixture.make(await fresh());
      await f.sql(...statements);
      return f;
    }

    it('refuses values that are too large for their columns, and no others', async () => {
      const on = await begin(
        'CREATE TABLE T_NUM (obtid VARCHAR(5) PRIMARY KEY, n BIGINT, d DECIMAL(5,1), at TIMESTAMP)',
      );
      const row = (obtid: number, fields: Record<string, string>): string =>
        `<obtid>${obtid}</obtid>${Object.entries(fields)
          .map(([tag, value]) => `<${tag}>${value}</${tag}>`)
          .join('')}<endl/>\n`;
      await on.put(
        'A.xml',
        file(
          row(1, { n: '9223372036854775807', d: '9999.9', at: '20371231235959' }),
          row(2, { n: '9223372036854775808' }),
          row(3, { n: '-9223372036854775809' }),
          row(4, { n: '9'.repeat(400) }),
          row(5, { d: '10000' }),
          row(6, { d: '-99999.9' }),
          row(7, { at: '20230230000000' }),
          row(8, { at: '99999999999999' }),
          row(9, { n: '-9223372036854775808', d: '-9999.9' }),
          row(100_000, { n: '1' }),
        ),
      );
      expect(await on.load({ table: 'T_NUM', max_rejects_percent: '100' })).toMatchObject({
        state: 'ok',
        counts: { files: 1, rowsOut: 2, rowsRejected: 8 },
      });
      expect(text(await on.sql('SELECT obtid, n FROM T_NUM ORDER BY obtid'))).toEqual([
        ['1', '9223372036854775807'],
        ['9', '-9223372036854775808'],
      ]);
      expect(on.events('load.bad-row').map(({ at }) => at)).toEqual(
        [3, 4, 5, 6, 7, 8, 9, 11].map((line) => `A.xml:${line}`),
      );
    });

    it('loads what a cut off file has, refuses its last record, and puts it aside when strict', async () => {
      const on = await begin(OBS_TABLE);
      const whole = file(record({ obtid: 1, t: 1 }), record({ obtid: 2, t: 2 }), record({ obtid: 3, t: 3 }));
      const cut = whole.slice(0, whole.indexOf('</t>', whole.indexOf('<obtid>3')));
      await on.put('A.xml', cut);
      expect(await on.load()).toMatchObject({ state: 'ok', counts: { rowsOut: 2, rowsRejected: 1 } });
      expect(on.events('load.unclosed')).toHaveLength(1);
      const [reject = ''] = await names(`${on.inbox}-errors`);
      expect(await readFile(join(`${on.inbox}-errors`, reject), 'utf8')).toContain('<obtid>3</obtid>');
      await on.sql('DELETE FROM T_OBS');
      await on.put('B.xml', cut);
      expect(await on.load({ strict: 'yes' })).toMatchObject({
        state: 'ok',
        counts: { files: 0, errors: 1 },
      });
      expect(await on.sql('SELECT * FROM T_OBS')).toEqual([]);
      expect(await names(`${on.inbox}-errors`)).toContain('B.xml');
    });

    it('takes tags, entities and declarations in values for the text they are', async () => {
      const on = await begin('CREATE TABLE T_TEXT (obtid VARCHAR(5) PRIMARY KEY, name VARCHAR(200))');
      const declaration = '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY f SYSTEM "file:///etc/passwd">]>\n';
      const values = [
        '&lt;endl/&gt;&amp;lt;',
        '&f;&a;&a;',
        "'); DROP TABLE T_TEXT; --",
        '\\N',
        '\\',
        'a\tb\'"`$1?',
      ];
      const records = values.map((value, i) => `<obtid>${i}</obtid><name>${value}</name><endl/>\n`);
      await on.put('A.xml', declaration + file(...records));
      expect(await on.load({ table: 'T_TEXT' })).toMatchObject({ state: 'ok', counts: { rowsRejected: 0 } });
      const rows = await on.sql('SELECT name FROM T_TEXT ORDER BY obtid');
      expect(rows.map(([value]) => value)).toEqual(['<endl/>&lt;', ...values.slice(1)]);
    });

    it.skipIf(name === 'SQLite')(
      'finds the rows as they are when another connection changes keys under way',
      async () => {
        const on = await begin(OBS_TABLE);
        const other = await openStore(on.url);
        const key = "'2023-07-06 15:43:00'";
        try {
          await other.execute(
            `INSERT INTO T_OBS (obtid, ddatetime, t) VALUES ('a', ${key}, 0), ('b', ${key}, 0)`,
          );
          await on.put('A.xml', file(...['a', 'b', 'c', 'd'].map((obtid) => record({ obtid, t: 5 }))));
          let running: Promise<unknown> | undefined;
          await other.transaction(async (tx) => {
            await tx.execute(`UPDATE T_OBS SET obtid = 'moved' WHERE obtid = 'b'`);
            await tx.execute(`INSERT INTO T_OBS (obtid, ddatetime, t) VALUES ('c', ${key}, 0)`);
            running = on.load();
            await new Promise((resolve) => setTimeout(resolve, 500));
          });
          expect(await running).toMatchObject({ state: 'ok', counts: { rowsIn: 4, rowsRejected: 0 } });
          expect(text(await on.sql('SELECT obtid, t FROM T_OBS ORDER BY obtid'))).toEqual([
            ['a', '5.0'],
            ['b', '5.0'],
            ['c', '5.0'],
            ['d', '5.0'],
            ['moved', '0.0'],
          ]);
        } finally {
          await other.close();
        }
      },
    );
  });
}

describe('the load stage', () => {
  it('ends reading a line of 1 GB after a megabyte', async () => {
    f = await LoadFixture.make();
    await f.sql(OBS_TABLE);
    await f.put('A.xml', '<obtid>');
    await truncate(join(f.inbox, 'A.xml'), 1 << 30);
    const before = process.memoryUsage().rss;
    expect(await f.load({ max_file_size: '2g' })).toMatchObject({ state: 'ok', counts: { errors: 1 } });
    expect(process.memoryUsage().rss - before).toBeLessThan(200 << 20);
    expect(f.events('load.bad-file')[0]?.['reason']).toMatch(/^its record at line 1 is longer than 1048576/);
    expect(await names(`${f.inbox}-errors`)).toEqual(['A.xml']);
  });

  it('knows what it has loaded when the clock is set back by a year', async () => {
    f = await LoadFixture.make();
    await f.sql(OBS_TABLE);
    const bytes = file(record({ obtid: 1, t: 1 }));
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 365 * 86_400_000 });
    try {
      await f.put('A.xml', bytes);
      expect((await f.load({ mode: 'insert' })).counts.rowsOut).toBe(1);
    } finally {
      vi.useRealTimers();
    }
    await f.sql('DELETE FROM T_OBS');
    await f.put('A.xml', bytes);
    await f.put('B.xml', file(record({ obtid: 2, t: 2 })));
    expect(await f.load({ mode: 'insert' })).toMatchObject({ state: 'ok', counts: { files: 1, rowsOut: 1 } });
    expect(f.events('load.known')).toHaveLength(1);
    expect(await names(f.inbox)).toEqual([]);
  });
});
