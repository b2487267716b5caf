import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSource, type BatchSource } from '../../../src/actors/pipeline/stage/batch-source.js';
import {
  KeyBatches,
  SmallerBatch,
  type Batch,
  type Taken,
} from '../../../src/actors/pipeline/stage/key-batches.js';
import type { StageRun } from '../../../src/actors/pipeline/stage/run.js';
import { StoreError } from '../../../src/store/driver.js';
import { FakeLog } from '../../support/fake-context.js';
import { fakeRun } from '../../support/fake-run.js';
import { databases, TableFixture } from './table-fixture.js';

const ROWS = 2_000;

describe.each(databases.filter(({ missing }) => !missing))('batches of a table on $name', (database) => {
  const lanes = database.name === 'sqlite' ? 1 : 3;
  let fixture: TableFixture;
  let source: BatchSource;
  let run: StageRun;
  let log: FakeLog;

  beforeEach(async () => {
    fixture = await TableFixture.make(database);
    await fixture.fill(ROWS);
    source = await openSource(fixture.store, { table: 'OBS', key: [], where: 'where t >= 100' });
    log = new FakeLog();
    run = fakeRun({ log });
  }, 240_000);
  afterEach(() => fixture.close());

  const batches = (rows = 37): KeyBatches =>
    new KeyBatches(
      source,
      { batch_time: 60_000, batch_rows: rows, writers: 3, statement_timeout: 60_000 },
      run,
    );

  async function look({ where }: Batch): Promise<number[]> {
    const { rows } = await source.store.query(`SELECT t FROM OBS WHERE ${where.sql}`, where.binds);
    return rows.map(([t]) => Number(t));
  }

  const expected = Array.from({ length: ROWS - 100 }, (_, i) => 100 + i);
  const sorted = (rows: readonly number[]): number[] => [...rows].sort((a, b) => a - b);

  it('have each row once, several at the same time where the database can do that', async () => {
    const seen: number[] = [];
    let active = 0;
    let most = 0;
    const totals = await batches().each(async (batch) => {
      most = Math.max(most, ++active);
      const rows = await look(batch);
      await sleep(2);
      seen.push(...rows);
      active--;
      return { rows: rows.length };
    });
    expect(sorted(seen)).toEqual(expected);
    expect(most).toBe(lanes);
    expect(totals.batches).toBeGreaterThanOrEqual(Math.floor(1_900 / 37));
  });

  it('have each row once although some are wanted smaller and others meet locks', async () => {
    const seen: number[] = [];
    let calls = 0;
    await batches(100).each(async (batch) => {
      calls++;
      if ((calls * 5) % 11 < 2) throw new StoreError('BUSY', 'locked');
      if (batch.size > 80) throw new SmallerBatch(60);
      const rows = await look(batch);
      seen.push(...rows);
      return { rows: rows.length };
    });
    expect(sorted(seen)).toEqual(expected);
    expect(log.named('batch.conflict').length).toBeGreaterThan(1);
  });

  it('end with the first failure, when nothing is under way any more', async () => {
    let active = 0;
    let calls = 0;
    const failing = batches().each(async () => {
      active++;
      try {
        if (++calls === 10) throw new StoreError('CONSTRAINT', 'no');
        await sleep(20);
        return { rows: 1 };
      } finally {
        active--;
      }
    });
    await expect(failing).rejects.toThrow('no');
    expect([active, calls]).toEqual([0, expect.any(Number)]);
    const before = calls;
    await sleep(50);
    expect(calls).toBe(before);
    expect(calls).toBeLessThan(10 + lanes);
  });

  it('end between two of them when the run is to stop', async () => {
    const controller = new AbortController();
    run = fakeRun({ signal: controller.signal });
    let calls = 0;
    await batches().each(async () => {
      if (++calls === 5) controller.abort();
      await sleep(1);
      return { rows: 1 };
    });
    expect(calls).toBeLessThan(5 + lanes);
  });

  it.skipIf(lanes === 1).each(['', 'keyid'])(
    'delete without getting into each other’s way, by key "%s"',
    async (key) => {
      source = await openSource(fixture.store, {
        table: 'OBS',
        key: key === '' ? [] : [key],
        where: 'where t % 3 <> 1',
      });
      // A row that another one has locked is a conflict at once.
      const lock = (where: string): string => `SELECT 1 FROM OBS WHERE ${where} FOR UPDATE NOWAIT`;
      const work = async ({ where: { sql, binds } }: Batch): Promise<Taken> => {
        const rows = await source.store.transaction(async (tx) => {
          await tx.query(lock(sql), binds);
          await sleep(2);
          return tx.execute(`DELETE FROM OBS WHERE ${sql}`, binds);
        });
        return { rows };
      };
      await batches(20).each(work);
      expect(await fixture.count('OBS', 't % 3 <> 1')).toBe(0);
      expect(await fixture.count('OBS')).toBe(
        Array.from({ length: ROWS }, (_, t) => t).filter((t) => t % 3 === 1).length,
      );
      expect(log.named('batch.conflict')).toEqual([]);
    },
  );
});
