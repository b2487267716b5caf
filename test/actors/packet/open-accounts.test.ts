import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { PacketValues } from '../../../src/actors/packet/keys.js';
import { openAccounts } from '../../../src/actors/packet/open-accounts.js';
import { Accounts } from '../../../src/store/accounts.js';
import { openStore, type Store } from '../../../src/store/driver.js';
import type * as driver from '../../../src/store/driver.js';
import { PasswordHasher } from '../../../src/store/passwords.js';

vi.mock('../../../src/store/driver.js', async (original) => {
  const real = await original<typeof driver>();
  return { ...real, openStore: vi.fn(real.openStore) };
});

const folder = mkdtempSync(join(tmpdir(), 'switchyard-accounts-'));
const values = {
  store: `sqlite:${join(folder, 'accounts.db')}`,
  lock_after: 3,
  lock_time: 1000,
  min_password: 6,
} as PacketValues;

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

describe('opening the accounts', () => {
  it('leaves no database open when the accounts cannot be used', async () => {
    const broken = vi.spyOn(Accounts, 'open').mockRejectedValueOnce(new Error('no such table'));
    await expect(openAccounts(values, new PasswordHasher({ cost: 10 }))).rejects.toThrow('no such table');
    broken.mockRestore();
    const store = (await vi.mocked(openStore).mock.results[0]!.value) as Store;
    await expect(store.query('SELECT 1')).rejects.toMatchObject({ name: 'StoreError' });
  });
});
