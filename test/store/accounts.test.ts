import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Accounts } from '../../src/store/accounts.js';
import { openStore, type Store } from '../../src/store/driver.js';
import { DATABASES } from '../support/databases.js';
import { HasherBusyError, PasswordHasher } from '../../src/store/passwords.js';

describe('a password hash', () => {
  const hasher = new PasswordHasher({ cost: 10 });

  it('is salted, says how it was made, and fits its password only', async () => {
    const [one, two] = await Promise.all([hasher.hash('secret'), hasher.hash('secret')]);
    expect(one).not.toBe(two);
    expect(one).toMatch(/^scrypt\$10\$8\$1\$/);
    expect(await hasher.verify('secret', one)).toBe(true);
    expect(await hasher.verify('Secret', one)).toBe(false);
    expect(await hasher.verify('', one)).toBe(false);
  });

  it('made with another cost still counts', async () => {
    const older = await new PasswordHasher({ cost: 11 }).hash('secret');
    expect(await hasher.verify('secret', older)).toBe(true);
  });

  it('by default costs what it should', async () => {
    expect(await new PasswordHasher().hash('x')).toMatch(/^scrypt\$15\$8\$1\$/);
  });

  it('that is none, or would take all memory, fits nothing', async () => {
    const key = Buffer.alloc(32).toString('base64');
    const salt = Buffer.alloc(16).toString('base64');
    for (const text of [
      undefined,
      '',
      'secret',
      `scrypt$30$8$1$${salt}$${key}`,
      `scrypt$10$99$1$${salt}$${key}`,
    ]) {
      expect(await hasher.verify('secret', text)).toBe(false);
    }
  });

  it('for nobody is computed all the same', async () => {
    // A busy hasher shows that work was asked for: without it the answer would come at once.
    const full = new PasswordHasher({ cost: 14, concurrency: 1, maxWaiting: 0 });
    const busy = full.hash('x');
    await expect(full.verify('x', undefined)).rejects.toThrow(HasherBusyError);
    await busy;
    expect(await full.verify('x', undefined)).toBe(false);
  });

  it('waits its turn, within a limit', async () => {
    const small = new PasswordHasher({ cost: 12, concurrency: 2, maxWaiting: 3 });
    const results = await Promise.allSettled(Array.from({ length: 9 }, () => small.hash('x')));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
    // All places are free again.
    await expect(Promise.all(Array.from({ length: 5 }, () => small.hash('x')))).resolves.toHaveLength(5);
  });
});

for (const { name, present, fresh, clean } of DATABASES) {
  describe.skipIf(!present)(`accounts on ${name}`, () => {
    let url: string;
    let store: Store;
    let clock = 1_000_000;
    const hasher = new PasswordHasher({ cost: 10, maxWaiting: 1_000 });

    const open = async (): Promise<Accounts> =>
      Accounts.open({ store, hasher, lockAfter: 3, lockMs: 60_000, minPassword: 6, now: () => clock });

    let accounts: Accounts;

    beforeEach(async () => {
      url = await fresh();
      store = await openStore(url);
      accounts = await open();
    });

    afterEach(async () => {
      await store.close();
      clean();
    });

    const outcome = async (name: string, password: string): Promise<string> =>
      (await accounts.verify(name, password)).outcome;

    it('let in who registered, with the right password only', async () => {
      expect(await accounts.register('alice', 'secret')).toBe('created');
      expect(await accounts.verify('alice', 'secret')).toMatchObject({ outcome: 'ok', name: 'alice' });
      expect(await outcome('alice', 'wrong!')).toBe('refused');
      expect(await outcome('bob', 'secret')).toBe('refused');
    });

    it('keep no password', async () => {
      await accounts.register('alice', 'a very special password');
      expect(JSON.stringify(await store.query('SELECT * FROM accounts'))).not.toContain('special');
    });

    it('are one for names that look alike, even when registered at the same time', async () => {
      const names = ['alice', 'Alice', 'ALICE', 'ａｌｉｃｅ', 'alice'];
      const results = await Promise.all(names.map((name) => accounts.register(name, 'secret')));
      expect(results.filter((result) => result === 'created')).toHaveLength(1);
      expect(results.filter((result) => result === 'taken')).toHaveLength(4);
    });

    it('have names that fit the wire and passwords worth the name', async () => {
      expect(await accounts.register('王小明', '密码密码密码')).toBe('created');
      expect(await accounts.register('x'.repeat(55), 'secret')).toBe('created');
      const bad = ['', ' ', 'a b', 'a\0b', 'a\nb', 'x'.repeat(56), '\ufffd', '\ud800', 'ﷺ'.repeat(18)];
      for (const name of bad) expect(await accounts.register(name, 'secret')).toBe('bad-name');
      expect(await accounts.register('bob', 'short')).toBe('bad-password');
      expect(await accounts.register('bob', 'x'.repeat(1_025))).toBe('bad-password');
    });

    it('cannot be reached by SQL in a name or password', async () => {
      await accounts.register('alice', 'secret');
      const piece = fc.constantFrom(`'`, `"`, ';', '--', '/*', '*/', ' OR ', '1=1', '%', '_', '\\', '\0', 'alice', ')', '?', ' UNION SELECT '); // prettier-ignore
      const evil = fc.oneof(
        fc.array(piece, { maxLength: 6 }).map((parts) => parts.join('')),
        fc.string(),
      );
      const created = new Map<string, string>();
      await fc.assert(
        fc.asyncProperty(evil, evil, async (name, password) => {
          const key = name.normalize('NFKC').toLowerCase();
          fc.pre(key !== 'alice');
          if (created.get(key) !== password) expect(await outcome(name, password)).not.toBe('ok');
          if ((await accounts.register(name, password)) === 'created') created.set(key, password);
        }),
        { numRuns: 100 },
      );
      expect((await store.query('SELECT count(*) FROM accounts')).rows).toEqual([[1 + created.size]]);
      expect(await outcome('alice', 'secret')).toBe('ok');
      expect(await outcome(`alice' --`, 'secret')).toBe('refused');
    });

    it('are locked after failures in a row, for a time, also across a restart', async () => {
      await accounts.register('alice', 'secret');
      for (const wrong of ['wrong1', 'wrong2']) expect(await outcome('alice', wrong)).toBe('refused');
      expect(await outcome('alice', 'secret')).toBe('ok');
      for (const wrong of ['wrong1', 'wrong2', 'wrong3'])
        expect(await outcome('alice', wrong)).toBe('refused');
      expect(await outcome('alice', 'secret')).toBe('locked');
      await store.close();
      store = await openStore(url);
      accounts = await open();
      expect(await outcome('alice', 'secret')).toBe('locked');
      clock += 60_001;
      expect(await outcome('alice', 'secret')).toBe('ok');
    });

    it('are not opened by the right guess among many made at once', async () => {
      await accounts.register('alice', 'secret');
      const guesses = [...Array.from({ length: 20 }, (_, i) => `wrong-${i}`), 'secret'];
      const results = await Promise.all(guesses.map((password) => outcome('alice', password)));
      expect(results).not.toContain('ok');
      expect(await outcome('alice', 'secret')).toBe('locked');
    });
  });
}
