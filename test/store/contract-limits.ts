/** Part of the store contract: deadlines, cancelling, queues, closing. */
import { describe, expect, it } from 'vitest';
import { codeOf, countOf, failureOf, type Kit } from './contract.js';

export function limitContract(kit: Kit): void {
  const { types, slow } = kit.options;

  describe('limits', () => {
    it('end a call at its deadline, and the store goes on', async () => {
      const { store } = kit;
      const began = performance.now();
      expect(await codeOf(store.query(slow, [], { timeoutMs: 300 }))).toBe('TIMEOUT');
      expect(performance.now() - began).toBeLessThan(20_000);
      const table = await kit.table(`id ${types.integer}`);
      expect(await countOf(store, table)).toBe(0);
    });

    it('end a call that its caller gives up', async () => {
      const { store } = kit;
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 200);
      expect(await codeOf(store.query(slow, [], { signal: stop.signal }))).toBe('CANCELLED');
      expect(await codeOf(store.query(slow, [], { signal: AbortSignal.abort() }))).toBe('CANCELLED');
    });

    it('let only so many calls wait, and count the waiting into the deadline', async () => {
      const small = await kit.options.open({ maxConnections: 1, maxPending: 3 });
      const stop = new AbortController();
      try {
        const holding = codeOf(small.query(slow, [], { signal: stop.signal, timeoutMs: 60_000 }));
        const others = Array.from({ length: 8 }, () => codeOf(small.version()));
        stop.abort();
        expect(await holding).toBe('CANCELLED');
        const outcomes = await Promise.all(others);
        // Whether the call under way counts as waiting differs.
        expect(outcomes.slice(0, 2)).toEqual(['fulfilled', 'fulfilled']);
        expect(outcomes.slice(3)).toEqual(Array.from({ length: 5 }, () => 'QUEUE_FULL'));

        const again = new AbortController();
        const first = codeOf(small.query(slow, [], { signal: again.signal, timeoutMs: 60_000 }));
        expect(await codeOf(small.query('SELECT id FROM SY_NOWHERE', [], { timeoutMs: 200 }))).toBe(
          'TIMEOUT',
        );
        again.abort();
        await first;
      } finally {
        stop.abort();
        await small.close();
      }
    });

    it('refuse calls after the close, which may be called twice and waits for those under way', async () => {
      const other = await kit.options.open();
      const table = await kit.table(`id ${types.integer}`);
      const insert = other.execute(`INSERT INTO ${table} (id) VALUES (1)`);
      await Promise.all([other.close(), insert]);
      await other.close();
      expect(await insert).toBe(1);
      expect(await codeOf(other.query(`SELECT id FROM ${table}`))).toBe('CLOSED');
      expect(await codeOf(other.transaction(async () => 1))).toBe('CLOSED');
      expect(await codeOf(other.stream(`SELECT id FROM ${table}`)[Symbol.asyncIterator]().next())).toBe(
        'CLOSED',
      );
      expect(await codeOf(other.bulk(table, ['id'], []))).toBe('CLOSED');
      expect(await codeOf(other.columns(table))).toBe('CLOSED');
    });

    it('do not lose the reason of a failure', async () => {
      const failure = await failureOf(kit.store.query('SELECT id FROM SY_NOWHERE'));
      expect(failure.message).toMatch(/sy_nowhere/i);
      expect(failure.retryable).toBe(false);
    });

    // The last one: SQLite cannot be interrupted, its statement holds the lock until it has counted to its end.
    it('leave a write that was given up undone', async () => {
      const { store } = kit;
      const table = await kit.table(`id ${types.integer}`);
      const write = `INSERT INTO ${table} (id) SELECT 1 FROM (${slow}) q`;
      expect(await codeOf(store.execute(write, [], { timeoutMs: 300 }))).toBe('TIMEOUT');
      expect(await countOf(store, table)).toBe(0);
    });
  });
}
