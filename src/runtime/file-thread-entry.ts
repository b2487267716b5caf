/**
 * The thread of file-thread.ts: one request after the other, with the system's blocking calls, which cost a fraction of what four
 * trips to the thread pool cost for each file. Only waiting for the disk is left to the pool: the files written meanwhile get onto
 * it together.
 */
import { closeSync, fsync, lstatSync, openSync, renameSync, statSync, unlinkSync, writevSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort } from 'node:worker_threads';
import type { AppendRequest, FileReply, FileRequest } from './file-thread.js';

const port = parentPort;
if (port === null) throw new Error('file-thread-entry.js is a thread entry');

const open = new Map<string, number>();

/** @returns a promise when the disk is to be waited for */
function append({ path, pieces, end, sync }: AppendRequest): Promise<void> | undefined {
  let fd = open.get(path);
  if (fd === undefined) open.set(path, (fd = openSync(path, 'wx', 0o644)));
  try {
    writeAll(
      fd,
      pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece)),
    );
  } catch (error) {
    close(path, fd);
    throw error;
  }
  if (!end) return undefined;
  if (sync) return synced(path, fd);
  close(path, fd);
  return undefined;
}

function synced(path: string, fd: number): Promise<void> {
  open.delete(path);
  return new Promise((resolve, reject) => {
    fsync(fd, (error) => {
      closeSync(fd);
      if (error === null) resolve();
      else reject(error);
    });
  });
}

function writeAll(fd: number, pieces: readonly Uint8Array[]): void {
  const size = pieces.reduce((sum, { length }) => sum + length, 0);
  const written = writevSync(fd, pieces);
  if (written === size) return;
  // Rare: a signal, or a disk that is nearly full, which the next attempt will say.
  if (written === 0) throw new Error('the system wrote nothing');
  writeAll(fd, [Buffer.concat(pieces).subarray(written)]);
}

function close(path: string, fd: number): void {
  open.delete(path);
  closeSync(fd);
}

function drop(path: string): void {
  const fd = open.get(path);
  if (fd === undefined) return;
  close(path, fd);
  unlinkSync(path);
}

/** Gives each file its name in `to`, or a similar one if that is taken. @returns the sizes */
function move(from: string, to: string, names: readonly string[], mostSimilar: number): number[] {
  return names.map((name) => {
    const path = join(from, name);
    const { size } = statSync(path);
    let target = join(to, name);
    for (let n = 2; lstatSync(target, { throwIfNoEntry: false }) !== undefined; n++) {
      if (n > mostSimilar) {
        throw Object.assign(new Error(`${target} and ${mostSimilar} similar names are taken`), {
          code: 'EEXIST',
        });
      }
      const dot = name.lastIndexOf('.');
      target = join(to, dot < 1 ? `${name}-${n}` : `${name.slice(0, dot)}-${n}${name.slice(dot)}`);
    }
    renameSync(path, target);
    return size;
  });
}

function answer(request: FileRequest): unknown {
  switch (request.op) {
    case 'append':
      return append(request);
    case 'drop':
      return drop(request.path);
    case 'move':
      return move(request.from, request.to, request.names, request.mostSimilar);
  }
}

/** The memory of pieces goes back: it would pile up here, where little else makes the collector look. */
function memoryOf(request: FileRequest): ArrayBuffer[] {
  if (request.op !== 'append') return [];
  return request.pieces.flatMap((piece) => (typeof piece === 'string' ? [] : [piece.buffer]));
}

port.on('message', ({ id, request }: { id: number; request: FileRequest }) => {
  const send = (value: unknown): void => {
    const memory = memoryOf(request);
    port.postMessage({ id, value: request.op === 'append' ? memory : value } satisfies FileReply, memory);
  };
  const fail = (error: unknown): void => {
    const { message, code } = error as NodeJS.ErrnoException;
    port.postMessage({ id, error: { message, code } } satisfies FileReply);
  };
  try {
    const value = answer(request);
    if (value instanceof Promise) value.then(send, fail);
    else send(value);
  } catch (error) {
    fail(error);
  }
});
