import { spawn } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type Store } from '../../src/store/driver.js';
import { Ledger, NO_COUNTS } from '../../src/store/ledger.js';
import { DATABASES } from '../support/databases.js';

const DIST = new URL('../../dist/store/', import.meta.url);

for (const { name, present, fresh, clean } of DATABASES) {
  describe.skipIf(!present)(`the run ledger on ${name}`, () => {
    let url: string;
    let store: Store;

    beforeEach(async () => {
      url = await fresh();
      store = await openStore(url);
    });

    afterEach(async () => {
      await store.close();
      clean();
    });

    it('tells what a run did and when the stage is due again', async () => {
      let clock = 1_000;
      const ledger = await Ledger.open(store, { now: () => clock });
      const id = await ledger.begin('load-obs');
      expect((await ledger.list())[0]).toMatchObject({ id, stage: 'load-obs', state: 'running', startedAt: 1_000, endedAt: undefined }); // prettier-ignore
      await ledger.progress(id, { ...NO_COUNTS, rowsIn: 5 });
      expect((await ledger.list())[0]).toMatchObject({ state: 'running', rowsIn: 5 });
      clock = 2_500;
      const counts = { rowsIn: 10, rowsOut: 8, rowsRejected: 2, files: 1, bytes: 2 ** 40, errors: 0 };
      await ledger.finish(id, 'ok', counts, { message: 'm'.repeat(900), nextDue: 12_500 });
      expect((await ledger.list())[0]).toEqual({ id, stage: 'load-obs', state: 'ok', startedAt: 1_000, endedAt: 2_500, message: 'm'.repeat(500), nextDue: 12_500, ...counts }); // prettier-ignore
    });

    it('takes any message, cut so that every database can keep it', async () => {
      const ledger = await Ledger.open(store);
      const id = await ledger.begin('a');
      await ledger.finish(id, 'failed', NO_COUNTS, { message: `\0${'😀'.repeat(300)}` });
      expect((await ledger.list())[0]?.message).toBe('😀'.repeat(249));
    });

    it('remembers for stages, by name, what they last said', async () => {
      const ledger = await Ledger.open(store);
      expect(await ledger.recall('a', 'position')).toBeUndefined();
      await ledger.remember('a', 'position', '1');
      await ledger.remember('b', 'position', '2');
      await ledger.remember('a', 'position', "it's \\ 3");
      expect([await ledger.recall('a', 'position'), await ledger.recall('b', 'position')]).toEqual(["it's \\ 3", '2']); // prettier-ignore
    });

    it('lists the newest first, by stage if asked, and the latest of each', async () => {
      const ledger = await Ledger.open(store);
      for (const stage of ['a', 'b', 'a']) await ledger.finish(await ledger.begin(stage), 'ok', NO_COUNTS);
      expect((await ledger.list()).map(({ id }) => id)).toEqual([3, 2, 1]);
      expect((await ledger.list({ stage: 'a', limit: 1 })).map(({ id }) => id)).toEqual([3]);
      expect((await ledger.latest()).map(({ id, stage }) => [stage, id])).toEqual([['a', 3], ['b', 2]]); // prettier-ignore
    });

    it('keeps a bounded history of each stage', async () => {
      const ledger = await Ledger.open(store, { keepRuns: 3 });
      await ledger.finish(await ledger.begin('rare'), 'ok', NO_COUNTS);
      for (let i = 0; i < 10; i += 1) await ledger.finish(await ledger.begin('often'), 'ok', NO_COUNTS);
      await ledger.begin('often');
      expect(await ledger.list({ stage: 'often' })).toHaveLength(4);
      expect(await ledger.list({ stage: 'rare' })).toHaveLength(1);
    });

    it('knows whether a run was cut off and nothing has made up for it yet', async () => {
      const ledger = await Ledger.open(store);
      const first = await ledger.begin('a');
      const other = await ledger.begin('b');
      const second = await ledger.begin('a');
      expect(await ledger.cutOff('a', first)).toBe(true);
      await ledger.finish(second, 'failed', NO_COUNTS, { message: 'no' });
      const third = await ledger.begin('a');
      await ledger.finish(third, 'ok', NO_COUNTS, { message: 'stopped' });
      await ledger.finish(other, 'ok', NO_COUNTS);
      expect(await ledger.cutOff('a', first)).toBe(true);
      await ledger.finish(await ledger.begin('a'), 'ok', NO_COUNTS);
      expect(await ledger.cutOff('a', first)).toBe(false);
      expect(await ledger.cutOff('a', other)).toBe(false);
      expect(await ledger.cutOff('a', 1_000)).toBe(false);
    });

    it('marks the run of a stage that begins anew as interrupted', async () => {
      const ledger = await Ledger.open(store);
      const crashed = await ledger.begin('a');
      const other = await ledger.begin('b');
      await ledger.begin('a');
      const states = new Map((await ledger.list()).map(({ id, state }) => [id, state]));
      expect([states.get(crashed), states.get(other)]).toEqual(['interrupted', 'running']);
    });

    it('takes a silent run of another host for dead after an hour', async () => {
      const day = 86_400_000;
      const ledger = await Ledger.open(store, { now: () => day });
      await ledger.begin('a');
      await store.execute(`UPDATE runs SET host = 'elsewhere.example'`);
      await Ledger.open(store, { now: () => day + 3_500_000 });
      expect((await ledger.list())[0]?.state).toBe('running');
      await Ledger.open(store, { now: () => day + 3_700_000 });
      expect((await ledger.list())[0]?.state).toBe('interrupted');
    });

    it('does not take a reused process id for the process that died', async () => {
      const ledger = await Ledger.open(store);
      await ledger.begin('a');
      await store.execute(`UPDATE runs SET process_started = 'another boot/1'`);
      await Ledger.open(store);
      expect((await ledger.list())[0]?.state).toBe('interrupted');
    });

    it('survives kill -9: every run that was acknowledged is there, and the last one is interrupted', async () => {
      const source = `
      const { openStore } = await import('${DIST.href}driver.js');
      const { Ledger, NO_COUNTS } = await import('${DIST.href}ledger.js');
      const ledger = await Ledger.open(await openStore('${url}'));
      for (;;) {
        const id = await ledger.begin('victim');
        process.stdout.write('begun ' + id + '\\n');
        await ledger.finish(id, 'ok', { ...NO_COUNTS, rowsOut: id });
        process.stdout.write('ended ' + id + '\\n');
      }`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', source]);
      let output = '';
      const exited = new Promise((resolve) => child.once('exit', resolve));
      child.stderr.on('data', (text: Buffer) => (output += String(text)));
      child.stdout.on('data', (text: Buffer) => {
        output += String(text);
        if (output.includes('ended 20\n')) child.kill('SIGKILL');
      });
      await exited;
      const ledger = await Ledger.open(store);
      const runs = new Map((await ledger.list({ limit: 10_000 })).map((run) => [run.id, run]));
      const acknowledged = [...output.matchAll(/^(begun|ended) (\d+)$/gm)].map(([, what, id]) => ({
        what,
        id: Number(id),
      }));
      expect(acknowledged.length).toBeGreaterThanOrEqual(40);
      for (const { what, id } of acknowledged) {
        if (what === 'ended') expect(runs.get(id)).toMatchObject({ state: 'ok', rowsOut: id });
        else expect(['ok', 'interrupted']).toContain(runs.get(id)?.state);
      }
      expect([...runs.values()].filter(({ state }) => state === 'running')).toEqual([]);
    });
  });
}
