/** What is PostgreSQL's own; the rest is in the contract suite. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openStore, type Store } from '../../src/store/driver.js';
import { nameParts, postgresDialect } from '../../src/store/postgres/dialect.js';
import { parsePostgresUrl } from '../../src/store/postgres/url.js';
import { wireSql } from '../../src/store/postgres/sql.js';
import { have, postgres } from '../support/servers.js';
import { codeOf, countOf, failureOf } from './contract.js';

describe('placeholders of PostgreSQL', () => {
  it.each([
    ['a = ? AND b = ?', 'a = $1 AND b = $2', 2],
    [`'?' "?" -- ?\n?`, `'?' "?" -- ?\n$1`, 1],
    [`'it''s ?' ?`, `'it''s ?' $1`, 1],
    [`E'it\\'s ?' ?`, `E'it\\'s ?' $1`, 1],
    [`'\\' ?`, `'\\' $1`, 1],
    ['/* ? /* ? */ ? */ ?', '/* ? /* ? */ ? */ $1', 1],
    ['$$ ? $$ ? $a$ ? $$ ? $a$', '$$ ? $$ $1 $a$ ? $$ ? $a$', 1],
    ['a$1$ ? b$1$', 'a$1$ $1 b$1$', 1],
    [`data ?? 'key' AND data ??| ?`, `data ? 'key' AND data ?| $1`, 1],
    ['a-?-1', 'a-$1-1', 1],
    ['SELECT 1', 'SELECT 1', 0],
  ])('of %j are %j', (sql, text, count) => {
    expect(wireSql(sql)).toEqual({ text, count });
  });
});

describe('names of PostgreSQL', () => {
  it('are folded as PostgreSQL folds them when they are all capitals, and else left as they are', () => {
    expect(nameParts('T_ZHOBTCODE')).toEqual(['t_zhobtcode']);
    expect(nameParts('stationData')).toEqual(['stationData']);
    expect(nameParts('PUBLIC."T_X.y"')).toEqual(['public', 'T_X.y']);
    expect(nameParts('"a""B"')).toEqual(['a"B']);
    expect(postgresDialect.quoteIdentifier('Data.X "; --'.replace('"', ''))).toBe('"Data"."x ; --"');
  });

  it('that no database could have are refused', () => {
    for (const bad of ['"', '""', 'a"b', '"a"b', 'a.', '字'.repeat(22), 'a\0'])
      expect(() => postgresDialect.quoteIdentifier(bad), bad).toThrow(/not a name/);
  });
});

describe('a URL of PostgreSQL', () => {
  const whole = 'postgres://u%40x:p%3Aw@db.example:6000/name';

  it('is taken apart, with its options', async () => {
    const { client, label, lockWaitSeconds, schemas } = await parsePostgresUrl(
      `${whole}?lock_wait=7&schema=a,b&ssl=require`,
    );
    expect(client).toMatchObject({
      host: 'db.example',
      port: 6000,
      user: 'u@x',
      password: 'p:w',
      database: 'name',
    });
    expect(client.ssl).toEqual({ rejectUnauthorized: false });
    expect([label, lockWaitSeconds, schemas]).toEqual(['db.example:6000/name', 7, ['a', 'b']]);
    const local = await parsePostgresUrl('postgres://u:p@localhost/name?socket=/run/pg');
    expect([local.client.host, local.label]).toEqual(['/run/pg', '/run/pg/name']);
  });

  it.each([
    'postgres://',
    'postgres://u:sesame@h',
    'postgres://:sesame@h/d',
    `${whole}?lock_wait=0`,
    `${whole}?ssl=maybe`,
    `${whole}?ca=x`,
    `${whole}?sslmode=require`,
    'postgres://u:%zz-sesame@h/d',
  ])('that is wrong is refused without its password: %s', async (url) => {
    const failure = await failureOf(openStore(url));
    expect(failure.code).toBe('URL');
    expect(failure.message).not.toMatch(/sesame|p%3Aw|p:w/);
  });
});

