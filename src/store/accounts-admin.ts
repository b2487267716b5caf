/** What an operator does to accounts (`switchyard user`); clients use accounts.ts. Any thread. */
import { keyOf, passwordFits } from './accounts.js';
import type { Store } from './driver.js';
import type { PasswordHasher } from './passwords.js';

/** Locked until an operator unlocks it. */
export const LOCKED_FOR_GOOD = Number.MAX_SAFE_INTEGER;

export interface AccountInfo {
  readonly id: number;
  readonly name: string;
  /** Times in ms since 1970. */
  readonly createdAt: number;
  readonly lastLoginAt: number | undefined;
  /** Undefined when it is not locked now. */
  readonly lockedUntil: number | undefined;
}

/** The first accounts by id, at most `limit`; the table must exist (`Accounts.open`). @throws StoreError */
export async function listAccounts(store: Store, limit: number, now = Date.now()): Promise<AccountInfo[]> {
  const accounts: AccountInfo[] = [];
  const sql = 'SELECT id, name, created_at, last_login, locked_until FROM accounts ORDER BY id';
  for await (const { rows } of store.stream(sql, [], { batchRows: Math.min(limit, 1000) })) {
    for (const [id, name, created, login, locked] of rows.slice(0, limit - accounts.length)) {
      accounts.push({
        id: Number(id),
        name: String(name),
        createdAt: Number(created),
        lastLoginAt: login === null ? undefined : Number(login),
        lockedUntil: Number(locked) > now ? Number(locked) : undefined,
      });
    }
    if (accounts.length >= limit) break;
  }
  return accounts;
}

/** Also forgets failed logins; a lock stays. @throws StoreError, HasherBusyError */
export async function setPassword(
  store: Store,
  hasher: PasswordHasher,
  account: { readonly name: string; readonly password: string; readonly minPassword: number },
): Promise<'changed' | 'no-account' | 'bad-password'> {
  if (!passwordFits(account.password, account.minPassword)) return 'bad-password';
  const changed = await store.execute('UPDATE accounts SET password = ?, failures = 0 WHERE name_key = ?', [
    await hasher.hash(account.password),
    keyOf(account.name) ?? '',
  ]);
  return changed === 1 ? 'changed' : 'no-account';
}

/** @param until ms since 1970; 0 unlocks. @returns false when there is no such account. @throws StoreError */
export async function setLock(store: Store, name: string, until: number): Promise<boolean> {
  const changed = await store.execute(
    'UPDATE accounts SET locked_until = ?, failures = 0 WHERE name_key = ?',
    [until, keyOf(name) ?? ''],
  );
  return changed === 1;
}
