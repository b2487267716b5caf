import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runOnce, type RunResult } from '../../../src/actors/pipeline/stage/run.js';
import { createStage, keys } from '../../../src/actors/pipeline/statistics.js';
import { movePeriod, periodOf } from '../../../src/actors/pipeline/statistics/sql.js';
import { localTime } from '../../../src/runtime/log-format.js';
import { openStore, type SqlRow, type Store } from '../../../src/store/driver.js';
import { migrateWeather } from '../../../src/store/schema-weather.js';
import { FakeLog } from '../../support/fake-context.js';
import { have, mariadb, postgres } from '../../support/servers.js';
import { paramsOf } from '../../support/stage-params.js';

const databases = [
  {
    name: 'SQLite',
    there: true,
    open: async () => `sqlite:${join(await mkdtemp(join(tmpdir(), 'stat-')), 'd.db')}`,
  },
  { name: 'MariaDB', there: have.mariadb, open: mariadb },
  { name: 'PostgreSQL', there: have.postgres, open: postgres },
];

/** The present hour, and others before it, in local time. */
const thisHour = periodOf(localTime(Date.now()).slice(0, 19), 'hour');
const hour = (back: number): string => movePeriod(thisHour, 'hour', -back);
const at = (back: number, minute: string): string => `${hour(back).slice(0, 14)}${minute}:00`;

