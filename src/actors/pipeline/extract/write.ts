/**
 * The files of one step, written into a hidden folder while the next rows are read. What is on its way to the disk is bounded.
 * Worker thread; the system's threads do the writing.
 */
import { close, fsync, open, unlink, writev } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

// Not FileHandle: it costs half as much again for each file, and there may be a thousand a second.
const openFile = promisify(open);
const closeFile = promisify(close);
const syncFile = promisify(fsync);
const removeFile = promisify(unlink);
const writePieces = (fd: number, pieces: readonly Uint8Array[]): Promise<number> =>
  new Promise((resolve, reject) => {
    writev(fd, pieces, (error, written) => (error === null ? resolve(written) : reject(error)));
  });

const HEAD = Buffer.from('<data>\n');
const FOOT = Buffer.from('</data>\n');
/** Bytes handed to the system at once. */
const PIECE_BYTES = 256 * 1024;
const MAX_BYTES_ON_THE_WAY = 16 << 20;
const MAX_FILES_ON_THE_WAY = 16;

export interface FileWriterOptions {
  readonly folder: string;
  /** The next file's name. */
  readonly nextName: () => string;
  /** 0: all rows in one file. */
  readonly fileRows: number;
  /** A file is on the disk before it counts as written. */
  readonly sync: boolean;
}

interface OpenFile {
  readonly path: string;
  /** Ends with the file's number; rejects with the first error, after closing it. */
  chain: Promise<number>;
  rows: number;
}

export class FileWriter {
  files = 0;
  rows = 0;
  bytes = 0;
  private current: OpenFile | undefined;
  private pieces: Uint8Array[] = [];
  private pieceBytes = 0;
  private readonly ending = new Set<Promise<void>>();
  private bytesOnTheWay = 0;
  private failure: { error: unknown } | undefined;
  private wake: () => void = () => undefined;

  constructor(private readonly options: FileWriterOptions) {}

  /** Rows that the open file still takes. */
  get roomInFile(): number {
    const { fileRows } = this.options;
    return fileRows === 0 ? Number.MAX_SAFE_INTEGER : fileRows - (this.current?.rows ?? 0);
  }

  /** Whether the last file is complete, so that a step may end here. */
  get betweenFiles(): boolean {
    return this.current === undefined;
  }

  /**
   * @param rows at most `roomInFile`. @returns a promise when the disk is behind: wait for it before going on
   * @throws the system's error of an earlier write
   */
  add(lines: Buffer, rows: number): Promise<void> | undefined {
    if (this.failure !== undefined) throw this.failure.error;
    const file = (this.current ??= this.begin());
    this.put(lines);
    file.rows += rows;
    this.rows += rows;
    if (this.roomInFile === 0) this.endFile();
    else if (this.pieceBytes >= PIECE_BYTES) this.flush(file);
    return this.behind ? this.caughtUp() : undefined;
  }

  /** Ends the last file and waits for all of them. @throws the system's error; then no file of the step counts */
  async finish(): Promise<void> {
    if (this.current !== undefined) this.endFile();
    await Promise.all(this.ending);
    if (this.failure !== undefined) throw this.failure.error;
  }

  /** Gives up: waits until nothing is written any more. Never throws. */
  async abandon(): Promise<void> {
    const { current } = this;
    this.current = undefined;
    if (current !== undefined) {
      await current.chain.then(closeFile).catch(() => undefined);
      await removeFile(current.path).catch(() => undefined);
    }
    await Promise.all(this.ending);
  }

  private get behind(): boolean {
    return this.bytesOnTheWay > MAX_BYTES_ON_THE_WAY || this.ending.size > MAX_FILES_ON_THE_WAY;
  }

  private async caughtUp(): Promise<void> {
    while (this.behind && this.failure === undefined) {
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    if (this.failure !== undefined) throw this.failure.error;
  }

  private begin(): OpenFile {
    const path = join(this.options.folder, this.options.nextName());
    this.put(HEAD);
    const chain = openFile(path, 'wx', 0o644);
    const file = { path, chain, rows: 0 };
    this.watch(chain);
    return file;
  }

  private put(bytes: Uint8Array): void {
    this.pieces.push(bytes);
    this.pieceBytes += bytes.length;
  }

  private flush(file: OpenFile): void {
    const { pieces, pieceBytes: size } = this;
    this.pieces = [];
    this.pieceBytes = 0;
    this.bytes += size;
    this.bytesOnTheWay += size;
    file.chain = file.chain.then(async (fd) => {
      try {
        await writeAll(fd, pieces, size);
        return fd;
      } catch (error) {
        await closeFile(fd).catch(() => undefined);
        throw error;
      } finally {
        this.bytesOnTheWay -= size;
        this.wake();
      }
    });
    this.watch(file.chain);
  }

  private endFile(): void {
    const file = this.current;
    if (file === undefined) return;
    this.put(FOOT);
    this.flush(file);
    this.current = undefined;
    this.files++;
    const end = this.closed(file.chain).catch((error: unknown) => this.fail(error));
    this.ending.add(end);
    void end.finally(() => {
      this.ending.delete(end);
      this.wake();
    });
  }

  private async closed(chain: Promise<number>): Promise<void> {
    const fd = await chain;
    try {
      if (this.options.sync) await syncFile(fd);
    } finally {
      await closeFile(fd);
    }
  }

  private watch(chain: Promise<unknown>): void {
    chain.catch((error: unknown) => this.fail(error));
  }

  private fail(error: unknown): void {
    this.failure ??= { error };
    this.wake();
  }
}

async function writeAll(fd: number, pieces: readonly Uint8Array[], size: number): Promise<void> {
  const written = await writePieces(fd, pieces);
  if (written === size) return;
  // Rare: a signal, or a disk that is nearly full, which the next attempt will say.
  const rest = Buffer.concat(pieces).subarray(written);
  if (written === 0) throw new Error('the system wrote nothing');
  await writeAll(fd, [rest], rest.length);
}
