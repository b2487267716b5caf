import { describe, expect, it } from 'vitest';
import * as stage from '../../../src/actors/pipeline/sync-increment.js';
import { numbers, observationTable, PAIRS, usePair } from './sync-fixture.js';

const BY_NUMBER = { target_key: 'keyid' };

describe.each(PAIRS)('sync-increment from %s to %s', (from, to) => {
  const pair = usePair([from, to]);

  it('appends what is beyond the greatest key, until nothing comes', async () => {
    await pair.tables(numbers(0, 300), numbers(0, 100), 'keyid');
    const first = await pair.ok(stage, { batch_rows: '70', source_key: 'keyid' });
    expect(first.counts).toMatchObject({ rowsIn: 200, rowsOut: 200 });
    await pair.expectEqual();
    expect((await pair.ok(stage)).counts).toMatchObject({ rowsIn: 0, rowsOut: 0 });
    await pair.put(pair.source, 'src', numbers(300, 310));
    expect((await pair.ok(stage)).counts).toMatchObject({ rowsIn: 10, rowsOut: 10 });
    await pair.expectEqual();
  });

  it('finds rows that were committed late, and rows that were changed, behind the last key', async () => {
    const late = new Set([250, 251, 298]);
    await pair.tables(
      [...numbers(0, 300)].filter((n) => !late.has(n)),
      [],
      'keyid',
    );
    await pair.ok(stage);
    await pair.put(pair.source, 'src', late);
    await pair.source.execute(`UPDATE src SET note = 'mended' WHERE keyid = 299`);
    const { counts } = await pair.ok(stage);
    expect(counts).toMatchObject({ rowsIn: 4, rowsOut: 4 });
    await pair.expectEqual();
    expect(pair.log.named('sync-increment.late')[0]?.fields).toMatchObject({ missing: 3, changed: 1 });
  });

  it('follows a column that is not the primary key, and takes equal values of it', async () => {
    await pair.tables(numbers(0, 200));
    await pair.ok(stage, { ...BY_NUMBER, overlap: '0' });
    await pair.expectEqual();
    // The same value as the greatest one, in another row.
    await pair.source.execute(`UPDATE src SET keyid = 199 WHERE keyid = 5`);
    await pair.target.execute(`DELETE FROM dst WHERE keyid = 5`);
    await pair.ok(stage, { ...BY_NUMBER, overlap: '0' });
    await pair.expectEqual();
  });

  it('follows times', async () => {
    await pair.tables(numbers(0, 100));
    const settings = { target_key: 'ddatetime', overlap_time: '10m' };
    await pair.ok(stage, settings);
    await pair.put(pair.source, 'src', numbers(100, 130));
    await pair.target.execute('DELETE FROM dst WHERE keyid IN (95, 97)');
    expect((await pair.ok(stage, settings)).counts.rowsIn).toBe(32);
    await pair.expectEqual();
  });

  it('removes what the source no longer has when asked to', async () => {
    await pair.tables(numbers(0, 300), [], 'keyid');
    const settings = { delete: 'detect', delete_every: '0s', batch_rows: '20' };
    await pair.ok(stage, settings);
    await pair.source.execute('DELETE FROM src WHERE keyid BETWEEN 10 AND 109 OR keyid = 299');
    await pair.ok(stage, settings);
    await pair.expectEqual();
    expect(pair.log.named('sync-increment.removed')[0]?.fields).toMatchObject({ rows: 101 });
    await pair.source.execute('DELETE FROM src WHERE keyid = 1');
    await pair.ok(stage, { ...settings, delete_every: '1h' });
    expect(await pair.targetRows()).toHaveLength(199);
  });

  it('has conditions and expressions', async () => {
    await pair.tables(numbers(0, 100), [], 'keyid');
    await pair.ok(stage, {
      source_columns: 'keyid, obtid, ddatetime, t + 1000',
      target_columns: 'keyid, obtid, ddatetime, t',
      where: 'and keyid < 50',
      source_where: 'keyid >= 10',
    });
    const { rows } = await pair.target.query('SELECT COUNT(*), MIN(t), MAX(t) FROM dst');
    expect(rows[0]?.map(Number)).toEqual([40, 960, 998]);
  });
});

describe('sync-increment', () => {
  const pair = usePair(['sqlite', 'sqlite']);

  it('keeps its position in the ledger for a target that is emptied', async () => {
    await pair.tables(numbers(0, 100), [], 'keyid');
    const settings = { position: 'ledger', overlap: '0' };
    await pair.ok(stage, settings);
    await pair.target.execute('DELETE FROM dst');
    await pair.put(pair.source, 'src', numbers(100, 120));
    await pair.ok(stage, settings);
    expect(await pair.targetRows()).toHaveLength(20);
    // Another condition is another flow of rows.
    await pair.ok(stage, { ...settings, source_where: 'keyid < 5' });
    expect(await pair.targetRows()).toHaveLength(20);
  });

  it('asks for one column to follow', async () => {
    await pair.tables([]);
    const { error, retryable } = await pair.run(stage);
    expect(String(error)).toMatch(/one increasing column.*obtid, ddatetime.*set target_key/);
    expect(retryable).toBe(false);
  });

  it('appends to a table without any unique key', async () => {
    await pair.tables(numbers(0, 100));
    await pair.target.execute(observationTable('sqlite', 'plain').replace(/, PRIMARY KEY[^)]*\)/, ''));
    const settings = { ...BY_NUMBER, target_table: 'plain' };
    const counted = async (): Promise<unknown> =>
      (await pair.target.query('SELECT count(*), count(DISTINCT keyid) FROM plain')).rows[0];
    await pair.ok(stage, settings);
    expect(await counted()).toEqual([100, 100]);
    await pair.put(pair.source, 'src', numbers(100, 130));
    await pair.ok(stage, settings);
    expect(await counted()).toEqual([130, 130]);
  });

  it('counts and changes nothing in a dry run', async () => {
    await pair.tables(numbers(0, 100), numbers(0, 40), 'keyid');
    expect((await pair.ok(stage, {}, { dryRun: true })).counts).toMatchObject({ rowsIn: 60, rowsOut: 0 });
    expect(await pair.targetRows()).toHaveLength(40);
  });

  it('goes on exactly where a failure ended it', async () => {
    await pair.tables(numbers(0, 1_000), [], 'keyid');
    await pair.target.execute(`CREATE TRIGGER stop BEFORE INSERT ON dst WHEN NEW.keyid = 700
      BEGIN SELECT RAISE(ABORT, 'not yet'); END`);
    expect((await pair.run(stage, { batch_rows: '90' })).state).toBe('failed');
    expect(await pair.targetRows()).toHaveLength(630);
    await pair.target.execute('DROP TRIGGER stop');
    expect((await pair.ok(stage, { batch_rows: '90' })).counts.rowsIn).toBe(370);
    await pair.expectEqual();
  });
});
