/** A database that is opened by the first call that needs it, and again after it was lost. Worker thread. */
import { openStore, StoreError, type Store } from '../../store/driver.js';

export class LazyStore {
  private store: Store | undefined;

  /** @param prepare makes the tables, once per opening */
  constructor(
    private readonly url: string,
    private readonly prepare: (store: Store) => Promise<void>,
  ) {}

  /** @throws StoreError; the next call tries again */
  async get(): Promise<Store> {
    if (this.store !== undefined) return this.store;
    const store = await openStore(this.url);
    try {
      await this.prepare(store);
    } catch (error) {
      await store.close();
      throw error;
    }
    this.store = store;
    return store;
  }

  /** Drops the connection if this error says that it is of no more use. */
  async failed(error: unknown): Promise<void> {
    if (error instanceof StoreError && (error.code === 'LOST' || error.code === 'CLOSED')) await this.close();
  }

  async close(): Promise<void> {
    const { store } = this;
    this.store = undefined;
    await store?.close();
  }
}
