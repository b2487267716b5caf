/**
 * The files of one step, written into a hidden folder while the next rows are read. What is on its way to the disk is bounded.
 * Worker thread; the thread of runtime/file-thread.ts does the writing.
 */
import { join } from 'node:path';
import type { FileThread } from '../../../runtime/file-thread.js';
import type { MemoryPool } from '../../../store/memory-pool.js';

const HEAD = '<data>\n';
const FOOT = '</data>\n';
/** Bytes handed over at once. */
const PIECE_BYTES = 256 * 1024;
/** Lines of less than this are copied into memory of just their size. */
const SMALL_BYTES = 16 * 1024;
const MAX_BYTES_ON_THE_WAY = 16 << 20;
const MAX_FILES_ON_THE_WAY = 32;

export interface FileWriterOptions {
  readonly folder: string;
  readonly thread: FileThread;
  /** The next file's name. */
  readonly nextName: () => string;
  /** 0: all rows in one file. */
  readonly fileRows: number;
  /** A file is on the disk before it counts as written. */
  readonly sync: boolean;
  /** Takes the memory of lines that are written. */
  readonly memory: MemoryPool;
}

interface OpenFile {
  readonly path: string;
  rows: number;
}

export class FileWriter {
  files = 0;
  rows = 0;
  bytes = 0;
  private current: OpenFile | undefined;
  private pieces: (Uint8Array<ArrayBuffer> | string)[] = [];
  private pieceBytes = 0;
  private readonly onTheWay = new Set<Promise<void>>();
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
   * @param rows at most `roomInFile`. @param ours nobody else uses the memory of these lines, so it need not be copied
   * @returns a promise when the disk is behind: wait for it before going on
   * @throws the system's error of an earlier write
   */
  add(lines: Uint8Array, rows: number, ours: boolean): Promise<void> | undefined {
    if (this.failure !== undefined) throw this.failure.error;
    const file = (this.current ??= this.begin());
    this.pieces.push(ours && movable(lines) ? (lines as Uint8Array<ArrayBuffer>) : this.copy(lines));
    this.pieceBytes += lines.length;
    file.rows += rows;
    this.rows += rows;
    if (this.roomInFile === 0) this.endFile(file);
    else if (this.pieceBytes >= PIECE_BYTES) this.flush(file, false);
    return this.behind ? this.caughtUp() : undefined;
  }

  /** Ends the last file and waits for all of them. @throws the system's error; then no file of the step counts */
  async finish(): Promise<void> {
    if (this.current !== undefined) this.endFile(this.current);
    await Promise.all(this.onTheWay);
    if (this.failure !== undefined) throw this.failure.error;
  }

  /** Gives up: waits until nothing is written any more. Never throws. */
  async abandon(): Promise<void> {
    const { current } = this;
    this.current = undefined;
    if (current !== undefined) await this.options.thread.drop(current.path).catch(() => undefined);
    await Promise.all(this.onTheWay);
  }

  private copy(lines: Uint8Array): Uint8Array<ArrayBuffer> {
    if (lines.length < SMALL_BYTES) return new Uint8Array(lines);
    const copy = new Uint8Array(this.options.memory.take(lines.length), 0, lines.length);
    copy.set(lines);
    return copy;
  }

  private get behind(): boolean {
    return this.bytesOnTheWay > MAX_BYTES_ON_THE_WAY || this.onTheWay.size > MAX_FILES_ON_THE_WAY;
  }

  private async caughtUp(): Promise<void> {
    while (this.behind && this.failure === undefined) {
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    if (this.failure !== undefined) throw this.failure.error;
  }

  private begin(): OpenFile {
    this.pieces.push(HEAD);
    this.pieceBytes += HEAD.length;
    const { folder, nextName } = this.options;
    return { path: join(folder, nextName()), rows: 0 };
  }

  private endFile(file: OpenFile): void {
    this.pieces.push(FOOT);
    this.pieceBytes += FOOT.length;
    this.current = undefined;
    this.files++;
    this.flush(file, true);
  }

  private flush({ path }: OpenFile, end: boolean): void {
    const { pieces, pieceBytes: size } = this;
    const { thread, sync, memory } = this.options;
    this.pieces = [];
    this.pieceBytes = 0;
    this.bytes += size;
    this.bytesOnTheWay += size;
    const writing = thread
      .append(path, pieces, { end, sync })
      .then((blocks) => blocks.forEach((block) => memory.give(block)))
      .catch((error: unknown) => void (this.failure ??= { error }))
      .then(() => {
        this.bytesOnTheWay -= size;
        this.onTheWay.delete(writing);
        this.wake();
      });
    this.onTheWay.add(writing);
  }
}

/** Small Buffers share their memory with others; and a few lines are not to hold on to a large one. */
function movable({ buffer, length }: Uint8Array): boolean {
  return (
    buffer instanceof ArrayBuffer && buffer.byteLength >= PIECE_BYTES / 8 && length * 4 >= buffer.byteLength
  );
}
