import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore } from '../../../src/store/driver.js';
import { Extracting } from '../../support/extracting.js';

let ex: Extracting;
beforeEach(async () => {
  ex = await Extracting.open();
});
afterEach(() => ex.close());

const ALL = { sql: 'select keyid, v from r', fields: 'keyid,v' };

describe('a full extraction', () => {
  it.each([
    ['by key', { ...ALL, key: 'keyid', file_rows: '100', step_files: '2' }],
    ['without one', { ...ALL, file_rows: '100' }],
  ])(
    '%s is not repeated for a run that was cut off behind its end, but for the next one it is',
    async (_, conf) => {
      const ledger = await openStore(`sqlite:${join(ex.root, 'ledger.db')}?sync=normal`);
      const cutOff = (state: string, message: string): Promise<number> =>
        ledger.execute('UPDATE runs SET state = ?, message = ? WHERE id = (SELECT max(id) FROM runs)', [
          state,
          message,
        ]);
      const sends = async (): Promise<number> => (await ex.well(conf)).counts.rowsOut;
      try {
        await ex.fill(1, 1_000);
        expect(await sends()).toBe(1_000);
        await cutOff('interrupted', 'its process 1 died');
        expect((await ex.run(conf, { dryRun: true })).counts.rowsIn).toBe(0);
        expect(await sends()).toBe(0);
        // The run that made up for it was killed, too.
        await cutOff('interrupted', 'its process 2 died');
        expect(await sends()).toBe(0);
        expect(ex.log.named('extract.sent-already')).toHaveLength(3);
        expect(await sends()).toBe(1_000);
        await cutOff('ok', 'stopped');
        expect(await sends()).toBe(0);
        expect(await sends()).toBe(1_000);
        // The next run was due meanwhile.
        await cutOff('interrupted', 'its process died');
        await sleep(150);
        expect((await ex.well({ ...conf, every: '100ms' })).counts.rowsOut).toBe(1_000);
        await cutOff('failed', 'whatever came after the last row');
        expect((await ex.well({ ...conf, resume_within: '0' })).counts.rowsOut).toBe(1_000);
        await cutOff('interrupted', 'its process 3 died');
        expect(
          (await ex.well({ ...conf, sql: 'select keyid, v from r where keyid > 500' })).counts.rowsOut,
        ).toBe(500);
      } finally {
        await ledger.close();
      }
    },
  );

  it('is whole for a ledger that has lost its runs', async () => {
    await ex.fill(1, 10);
    const conf = { ...ALL, key: 'keyid' };
    await ex.well(conf);
    const ledger = await openStore(`sqlite:${join(ex.root, 'ledger.db')}?sync=normal`);
    await ledger.execute('DELETE FROM runs');
    await ledger.close();
    expect((await ex.well(conf)).counts.rowsOut).toBe(10);
  });
});
