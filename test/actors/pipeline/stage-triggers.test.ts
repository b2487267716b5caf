import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stageActor, stageKeys } from '../../../src/actors/pipeline/stage.js';
import type { Stage } from '../../../src/actors/pipeline/stage/run.js';
import { FolderWatch } from '../../../src/actors/pipeline/stage/triggers.js';
import type { Actor } from '../../../src/runtime/actor.js';
import { openStore, type Store } from '../../../src/store/driver.js';
import { Ledger } from '../../../src/store/ledger.js';
import { FakeContext } from '../../support/fake-context.js';
import { paramsOf } from '../../support/stage-params.js';

let folder = '';
let url = '';
let store: Store;
let ledger: Ledger;
const actors: Actor[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'triggers-'));
  url = `sqlite:${join(folder, 'ledger.db')}`;
  store = await openStore(url);
  ledger = await Ledger.open(store);
});
afterEach(async () => {
  for (const actor of actors.splice(0)) await actor.stop?.('test');
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

const COUNTS = { rowsIn: 0, rowsOut: 0, rowsRejected: 0, files: 0, bytes: 0, errors: 0 };

async function ran(stage: string, files: number, state: 'ok' | 'failed' = 'ok'): Promise<void> {
  await ledger.finish(await ledger.begin(stage), state, { ...COUNTS, files });
}

async function start(stage: Stage, written: Record<string, string>): Promise<[Actor, FakeContext]> {
  const ctx = new FakeContext(paramsOf(stageKeys, { ledger: url, ...written }), 'second');
  const actor = await stageActor(() => stage)(ctx);
  await actor.init?.();
  actors.push(actor);
  return [actor, ctx];
}

/** Lets everything happen that is due within a second. */
async function second(actor: Actor, ctx: FakeContext): Promise<void> {
  for (let i = 0; i < 3; i++) await ctx.turn(actor);
}

describe('a stage with after', () => {
  it('runs once for what its predecessor brought, and not for runs that brought nothing or failed', async () => {
    let runs = 0;
    const [actor, ctx] = await start({ run: async () => void runs++ }, { after: 'first' });
    await second(actor, ctx);
    expect(runs).toBe(0);
    await ran('first', 0);
    await ran('first', 3, 'failed');
    await second(actor, ctx);
    expect(runs).toBe(0);
    await ran('first', 3);
    await second(actor, ctx);
    await second(actor, ctx);
    expect(runs).toBe(1);
    await ran('first', 1);
    await second(actor, ctx);
    expect(runs).toBe(2);
  });

  it('follows what happened while it was down', async () => {
    let runs = 0;
    const work = { run: async () => void runs++ };
    await ran('first', 1);
    const [actor, ctx] = await start(work, { after: 'other,first' });
    await second(actor, ctx);
    await actor.stop?.('restart');
    await ran('other', 1);
    const again = await start(work, { after: 'other,first' });
    await second(...again);
    await second(...again);
    expect(runs).toBe(2);
  });

  it('tries again after a failure, and at once after a run that was cut off', async () => {
    let runs = 0;
    const failing = {
      run: async () => {
        runs++;
        throw Object.assign(new Error('away'), { code: 'ECONNREFUSED' });
      },
    };
    await ran('first', 1);
    const [actor, ctx] = await start(failing, { after: 'first', retry_wait: '10ms' });
    await expect
      .poll(async () => {
        await ctx.turn(actor);
        return runs;
      })
      .toBeGreaterThanOrEqual(2);
    await actor.stop?.('test');
    await ledger.begin('second');
    const [, later] = await start({ run: async () => undefined }, { after: 'first' });
    expect([...later.timers].map((timer) => timer.delayMs)).toContain(0);
  });
});

describe('a watched folder', () => {
  it('makes a run due soon, once for many files', async () => {
    let runs = 0;
    const inbox = join(folder, 'in');
    await mkdir(inbox);
    const [actor, ctx] = await start({ run: async () => void runs++, folders: [inbox] }, { every: '1h' });
    await ctx.turn(actor);
    expect(ctx.timers.size).toBe(1);
    for (let i = 0; i < 20; i++) await writeFile(join(inbox, `${i}.xml`), '');
    await expect.poll(() => ctx.timers.size).toBe(2);
    await ctx.turn(actor);
    await ctx.turn(actor);
    expect(runs).toBe(2);
  });

  it('is no news when files leave it, are temporary or hidden; one that comes later is watched from then on', async () => {
    const inbox = join(folder, 'later');
    let news = 0;
    const watch = new FolderWatch([inbox], () => news++);
    watch.renew();
    await mkdir(inbox);
    await writeFile(join(inbox, 'old'), '');
    watch.renew();
    await writeFile(join(inbox, 'a.tmp'), '');
    await writeFile(join(inbox, '.b'), '');
    await rename(join(inbox, 'old'), join(folder, 'gone'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(news).toBe(0);
    await rename(join(inbox, 'a.tmp'), join(inbox, 'a'));
    await expect.poll(() => news).toBeGreaterThan(0);
    watch.close();
  });
});
