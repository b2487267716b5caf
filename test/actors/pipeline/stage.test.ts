import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stageActor, stageKeys, type StageStatus } from '../../../src/actors/pipeline/stage.js';
import { isRetryable, runOnce, StageError, type StageRun } from '../../../src/actors/pipeline/stage/run.js';
import type { Actor } from '../../../src/runtime/actor.js';
import { openStore, StoreError } from '../../../src/store/driver.js';
import { Ledger, type Run } from '../../../src/store/ledger.js';
import { FakeContext } from '../../support/fake-context.js';
import { paramsOf } from '../../support/stage-params.js';

let folder = '';
let ledgerUrl = '';
let clock = 0;
const actors: Actor[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stage-'));
  ledgerUrl = `sqlite:${join(folder, 'ledger.db')}`;
  clock = Date.now();
});
afterEach(async () => {
  for (const actor of actors.splice(0)) await actor.stop?.('test');
  await rm(folder, { recursive: true, force: true });
});

async function start(
  work: (run: StageRun) => Promise<void>,
  written: Record<string, string> = {},
): Promise<{ actor: Actor; ctx: FakeContext }> {
  const ctx = new FakeContext(paramsOf(stageKeys, { ledger: ledgerUrl, ...written }), 'stage/test');
  const actor = await stageActor(
    () => ({ run: work }),
    () => clock,
  )(ctx);
  await actor.init?.();
  actors.push(actor);
  return { actor, ctx };
}

const delays = (ctx: FakeContext): number[] => [...ctx.timers].map((timer) => timer.delayMs);

async function runs(): Promise<Run[]> {
  const store = await openStore(ledgerUrl);
  const list = await (await Ledger.open(store)).list();
  await store.close();
  return list;
}

describe('a stage', () => {
  it('runs at once on its first start, then counts from the end of the run', async () => {
    let count = 0;
    const { actor, ctx } = await start(async (run) => {
      count++;
      clock += 5_000;
      run.counts.rowsIn += 3;
      run.progress();
    });
    expect(await ctx.turn(actor)).toBe(0);
    expect([count, delays(ctx), ctx.beats]).toEqual([1, [60_000], 1]);
    expect(await runs()).toMatchObject([
      { stage: 'stage/test', state: 'ok', rowsIn: 3, nextDue: clock + 60_000 },
    ]);
  });

  it('keeps its next time over a restart', async () => {
    const first = await start(async () => undefined);
    await first.ctx.turn(first.actor);
    await first.actor.stop?.('restart');
    clock += 20_000;
    const second = await start(async () => undefined);
    expect(delays(second.ctx)).toEqual([40_000]);
  });

  it('runs at once after a run that was cut off', async () => {
    const store = await openStore(ledgerUrl);
    await (await Ledger.open(store)).begin('stage/test');
    await store.close();
    const { ctx } = await start(async () => undefined);
    expect(delays(ctx)).toEqual([0]);
  });

  it('tries again with growing waits when the failure may pass, and gives up until its regular time', async () => {
    const { actor, ctx } = await start(
      async () => {
        throw new StageError('the database is away', true);
      },
      { every: '1h', retries: '3', retry_wait: '1s', retry_max_wait: '3s' },
    );
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) {
      await ctx.turn(actor, (ms) => (clock += ms));
      waits.push(...delays(ctx));
    }
    const near = (wait: number | undefined, full: number): boolean =>
      wait !== undefined && wait > full * 0.7 && wait <= full;
    expect([near(waits[0], 1_000), near(waits[1], 2_000), near(waits[2], 3_000)]).toEqual([true, true, true]);
    expect(waits.slice(3)).toEqual([3_600_000, 3_600_000]);
    expect((await runs())[0]).toMatchObject({ state: 'failed', errors: 1, message: 'the database is away' });
    expect(ctx.log.named('stage.failed')).toHaveLength(5);
  });

  it('does not try again at once when trying cannot help', async () => {
    const { actor, ctx } = await start(async () => {
      throw new Error('no such column');
    });
    await ctx.turn(actor);
    expect(delays(ctx)).toEqual([60_000]);
    expect(ctx.log.named('stage.failed-for-good')).toHaveLength(1);
  });

  it('pauses, runs when told, resumes and tells its state', async () => {
    let count = 0;
    const { actor, ctx } = await start(async () => {
      count++;
    });
    await actor.receive?.({ type: 'pause' }, undefined);
    await ctx.turn(actor);
    expect(count).toBe(0);
    expect(await actor.receive?.({ type: 'run-now' }, undefined)).toMatchObject({
      paused: true,
      lastRun: { state: 'ok' },
    });
    expect(count).toBe(1);
    clock += 70_000;
    const status = (await actor.receive?.({ type: 'resume' }, undefined)) as StageStatus;
    expect(status).toMatchObject({ stage: 'stage/test', paused: false, nextDue: clock, failures: 0 });
    await ctx.turn(actor);
    expect(count).toBe(2);
  });

  it('ignores a timer that was overtaken', async () => {
    let count = 0;
    const { actor, ctx } = await start(async () => {
      count++;
    });
    const [old] = [...ctx.timers];
    await actor.receive?.({ type: 'run-now' }, undefined);
    await actor.receive?.(old?.body, undefined);
    expect(count).toBe(1);
  });

  it('records a stop in the middle and is due at once afterwards', async () => {
    const { actor, ctx } = await start(async () => ctx.stopping.abort());
    await ctx.turn(actor);
    expect(await runs()).toMatchObject([{ state: 'ok', message: 'stopped', nextDue: clock }]);
  });
});

