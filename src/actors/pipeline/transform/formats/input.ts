/** The bytes of a file, unpacked where its name ends in .gz, within limits. Worker thread. */
import { open, type FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { reasonOf } from '../../../../runtime/errors.js';
import { BadInputError } from './format.js';

export interface InputLimits {
  /** Bytes of a file after unpacking. */
  readonly maxUnpacked: number;
  /** Unpacked bytes per packed byte. */
  readonly maxRatio: number;
}

const READ_BYTES = 256 << 10;
/** Below this size the ratio says nothing: a few kilobytes of blanks pack 1000 : 1. */
const RATIO_FROM = 16 << 20;
/** Errors of the machine, not of the file. */
const PASSING = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'ESTALE', 'EIO']);

export function isGzip(name: string): boolean {
  return name.toLowerCase().endsWith('.gz');
}

/**
 * @param progress gets the bytes of the file itself. The pieces are the caller's.
 * @throws BadInputError when it cannot be read, is no gzip file, is cut off, or unpacks to more than the limits allow
 */
export async function* bytesOf(
  file: { readonly name: string; readonly path: string },
  limits: InputLimits,
  progress: (bytes: number) => Promise<void>,
): AsyncGenerator<Buffer> {
  let read = 0;
  const handle = await open(file.path, 'r').catch(unreadable);
  try {
    const packed = pieces(handle, async (bytes) => progress((read += bytes)));
    if (!isGzip(file.name)) {
      yield* packed;
      return;
    }
    yield* limited(unzipped(packed), () => read, limits);
  } finally {
    await handle.close();
  }
}

/** Counts what was unpacked out of `packed()` bytes. @throws BadInputError beyond the limits */
export async function* limited(
  chunks: AsyncIterable<Buffer>,
  packed: () => number,
  limits: InputLimits,
): AsyncGenerator<Buffer> {
  let total = 0;
  for await (const chunk of chunks) {
    total += chunk.length;
    if (total > limits.maxUnpacked)
      throw new BadInputError(`it unpacks to more than max_unpacked, ${limits.maxUnpacked} bytes`);
    if (total > RATIO_FROM && total > packed() * limits.maxRatio) {
      throw new BadInputError(`it unpacks to more than max_ratio, ${limits.maxRatio} times its size`);
    }
    yield chunk;
  }
}

async function* pieces(handle: FileHandle, count: (bytes: number) => Promise<void>): AsyncGenerator<Buffer> {
  for (;;) {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    const { bytesRead } = await handle.read(buffer, 0, READ_BYTES).catch(unreadable);
    if (bytesRead === 0) return;
    await count(bytesRead);
    yield buffer.subarray(0, bytesRead);
  }
}

async function* unzipped(packed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const source = Readable.from(packed, { objectMode: false });
  const gunzip = createGunzip({ chunkSize: READ_BYTES });
  // pipe() does not pass errors on.
  source.on('error', (error) => gunzip.destroy(error));
  source.pipe(gunzip);
  try {
    for await (const chunk of gunzip) yield chunk as Buffer;
  } catch (error) {
    if (error instanceof BadInputError || PASSING.has(codeOf(error))) throw error;
    throw new BadInputError(`it cannot be unpacked: ${reasonOf(error)}`, { cause: error });
  } finally {
    source.destroy();
    gunzip.destroy();
  }
}

function unreadable(error: unknown): never {
  if (PASSING.has(codeOf(error))) throw error;
  throw new BadInputError(`it cannot be read: ${reasonOf(error)}`, { cause: error });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
