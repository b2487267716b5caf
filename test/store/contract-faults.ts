/** Part of the store contract: a server that dies and comes back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { StoreError, type SqlRow, type Store } from '../../src/store/driver.js';
import type { OwnServer } from '../support/servers.js';
import { codeOf, countOf, failureOf, type Kit } from './contract.js';

const ROWS = 200_000;
/** Codes of a call that a dying server interrupts; LOST alone leaves open what became of a write. */
const INTERRUPTED = ['LOST', 'TIMEOUT'];

export function faultContract(kit: Kit): void {
  const { types, own, openUrl, series } = kit.options;
  if (own === undefined || openUrl === undefined) return;

  describe('a server that dies', { timeout: 120_000 }, () => {
    let server: OwnServer;
    let store: Store;
    let table: string;
    beforeAll(async () => {
      server = await own();
      store = await openUrl(server.url);
    }, 120_000);
    afterAll(async () => {
      await store.close();
      await server.stop();
    });
    beforeEach(async () => {
      table = await kit.table(`id ${types.integer} PRIMARY KEY, v ${types.text(100)}`, store);
    });

    /** All or nothing: what a write left behind, and what its caller was told. */
    const consistent = async (outcome: string): Promise<void> => {
      const count = await countOf(store, table);
      expect([0, ROWS]).toContain(count);
      if (outcome === 'fulfilled') expect(count).toBe(ROWS);
      else expect(INTERRUPTED).toContain(outcome);
    };

    it('in the middle of a batch leaves nothing half done, and the store finds it again', async () => {
      const rows = Array.from({ length: ROWS }, (_, id): SqlRow => [id, `value ${id}`]);
      const outcome = codeOf(store.batch(`INSERT INTO ${table} (id, v) VALUES (?, ?)`, rows));
      await sleep(150);
      await server.kill();
      const code = await outcome;
      await server.restart();
      expect(code).not.toBe('fulfilled');
      await consistent(code);
    });

    it.each(['error', 'skip', 'update'] as const)(
      'in the middle of a bulk load (%s) leaves nothing half done',
      async (onDuplicate) => {
        let killed: Promise<void> | undefined;
        async function* source(): AsyncGenerator<Uint8Array> {
          for (let id = 0; id < ROWS; id++) {
            if (id === ROWS / 2) killed = server.kill();
            if (id % 1000 === 0) await sleep(1);
            yield Buffer.from(`${id}\tvalue ${id}\n`);
          }
        }
        const options = onDuplicate === 'error' ? { onDuplicate } : { onDuplicate, keys: ['id'] };
        const code = await codeOf(store.bulk(table, ['id', 'v'], source(), options));
        await killed;
        await server.restart();
        expect(code).not.toBe('fulfilled');
        await consistent(code);
      },
    );

    it('in the middle of a transaction undoes it', async () => {
      const work = store.transaction(async (tx) => {
        await tx.execute(`INSERT INTO ${table} (id) VALUES (1)`);
        await server.kill();
        await tx.execute(`INSERT INTO ${table} (id) VALUES (2)`);
      });
      expect((await failureOf(work)).code).toBe('LOST');
      await server.restart();
      expect(await countOf(store, table)).toBe(0);
    });

    it('in the middle of a stream ends it with an error', async () => {
      const reading = (async () => {
        let killed = false;
        for await (const { rows } of store.stream(series(3_000_000))) {
          if (!killed) await server.kill();
          killed = rows.length > 0;
        }
      })();
      expect((await failureOf(reading)).code).toBe('LOST');
      await server.restart();
      expect(await countOf(store, table)).toBe(0);
    });

    it('is waited for by the calls that come meanwhile, until their deadlines', async () => {
      await server.kill();
      const began = performance.now();
      const failure = await failureOf(store.query(`SELECT id FROM ${table}`, [], { timeoutMs: 700 }));
      // The first to notice may be told that its connection is gone.
      expect(failure).toBeInstanceOf(StoreError);
      expect(failure.retryable).toBe(true);
      expect(performance.now() - began).toBeLessThan(20_000);
      const second = await failureOf(store.query(`SELECT id FROM ${table}`, [], { timeoutMs: 700 }));
      expect(second.code).toBe('TIMEOUT');
      expect(second.message).toMatch(/ECONNREFUSED|cannot|connect/i);
      const waiting = store.query(`SELECT count(*) FROM ${table}`, [], { timeoutMs: 60_000 });
      await server.restart();
      expect((await waiting).rows).toEqual([[0]]);
    });

    it('tells no secret', async () => {
      await server.kill();
      const password = new URL(server.url).password;
      const failures = [
        await failureOf(store.query(`SELECT id FROM ${table}`, [], { timeoutMs: 300 })),
        await failureOf(openUrl(server.url)),
      ];
      for (const failure of failures) {
        expect(password.length).toBeGreaterThan(8);
        expect(`${failure.message} ${String(failure.cause)} ${failure.stack}`).not.toContain(password);
      }
      expect(failures[1]?.code).toBe('OPEN');
      await server.restart();
      const wrong = server.url.replace(password, 'not-the-password');
      const refused = await failureOf(openUrl(wrong));
      expect(refused.code).toBe('OPEN');
      expect(refused.message).not.toContain('not-the-password');
    });
  });
}
