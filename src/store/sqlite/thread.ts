/**
 * Thread entry: owns the handle of one SQLite file. Everything here may block, that is what the thread is for.
 * The only module that imports better-sqlite3.
 */
import { mkdirSync, openSync, closeSync } from 'node:fs';
import { dirname } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';
import { SqliteConnection } from './connection.js';
import { describe, failure } from './errors.js';
import { DECIDED, GIVEN_UP, OPEN, RUNNING } from './messages.js';
import type { SqliteHello, SqliteOp, SqliteReply, SqliteRequest, SqliteThreadData } from './messages.js';

const { path, sync, busyTimeoutMs, state } = workerData as SqliteThreadData;
const port = parentPort;
if (port === null) throw new Error('thread.js is a thread entry');

/** Replies wait at most this long (ms) for others, to share a message. */
const REPLY_DELAY = 2;

function connect(readonly: boolean): SqliteConnection {
  return new SqliteConnection(new Database(path, { readonly, timeout: busyTimeoutMs }));
}

/** Turning a file to WAL ignores the busy time-out, so two threads that create one file at once have to try again. */
function openMain(): SqliteConnection {
  mkdirSync(dirname(path), { recursive: true });
  // Created here and not by SQLite, because the file may hold password hashes; its -wal and -shm take over the mode.
  closeSync(openSync(path, 'a', 0o600));
  const deadline = performance.now() + busyTimeoutMs;
  const main = connect(false);
  for (;;) {
    try {
      main.configure(sync);
      return main;
    } catch (error) {
      if (failure(error).code !== 'BUSY' || performance.now() > deadline) {
        main.close();
        throw error;
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}

function serve(main: SqliteConnection): void {
  const cursors = new Map<number, SqliteConnection>();

  function closeCursor(cursor: number): void {
    cursors.get(cursor)?.close();
    cursors.delete(cursor);
  }

  function fetch(cursor: number): unknown {
    const connection = cursors.get(cursor);
    if (connection === undefined) throw describe('LOST', 'the cursor was closed');
    try {
      const batch = connection.nextRows();
      if (batch.last) closeCursor(cursor);
      return batch;
    } catch (error) {
      closeCursor(cursor);
      throw error;
    }
  }

  function perform(request: SqliteOp, slot: number): unknown {
    const decide = (): boolean => Atomics.compareExchange(state, slot, OPEN, DECIDED) === OPEN;
    const givenUp = (): boolean => Atomics.load(state, slot) === GIVEN_UP;
    switch (request.op) {
      case 'query':
        return main.query(request.sql, request.binds, request.maxRows, decide, givenUp);
      case 'execute':
        return main.write(request.sql, request.binds, decide);
      case 'batch':
        return main.batch(request.sql, request.rows, request.skip, decide, givenUp);
      case 'bulk':
        return main.beginBulk(request.plan);
      case 'rows':
        main.addBulk(request.block);
        // Its memory goes back.
        return request.block;
      case 'bulk-end':
        return main.endBulk(request.keep);
      case 'begin':
        main.begin();
        // Nobody would end it.
        if (!decide()) main.rollback();
        return undefined;
      case 'commit':
        if (decide()) return main.commit();
        main.rollback();
        throw describe('CANCELLED', 'given up before the commit');
      case 'rollback':
        return main.rollback();
      case 'open': {
        const connection = connect(true);
        cursors.set(request.cursor, connection);
        try {
          connection.openCursor(request.sql, request.binds, request.batchRows);
        } catch (error) {
          closeCursor(request.cursor);
          throw error;
        }
        return fetch(request.cursor);
      }
      case 'fetch':
        return fetch(request.cursor);
      case 'close':
        return closeCursor(request.cursor);
    }
  }

  function answer({ id, slot, op }: SqliteRequest): SqliteReply {
    // The end of a transaction or cursor has to happen, whether or not somebody waits for it.
    const ending = op.op === 'commit' || op.op === 'rollback' || op.op === 'close';
    if (!ending && Atomics.load(state, slot) === GIVEN_UP)
      return { id, code: 'CANCELLED', message: 'given up' };
    Atomics.store(state, RUNNING, slot);
    try {
      return { id, value: perform(op, slot) };
    } catch (error) {
      return { id, ...failure(error) };
    } finally {
      Atomics.store(state, RUNNING, -1);
    }
  }

  port?.on('message', (requests: readonly SqliteRequest[] | 'close') => {
    if (requests === 'close') {
      for (const cursor of cursors.keys()) closeCursor(cursor);
      main.close();
      port.close();
      return;
    }
    let replies: SqliteReply[] = [];
    let given: ArrayBuffer[] = [];
    let since = performance.now();
    for (const request of requests) {
      const reply = answer(request);
      replies.push(reply);
      if (request.op.op === 'rows' && 'value' in reply) given.push(request.op.block.buffer);
      if (performance.now() - since < REPLY_DELAY) continue;
      port.postMessage(replies, given);
      replies = [];
      given = [];
      since = performance.now();
    }
    if (replies.length > 0) port.postMessage(replies, given);
  });
}

try {
  const main = openMain();
  serve(main);
  port.postMessage({ ready: true } satisfies SqliteHello);
} catch (error) {
  const { code, message } = failure(error);
  port.postMessage({ ready: false, full: code === 'FULL', message } satisfies SqliteHello);
  port.close();
}
