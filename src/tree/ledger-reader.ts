/** Reads the run ledger that the stages write; opened when first asked for. Main thread. */
import type { ConfigSection } from '../runtime/config.js';
import { openStore, type Store } from '../store/driver.js';
import { Ledger } from '../store/ledger.js';

export interface LedgerReader {
  /** Undefined without stages. */
  open(): Promise<Ledger> | undefined;
  close(): Promise<void>;
}

export function ledgerReader(stages: () => readonly ConfigSection[]): LedgerReader {
  let opened: Promise<{ store: Store; ledger: Ledger }> | undefined;
  const open = async (url: string): Promise<{ store: Store; ledger: Ledger }> => {
    const store = await openStore(url);
    return { store, ledger: await Ledger.open(store) };
  };
  return {
    open: () => {
      const url = stages()[0]?.values['ledger'];
      if (typeof url !== 'string') return undefined;
      opened ??= open(url).catch((thrown: unknown) => {
        opened = undefined; // try again with the next question
        throw thrown;
      });
      return opened.then(({ ledger }) => ledger);
    },
    close: async () => {
      const last = await opened?.catch(() => undefined);
      await last?.store.close();
    },
  };
}
