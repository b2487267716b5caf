/** Through a link: a FEDERATED table of a real MariaDB, or in its place a view or a table of the same server. */
import { beforeEach, describe, expect, it } from 'vitest';
import * as increment from '../../../src/actors/pipeline/sync-increment.js';
import * as refresh from '../../../src/actors/pipeline/sync-refresh.js';
import { have } from '../../support/servers.js';
import { numbers, observationTable, usePair, type Kind, type Pair } from './sync-fixture.js';

/** The source's table as the target's server sees it. */
async function makeLink(pair: Pair, key: string): Promise<void> {
  await pair.target.execute(`INSTALL SONAME 'ha_federatedx'`).catch((error: unknown) => {
    if (!/already/i.test(String(error))) throw error;
  });
  const ddl = observationTable('mysql', 'linked', key);
  await pair.target.execute(`${ddl} ENGINE=FEDERATED CONNECTION='${pair.urls.source}/src'`);
}

const BY_LIST = 'obtid, ddatetime';
const BY_RANGE = 'keyid';

describe.skipIf(!have.mariadb).each([BY_LIST, BY_RANGE])(
  'through a FEDERATED table with the key %s',
  (key) => {
    const pair = usePair(['mysql', 'mysql']);
    beforeEach(async () => {
      await pair.tables(numbers(0, 300), numbers(200, 400), key);
      await pair.target.execute(`UPDATE dst SET note = 'old'`);
      await makeLink(pair, key);
    });

    it.each(['whole', 'batched'])('sync-refresh makes the table equal in mode %s', async (mode) => {
      const { counts } = await pair.ok(refresh, { mode, link_table: 'linked', batch_rows: '70' });
      expect(counts.rowsOut).toBe(300);
      await pair.expectEqual();
    });

    it('sync-refresh reads the keys through the link when nothing else is known', async () => {
      await pair.ok(refresh, { source: '', link_table: 'linked', batch_rows: '90' });
      await pair.expectEqual();
    });

    it('sync-refresh keeps what the source lacks when told so, and obeys conditions', async () => {
      const settings = { link_table: 'linked', source_where: 'keyid < 250', target_where: 'keyid < 390' };
      await pair.ok(refresh, { ...settings, delete: 'none', batch_rows: '64' });
      const kept = (await pair.targetRows()).map((row) => Number(row[5]));
      expect(kept).toEqual([...numbers(0, 400)]);
      await pair.ok(refresh, { ...settings, batch_rows: '64' });
      const left = (await pair.targetRows()).map((row) => Number(row[5]));
      expect(left).toEqual([...numbers(0, 250), ...numbers(390, 400)]);
    });

    it('sync-refresh changes nothing in a dry run', async () => {
      for (const mode of ['whole', 'batched']) {
        await pair.ok(refresh, { mode, link_table: 'linked' }, { dryRun: true });
      }
      expect((await pair.targetRows()).every((row) => row[4] === 'old')).toBe(true);
      expect(await pair.targetRows()).toHaveLength(200);
    });

    it('sync-increment appends what is beyond, and what came late', async () => {
      await pair.target.execute('DELETE FROM dst WHERE keyid > 250 OR keyid IN (210, 220)');
      await pair.put(pair.source, 'src', numbers(300, 310));
      const settings = { link_table: 'linked', target_key: 'keyid', overlap: '45', batch_rows: '20' };
      const { counts } = await pair.ok(increment, settings);
      expect(counts.rowsOut).toBe(2 + 59);
      expect((await pair.targetRows()).map((row) => Number(row[5]))).toEqual([...numbers(200, 310)]);
      expect((await pair.ok(increment, settings)).counts.rowsOut).toBe(0);
    });
  },
);

describe.each(['sqlite', 'postgres', 'mysql'] as const satisfies Kind[])('a view of a %s server', (kind) => {
  const pair = usePair([kind, kind]);
  it.skipIf((kind === 'postgres' && !have.postgres) || (kind === 'mysql' && !have.mariadb))(
    'does as a link for both stages',
    async () => {
      await pair.target.execute(observationTable(kind, 'far'));
      await pair.put(pair.target, 'far', numbers(0, 150));
      await pair.target.execute(observationTable(kind, 'dst'));
      await pair.put(pair.target, 'dst', numbers(140, 170), ' old');
      await pair.target.execute('CREATE VIEW linked AS SELECT * FROM far');
      const settings = { source: '', link_table: 'linked' };
      const expected = async (): Promise<void> => {
        const { rows } = await pair.target.query('SELECT COUNT(*) FROM far');
        const same = await pair.target.query(
          `SELECT COUNT(*) FROM far f JOIN dst d ON f.obtid = d.obtid AND f.ddatetime = d.ddatetime
           AND COALESCE(f.note, '-') = COALESCE(d.note, '-')`,
        );
        const all = await pair.target.query('SELECT COUNT(*) FROM dst');
        expect([Number(same.rows[0]?.[0]), Number(all.rows[0]?.[0])]).toEqual([
          Number(rows[0]?.[0]),
          Number(rows[0]?.[0]),
        ]);
      };
      await pair.ok(refresh, { ...settings, batch_rows: '33' });
      await expected();
      await pair.put(pair.target, 'far', numbers(150, 160));
      await pair.ok(increment, { ...settings, target_key: 'keyid' });
      await expected();
      await pair.ok(refresh, { ...settings, mode: 'whole' });
      await expected();
    },
  );
});
