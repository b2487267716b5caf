import fc from 'fast-check';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { RangeDealer } from '../../../src/actors/pipeline/stage/range-dealer.js';

function counter(count: number): () => Promise<number | undefined> {
  let next = 0;
  return async () => {
    await turn();
    return next < count ? next++ : undefined;
  };
}

describe('ranges dealt to several workers', () => {
  it('go to each once, and no end of one touches rows of another that is worked on', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.integer({ min: 0, max: 7 }), { minLength: 1, maxLength: 50 }),
        async (count, workers, pauses) => {
          const dealer = new RangeDealer(counter(count));
          const dealt: number[] = [];
          const active = new Set<number>();
          const gone = new Set<number>();
          let most = 0;
          const touched = (range: number): number => {
            let at = range + 1;
            while (gone.has(at)) at++;
            return at;
          };
          const work = async (): Promise<void> => {
            for (;;) {
              const one = await dealer.take();
              if (one === undefined) return;
              active.add(one.range);
              dealt.push(one.range);
              most = Math.max(most, active.size);
              for (let i = pauses[dealt.length % pauses.length] ?? 0; i > 0; i--) {
                expect([...active].filter((range) => active.has(touched(range)))).toEqual([]);
                await turn();
              }
              active.delete(one.range);
              gone.add(one.range);
              dealer.done(one);
            }
          };
          await Promise.all(Array.from({ length: workers }, work));
          await dealer.close();
          expect([...dealt].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, n) => n));
          expect(most).toBeLessThanOrEqual(workers);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('keep three workers busy', async () => {
    const dealer = new RangeDealer(counter(100));
    let active = 0;
    const seen = [0, 0, 0, 0];
    const work = async (): Promise<void> => {
      for (let one = await dealer.take(); one !== undefined; one = await dealer.take()) {
        active++;
        for (let i = 0; i < 10; i++) await turn();
        seen[active] = (seen[active] ?? 0) + 1;
        active--;
        dealer.done(one);
      }
    };
    await Promise.all([work(), work(), work()]);
    expect(seen.reduce((sum, n) => sum + n)).toBe(100);
    expect(seen[3]).toBeGreaterThan(50);
  });

  it('come in their order to a single worker', async () => {
    const dealer = new RangeDealer(counter(30));
    const order: number[] = [];
    for (let one = await dealer.take(); one !== undefined; one = await dealer.take()) {
      order.push(one.range);
      dealer.done(one);
    }
    expect(order).toEqual(Array.from({ length: 30 }, (_, n) => n));
  });

  it('are looked up again after that failed; only who needs one is told', async () => {
    let looks = 0;
    const next = counter(3);
    const dealer = new RangeDealer(async () => {
      looks++;
      if (looks === 2 || looks === 4) throw new Error('away');
      return next();
    });
    const first = await dealer.take();
    // The second look was ahead, and nobody was told.
    await turn();
    await turn();
    expect([first?.range, looks]).toEqual([0, 2]);
    if (first !== undefined) dealer.done(first);
    expect((await dealer.take())?.range).toBe(1);
  });

  it('are dealt no more when it is closed, also to those who wait', async () => {
    const dealer = new RangeDealer(counter(1));
    await dealer.take();
    const waiting = dealer.take();
    await dealer.close();
    expect(await waiting).toBeUndefined();
    expect(await dealer.take()).toBeUndefined();
  });
});
