/**
 * Where log lines go: a file with rotation, or stderr. Main thread; `write` only queues, the disk is written on the
 * system's threads, one write at a time. A full or broken disk neither throws nor blocks: lines wait in a bounded
 * buffer and are written when it works again; what does not fit is dropped and counted.
 *
 * By hand because the usual library's flushSync never returns while the disk is full (seen with sonic-boom 4.2.1 on
 * /dev/full) and it cannot rotate.
 */
import { closeSync, fstatSync, mkdirSync, openSync, write, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { SwitchyardError } from './errors.js';
import { dayOf, shiftFiles } from './log-rotate.js';

export interface LogFileOptions {
  /** Undefined: stderr, which is neither rotated nor reopened. */
  readonly file: string | undefined;
  /** Bytes; 0: no rotation by size. */
  readonly maxSize: number;
  readonly daily: boolean;
  /** Rotated files kept: FILE.1 is the youngest. */
  readonly keep: number;
  /** Bytes that may wait; from half of it on, droppable lines are not taken. */
  readonly buffer: number;
}

export interface LogFileStats {
  readonly lines: number;
  readonly dropped: number;
  readonly writeErrors: number;
  readonly rotations: number;
  readonly rotateErrors: number;
  readonly waitingBytes: number;
  /** The last write failed and is being tried again. */
  readonly failing: boolean;
}

export interface LogFileHooks {
  /** Everything waiting is written again after lines were dropped or writes failed. */
  readonly caughtUp: (dropped: number, writeErrors: number) => void;
  readonly rotateFailed: (reason: string) => void;
  /** For tests. */
  readonly now?: () => number;
  readonly stderrFd?: number;
}

const RETRY_MS = 1000;
const AGAIN_MS = 20;
const CHUNK_BYTES = 256 << 10;
const LANDING_MS = 500;
/** How long a reader of stderr that is slow may hold up the exit. */
const EXIT_MS = 1500;

interface Chunk {
  readonly bytes: Buffer;
  offset: number;
  readonly lines: number;
}

export class LogFile {
  private fd: number;
  private size = 0;
  /** Only a regular file is rotated: renaming /dev/null would harm the machine. */
  private regular = false;
  private day = '';
  private pending: string[] = [];
  private pendingBytes = 0;
  private chunk: Chunk | undefined;
  /** A write that was given to the system and has not been answered. */
  private inFlight = false;
  private busy = false;
  private closed = false;
  /** Grows when flushSync has taken over what a pump was working on; that pump then ends. */
  private epoch = 0;
  private retry: NodeJS.Timeout | undefined;
  private rotateNotBefore = 0;
  private reopens: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  private reopenOnRetry = false;
  private readonly counters = { lines: 0, dropped: 0, writeErrors: 0, rotations: 0, rotateErrors: 0 };
  private told = { dropped: 0, writeErrors: 0 };
  private failing = false;

  /** Opens at once, so that a start fails early. @throws SwitchyardError LOG_OPEN */
  constructor(
    private options: LogFileOptions,
    private readonly hooks: LogFileHooks,
  ) {
    this.fd = this.open();
  }

  /** @param line with its line end. @param droppable given up first when the buffer fills */
  write(line: string, droppable: boolean): void {
    if (this.closed) return;
    const bytes = Buffer.byteLength(line);
    const after = this.waitingBytes() + bytes;
    if (after > this.options.buffer || (droppable && after > this.options.buffer / 2)) {
      this.counters.dropped++;
      return;
    }
    this.pending.push(line);
    this.pendingBytes += bytes;
    this.schedule();
  }

  stats(): LogFileStats {
    return { ...this.counters, waitingBytes: this.waitingBytes(), failing: this.failing };
  }

  /** New limits at once, a new file as by `reopen`. @throws SwitchyardError LOG_OPEN, the old file stays in use */
  async configure(options: LogFileOptions): Promise<void> {
    const before = this.options;
    this.options = options;
    if (before.file === options.file) return;
    try {
      await this.reopen();
    } catch (error) {
      this.options = { ...options, file: before.file };
      throw error;
    }
  }

  /** Opens the path again, after somebody renamed the file. @throws SwitchyardError LOG_OPEN, the old one stays in use */
  reopen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.reopens.push({ resolve, reject });
      this.cancelRetry();
      this.schedule();
    });
  }

  /**
   * Writes what waits, on this thread: for exits. Bounded: a broken disk loses the rest, which is counted.
   */
  flushSync(): void {
    if (this.inFlight) this.awaitLanding();
    this.epoch++;
    this.busy = this.inFlight = false;
    if (this.reopens.length > 0) this.schedule();
    const chunk = this.takeAll();
    this.chunk = undefined;
    if (chunk === undefined) return;
    const deadline = performance.now() + EXIT_MS;
    while (chunk.offset < chunk.bytes.length) {
      try {
        const written = writeSync(this.fd, chunk.bytes, chunk.offset);
        chunk.offset += written;
        this.size += written;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN' && performance.now() < deadline) {
          sleep(AGAIN_MS);
          continue;
        }
        this.counters.writeErrors++;
        this.counters.dropped += chunk.lines;
        return;
      }
    }
    this.counters.lines += chunk.lines;
  }

  /** Flushes and ends; later lines are ignored. */
  close(): void {
    if (this.closed) return;
    this.flushSync();
    this.closed = true;
    this.cancelRetry();
    if (this.owned(this.fd)) closeSync(this.fd);
    for (const { resolve } of this.reopens.splice(0)) resolve();
  }

  private waitingBytes(): number {
    return this.pendingBytes + (this.chunk === undefined ? 0 : this.chunk.bytes.length - this.chunk.offset);
  }

  private now(): number {
    return this.hooks.now?.() ?? Date.now();
  }

  /** Neither stderr itself nor a descriptor given to us. */
  private owned(fd: number): boolean {
    return fd > 2 && fd !== this.hooks.stderrFd;
  }

  private open(): number {
    const { file } = this.options;
    if (file === undefined) return openStderr(this.hooks.stderrFd ?? 2);
    try {
      mkdirSync(dirname(file), { recursive: true });
      const fd = openSync(file, 'a', 0o640);
      const found = fstatSync(fd);
      this.size = found.size;
      this.regular = found.isFile();
      this.day = dayOf(found.size > 0 ? found.mtimeMs : this.now());
      return fd;
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? 'failed';
      throw new SwitchyardError('LOG_OPEN', { file, reason }, { cause: error });
    }
  }

  private schedule(): void {
    if (this.busy || this.closed || this.retry !== undefined) return;
    this.busy = true;
    // One write per turn of the event loop, however many lines it logged.
    setImmediate(() => void this.pump());
  }

  private async pump(): Promise<void> {
    const { epoch } = this;
    const stale = (): boolean => this.closed || this.epoch !== epoch;
    while (!stale()) {
      if (this.reopens.length > 0) this.doReopen();
      this.chunk ??= this.take();
      const { chunk } = this;
      if (chunk === undefined) break;
      if (chunk.offset === 0 && this.rotationDue(chunk.bytes.length)) await this.rotate();
      if (stale()) return;
      this.inFlight = true;
      const outcome = await writeOnce(this.fd, chunk.bytes, chunk.offset);
      if (stale()) return;
      this.inFlight = false;
      if (typeof outcome !== 'number') {
        this.busy = false;
        this.failed(outcome);
        return;
      }
      chunk.offset += outcome;
      this.size += outcome;
      if (chunk.offset < chunk.bytes.length) continue;
      this.counters.lines += chunk.lines;
      this.chunk = undefined;
      this.succeeded();
    }
    if (!stale()) this.busy = false;
  }

  private take(): Chunk | undefined {
    let count = 0;
    for (let bytes = 0; count < this.pending.length && bytes < CHUNK_BYTES; count++) {
      bytes += this.pending[count]?.length ?? 0;
    }
    if (count === 0) return undefined;
    const bytes = Buffer.from(this.pending.splice(0, count).join(''));
    this.pendingBytes -= bytes.length;
    return { bytes, offset: 0, lines: count };
  }

  private takeAll(): Chunk | undefined {
    const begun = this.chunk;
    const rest = Buffer.from(this.pending.join(''));
    const lines = this.pending.length + (begun?.lines ?? 0);
    this.pending = [];
    this.pendingBytes = 0;
    if (begun === undefined && lines === 0) return undefined;
    const bytes = begun === undefined ? rest : Buffer.concat([begun.bytes.subarray(begun.offset), rest]);
    return { bytes, offset: 0, lines };
  }

  private failed(error: NodeJS.ErrnoException): void {
    if (error.code === 'EAGAIN') {
      this.retryIn(AGAIN_MS);
      return;
    }
    this.counters.writeErrors++;
    this.reopenOnRetry = error.code !== 'ENOSPC' && error.code !== 'EDQUOT';
    if (!this.failing && this.options.file !== undefined) {
      const text = `cannot write the log file ${this.options.file}: ${error.code ?? error.message}; trying again every second\n`;
      write(this.hooks.stderrFd ?? 2, text, () => undefined);
    }
    this.failing = true;
    this.retryIn(RETRY_MS);
  }

  private retryIn(ms: number): void {
    this.retry = setTimeout(() => {
      this.retry = undefined;
      if (this.reopenOnRetry && this.options.file !== undefined) this.doReopen();
      this.schedule();
    }, ms).unref();
  }

  private cancelRetry(): void {
    clearTimeout(this.retry);
    this.retry = undefined;
  }

  private succeeded(): void {
    this.failing = this.reopenOnRetry = false;
    const { dropped, writeErrors } = this.counters;
    const lost = dropped - this.told.dropped;
    const errors = writeErrors - this.told.writeErrors;
    if (this.pending.length > 0 || (lost === 0 && errors === 0)) return;
    this.told = { dropped, writeErrors };
    this.hooks.caughtUp(lost, errors);
  }

  private doReopen(): void {
    const waiting = this.reopens.splice(0);
    const before = this.fd;
    try {
      this.fd = this.open();
      if (this.owned(before)) closeSync(before);
      for (const { resolve } of waiting) resolve();
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    }
  }

  private rotationDue(bytes: number): boolean {
    const { file, maxSize, daily } = this.options;
    if (file === undefined || !this.regular || this.now() < this.rotateNotBefore) return false;
    const today = dayOf(this.now());
    if (this.size === 0) this.day = today;
    if (this.size > 0 && daily && today !== this.day) return true;
    if (maxSize === 0 || this.size + bytes <= maxSize) return false;
    // Asked again: somebody may have cut the file short.
    this.size = fstatSync(this.fd).size;
    return this.size > 0 && this.size + bytes > maxSize;
  }

  /** A failure goes on with the old file for a minute. */
  private async rotate(): Promise<void> {
    const { file, keep } = this.options;
    if (file === undefined) return;
    try {
      await shiftFiles(file, keep, this.fd);
      const before = this.fd;
      this.fd = this.open();
      closeSync(before);
      this.counters.rotations++;
    } catch (error) {
      this.counters.rotateErrors++;
      this.rotateNotBefore = this.now() + 60_000;
      this.hooks.rotateFailed((error as NodeJS.ErrnoException).code ?? 'failed');
    }
  }

  /** Waits until the write under way is seen in the file's size; other kinds of files get a moment. */
  private awaitLanding(): void {
    const { chunk } = this;
    if (chunk === undefined) return;
    const wanted = chunk.bytes.length - chunk.offset;
    if (!this.regular) {
      sleep(50);
      chunk.offset = chunk.bytes.length;
      return;
    }
    let landed = 0;
    for (let waited = 0; waited < LANDING_MS && landed < wanted; waited += 2) {
      landed = Math.max(0, fstatSync(this.fd).size - this.size);
      if (landed < wanted) sleep(2);
    }
    // What has not landed by now is left to the system: written twice would be worse than late.
    this.size += landed;
    chunk.offset = chunk.bytes.length;
  }
}

function writeOnce(fd: number, bytes: Buffer, offset: number): Promise<number | NodeJS.ErrnoException> {
  return new Promise((resolve) => {
    write(fd, bytes, offset, bytes.length - offset, null, (error, written) => resolve(error ?? written));
  });
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/**
 * Node makes a pipe or socket behind process.stderr non-blocking when that is first looked at: a reader that stopped
 * then gives EAGAIN instead of holding a system thread, and the exit with it.
 */
function openStderr(fd: number): number {
  void process.stderr.fd;
  return fd;
}
