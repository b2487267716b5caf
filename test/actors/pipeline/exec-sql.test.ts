import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStage, keys } from '../../../src/actors/pipeline/exec-sql.js';
import type { Stage, StageError } from '../../../src/actors/pipeline/stage/run.js';
import { FakeLog } from '../../support/fake-context.js';
import { fakeRun } from '../../support/fake-run.js';
import { paramsOf } from '../../support/stage-params.js';
import { databases, TableFixture } from './table-fixture.js';

describe.each(databases.filter(({ missing }) => !missing))('exec-sql on $name', (database) => {
  let fixture: TableFixture;
  let file: string;

  beforeEach(async () => {
    fixture = await TableFixture.make(database);
    file = join(fixture.folder, 'clear.sql');
    await fixture.store.execute('CREATE TABLE t (a INT, b VARCHAR(50))');
  }, 240_000);

  afterEach(async () => fixture.close());

  function make(written: Record<string, string> = {}): Stage {
    const params = paramsOf(keys, { store: fixture.url, file, ...written });
    return createStage({ name: 'e', params, log: new FakeLog(), signal: new AbortController().signal });
  }

  async function failure(stage: Stage, run = fakeRun()): Promise<StageError> {
    return stage.run(run).then(
      () => {
        throw new Error('fulfilled');
      },
      (error: unknown) => error as StageError,
    );
  }

  const values = async () => (await fixture.rows('SELECT a FROM t ORDER BY a')).flat();

  it('runs each statement and logs it with its rows, and reads the file anew each time', async () => {
    writeFileSync(
      file,
      "-- three\ninsert into t values (1, 'x;y'), (2, '?');\n\ninsert into t\nvalues (3, ':1 %%');\nselect * from t;\nupdate t set b = 'z' where a < 3;\ncommit;\n",
    );
    const log = new FakeLog();
    const run = fakeRun({ log });
    const stage = make();
    await stage.run(run);
    expect(run.counts).toMatchObject({ rowsIn: 4, rowsOut: 8, errors: 0 });
    const done = log.events.filter(({ event }) => event === 'exec-sql.done');
    expect(done.map(({ fields }) => [fields?.['line'], fields?.['rows'], fields?.['sql']])).toEqual([
      [2, 2, "insert into t values (1, 'x;y'), (2, '?')"],
      [4, 1, "insert into t values (3, ':1 %%')"],
      [6, 3, 'select * from t'],
      [7, 2, "update t set b = 'z' where a < 3"],
    ]);
    expect(await fixture.count('t', "b = ':1 %%'")).toBe(1);
    writeFileSync(file, 'delete from t where a = 1');
    await stage.run(fakeRun());
    expect(await values()).toEqual([2, 3]);
  });

  const BROKEN =
    'insert into t values (1, null);\ninsert into nowhere values (1);\ninsert into t values (2, null);\nselect nothing from t;\n';

  it('stops at the first error, or goes on and fails in the end', async () => {
    writeFileSync(file, BROKEN);
    const stopped = await failure(make());
    expect(stopped.message).toMatch(/^clear\.sql:2: .*nowhere/);
    expect(stopped.retryable).toBe(false);
    expect(await values()).toEqual([1]);
    const run = fakeRun();
    const went = await failure(make({ on_error: 'continue' }), run);
    expect(went.message).toMatch(/^2 of 4 statements failed, the first: clear\.sql:2: /);
    expect(run.counts).toMatchObject({ rowsIn: 4, rowsOut: 2, errors: 2 });
    expect(await values()).toEqual([1, 1, 2]);
  });

  it('applies all or nothing as one transaction', async () => {
    writeFileSync(file, BROKEN);
    expect((await failure(make({ transaction: 'all' }))).message).toMatch(/^clear\.sql:2: /);
    expect(await values()).toEqual([]);
    writeFileSync(
      file,
      'insert into t values (1, null);\ndelete from t where a = 1; insert into t values (5, null);',
    );
    await make({ transaction: 'all' }).run(fakeRun());
    expect(await values()).toEqual([5]);
    expect(() => make({ transaction: 'all', on_error: 'continue' })).toThrow(/on_error = stop/);
  });

  it('does nothing when the file cannot be understood', async () => {
    for (const [text, written, message] of [
      ["insert into t values (1, null);\n\nselect 'open", {}, /clear\.sql: line 3: the quote is not closed/],
      [
        'insert into t values (1, null);\nbegin;\n',
        {},
        /clear\.sql:2: "begin": the stage has the transaction/,
      ],
      [
        'insert into t values (1, null);',
        { max_file_size: '10' },
        /clear\.sql has 31 bytes, more than max_file_size/,
      ],
      [Buffer.from("insert into t values (1, '\xff')", 'latin1'), {}, /clear\.sql is not in utf-8/],
    ] as const) {
      writeFileSync(file, text);
      expect((await failure(make(written))).message).toMatch(message);
    }
    expect(await values()).toEqual([]);
    expect(() => make({ charset: 'klingon' })).toThrow(/klingon/);
    expect(String(await failure(make({ file: `${file}.missing` })))).toMatch(/ENOENT/);
  });

  it('shows the statements in a dry run, a preview and a check, and changes nothing', async () => {
    writeFileSync(file, 'insert into t values (1, null);\ndelete\n  from t;');
    const log = new FakeLog();
    await make().run(fakeRun({ log, dryRun: true }));
    expect(log.events.map(({ event, fields }) => [event, fields?.['line'], fields?.['sql']])).toEqual([
      ['exec-sql.would-run', 1, 'insert into t values (1, null)'],
      ['exec-sql.would-run', 2, 'delete from t'],
    ]);
    expect((await make().preview?.(1))?.rows).toEqual([[1, 'insert into t values (1, null)']]);
    expect(await make().check?.()).toEqual([
      expect.stringMatching(/^store: \w+/),
      `file: ${file}, 2 statements`,
    ]);
    expect(await values()).toEqual([]);
  });

  it('keeps passwords out of the log and the errors', async () => {
    writeFileSync(
      file,
      `insert into password_of values ('s3cr3t', "s3cr3t", ${"'".padEnd(3_000, 's3cr3t')}');`,
    );
    const log = new FakeLog();
    const error = await failure(make(), fakeRun({ log }));
    await make().run(fakeRun({ log, dryRun: true }));
    expect(JSON.stringify(log.events) + error.message).not.toMatch(/s3cr3t/);
    expect(JSON.stringify(log.events)).toMatch(/insert into password_of values \('\*\*\*'/);
  });

  it('stops between two statements', async () => {
    writeFileSync(file, 'insert into t values (1, null); insert into t values (2, null);');
    const controller = new AbortController();
    await make().run(fakeRun({ signal: controller.signal, progress: () => controller.abort() }));
    expect(await values()).toEqual([1]);
    const all = await failure(make({ transaction: 'all' }), fakeRun({ signal: AbortSignal.abort() }));
    expect(all.retryable).toBe(true);
    expect(await values()).toEqual([1]);
  });
});

describe('exec-sql on sqlite', () => {
  it('keeps what a file sets for its session until its end', async () => {
    const fixture = await TableFixture.make(databases[0] as (typeof databases)[number]);
    const file = join(fixture.folder, 'x.sql');
    writeFileSync(
      file,
      `create temp table k (a int); insert into k values (1); insert into "OBS" (obtid, ddatetime) select 'a', '2026-01-0' || a from k;
       create trigger tr after insert on "OBS" begin update "OBS" set t = 1; update "OBS" set t = 2; end; insert into "OBS" (obtid, ddatetime) values ('b', '2026-01-01');`,
    );
    const params = paramsOf(keys, { store: fixture.url, file });
    await createStage({ name: 'e', params, log: new FakeLog(), signal: new AbortController().signal }).run(
      fakeRun(),
    );
    expect(await fixture.rows('SELECT obtid, t FROM OBS ORDER BY obtid')).toEqual([
      ['a', 2],
      ['b', 2],
    ]);
    await fixture.close();
  });
});