describe.skipIf(!have.postgres)('a PostgreSQL database', { timeout: 60_000 }, () => {
  let url: string;
  let store: Store;
  beforeAll(async () => {
    url = await postgres();
    store = await openStore(url);
  });
  afterAll(() => store.close());

  it('prints values of its own kinds as text, booleans as 1 and 0', async () => {
    await store.execute(
      'CREATE TABLE kinds (b boolean, tz timestamptz, d date, i interval, j jsonb, a int[], u uuid, n numeric, r real)',
    );
    const row = [1, '2023-07-06 15:43:00.5+00', '2023-07-06', '1 day 2 hours', '{"a": 1}', '{1,NULL}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'NaN', 0.5]; // prettier-ignore
    await store.execute('INSERT INTO kinds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)', row);
    await store.execute('INSERT INTO kinds (b) VALUES (?)', [0]);
    const { rows, kinds } = await store.query('SELECT * FROM kinds');
    expect(rows[0]).toEqual([1, expect.stringMatching(/^2023-07-0\d \d\d:43:00\.5[+-]\d\d/), '2023-07-06', '1 day 02:00:00', ...row.slice(4)]); // prettier-ignore
    expect(rows[1]?.[0]).toBe(0);
    expect(kinds).toEqual([
      'integer',
      'date',
      'date',
      'other',
      'other',
      'other',
      'other',
      'decimal',
      'float',
    ]);
    expect(await countOf(store, `kinds WHERE j ?? 'a'`)).toBe(1);
  });

  it('finds names in capitals and names that need quotes', async () => {
    await store.execute(
      'CREATE TABLE names (id int PRIMARY KEY, "mixedCase" int, "CAPITALS" int, "a.b" int)',
    );
    const { columns } = await store.columns('NAMES');
    const names = columns.map(({ name }) => name);
    expect(names).toEqual(['id', 'mixedCase', '"CAPITALS"', '"a.b"']);
    await store.execute(store.dialect.insert('NAMES', names), [1, 2, 3, 4]);
    await store.bulk('NAMES', names, [Buffer.from('2\t3\t4\t5\n1\t9\t9\t9\n')], {
      onDuplicate: 'update',
      keys: ['ID'],
    });
    expect((await store.query('SELECT * FROM names ORDER BY id')).rows).toEqual([[1, 9, 9, 9], [2, 3, 4, 5]]); // prettier-ignore
  });

  it('looks for tables where the URL says', async () => {
    await store.execute('CREATE SCHEMA aside');
    const aside = await openStore(`${url}?schema=aside,public`);
    try {
      await aside.execute('CREATE TABLE only_there (id int)');
      expect(await codeOf(store.columns('only_there'))).toBe('NO_TABLE');
      expect((await store.columns('aside.only_there')).columns).toHaveLength(1);
      expect((await aside.columns('ONLY_THERE')).columns).toHaveLength(1);
    } finally {
      await aside.close();
    }
  });

  it('describes domains, serials, computed columns, views, and keys that always hold', async () => {
    await store.execute(`CREATE DOMAIN short AS varchar(7)`);
    await store.execute(
      `CREATE TABLE described (n serial PRIMARY KEY, s short, twice int GENERATED ALWAYS AS (k * 2) STORED, k int UNIQUE,
       p numeric(8,3), x numeric, t timestamp(2), l int UNIQUE DEFERRABLE, o int)`,
    );
    await store.execute('CREATE UNIQUE INDEX ON described (o) WHERE o > 0');
    await store.execute('CREATE UNIQUE INDEX ON described (lower(s))');
    await store.execute('CREATE UNIQUE INDEX ON described (o, k) INCLUDE (p)');
    await store.execute('CREATE VIEW seen AS SELECT n, s FROM described');
    const { columns, primaryKey, uniqueKeys } = await store.columns('described');
    expect(columns.filter(({ generated }) => generated).map(({ name }) => name)).toEqual(['n', 'twice']);
    expect(columns[1]).toMatchObject({ type: 'varchar', kind: 'text', length: 7 });
    expect(columns[4]).toMatchObject({ type: 'numeric', kind: 'decimal', length: 8, scale: 3 });
    expect(columns[5]).toMatchObject({ length: undefined, scale: undefined });
    expect(columns[6]).toMatchObject({ kind: 'date', scale: 2 });
    expect([primaryKey, uniqueKeys]).toEqual([['n'], [['k'], ['o', 'k']]]);
    expect((await store.columns('seen')).columns.map(({ name }) => name)).toEqual(['n', 's']);
  });

  it.each([
    ['numeric(6,2)', ['1.10', '-0.5e1', '12.3400', '1e-2', '\\N'], ['1.101', '1.5e-2', '0.001']],
    ['timestamp(0)', ['2023-07-06 15:43:00', '2023-07-06 15:43:00.000'], ['2023-07-06 15:43:00.1']],
    ['timestamp', ['2023-07-06 15:43:00.1234560'], ['2023-07-06 15:43:00.1234567']],
    ['date', ['2023-07-06', '2023-07-06 00:00:00'], ['2023-07-06 15:43:00']],
    ['varchar(3)', ['abc', 'a  ', '汉字 ', '\\t\\\\ '], ['abc ', 'a   ', '汉字  ']],
    ['int', ['1', ' 2 '], ['1.5', '1e3', '']],
  ])('loads into %s only what fits', async (type, good, bad) => {
    await store.execute('DROP TABLE IF EXISTS fits');
    await store.execute(`CREATE TABLE fits (a int, v ${type}, z int)`);
    const text = good.map((value) => `1\t${value}\t3\n`).join('');
    expect(await store.bulk('fits', ['a', 'v', 'z'], [Buffer.from(text)])).toMatchObject({
      inserted: good.length,
    });
    for (const value of bad) {
      const failure = await failureOf(
        store.bulk('fits', ['a', 'v', 'z'], [Buffer.from(`${text}1\t${value}\t3`)]),
      );
      expect([failure.row, ['BIND', 'CONSTRAINT'].includes(failure.code)], `${value}: ${failure.message}`).toEqual([good.length, true]); // prettier-ignore
    }
    expect(await countOf(store, 'fits')).toBe(good.length);
  });

  it('tells the rows that a trigger or a check at the end refuses', async () => {
    await store.execute(
      'CREATE TABLE guarded (id int PRIMARY KEY, up int REFERENCES guarded DEFERRABLE INITIALLY DEFERRED)',
    );
    await store.execute(
      `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'seven is not allowed?'; END $$`,
    );
    await store.execute(
      'CREATE TRIGGER seven BEFORE INSERT ON guarded FOR EACH ROW WHEN (NEW.id = 7) EXECUTE FUNCTION refuse()',
    );
    const insert = 'INSERT INTO guarded (id, up) VALUES (?, ?)';
    const { done, errors } = await store.batch(insert, [[1, 2], [7, 1], [2, null]]); // prettier-ignore
    expect([done, errors]).toEqual([
      2,
      [{ row: 1, code: 'CONSTRAINT', message: expect.stringContaining('seven') as string }],
    ]);
    // The reference is looked at only when all is written: nobody can say which row it was.
    expect(await codeOf(store.batch(insert, [[3, null], [4, 99]]))).toBe('CONSTRAINT'); // prettier-ignore
    const late = store.transaction((tx) => tx.execute(insert, [5, 99]));
    expect(await codeOf(late)).toBe('CONSTRAINT');
    expect(await countOf(store, 'guarded')).toBe(2);
  });

  it('brings few wide rows at a time', async () => {
    let most = 0;
    let rows = 0;
    for await (const batch of store.stream(`SELECT n, repeat('x', 1000000) FROM generate_series(1, 60) n`)) {
      most = Math.max(most, batch.rows.length);
      rows += batch.rows.length;
    }
    expect(rows).toBe(60);
    expect(most).toBeLessThan(20);
  });

  it('takes its cursor back from a reader who is silent for a minute', async () => {
    const small = await openStore(url, { maxConnections: 1 });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const rows = small.stream('SELECT n FROM generate_series(1, 5000) n')[Symbol.asyncIterator]();
      expect(await rows.next()).toMatchObject({ done: false, value: { columns: ['n'] } });
      vi.advanceTimersByTime(60_000);
      vi.useRealTimers();
      // There is one connection for streams: it is free again, though nobody closed the first.
      for await (const { rows: others } of small.stream('SELECT 1')) expect(others).toEqual([[1]]);
      expect(await codeOf(rows.next())).toBe('TIMEOUT');
    } finally {
      vi.useRealTimers();
      await small.close();
    }
  });

  it('is found again after its connections were ended from outside', async () => {
    const other = await openStore(url, { maxConnections: 2 });
    try {
      await Promise.all([other.version(), other.version()]);
      await store.query(
        `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
      );
      // One call may find out; it has not been executed.
      const codes = [
        await codeOf(other.version()),
        await codeOf(other.version()),
        await codeOf(other.version()),
      ];
      expect(codes.at(-1)).toBe('fulfilled');
      for (const code of codes) expect(['fulfilled', 'LOST']).toContain(code);
      const work = other.transaction(async (tx) => {
        const [pid] = (await tx.query('SELECT pg_backend_pid()')).rows[0] ?? [];
        await store.query('SELECT pg_terminate_backend(?, 5000)', [pid ?? null]);
        await tx.query('SELECT 1');
      });
      expect(await codeOf(work)).toBe('LOST');
      expect(await codeOf(other.version())).toBe('fulfilled');
    } finally {
      await other.close();
    }
  });

  it('ends by itself what nobody is left to cancel', async () => {
    const short = await openStore(url, { timeoutMs: 2_000 });
    try {
      const [limit] = (await short.query('SHOW statement_timeout')).rows[0] ?? [];
      expect(limit).toBe('17s');
      await short.query('SELECT 1', [], { timeoutMs: 60_000 });
      expect((await short.query('SHOW statement_timeout')).rows).toEqual([['75s']]);
    } finally {
      await short.close();
    }
  });

  it('takes equal keys in one bulk in the order given, also when staged again and again', async () => {
    await store.execute('CREATE TABLE staged (a int, b text, v int, PRIMARY KEY (a, b))');
    const load = (text: string, onDuplicate: 'skip' | 'update'): Promise<unknown> =>
      store.bulk('staged', ['v', 'b', 'a'], [Buffer.from(text)], { onDuplicate, keys: ['a', 'b'] });
    for (let i = 0; i < 3; i++)
      expect(await load(`1\tx\t${i}\n2\tx\t${i}\n3\tx\t${i}\n`, 'update')).toEqual({
        rows: 3,
        inserted: 1,
        updated: 2,
        skipped: 0,
      });
    expect(await load('9\tx\t0\n', 'skip')).toEqual({ rows: 1, inserted: 0, updated: 0, skipped: 1 });
    expect((await store.query('SELECT v FROM staged')).rows).toEqual([[3], [3], [3]]);
    await store.execute('ALTER TABLE staged ALTER v TYPE text');
    expect(await load('text now\tx\t0\n', 'update').catch(() => 'once more')).toBeDefined();
    await load('text now\tx\t0\n', 'update');
    expect((await store.query('SELECT v FROM staged WHERE a = 0')).rows).toEqual([['text now']]);
  });
});
