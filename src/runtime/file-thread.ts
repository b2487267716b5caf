/**
 * Many files written and moved by a thread of their own: one message for each file, and the system's blocking calls over there. Four
 * trips to Node's thread pool for each file took a third of the time of an extraction that writes a thousand in a second.
 * Belongs to the thread that made it.
 */
import { Worker } from 'node:worker_threads';
import { entryUrl } from './entry.js';

export interface AppendRequest {
  readonly op: 'append';
  readonly path: string;
  readonly pieces: readonly (Uint8Array<ArrayBuffer> | string)[];
  readonly end: boolean;
  readonly sync: boolean;
}

export type FileRequest =
  | AppendRequest
  | { readonly op: 'drop'; readonly path: string }
  | {
      readonly op: 'move';
      readonly from: string;
      readonly to: string;
      readonly names: readonly string[];
      readonly mostSimilar: number;
    };

export type FileReply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: { readonly message: string; readonly code: string | undefined } };

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class FileThread {
  private worker: Worker | undefined;
  private serial = 0;
  private readonly waiting = new Map<number, Waiting>();

  /**
   * Adds to a file, which the first call for its path makes; it must not exist. Calls are carried out in their order, but files
   * may get onto the disk in any.
   * @param pieces their memory is handed over: not to be used afterwards, and no two of them may share it
   * @param end this was the last: the file is closed, and with `sync` on the disk when the promise fulfils
   * @returns the memory of the pieces, to be used again
   * @throws the system's error; the file is closed then and stays as it is
   */
  async append(
    path: string,
    pieces: readonly (Uint8Array<ArrayBuffer> | string)[],
    { end, sync }: { readonly end: boolean; readonly sync: boolean },
  ): Promise<readonly ArrayBuffer[]> {
    const memory = pieces.flatMap((piece) => (typeof piece === 'string' ? [] : [piece.buffer]));
    return (await this.call({ op: 'append', path, pieces, end, sync }, memory)) as ArrayBuffer[];
  }

  /** Closes and removes a file that was not ended; nothing when there is none. @throws the system's error */
  async drop(path: string): Promise<void> {
    await this.call({ op: 'drop', path });
  }

  /**
   * Moves files from one folder to another of the same file system. A name that is taken gets `-2`, `-3` ... in front of its ending.
   * @returns their sizes in bytes. @throws the system's error; the files before the one that failed have moved
   */
  async move(
    from: string,
    to: string,
    names: readonly string[],
    mostSimilar = 10_000,
  ): Promise<readonly number[]> {
    return (await this.call({ op: 'move', from, to, names, mostSimilar })) as number[];
  }

  /** Waits for what is under way and ends the thread; a later call starts another. */
  async close(): Promise<void> {
    const { worker } = this;
    if (worker === undefined) return;
    await Promise.all([...this.waiting.keys()].map((id) => this.settled(id)));
    this.worker = undefined;
    await worker.terminate();
  }

  private call(request: FileRequest, memory: ArrayBuffer[] = []): Promise<unknown> {
    const worker = (this.worker ??= this.start());
    const id = ++this.serial;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      worker.postMessage({ id, request }, memory);
    });
  }

  private start(): Worker {
    const worker = new Worker(entryUrl('./file-thread-entry.js', import.meta.url), { stdout: false });
    worker.on('message', (reply: FileReply) => {
      const waiting = this.waiting.get(reply.id);
      this.waiting.delete(reply.id);
      if ('value' in reply) waiting?.resolve(reply.value);
      else waiting?.reject(Object.assign(new Error(reply.error.message), { code: reply.error.code }));
    });
    const gone = (error: Error): void => {
      if (this.worker === worker) this.worker = undefined;
      for (const one of this.waiting.values()) one.reject(error);
      this.waiting.clear();
    };
    worker.on('error', gone);
    worker.on(
      'exit',
      () => this.worker === worker && gone(new Error('the thread that writes files has ended')),
    );
    return worker;
  }

  private settled(id: number): Promise<void> {
    const waiting = this.waiting.get(id);
    if (waiting === undefined) return Promise.resolve();
    return new Promise((done) => {
      this.waiting.set(id, {
        resolve: (value) => {
          waiting.resolve(value);
          done();
        },
        reject: (error) => {
          waiting.reject(error);
          done();
        },
      });
    });
  }
}