describe.each(databases)('statistics on $name', ({ there, open }) => {
  let url = '';
  let store: Store;
  let folder = '';
  beforeAll(async () => {
    if (!there) return;
    url = await open();
    store = await openStore(url);
    await migrateWeather(store);
  }, 120_000);
  afterAll(async () => {
    if (there) await store.close();
  });
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stat-out-'));
    for (const table of there ? ['T_ZHOBTMIND', 'T_ZHOBTCODE'] : [])
      await store.execute(`DELETE FROM ${table}`);
    if (there)
      for (const table of await made())
        await store.execute(`DROP TABLE ${store.dialect.quoteIdentifier(table)}`);
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const tables = ['STAT_HOUR', 'STAT_RANK', 'STAT_GAPS', 'STAT_SQL'];
  async function made(): Promise<readonly string[]> {
    const found: string[] = [];
    for (const table of tables)
      await store.columns(table).then(
        () => found.push(table),
        () => undefined,
      );
    return found;
  }

  async function put(
    rows: readonly (readonly [string, string, number | null, number | null])[],
  ): Promise<void> {
    const sql = store.dialect.insert('T_ZHOBTMIND', ['obtid', 'ddatetime', 't', 'r']);
    const { errors } = await store.batch(sql, rows);
    expect(errors).toEqual([]);
  }

  async function run(written: Record<string, string>): Promise<RunResult> {
    const log = new FakeLog();
    const ledger = `sqlite:${join(folder, 'ledger.db')}`;
    const params = paramsOf(keys, { store: url, ledger, ...written });
    const env = { name: 'statistics', params, log, signal: new AbortController().signal };
    return runOnce(createStage, env, { dryRun: false, ledgerUrl: ledger });
  }

  async function rows(table: string): Promise<readonly SqlRow[]> {
    const set = await store.query(`SELECT * FROM ${store.dialect.quoteIdentifier(table)} ORDER BY 1, 2`);
    return set.rows.map((row) =>
      row.map((value) => (typeof value === 'string' ? value.slice(0, 19) : value)),
    );
  }

  const grouped = {
    source_table: 'T_ZHOBTMIND',
    group: 'obtid',
    values: 'avg(t)/10 as t_mean, max(t), count, sum(r)',
    table: 'STAT_HOUR',
  };

  it.skipIf(!there)(
    'groups by hour into a table that it makes, and computes late data anew',
    { timeout: 60_000 },
    async () => {
      await put([
        ['58015', at(3, '10'), 301, 5],
        ['58015', at(3, '20'), 302, null],
        ['58016', at(3, '10'), null, null],
        ['58015', at(0, '00'), -5, 1],
      ]);
      expect(await run(grouped)).toMatchObject({ state: 'ok', counts: { rowsOut: 3 } });
      const first = [
        [hour(3), '58015', 30.15, 302, 2, 5],
        [hour(3), '58016', null, null, 1, null],
        [hour(0), '58015', -0.5, -5, 1, 1],
      ];
      expect(await rows('STAT_HOUR')).toEqual(first);
      // Too late for recompute = 2; and one that is not.
      await put([
        ['58015', at(3, '30'), 900, 0],
        ['58015', at(1, '59'), 100, 0],
        ['58015', at(0, '01'), 5, 1],
      ]);
      await run(grouped);
      expect(await rows('STAT_HOUR')).toEqual([
        ...first.slice(0, 2),
        [hour(1), '58015', 10, 100, 1, 0],
        [hour(0), '58015', 0, 5, 2, 2],
      ]);
      await run({ ...grouped, recompute: '4' });
      expect((await rows('STAT_HOUR'))[0]).toEqual([hour(3), '58015', 50.1, 900, 3, 5]);
    },
  );

  it.skipIf(!there)(
    'ranks the groups of each period, and forgets a place that was lost',
    { timeout: 60_000 },
    async () => {
      await put([
        ['1', at(0, '00'), 10, 0],
        ['2', at(0, '00'), 30, 0],
        ['3', at(0, '00'), 30, 0],
        ['4', at(0, '00'), 20, 0],
        ['5', at(0, '00'), null, 0],
      ]);
      const ranking = {
        kind: 'ranking',
        source_table: 'T_ZHOBTMIND',
        group: 'obtid',
        values: 'max(t)',
        top: '3',
        table: 'STAT_RANK',
      };
      await run(ranking);
      const places = async (): Promise<unknown[]> =>
        (await rows('STAT_RANK'))
          .map((row) => [row[1], row[2], row[3]])
          .sort((a, b) => Number(a[1]) - Number(b[1]));
      expect(await places()).toEqual([
        [1, '2', 30],
        [1, '3', 30],
        [3, '4', 20],
      ]);
      await put([['1', at(0, '01'), 99, 0]]);
      await run(ranking);
      expect(await places()).toEqual([
        [1, '1', 99],
        [2, '2', 30],
        [2, '3', 30],
      ]);
    },
  );

  it.skipIf(!there)('tells what is missing, until it comes', { timeout: 60_000 }, async () => {
    await store.batch(store.dialect.insert('T_ZHOBTCODE', ['obtid']), [['1'], ['2']]);
    await put([
      ['1', at(2, '00'), 1, 0],
      ['1', at(2, '30'), 1, 0],
      ['2', at(2, '30'), 1, 0],
      ['9', at(1, '00'), 1, 0],
    ]);
    const gaps = {
      kind: 'missing',
      source_table: 'T_ZHOBTMIND',
      group: 'obtid',
      expected: '2',
      grace: '0s',
      recompute: '2',
      history: '2h',
      table: 'STAT_GAPS',
    };
    await run(gaps);
    expect(await rows('STAT_GAPS')).toEqual([
      [hour(2), '2', 1, 2, 1],
      [hour(1), '1', 0, 2, 2],
      [hour(1), '2', 0, 2, 2],
    ]);
    await put([
      ['1', at(1, '00'), 1, 0],
      ['1', at(1, '30'), 1, 0],
    ]);
    await run(gaps);
    expect(await rows('STAT_GAPS')).toEqual([
      [hour(2), '2', 1, 2, 1],
      [hour(1), '2', 0, 2, 2],
    ]);
  });

  it.skipIf(!there)(
    'keeps any select in a table, updated by key or replaced',
    { timeout: 60_000 },
    async () => {
      await put([
        ['1', at(0, '00'), 10, 0],
        ['2', at(0, '00'), 20, 0],
      ]);
      const sql = 'SELECT obtid AS id, max(t) AS warmest FROM T_ZHOBTMIND GROUP BY obtid';
      await run({ kind: 'sql', sql, table: 'STAT_SQL', key: 'id' });
      await run({ kind: 'sql', sql: sql.replace('max', '5 + max'), table: 'STAT_SQL', key: 'id' });
      expect((await rows('STAT_SQL')).map((row) => row.map(String))).toEqual([
        ['1', '15'],
        ['2', '25'],
      ]);
      await store.execute(`DELETE FROM T_ZHOBTMIND WHERE obtid = '1'`);
      await run({ kind: 'sql', sql, table: 'STAT_SQL' });
      expect((await rows('STAT_SQL')).map((row) => row.map(String))).toEqual([['2', '20']]);
      expect(await run({ kind: 'sql', sql, table: 'STAT_SQL', key: 'nosuch' })).toMatchObject({
        state: 'failed',
        retryable: false,
      });
    },
  );

  it.skipIf(!there)(
    'writes a CSV file and a page, the same from the same rows',
    { timeout: 60_000 },
    async () => {
      await put([
        ['58<b>"', at(1, '00'), 301, 5],
        ['=cmd()', at(1, '00'), -15, 5],
        ['58<b>"', at(0, '00'), 311, 5],
      ]);
      const [csv, html] = [join(folder, 'a-{date}.csv'), join(folder, 'a.html')];
      await run({ ...grouped, csv, html, title: 'Hours & <days>' });
      const text = await readFile(csv.replace('{date}', thisHour.slice(0, 10).replaceAll('-', '')), 'utf8');
      expect(text.split('\r\n')).toEqual([
        'ddatetime,obtid,t_mean,max_t,row_count,sum_r',
        ...[`${hour(1)},"58<b>""",30.1,301,1,5`, `${hour(1)},'=cmd(),-1.5,-15,1,5`].sort(
          (a, b) =>
            // Databases sort these two in their own ways.
            text.indexOf(a) - text.indexOf(b),
        ),
        `${hour(0)},"58<b>""",31.1,311,1,5`,
        '',
      ]);
      const page = await readFile(html, 'utf8');
      expect(page).toContain('<h1>Hours &amp; &lt;days&gt;</h1>');
      expect(page).not.toContain('<b>');
      expect(page.match(/<svg /g)).toHaveLength(4);
      expect(page).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)|@import|url\((?!#)/);
      const made = (content: string): string => content.replace(/made [\d :-]+/, '');
      await run({ ...grouped, csv, html, title: 'Hours & <days>' });
      expect(made(await readFile(html, 'utf8'))).toBe(made(page));
    },
  );

  it.skipIf(!there)(
    'changes nothing in a dry run or a preview, and says what it reaches',
    { timeout: 60_000 },
    async () => {
      await put([['1', at(0, '00'), 10, 0]]);
      const params = paramsOf(keys, { store: url, ...grouped });
      const env = { name: 'statistics', params, log: new FakeLog(), signal: new AbortController().signal };
      expect(await runOnce(createStage, env, { dryRun: true, ledgerUrl: undefined })).toMatchObject({
        state: 'ok',
      });
      const stage = createStage(env);
      expect((await stage.preview?.(5))?.rows).toEqual([[hour(0), '1', 1, 10, 1, 0]]);
      expect((await stage.check?.())?.[1]).toMatch(/^source_table: T_ZHOBTMIND, \d+ columns$/);
      await stage.close?.();
      expect(await made()).toEqual([]);
    },
  );

  it.skipIf(!there)(
    'fails for good, naming the column, when the source has not what is asked for',
    { timeout: 60_000 },
    async () => {
      const result = await run({ ...grouped, values: 'avg(nosuch)' });
      expect(result).toMatchObject({ state: 'failed', retryable: false });
      expect(String(result.error)).toMatch(/has no column nosuch; it has .*obtid/);
      await put([
        ['1', at(0, '00'), 1, 0],
        ['2', at(0, '00'), 1, 0],
      ]);
      expect(String((await run({ ...grouped, max_rows: '1' })).error)).toContain('more than max_rows');
    },
  );
});
