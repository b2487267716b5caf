/** The accounts of a packet actor, opened by its conf values: by the actor itself and by the `user` verb. Any thread. */
import { Accounts } from '../../store/accounts.js';
import { openStore, type Store } from '../../store/driver.js';
import type { PasswordHasher } from '../../store/passwords.js';
import type { PacketValues } from './keys.js';

/** @throws StoreError; nothing is left open then */
export async function openAccounts(
  values: PacketValues,
  hasher: PasswordHasher,
): Promise<{ readonly store: Store; readonly accounts: Accounts }> {
  const store = await openStore(values.store);
  try {
    const accounts = await Accounts.open({
      store,
      hasher,
      lockAfter: values.lock_after,
      lockMs: values.lock_time,
      minPassword: values.min_password,
    });
    return { store, accounts };
  } catch (error) {
    await store.close();
    throw error;
  }
}
