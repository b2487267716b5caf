/**
 * What makes a stage run beside its clock: another stage that brought something (`after`), a file that appeared in a folder it
 * reads (`watch`). Both only say that a look is worth while; what is to do the run finds out itself. Worker thread.
 */
import { watch, type FSWatcher } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { TEMP_SUFFIX } from '../../../runtime/atomic-file.js';
import type { Ledger } from '../../../store/ledger.js';

/** Follows stages by their runs in the ledger, so that nothing is missed while either of them was down. */
export class Predecessors {
  private readonly handled = new Map<string, number>();
  private seen = new Map<string, number>();

  constructor(
    private readonly stage: string,
    private readonly names: readonly string[],
    private readonly ledger: Ledger,
  ) {}

  async load(): Promise<void> {
    for (const name of this.names) {
      const saved = await this.ledger.recall(this.stage, stateName(name));
      this.handled.set(name, Number(saved ?? 0));
    }
  }

  /** @returns whether one of them has brought something that was not followed yet */
  async news(): Promise<boolean> {
    let any = false;
    for (const name of this.names) {
      const newest = (await this.ledger.newestYield(name)) ?? 0;
      this.seen.set(name, newest);
      if (newest > (this.handled.get(name) ?? 0)) any = true;
    }
    return any;
  }

  /** A run that began after the last `news` has ended well. */
  async followed(): Promise<void> {
    const { seen } = this;
    this.seen = new Map();
    for (const [name, id] of seen) {
      if (id <= (this.handled.get(name) ?? 0)) continue;
      await this.ledger.remember(this.stage, stateName(name), String(id));
      this.handled.set(name, id);
    }
  }
}

function stateName(predecessor: string): string {
  return `after ${predecessor}`.slice(0, 100);
}

/** Tells when something appears in a folder. What disappears (our own claims) and temporary files are no news. */
export class FolderWatch {
  private readonly watchers = new Map<string, FSWatcher>();

  constructor(
    private readonly folders: readonly string[],
    private readonly appeared: () => void,
  ) {}

  /** Watches the folders that are not watched yet; one that does not exist is tried again by the next call. */
  renew(): void {
    for (const folder of this.folders) {
      if (this.watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, { persistent: false }, (_, name) => this.changed(folder, name));
        watcher.on('error', () => this.drop(folder));
        this.watchers.set(folder, watcher);
      } catch {
        // No such folder, or no more watches: the schedule goes on without.
      }
    }
  }

  close(): void {
    for (const folder of [...this.watchers.keys()]) this.drop(folder);
  }

  private changed(folder: string, name: string | null): void {
    if (name === null) return this.appeared();
    if (name.startsWith('.') || name.endsWith(TEMP_SUFFIX)) return;
    access(join(folder, name)).then(
      () => this.appeared(),
      () => undefined,
    );
  }

  private drop(folder: string): void {
    this.watchers.get(folder)?.close();
    this.watchers.delete(folder);
  }
}
