/** The process dies by SIGKILL at any moment of an archive run: every row is in exactly one place afterwards. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { createStage, keys } from '../../../src/actors/pipeline/archive.js';
import { MOST_KNOWN } from '../../../src/actors/pipeline/stage/range-dealer.js';
import { openStore, type Store } from '../../../src/store/driver.js';
import { FakeLog } from '../../support/fake-context.js';
import { fakeRun } from '../../support/fake-run.js';
import { paramsOf } from '../../support/stage-params.js';
import { databases, TableFixture } from './table-fixture.js';

const RUNNER = fileURLToPath(new URL('../../support/run-stage.mjs', import.meta.url));
const ROWS = 6_000;
const KILLS = 12;
const BATCH_ROWS = 20;

describe.each(databases.filter(({ missing }) => !missing))(
  'archive on $name, killed again and again',
  (database) => {
    let fixture: TableFixture | undefined;
    let other: Store | undefined;

    afterEach(async () => {
      await other?.close();
      await fixture?.close();
      other = undefined;
      fixture = undefined;
    });

    it.each(['the same database', 'another database'])(
      'loses and doubles no row on the way to %s',
      async (where) => {
        const away = where === 'another database';
        fixture = await TableFixture.make(database);
        await fixture.fill(ROWS);
        const target = away ? `sqlite:${fixture.folder}/away.db` : '';
        if (away) {
          other = await openStore(target);
          await other.execute(
            `CREATE TABLE OBS_HIS (obtid VARCHAR(10), ddatetime DATETIME, t INT, r DECIMAL(8,2), raw BLOB, keyid INTEGER PRIMARY KEY)`,
          );
        }
        const history = other ?? fixture.store;
        const ledger = `sqlite:${fixture.folder}/ledger.db`;
        const params = paramsOf(keys, {
          store: fixture.url,
          table: 'OBS',
          where: 'where t < 5900',
          key: 'keyid',
          batch_rows: String(BATCH_ROWS),
          target,
          ledger,
        });
        const { store } = fixture;
        const select = (is: number, table: string): string => `SELECT t, ${is} AS h FROM ${table}`;
        /** In one look, where that can be: a commit may be on its way when the process dies. */
        const places = async (): Promise<{ left: number[]; moved: number[] }> => {
          const old = select(0, 'OBS');
          const both = `${old} UNION ALL ${select(1, 'OBS_HIS')}`;
          const first = await (away ? store.query(old) : store.query(both).catch(() => store.query(old)));
          const then = away ? (await history.query(select(1, 'OBS_HIS'))).rows : [];
          const rows = [...first.rows, ...then].map(([t, h]) => [Number(t), Number(h)] as const);
          const where = (is: number): number[] => rows.filter(([, h]) => h === is).map(([t]) => t);
          return { left: where(0), moved: where(1) };
        };
        const expected = Array.from({ length: ROWS }, (_, t) => t);
        let killed = 0;
        let amid = 0;
        // Of ms until a kill. A run that comes to its end before: the next kills come sooner.
        let longest = 500;
        // Without one amid the work the kills would prove nothing.
        for (let round = 0; killed < KILLS || amid === 0; round++) {
          expect(round).toBeLessThan(5 * KILLS);
          const child = spawn(process.execPath, [RUNNER, 'archive', JSON.stringify(params), 'once'], {
            stdio: ['ignore', 'pipe', 'inherit'],
          });
          const exited = once(child, 'exit');
          await Promise.race([once(child.stdout, 'data'), exited]);
          await sleep(Math.random() * longest);
          child.kill('SIGKILL');
          await exited;
          const { left, moved } = await places();
          expect(new Set(moved).size).toBe(moved.length);
          expect([...new Set([...left, ...moved])].sort((a, b) => a - b)).toEqual(expected);
          // Between two databases batches may be in both, until the next run comes past them: of the ranges it knew, the first ones.
          const both = left.length + moved.length - ROWS;
          expect(both).toBeLessThanOrEqual(away ? MOST_KNOWN * BATCH_ROWS : 0);
          if (child.signalCode === 'SIGKILL') {
            killed++;
            if (moved.length > 0 && left.length > 100) amid++;
            // Before it had begun, on a busy machine: the next ones come later.
            else if (moved.length === 0) longest = Math.min(longest * 1.5, 5_000);
          } else {
            longest /= 2;
            await history.execute('DELETE FROM OBS_HIS');
            await fixture.store.execute('DELETE FROM OBS');
            await fixture.fill(ROWS);
          }
        }
        const stage = createStage({
          name: 'a',
          params,
          log: new FakeLog(),
          signal: new AbortController().signal,
        });
        const run = fakeRun();
        await stage.run(run);
        await stage.close?.();
        expect(run.counts.rowsRejected).toBe(0);
        const { left, moved } = await places();
        expect([left.length, moved.length]).toEqual([100, 5_900]);
      },
      240_000,
    );
  },
);