describe('a single run for the command line', () => {
  const env = { name: 'x', params: {}, log: new FakeContext({}).log, signal: new AbortController().signal };

  it('is recorded, unless it is a dry run', async () => {
    const seen: boolean[] = [];
    const factory = (): { run(run: StageRun): Promise<void> } => ({
      run: async (run) => void seen.push(run.dryRun),
    });
    expect(await runOnce(factory, env, { dryRun: true, ledgerUrl })).toMatchObject({ state: 'ok' });
    expect(await runs()).toEqual([]);
    await runOnce(factory, env, { dryRun: false, ledgerUrl });
    expect(await runs()).toMatchObject([{ stage: 'x', state: 'ok' }]);
    expect(seen).toEqual([true, false]);
  });

  it('waits while the disk it writes to has less room than it is to keep', async () => {
    const log = new FakeContext({}, 'x').log;
    const env = { name: 'x', params: { min_free: 2 ** 60 }, log, signal: new AbortController().signal };
    let ran = false;
    const stage = { run: async () => void (ran = true), outputs: [join(folder, 'not', 'yet')] };
    const options = { dryRun: false, ledgerUrl: undefined };
    const result = await runOnce(() => stage, env, options);
    expect(result).toMatchObject({ state: 'failed', retryable: true });
    expect(String(result.error)).toContain('min_free asks for');
    expect(ran).toBe(false);
    expect(await runOnce(() => stage, { ...env, params: { min_free: 1 } }, options)).toMatchObject({
      state: 'ok',
    });
  });

  it('gives the failure back', async () => {
    const factory = () => ({ run: async () => Promise.reject(new StoreError('BUSY', 'locked')) });
    const result = await runOnce(factory, env, { dryRun: false, ledgerUrl });
    expect(result).toMatchObject({ state: 'failed', retryable: true, counts: { errors: 1 } });
  });

  it('is no failure when it was told to stop and its database call was given up', async () => {
    const factory = () => ({ run: async () => Promise.reject(new StoreError('CANCELLED', 'given up')) });
    const options = { dryRun: false, ledgerUrl };
    const result = await runOnce(factory, { ...env, signal: AbortSignal.abort() }, options);
    expect(result).toMatchObject({ state: 'ok', counts: { errors: 0 } });
    expect(await runOnce(factory, env, options)).toMatchObject({ state: 'failed', counts: { errors: 1 } });
  });
});

describe('failures', () => {
  it('are told apart: those that may pass and those that will not', () => {
    const system = (code: string): Error => Object.assign(new Error(code), { code });
    expect(
      [new StoreError('LOST', ''), new StoreError('OPEN', ''), system('ENOSPC')].map(isRetryable),
    ).toEqual([true, true, true]);
    expect([new StoreError('SYNTAX', ''), new Error('x'), 'text', system('EACCES')].map(isRetryable)).toEqual(
      [false, false, false, false],
    );
  });
});
