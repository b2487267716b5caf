/** A database that is opened by the first call that needs it, and again after it was lost. Worker thread. */
import { fromConnectionString } from '../../../store/connection-string.js';
import { openStore, StoreError, type Store } from '../../../store/driver.js';
import { StageError } from './run.js';

export class LazyStore {
  private opening: Promise<Store> | undefined;

  /** @param prepare makes the tables, once per opening */
  constructor(
    private readonly url: string,
    private readonly prepare: (store: Store) => Promise<void>,
  ) {}

  /** Calls at the same time share one attempt. @throws StoreError; the next call tries again */
  get(): Promise<Store> {
    if (this.opening === undefined) {
      const opening = this.open();
      this.opening = opening;
      opening.catch(() => {
        if (this.opening === opening) this.opening = undefined;
      });
    }
    return this.opening;
  }

  /** Drops the connection if this error says that it is of no more use. */
  async failed(error: unknown): Promise<void> {
    if (error instanceof StoreError && (error.code === 'LOST' || error.code === 'CLOSED')) await this.close();
  }

  /** The same error, saying where and what to do if that is not plain. */
  explained(error: unknown): unknown {
    if (!(error instanceof StoreError) || error.code !== 'FULL') return error;
    const text = `${placeOf(this.url)} is full: ${error.message}; make room on its disk, then the run goes on by itself`;
    return new StageError(text, true, { cause: error });
  }

  /** Never throws. */
  async close(): Promise<void> {
    const { opening } = this;
    this.opening = undefined;
    const store = await opening?.catch(() => undefined);
    await store?.close();
  }

  private async open(): Promise<Store> {
    const store = await openStore(this.url);
    try {
      await this.prepare(store);
      return store;
    } catch (error) {
      await store.close();
      throw error;
    }
  }
}

/** Which database it is, without its secrets. */
function placeOf(url: string): string {
  const plain = fromConnectionString(url);
  const file = /^sqlite:([^?]*)/i.exec(plain)?.[1];
  if (file !== undefined) return `the database ${file}`;
  try {
    const { protocol, host, pathname } = new URL(plain);
    return `the database ${protocol}//${host}${pathname}`;
  } catch {
    return 'the database';
  }
}
