/** The bytes of a claimed file in pieces, hashed on the way, unfolded when it is a .gz. Worker thread. */
import { createHash, type Hash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { MemoryPool } from '../../../store/memory-pool.js';
import { reasonOf } from '../../../runtime/errors.js';
import type { ClaimedFile } from '../stage/file-claims.js';
import { BadFileError } from './table.js';

export interface ReadLimits {
  /** Bytes at most, of the file and of what it unfolds to. */
  readonly maxBytes: number;
  readonly maxRatio: number;
}

/** Somebody still writes the file: it is left for a later run. */
export class ChangingFileError extends Error {
  constructor(name: string) {
    super(`${name} changed while it was read`);
    this.name = 'ChangingFileError';
  }
}

const PIECE = 512 << 10;
/** One file is read ahead while another is loaded. */
const memory = new MemoryPool(2 * PIECE);
/** What a .gz may unfold to whatever its size. */
const FREE = 16 << 20;
/** Errors of the machine, not of the file. */
const PASSING = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'ESTALE', 'EIO']);

export function isPacked(name: string): boolean {
  return /\.gz$/i.test(name);
}

export class FileReader {
  /** Hexadecimal digits, when everything was read. */
  hash = '';
  private readonly hasher: Hash = createHash('sha256');

  constructor(
    private readonly file: ClaimedFile,
    private readonly limits: ReadLimits,
    /** Told of the bytes of the file as they are read. */
    private readonly taken: (bytes: number) => void = () => undefined,
  ) {}

  /**
   * Each piece is valid until the next is asked for. To be read to its end: only then the file is known to be whole.
   * @throws BadFileError, ChangingFileError, or an error of the machine
   */
  async *pieces(): AsyncGenerator<Buffer> {
    const { file, limits } = this;
    if (!file.regular) throw new BadFileError('it is not a regular file');
    if (file.size > limits.maxBytes) throw new BadFileError(`it is larger than ${limits.maxBytes} bytes`);
    const handle = await open(file.path, 'r').catch(unreadable);
    try {
      if (isPacked(file.name)) yield* this.unfolded(this.raw(handle));
      else yield* this.raw(handle);
      const { size, mtimeMs } = await handle.stat();
      if (size !== file.size || mtimeMs !== file.mtimeMs) throw new ChangingFileError(file.name);
      this.hash = this.hasher.digest('hex');
    } finally {
      await handle.close();
    }
  }

  private async *raw(handle: FileHandle): AsyncGenerator<Buffer> {
    const block = memory.take(PIECE);
    const buffer = Buffer.from(block, 0, PIECE);
    let total = 0;
    try {
      for (;;) {
        const { bytesRead } = await handle.read(buffer, 0, buffer.length).catch(unreadable);
        if (bytesRead === 0) return;
        total += bytesRead;
        // It grows faster than it is read: there would be no end.
        if (total > this.file.size) throw new ChangingFileError(this.file.name);
        const piece = buffer.subarray(0, bytesRead);
        this.hasher.update(piece);
        this.taken(bytesRead);
        yield piece;
      }
    } finally {
      memory.give(block);
    }
  }

  private async *unfolded(raw: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
    const { limits, file } = this;
    const gunzip = createGunzip({ chunkSize: PIECE });
    let trouble: Error | undefined;
    const feed = (async () => {
      try {
        for await (const piece of raw) {
          // A copy: the stream takes it later, when the buffer is full of something else.
          if (!gunzip.write(Buffer.from(piece)))
            await new Promise<void>((resolve) => gunzip.once('drain', resolve).once('close', resolve));
          if (gunzip.destroyed) return;
        }
        gunzip.end();
      } catch (error) {
        trouble = error instanceof Error ? error : new Error(String(error));
        gunzip.destroy();
      }
    })();
    let total = 0;
    try {
      for await (const piece of gunzip as AsyncIterable<Buffer>) {
        total += piece.length;
        if (total > limits.maxBytes)
          throw new BadFileError(`it unfolds to more than ${limits.maxBytes} bytes`);
        if (total > FREE && total > file.size * limits.maxRatio)
          throw new BadFileError(`it unfolds to more than ${limits.maxRatio} times its size`);
        yield piece;
      }
    } catch (error) {
      if (error instanceof BadFileError) throw error;
      throw trouble ?? new BadFileError(`it is no whole gzip file: ${reasonOf(error)}`, { cause: error });
    } finally {
      gunzip.destroy();
      await feed;
    }
    if (trouble !== undefined) throw trouble;
  }
}

function unreadable(error: unknown): never {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (PASSING.has(code)) throw error;
  throw new BadFileError(`it cannot be read: ${reasonOf(error)}`, { cause: error });
}
