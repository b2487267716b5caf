import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { link, mkdir, readdir, readFile, unlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { openStore } from '../../../src/store/driver.js';
import { Extracting, range, valuesOf } from '../../support/extracting.js';
import { have, mariadb, postgres } from '../../support/servers.js';

const HARNESS = fileURLToPath(new URL('../../support/run-stage.mjs', import.meta.url));
const KILLS = 12;
const ROWS = 1_500;

let ex: Extracting | undefined;
let child: ChildProcess | undefined;
afterEach(async () => {
  child?.kill('SIGKILL');
  await ex?.close();
});

function start(open: Extracting, written: Record<string, string>, mode: 'once' | 'loop'): ChildProcess {
  return spawn(process.execPath, [HARNESS, 'extract', JSON.stringify(open.params(written)), mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** The next stage: takes files away as soon as they appear. A name that comes twice is an error of link(2). */
class Consumer {
  private stopped = false;
  private readonly work: Promise<void>;

  constructor(
    private readonly out: string,
    private readonly taken: string,
  ) {
    this.work = this.loop();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.work;
  }

  private async loop(): Promise<void> {
    await mkdir(this.taken);
    for (let last = false; !last; await sleep(20)) {
      last = this.stopped;
      for (const name of await readdir(this.out).catch(() => [])) {
        if (name.startsWith('.')) continue;
        await link(join(this.out, name), join(this.taken, name));
        await unlink(join(this.out, name));
      }
    }
  }
}

async function numbersIn(folder: string): Promise<number[]> {
  const keys: number[] = [];
  for (const name of await readdir(folder)) {
    keys.push(...valuesOf(await readFile(join(folder, name), 'utf8'), 'keyid').map(Number));
  }
  return keys.sort((a, b) => a - b);
}

const sources: readonly (readonly [string, boolean, () => Promise<string | undefined>])[] = [
  ['SQLite', true, async () => undefined],
  ['MariaDB', have.mariadb, mariadb],
  ['PostgreSQL', have.postgres, postgres],
];

const FULL = {
  sql: 'select keyid, v from r',
  fields: 'keyid,v',
  key: 'keyid',
  file_rows: '20',
  step_files: '10',
};

describe('extract under SIGKILL', () => {
  it.each(sources.filter(([, here]) => here))(
    'sends every new row of %s once, and no file name twice',
    { timeout: 240_000 },
    async (_, __, url) => {
      ex = await Extracting.open(await url());
      await ex.fill(1, 0);
      const conf = {
        sql: 'select keyid, v from r where keyid>:1',
        fields: 'keyid,v',
        inc_field: 'keyid',
        overlap: '200',
        file_rows: '20',
        step_files: '4',
      };
      const taken = join(ex.root, 'taken');
      const consumer = new Consumer(ex.out, taken);
      let killedAtWork = 0;
      for (let round = 0; round < KILLS; round++) {
        child = start(ex, conf, 'loop');
        const exit = once(child, 'exit');
        if (child.stdout) await once(child.stdout, 'data');
        const from = round * ROWS + 1;
        // The last five of each round are committed after the others were sent.
        await ex.fill(from, from + ROWS - 6);
        await sleep(Math.random() * 300);
        await ex.fill(from + ROWS - 5, from + ROWS - 1);
        await sleep(Math.random() * 150);
        child.kill('SIGKILL');
        await exit;
        const traces = await readdir(join(ex.out, '.extract-extract')).catch(() => []);
        if (traces.some((name) => name.startsWith('step'))) killedAtWork++;
      }
      child = start(ex, conf, 'once');
      const [code] = (await once(child, 'exit')) as [number];
      expect(code).toBe(0);
      await consumer.stop();
      const got = await numbersIn(taken);
      // Lists of what is wrong: a difference of 18,000 numbers says nothing.
      const seen = new Set(got);
      expect({
        missing: range(1, KILLS * ROWS).filter((key) => !seen.has(key)),
        twice: got.filter((key, i) => got[i - 1] === key),
      }).toEqual({ missing: [], twice: [] });
      expect(await readdir(ex.out)).toEqual(['.extract-extract']);
      // What a kill left of the making of a lock is swept when it is a minute old.
      const hidden = join(ex.out, '.extract-extract');
      const old = new Date(Date.now() - 120_000);
      for (const name of await readdir(hidden)) await utimes(join(hidden, name), old, old);
      child = start(ex, conf, 'once');
      await once(child, 'exit');
      expect(await readdir(hidden)).toEqual(['last.json']);
      // Otherwise the kills came too early or too late to prove anything.
      expect(killedAtWork).toBeGreaterThan(0);
    },
  );

  it('goes on in the middle of a full extraction by key', { timeout: 240_000 }, async () => {
    ex = await Extracting.open();
    await ex.fill(1, 40_000);
    let kills = 0;
    for (let code: number | null = null; code !== 0;) {
      child = start(ex, FULL, 'once');
      const exit = once(child, 'exit') as Promise<[number | null]>;
      if (child.stdout) await once(child.stdout, 'data');
      const ended = await Promise.race([
        exit,
        sleep(kills === 0 ? 50 : 150 + Math.random() * 500, undefined),
      ]);
      if (ended === undefined) child.kill('SIGKILL');
      [code] = await exit;
      if (code === null && ++kills > 200) throw new Error('it does not get on');
    }
    expect(kills).toBeGreaterThan(0);
    expect(await ex.numbers()).toEqual(range(1, 40_000));
  });

  it(
    'between the end of a full extraction and the end of its run sends nothing again',
    { timeout: 60_000 },
    async () => {
      ex = await Extracting.open();
      await ex.fill(1, 10_000);
      child = start(ex, FULL, 'once');
      const exit = once(child, 'exit');
      const last = async (): Promise<string> =>
        readFile(join(ex?.out ?? '', '.extract-extract', 'last.json'), 'utf8').catch(() => '');
      await expect.poll(last, { timeout: 20_000, interval: 1 }).not.toBe('');
      // With the ledger locked the run cannot write down its end.
      const ledger = await openStore(`sqlite:${join(ex.root, 'ledger.db')}?sync=normal`);
      await ledger.transaction(async (tx) => {
        await tx.execute("UPDATE runs SET message = NULL WHERE state = 'running'");
        await expect.poll(last, { timeout: 20_000 }).toContain('"ended"');
        child?.kill('SIGKILL');
        await exit;
      });
      expect((await ledger.query('SELECT state FROM runs')).rows).toEqual([['running']]);
      await ledger.close();
      expect(await ex.numbers()).toEqual(range(1, 10_000));
      for (const copies of [1, 2]) {
        child = start(ex, FULL, 'once');
        expect(await once(child, 'exit')).toEqual([0, null]);
        expect(await ex.numbers()).toHaveLength(copies * 10_000);
      }
    },
  );
});
