import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Deadline, granted, guard, paced } from '../../src/store/give-up.js';
import { placeholders } from '../../src/store/placeholders.js';
import { Slots } from '../../src/store/slots.js';
import { Watched } from '../support/garbage.js';
import { codeOf } from '../support/oracle-store.js';

const never = (): Promise<never> => new Promise(() => undefined);

describe('a deadline', () => {
  it('ends by time, by the signal, and with the one around it', async () => {
    const timed = new Deadline({ timeoutMs: 10 }, 1_000);
    expect(await codeOf(timed.over)).toBe('TIMEOUT');
    expect(await codeOf(new Deadline({ signal: AbortSignal.abort() }, 1_000).over)).toBe('CANCELLED');
    const outer = new Deadline({ timeoutMs: 10 }, 1_000);
    const inner = new Deadline({}, 60_000, outer);
    expect(inner.left).toBeLessThanOrEqual(10);
    expect(await codeOf(inner.over)).toBe('TIMEOUT');
    inner.done();
  });

  it('that is done does not end any more', async () => {
    const abort = new AbortController();
    const deadline = new Deadline({ timeoutMs: 5, signal: abort.signal }, 1_000);
    deadline.done();
    abort.abort();
    await sleep(20);
    expect(deadline.error).toBeUndefined();
  });

  it('gives back what is granted too late', async () => {
    let grant: (text: string) => void = () => undefined;
    const late: string[] = [];
    const promise = new Promise<string>((resolve) => (grant = resolve));
    expect(await codeOf(granted(promise, new Deadline({ timeoutMs: 5 }, 0), (text) => late.push(text)))).toBe(
      'TIMEOUT',
    );
    grant('connection');
    await sleep(0);
    expect(late).toEqual(['connection']);
  });

  it('lets a call that was faster than its cancellation count', async () => {
    let finish: (n: number) => void = () => undefined;
    const call = new Promise<number>((resolve) => (finish = resolve));
    const outcome = await guard(call, new Deadline({ timeoutMs: 5 }, 0), () => finish(7));
    expect(outcome).toEqual({ value: 7, cancelled: true });
    const failing = guard(Promise.reject(new Error('own')), new Deadline({}, 1_000), never);
    await expect(failing).rejects.toThrow('own');
  });

  it('keeps nothing of what was waited for under it', async () => {
    const deadline = new Deadline({}, 60_000);
    const items = new Watched<object>();
    const source = async function* (): AsyncGenerator<object> {
      for (let i = 0; i < 100; i++) yield items.add({ i });
    };
    const inner = new Watched<Deadline>();
    let alive = 0;
    for await (const item of paced(source(), deadline)) {
      expect(item).toBeTypeOf('object');
      inner.add(new Deadline({}, 60_000, deadline)).done();
      if (items.seen === 100) alive = await items.alive();
    }
    // The one at hand, and perhaps the one before it.
    expect(alive).toBeLessThan(4);
    expect(await inner.alive()).toBe(0);
    deadline.done();
  });

  it('leaves a source that brings nothing', async () => {
    const source = async function* (): AsyncGenerator<number> {
      yield 1;
      await never();
    };
    const seen: number[] = [];
    const read = async (): Promise<void> => {
      for await (const n of paced(source(), new Deadline({ timeoutMs: 20 }, 0))) seen.push(n);
    };
    expect(await codeOf(read())).toBe('TIMEOUT');
    expect(seen).toEqual([1]);
  });
});

describe('slots', () => {
  it('let so many in, in order, and forget who gave up', async () => {
    const slots = new Slots(1, 2);
    const open = new Deadline({}, 60_000);
    const first = await slots.take(open);
    const impatient = slots.take(new Deadline({ timeoutMs: 5 }, 0));
    const patient = slots.take(open);
    expect(await codeOf(slots.take(open))).toBe('QUEUE_FULL');
    expect(await codeOf(impatient)).toBe('TIMEOUT');
    first();
    first();
    const second = await patient;
    let closed = false;
    const closing = slots.close().then(() => (closed = true));
    await sleep(0);
    expect(closed).toBe(false);
    second();
    await closing;
    open.done();
  });
});

describe('placeholders', () => {
  it('stand for question marks outside of texts, names and comments', () => {
    const sql = `SELECT '?''?', "a?b", [c?d] -- ?\n/* ? */ FROM t WHERE x = ? AND y = ?`;
    expect(placeholders(sql, (n) => `@p${n}`, 2, true)).toBe(
      sql.replace('x = ?', 'x = @p1').replace('y = ?', 'y = @p2'),
    );
    expect(placeholders(`SELECT q'[it's ?]', nq'{?}', q'!?!' FROM a WHERE b = ?`, (n) => `:${n}`, 1)).toBe(
      `SELECT q'[it's ?]', nq'{?}', q'!?!' FROM a WHERE b = :1`,
    );
    expect(() => placeholders('SELECT ?', String, 2)).toThrow(/1 placeholders, but 2 values/);
  });
});
