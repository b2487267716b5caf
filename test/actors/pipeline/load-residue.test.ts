/** What is left in memory of files that are loaded: next to nothing. */
import { describe, expect, it } from 'vitest';
import { DoneFiles } from '../../../src/actors/pipeline/load/done.js';
import { FileLoader, NOTHING, type PreparedFile } from '../../../src/actors/pipeline/load/file.js';
import { keys, loadSettings, type LoadParams } from '../../../src/actors/pipeline/load/keys.js';
import type { TablePlan } from '../../../src/actors/pipeline/load/table.js';
import type { SqlRunner, Store } from '../../../src/store/driver.js';
import { sqliteDialect } from '../../../src/store/sqlite/dialect.js';
import { fakeRun } from '../../support/fake-run.js';
import { Watched } from '../../support/garbage.js';
import { paramsOf } from '../../support/stage-params.js';

const settings = loadSettings(paramsOf(keys, { path: '/in', table: 'T', store: 'sqlite:x' }) as LoadParams);
const tx = {
  query: async () => ({ columns: [], rows: [] }),
  batch: async (_: string, rows: readonly unknown[]) => ({ done: rows.length, duplicates: [], errors: [] }),
} as unknown as SqlRunner;
const store = {
  dialect: sqliteDialect,
  transaction: async (work: (runner: SqlRunner) => Promise<unknown>) => work(tx),
} as unknown as Store;
const plan = { beforeSql: undefined, load: async () => NOTHING } as unknown as TablePlan;

function prepared(n: number, text: Buffer): PreparedFile {
  const name = `${n}.xml`;
  const file = { name, path: `/in/${name}`, size: 10, mtimeMs: 1, regular: true };
  return { name, size: 10, mtimeMs: 1, hash: String(n), file, pieces: [text], rows: 1, rejects: [] };
}

describe('a file that was loaded', () => {
  it('leaves its rows neither in the outcome nor in the list of files to be marked', async () => {
    const done = new DoneFiles({ stage: 'load', repeat: 'skip', rememberMs: 1 });
    const loader = new FileLoader({ stage: 'load', settings, done });
    const texts = new Watched<Buffer>();
    const moved: string[] = [];
    const outcomes = [];
    for (let group = 0; group < 10; group++) {
      const files = Array.from({ length: 5 }, (_, i) =>
        prepared(group * 5 + i, texts.add(Buffer.alloc(20_000, 'x'))),
      );
      const rows = files.flatMap(({ pieces }) => pieces);
      const outcome = await loader.group(store, { plan, files, rows }, fakeRun());
      for (const file of files) done.moved(file);
      for (const { file } of outcome.loaded) moved.push(file.name);
      outcomes.push(outcome);
    }
    expect(moved).toHaveLength(50);
    expect(await texts.alive()).toBeLessThan(6);
    expect(outcomes).toHaveLength(10);
  });
});
