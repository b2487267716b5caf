import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as stage from '../../../src/actors/pipeline/compare.js';
import { numbers, observation, OBSERVATION, PAIRS, usePair } from './sync-fixture.js';

const METHODS = ['auto', 'rows'] as const;

describe.each(PAIRS)('compare of %s with %s', (from, to) => {
  const pair = usePair([from, to]);
  const small = { range_rows: '100', leaf_rows: '7' };

  it.each(METHODS)('finds equal what is equal, by the method %s', async (method) => {
    await pair.tables(numbers(0, 500), numbers(0, 500));
    const { counts } = await pair.ok(stage, { ...small, method });
    expect(counts).toMatchObject({ rowsIn: 500, rowsRejected: 0, rowsOut: 0 });
    expect(pair.log.named('compare.equal')).toHaveLength(1);
  });

  it.each(METHODS)('lists what is missing, extra and different, by the method %s', async (method) => {
    await pair.tables(numbers(0, 500), numbers(20, 510));
    await pair.target.execute('UPDATE dst SET t = 4711, note = NULL WHERE keyid = 300');
    await pair.target.execute('DELETE FROM dst WHERE keyid = 123');
    const out = join(pair.root, 'reports');
    const result = await pair.run(stage, { ...small, method, out });
    expect(result).toMatchObject({ state: 'failed', retryable: false, counts: { rowsRejected: 32 } });
    expect(String(result.error)).toMatch(/21 missing, 10 too many, 1 different/);
    const [name = ''] = await readdir(out);
    const lines = (await readFile(join(out, name), 'utf8')).trimEnd().split('\n');
    expect(lines[0]).toBe('difference,obtid,ddatetime,columns');
    expect(lines).toHaveLength(33);
    expect(lines.filter((line) => line.startsWith('missing'))).toHaveLength(21);
    expect(lines.filter((line) => line.startsWith('extra'))).toHaveLength(10);
    const [obtid] = observation(300);
    expect(lines.find((line) => line.startsWith('different'))).toMatch(
      new RegExp(`^different,${String(obtid)},.*,t note$`),
    );
  });

  it.each(METHODS)('repairs the target, and deletes only when told to, by the method %s', async (method) => {
    await pair.tables(numbers(0, 300), numbers(10, 310));
    await pair.target.execute(`UPDATE dst SET note = 'bad' WHERE keyid BETWEEN 50 AND 99`);
    const repair = { ...small, method, repair: 'target', batch_rows: '25' };
    const first = await pair.run(stage, repair);
    expect(first).toMatchObject({ state: 'failed', counts: { rowsOut: 60 } });
    expect(await pair.targetRows()).toHaveLength(310);
    await pair.ok(stage, { ...repair, repair_delete: 'yes' });
    await pair.expectEqual();
    await pair.ok(stage, { ...small, method });
  });

  it('takes the same values for the same, whatever their form', async () => {
    await pair.tables(numbers(0, 100), numbers(0, 100));
    await pair.target.execute(`UPDATE dst SET p = 52.250 WHERE keyid = 52`);
    await pair.source.execute(`UPDATE src SET p = 9, t = 0 WHERE keyid = 51`);
    await pair.target.execute(`UPDATE dst SET p = 9.00, t = 0 WHERE keyid = 51`);
    await pair.ok(stage, small);
  });

  it('compares mapped columns under conditions', async () => {
    await pair.tables(numbers(0, 200));
    await pair.target.execute(
      'CREATE TABLE app (num BIGINT NOT NULL PRIMARY KEY, text2 VARCHAR(20), t2 INTEGER)',
    );
    const rows = [...numbers(0, 50)].map((n) => [
      n,
      observation(n)[0] ?? null,
      Number(observation(n)[2] ?? 0) * 2,
    ]);
    await pair.target.batch(pair.target.dialect.insert('app', ['num', 'text2', 't2']), rows);
    const settings = {
      target_table: 'app',
      source_columns: 'keyid, obtid, COALESCE(t, 0) * 2',
      target_columns: 'num, text2, t2',
      source_where: 'keyid < 50',
    };
    await pair.ok(stage, settings);
    await pair.target.execute('UPDATE app SET t2 = t2 + 1 WHERE num = 30');
    expect(String((await pair.run(stage, settings)).error)).toMatch(/0 missing, 0 too many, 1 different/);
  });
});

describe('compare', () => {
  const pair = usePair(['sqlite', 'sqlite']);

  it('lists no more than it was told to, and counts all', async () => {
    await pair.tables(numbers(0, 500));
    const out = join(pair.root, 'out');
    const result = await pair.ok(stage, { out, max_listed: '10', fail_on_difference: 'no' });
    expect(result.counts.rowsRejected).toBe(500);
    const [name = ''] = await readdir(out);
    expect((await readFile(join(out, name), 'utf8')).trimEnd().split('\n')).toHaveLength(11);
    expect(pair.log.named('compare.difference')).toHaveLength(20);
  });

  it('does not take a change between its two looks for a difference', async () => {
    await pair.tables(numbers(0, 20_000), numbers(0, 20_000), 'keyid');
    let running = true;
    // Both tables change together, as under a sync; never one alone for long.
    const writer = (async () => {
      for (let n = 0; running; n = (n + 7_919) % 20_000) {
        await pair.source.execute('UPDATE src SET t = t + 1 WHERE keyid = ?', [n]);
        await pair.target.execute('UPDATE dst SET t = t + 1 WHERE keyid = ?', [n]);
      }
    })();
    const results = [];
    for (let round = 0; round < 3; round++) results.push(await pair.run(stage, { batch_rows: '100000' }));
    running = false;
    await writer;
    // The pair being written just then may differ, not the many that changed since the first look.
    for (const { counts } of results) expect(counts.rowsRejected).toBeLessThanOrEqual(1);
  });

  it('repairs nothing in a dry run', async () => {
    await pair.tables(numbers(0, 10));
    await pair.run(stage, { repair: 'target' }, { dryRun: true });
    expect(await pair.targetRows()).toEqual([]);
  });

  it('compares columns of every awkward value', async () => {
    const ddl = (table: string): string =>
      `CREATE TABLE ${table} (k TEXT PRIMARY KEY, b BLOB, f REAL, big BIGINT)`;
    await pair.source.execute(ddl('src'));
    await pair.target.execute(ddl('dst'));
    const rows = [
      ['', new Uint8Array([0, 255]), 1e-300, 9_007_199_254_740_993n],
      ['-', null, -0.1, -1],
      ['1:a', new Uint8Array(), null, null],
      ['\u{10ffff}', new Uint8Array([45]), 1.5, 0],
    ];
    for (const [store, table] of [
      [pair.source, 'src'],
      [pair.target, 'dst'],
    ] as const)
      await store.batch(store.dialect.insert(table, ['k', 'b', 'f', 'big']), rows);
    await pair.ok(stage);
    await pair.target.execute(`UPDATE dst SET big = big + 1 WHERE k = ''`);
    await pair.target.execute(`UPDATE dst SET b = NULL WHERE k = '1:a'`);
    expect(String((await pair.run(stage)).error)).toMatch(/0 missing, 0 too many, 2 different/);
  });

  it('needs a key', async () => {
    await pair.source.execute(`CREATE TABLE src (${OBSERVATION.join(', ')})`);
    await pair.target.execute(`CREATE TABLE dst (${OBSERVATION.join(', ')})`);
    expect(String((await pair.run(stage)).error)).toMatch(
      /neither a primary nor a unique key: set target_key/,
    );
  });
});
