/** Back-pressure: how many more files the out folder takes while nobody fetches those that wait in it. Worker thread. */
import { setTimeout as sleep } from 'node:timers/promises';
import { waitingFiles, type OutFolderLimits } from '../stage/out-folder.js';
import { StageError, type StageRun } from '../stage/run.js';

export interface RoomOptions {
  readonly folder: string;
  readonly limits: OutFolderLimits;
  /** Longest wait in ms. */
  readonly waitMs: number;
}

export interface Free {
  files: number;
  bytes: number;
}

const POLL = 500;

export class Room {
  constructor(private readonly options: RoomOptions) {}

  get countsBytes(): boolean {
    return this.options.limits.max_waiting_bytes > 0;
  }

  /** What may be added now; nothing when `files` or `bytes` is not above 0. */
  async free(): Promise<Free> {
    const { folder, limits } = this.options;
    const { max_waiting_files: maxFiles, max_waiting_bytes: maxBytes } = limits;
    if (maxFiles === 0 && maxBytes === 0) return { files: Infinity, bytes: Infinity };
    const { files, bytes } = await waitingFiles(folder, limits);
    return {
      files: maxFiles === 0 ? Infinity : maxFiles - files,
      bytes: maxBytes === 0 ? Infinity : maxBytes - bytes,
    };
  }

  /**
   * Waits until there is room. @param beat called all the while
   * @returns undefined when the run is to stop. @throws StageError (retryable) after `waitMs`
   */
  async wait(run: StageRun, beat: () => Promise<void>): Promise<Free | undefined> {
    const started = performance.now();
    let told = false;
    for (;;) {
      if (run.signal.aborted) return undefined;
      const free = await this.free();
      run.progress();
      await beat();
      if (free.files > 0 && free.bytes > 0) {
        if (told) run.log.info('extract.goes-on', { waitedMs: Math.round(performance.now() - started) });
        return free;
      }
      const { folder, limits, waitMs } = this.options;
      const { max_waiting_files: maxFiles, max_waiting_bytes: maxBytes } = limits;
      if (performance.now() - started >= waitMs) {
        const limit = free.files > 0 ? `${maxBytes} bytes` : `${maxFiles} files`;
        throw new StageError(`${folder} is full: ${limit} wait in it and nobody takes them`, true);
      }
      if (!told) run.log.warn('extract.waits', { folder, maxFiles, maxBytes, waitMs });
      told = true;
      await sleep(POLL, undefined, { signal: run.signal }).catch(() => undefined);
    }
  }
}
