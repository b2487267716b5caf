import { describe, expect, it } from 'vitest';
import * as stage from '../../../src/actors/pipeline/sync-refresh.js';
import { numbers, observationTable, PAIRS, usePair } from './sync-fixture.js';

describe.each(PAIRS)('sync-refresh from %s to %s', (from, to) => {
  const pair = usePair([from, to]);

  it.each(['whole', 'batched', '1', '2'])('makes an empty target equal in mode %s', async (mode) => {
    await pair.tables(numbers(0, 500));
    const { counts } = await pair.ok(stage, { mode });
    expect(counts).toMatchObject({ rowsIn: 500, rowsOut: 500, errors: 0 });
    await pair.expectEqual();
  });

  it.each(['whole', 'batched'])('inserts, updates and deletes in mode %s', async (mode) => {
    await pair.tables(numbers(0, 400), numbers(200, 600));
    await pair.target.execute(`UPDATE dst SET note = 'old', p = NULL WHERE keyid < 300`);
    await pair.target.execute(`UPDATE dst SET t = NULL WHERE keyid = 350`);
    await pair.ok(stage, { mode, batch_rows: '70' });
    await pair.expectEqual();
  });

  it('writes only what differs, and nothing when all is the same', async () => {
    await pair.tables(numbers(0, 300), numbers(0, 300));
    await pair.source.execute(`UPDATE src SET t = 7000 WHERE keyid IN (3, 250)`);
    const first = await pair.ok(stage);
    expect(first.counts).toMatchObject({ rowsIn: 300, rowsOut: 2 });
    await pair.expectEqual();
    const second = await pair.ok(stage);
    expect(second.counts).toMatchObject({ rowsIn: 300, rowsOut: 0 });
  });

  it('keeps rows that the source lacks when told so', async () => {
    await pair.tables(numbers(0, 10), numbers(5, 15));
    await pair.ok(stage, { delete: 'none' });
    expect(await pair.targetRows()).toHaveLength(15);
  });

  it('maps columns and expressions, under conditions on both sides', async () => {
    await pair.tables(numbers(0, 100));
    await pair.target.execute(
      `CREATE TABLE app (num BIGINT NOT NULL PRIMARY KEY, station VARCHAR(20), tenths DECIMAL(10,1), own VARCHAR(10))`,
    );
    await pair.target.execute(
      `INSERT INTO app (num, station, own) VALUES (1000, 'foreign', 'x'), (5, 'old', 'y')`,
    );
    const settings = {
      target_table: 'app',
      source_columns: 'keyid, obtid, COALESCE(t, 0) / 10.0 as tenths',
      target_columns: 'num, station, tenths',
      source_key: 'keyid',
      target_key: 'num',
      source_where: 'where keyid < 50',
      target_where: 'where num < 900',
    };
    for (const mode of ['batched', 'whole']) {
      await pair.ok(stage, { ...settings, mode });
      const { rows } = await pair.target.query('SELECT num, station, tenths, own FROM app ORDER BY num');
      expect(rows).toHaveLength(51);
      expect(rows.at(-1)?.slice(0, 2).map(String)).toEqual(['1000', 'foreign']);
      expect(rows[3]?.slice(0, 2).map(String)).toEqual(['3', '58003']);
      expect(rows.map(([, , tenths]) => Number(tenths)).slice(8, 10)).toEqual([-4.2, -4.1]);
      // What is not among the columns stays, as long as the row itself stays.
      if (mode === 'batched') expect(rows[5]?.[3]).toBe('y');
    }
  });

  it('follows the bytes of text keys where the collations sort them otherwise', async () => {
    for (const [store, kind, table] of [
      [pair.source, from, 'src'],
      [pair.target, to, 'dst'],
    ] as const) {
      const type = kind === 'mysql' ? 'VARCHAR(30) COLLATE utf8mb4_bin' : 'VARCHAR(30)';
      await store.execute(`CREATE TABLE ${table} (k ${type} NOT NULL PRIMARY KEY, v INTEGER)`);
    }
    const words = [
      'a',
      'B',
      'ab',
      'A',
      'Zz',
      'zZ',
      'é',
      'e',
      'E-1',
      'E1',
      'e 1',
      '中',
      '\u{1f600}',
      '\ufffd',
      '_',
      '0',
    ];
    const insert = (table: string): string => pair.source.dialect.insert(table, ['k', 'v']);
    await pair.source.batch(
      insert('src'),
      words.map((k, v) => [k, v]),
    );
    await pair.target.batch(
      pair.target.dialect.insert('dst', ['k', 'v']),
      [...words.slice(4), 'gone', 'Gone'].map((k) => [k, 99]),
    );
    for (const round of [1, 2]) {
      const { counts } = await pair.ok(stage, { batch_rows: '3' });
      if (round === 2) expect(counts.rowsOut).toBe(0);
      const { rows } = await pair.target.query('SELECT k, v FROM dst');
      expect(new Map(rows.map(([k, v]) => [k, Number(v)]))).toEqual(new Map(words.map((k, v) => [k, v])));
    }
  });

  it('changes nothing in a dry run, but tells what it would', async () => {
    await pair.tables(numbers(0, 20), numbers(10, 25));
    for (const mode of ['batched', 'whole']) {
      await pair.ok(stage, { mode }, { dryRun: true });
      expect(await pair.targetRows()).toHaveLength(15);
    }
    expect(pair.log.named('sync-refresh.would-write')[0]?.fields).toMatchObject({ missing: 10, removed: 5 });
  });

  it('says by name what the tables do not have', async () => {
    await pair.tables([]);
    const reason = async (written: Record<string, string>): Promise<string> => {
      const { state, error, retryable } = await pair.run(stage, written);
      expect([state, retryable]).toEqual(['failed', false]);
      return String(error);
    };
    await pair.target.execute('ALTER TABLE dst ADD COLUMN brand_new INTEGER');
    expect(await reason({})).toMatch(/source table src has no column brand_new/);
    expect(await reason({ target_columns: 'obtid, nix, t' })).toMatch(/dst has no column nix/);
    expect(await reason({ target_columns: 'obtid, t' })).toMatch(/key column ddatetime is not among/);
    expect(
      await reason({ target_columns: 'keyid, t', source_columns: 'keyid', target_key: 'keyid' }),
    ).toMatch(/1 entries for 2 columns/);
    expect(await reason({ target_columns: 'keyid,t', target_key: 'keyid', source_key: 't' })).toMatch(
      /source_key t is not what/,
    );
    expect(await reason({ source_table: 'absent' })).toMatch(/absent/);
  });

  it('shows the first rows and what it works on', async () => {
    await pair.tables(numbers(0, 10));
    const params = { source: pair.urls.source, target: pair.urls.target };
    const { paramsOf } = await import('../../support/stage-params.js');
    const made = stage.createStage({
      name: 'x',
      params: paramsOf(stage.keys, { ...params, source_table: 'src', target_table: 'dst' }),
      log: pair.log,
      signal: new AbortController().signal,
    });
    const shown = await made.preview?.(3);
    expect(shown?.columns).toEqual(['obtid', 'ddatetime', 't', 'p', 'note', 'keyid']);
    expect(shown?.rows).toHaveLength(3);
    expect(await made.check?.()).toContain('key: obtid, ddatetime');
    await made.close?.();
  });
});

