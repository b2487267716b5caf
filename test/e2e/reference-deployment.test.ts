/**
 * conf/reference as it is shipped: every job of the reference deployment, from invented observations to the copies in the
 * application database, without a line of warning. FULL=1: ten minutes, else until everything has arrived once.
 */
import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { openStore, type Store } from '../../src/store/driver.js';
import { have, mariadb } from '../support/servers.js';
import { ROOT, useWorkspace } from '../support/program.js';

const LONG_MS = process.env['FULL'] === '1' ? 600_000 : 0;
const ENV = {
  SWITCHYARD_LOG_FORMAT: 'json',
  SWITCHYARD_ADMIN_ADDRESS: '127.0.0.1:0',
  SWITCHYARD_ADMIN_HTTP_ADDRESS: '127.0.0.1:0',
};
const workspace = useWorkspace();

async function count(store: Store, table: string): Promise<number> {
  return store.query(`SELECT count(*) FROM ${table}`).then(
    ({ rows }) => Number(rows[0]?.[0]),
    () => 0,
  );
}

async function deployment(variant: string, app: string, env: Record<string, string>): Promise<void> {
  symlinkSync(join(ROOT, 'conf'), workspace().file('conf'));
  const files = ['conf/switchyard.conf', `conf/reference/${variant}.conf`];
  const program = await workspace().start(files, { env: { ...ENV, ...env } });
  const started = performance.now();
  await program.seen('stage.done', { actor: 'app-tables' });
  const store = await openStore(app);
  try {
    const tables = ['T_ZHOBTCODE1', 'T_ZHOBTCODE2', 'T_ZHOBTCODE3', 'T_ZHOBTMIND1', 'T_ZHOBTMIND2', 'T_ZHOBTMIND3',
      'T_ZHOBTMIND4', 'STAT_HOUR']; // prettier-ignore
    await expect
      .poll(
        async () => {
          const counts = await Promise.all(tables.map((table) => count(store, table)));
          return tables.filter((_, i) => counts[i] === 0);
        },
        { timeout: 120_000, interval: 500 },
      )
      .toEqual([]);
    const report = workspace().file('var/reference/reports/hourly.html');
    await expect.poll(() => existsSync(report), { timeout: 60_000, interval: 200 }).toBe(true);
    await program.seen('stage.done', { actor: 'compare-obs' });
    await sleep(Math.max(0, LONG_MS - (performance.now() - started)));
    const altitude = await store.query(
      'SELECT count(*) FROM T_ZHOBTCODE1 a JOIN T_ZHOBTCODE2 b ON a.obtid = b.stid WHERE a.height = b.altitude',
    );
    // Another unit on the other side: only heights of 0 are the same.
    expect(Number(altitude.rows[0]?.[0])).toBeLessThan(await count(store, 'T_ZHOBTCODE1'));
  } finally {
    await store.close();
  }
  expect(await program.stop()).toBe(0);
  const bad = program.events.filter(({ level }) => ['warn', 'error', 'fatal'].includes(level));
  expect(bad).toEqual([]);
}

describe('the reference deployment', () => {
  it(
    'runs on SQLite alone',
    () => deployment('sqlite', `sqlite:${workspace().file('var/reference/app.db')}`, {}),
    LONG_MS + 240_000,
  );

  it.skipIf(!have.mariadb)(
    'runs on MariaDB',
    async () => {
      const [coreUrl, appUrl] = [await mariadb(), await mariadb()];
      await deployment('mariadb', appUrl, { CORE_DB: coreUrl, APP_DB: appUrl });
    },
    LONG_MS + 240_000,
  );
});
