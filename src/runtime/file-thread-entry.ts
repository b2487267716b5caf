/**
 * The thread of file-thread.ts: one request after the other, with the system's blocking calls, which cost a fraction of what four
 * trips to the thread pool cost for each file.
 */
import {
  closeSync,
  fsyncSync,
  lstatSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
  writevSync,
} from 'node:fs';
import { join } from 'node:path';
import { parentPort } from 'node:worker_threads';
import type { FileReply, FileRequest } from './file-thread.js';

const port = parentPort;
if (port === null) throw new Error('file-thread-entry.js is a thread entry');

const open = new Map<string, number>();

function append(path: string, pieces: readonly (Uint8Array | string)[], end: boolean, sync: boolean): void {
  let fd = open.get(path);
  if (fd === undefined) open.set(path, (fd = openSync(path, 'wx', 0o644)));
  try {
    writeAll(
      fd,
      pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece)),
    );
    if (!end) return;
    if (sync) fsyncSync(fd);
  } catch (error) {
    close(path, fd);
    throw error;
  }
  close(path, fd);
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
      append(request.path, request.pieces, request.end, request.sync);
      return request.pieces.flatMap((piece) => (typeof piece === 'string' ? [] : [piece.buffer]));
    case 'drop':
      return drop(request.path);
    case 'move':
      return move(request.from, request.to, request.names, request.mostSimilar);
  }
}

port.on('message', ({ id, request }: { id: number; request: FileRequest }) => {
  let reply: FileReply;
  let memory: ArrayBuffer[] = [];
  try {
    const value = answer(request);
    // It would pile up here, where little else makes the collector look.
    if (request.op === 'append') memory = value as ArrayBuffer[];
    reply = { id, value };
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    reply = { id, error: { message, code } };
  }
  port.postMessage(reply, memory);
});