describe('sync-refresh', () => {
  const pair = usePair(['sqlite', 'sqlite']);

  it('goes on behind the last batch after it was stopped', async () => {
    await pair.tables(numbers(0, 2_000), [], 'keyid');
    // A row that the target refuses ends the run in the middle.
    await pair.target.execute(`CREATE TRIGGER stop BEFORE INSERT ON dst WHEN NEW.keyid = 1500
      BEGIN SELECT RAISE(ABORT, 'not yet'); END`);
    const first = await pair.run(stage, { batch_rows: '100' });
    expect(first.state).toBe('failed');
    const reached = (await pair.targetRows()).length;
    expect(reached).toBeGreaterThan(0);
    expect(reached).toBeLessThan(1_999);
    await pair.target.execute('DROP TRIGGER stop');
    await pair.target.execute('UPDATE dst SET t = 4711 WHERE keyid = 0');
    const second = await pair.ok(stage, { batch_rows: '100' });
    expect(second.counts).toMatchObject({ rowsIn: 2_000, rowsOut: 2_000 - reached + 1 });
    const [after] = pair.log.named('sync-refresh.goes-on');
    expect(Number(after?.fields['after'])).toBeGreaterThan(0);
    await pair.expectEqual();
    // What it passed before it was stopped was looked at again, and the position is gone.
    await pair.ok(stage, { batch_rows: '100' });
    expect(pair.log.named('sync-refresh.goes-on')).toHaveLength(1);
  });

  it('refuses a key that the source has twice', async () => {
    await pair.tables([]);
    await pair.source.execute('CREATE TABLE twice (k INTEGER, v INTEGER)');
    await pair.source.execute('INSERT INTO twice VALUES (1, 1), (2, 2), (2, 3)');
    await pair.target.execute('CREATE TABLE once (k INTEGER PRIMARY KEY, v INTEGER)');
    const { error } = await pair.run(stage, { source_table: 'twice', target_table: 'once' });
    expect(String(error)).toMatch(/the source has the key \(2\) twice/);
  });

  it('works without any unique key in the target', async () => {
    await pair.tables(numbers(0, 100));
    await pair.target.execute(observationTable('sqlite', 'plain').replace(/, PRIMARY KEY[^)]*\)/, ''));
    for (const round of [1, 2]) {
      const settings = { target_table: 'plain', target_key: 'keyid' };
      const { counts } = await pair.ok(stage, settings);
      expect(counts.rowsOut).toBe(round === 1 ? 100 : 1);
      await pair.source.execute('UPDATE src SET t = 4711 WHERE keyid = 50');
    }
    const { rows } = await pair.target.query('SELECT count(*), max(t) FROM plain');
    expect(rows[0]).toEqual([100, 4711]);
  });

  it('never shows readers an empty or half table', async () => {
    await pair.tables(numbers(0, 3_000), numbers(0, 3_000));
    let running = true;
    const seen = new Set<number>();
    const reader = (async () => {
      while (running) seen.add(Number((await pair.target.query('SELECT count(*) FROM dst')).rows[0]?.[0]));
    })();
    for (let round = 0; round < 3; round++) {
      await pair.source.execute('UPDATE src SET t = t + 1');
      await pair.ok(stage, { mode: round === 1 ? 'whole' : 'batched', batch_rows: '500' });
    }
    running = false;
    await reader;
    expect([...seen]).toEqual([3_000]);
    await pair.expectEqual();
  });

  it('two of them do not disturb each other', async () => {
    await pair.tables(numbers(0, 2_000), numbers(1_000, 3_000));
    await Promise.all([
      pair.ok(stage, { batch_rows: '100' }, { name: 'one' }),
      pair.ok(stage, { batch_rows: '130' }, { name: 'two' }),
    ]);
    await pair.expectEqual();
  });

  it('stops in the middle when asked to', async () => {
    await pair.tables(numbers(0, 5_000));
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 30);
    const { state } = await pair.run(stage, { batch_rows: '50' }, { signal: stop.signal });
    expect(state).toBe('ok');
    await pair.ok(stage);
    await pair.expectEqual();
  });
});
