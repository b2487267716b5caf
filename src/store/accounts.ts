/** Accounts of clients: register and verify with lock-out, kept in the table `accounts`. Any thread. */
import { StoreError, type Store } from './driver.js';
import { migrate, type Migration } from './migrations.js';
import type { PasswordHasher } from './passwords.js';
import { onServers } from './schema-words.js';

const ACCOUNTS: readonly Migration[] = [
  {
    version: 1,
    statements: {
      sqlite: [
        `CREATE TABLE accounts (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          name_key VARCHAR(60) NOT NULL UNIQUE,
          name VARCHAR(60) NOT NULL,
          password VARCHAR(200) NOT NULL,
          failures INT NOT NULL DEFAULT 0,
          locked_until BIGINT NOT NULL DEFAULT 0,
          created_at BIGINT NOT NULL,
          last_login BIGINT)`,
      ],
      ...onServers(({ create, counter, end }) => [
        `${create} accounts (
          id ${counter},
          name_key VARCHAR(60) NOT NULL UNIQUE,
          name VARCHAR(60) NOT NULL,
          password VARCHAR(200) NOT NULL,
          failures INT NOT NULL DEFAULT 0,
          locked_until BIGINT NOT NULL DEFAULT 0,
          created_at BIGINT NOT NULL,
          last_login BIGINT,
          PRIMARY KEY (id)${end}`,
      ]),
    },
  },
];

/** Letters, marks and digits of any script, and `. _ @ + -`; the longest that fits the wire's 56 bytes with its NUL. */
const NAME = /^[\p{L}\p{M}\p{N}._@+-]+$/u;
const NAME_BYTES = 55;
const PASSWORD_BYTES = 1_024;

export interface AccountsOptions {
  readonly store: Store;
  readonly hasher: PasswordHasher;
  /** Consecutive failures of one account that lock it. */
  readonly lockAfter: number;
  /** For how long, in ms. */
  readonly lockMs: number;
  /** Characters a new password needs at least. */
  readonly minPassword: number;
  /** Wall clock in ms, for tests. */
  readonly now?: () => number;
}

export type Registration = 'created' | 'taken' | 'bad-name' | 'bad-password';

export type Verification =
  | { readonly outcome: 'ok'; readonly id: number; readonly name: string }
  | { readonly outcome: 'refused' | 'locked' };

/** Names that look alike are one account: `Ａlice` and `alice`. @returns undefined for a name that is not allowed */
export function keyOf(name: string): string | undefined {
  if (!NAME.test(name) || Buffer.byteLength(name) > NAME_BYTES) return undefined;
  const key = name.normalize('NFKC').toLowerCase();
  return NAME.test(key) && Buffer.byteLength(key) <= NAME_BYTES ? key : undefined;
}

export function passwordFits(password: string, minPassword: number): boolean {
  return [...password].length >= minPassword && Buffer.byteLength(password) <= PASSWORD_BYTES;
}

export class Accounts {
  private readonly now: () => number;

  private constructor(private readonly options: AccountsOptions) {
    this.now = options.now ?? Date.now;
  }

  /** Makes the table if needed. @throws StoreError */
  static async open(options: AccountsOptions): Promise<Accounts> {
    await migrate(options.store, 'accounts', ACCOUNTS);
    return new Accounts(options);
  }

  /** @throws StoreError, HasherBusyError: nothing was registered, unless the code is LOST. */
  async register(name: string, password: string): Promise<Registration> {
    const { store, hasher, minPassword } = this.options;
    const key = keyOf(name);
    if (key === undefined) return 'bad-name';
    if (!passwordFits(password, minPassword)) return 'bad-password';
    // Costs nothing, where hashing first would let anyone burn a core with a name that is taken.
    const found = await store.query('SELECT id FROM accounts WHERE name_key = ?', [key]);
    if (found.rows.length > 0) return 'taken';
    const hash = await hasher.hash(password);
    try {
      await store.execute('INSERT INTO accounts (name_key, name, password, created_at) VALUES (?, ?, ?, ?)', [
        key,
        name,
        hash,
        this.now(),
      ]);
    } catch (error) {
      if (error instanceof StoreError && error.code === 'DUPLICATE') return 'taken';
      throw error;
    }
    return 'created';
  }

  /** @throws StoreError, HasherBusyError */
  async verify(name: string, password: string): Promise<Verification> {
    const { store, hasher, lockAfter, lockMs } = this.options;
    const key = keyOf(name) ?? '';
    const found = await store.query(
      'SELECT id, name, password, locked_until FROM accounts WHERE name_key = ?',
      [key],
    );
    const [id, shown, hash, lockedUntil] = found.rows[0] ?? [];
    if (Number(lockedUntil ?? 0) > this.now()) return { outcome: 'locked' };
    const right = await hasher.verify(password, typeof hash === 'string' ? hash : undefined);
    if (typeof id !== 'number') return { outcome: 'refused' };
    const now = this.now();
    if (!right) {
      // One statement, so that guesses made at the same time all count.
      await store.execute(
        `UPDATE accounts SET
           locked_until = CASE WHEN failures + 1 >= ? THEN ? ELSE locked_until END,
           failures = CASE WHEN failures + 1 >= ? THEN 0 ELSE failures + 1 END
         WHERE id = ?`,
        [lockAfter, now + lockMs, lockAfter, id],
      );
      return { outcome: 'refused' };
    }
    // The account may have been locked while this one was being hashed: a lucky guess among many does not count.
    const opened = await store.execute(
      'UPDATE accounts SET failures = 0, last_login = ? WHERE id = ? AND locked_until <= ?',
      [now, id, now],
    );
    return opened === 1 ? { outcome: 'ok', id, name: String(shown) } : { outcome: 'locked' };
  }
}
