// A worker thread that gets stuck in the way it is told, or answers what it was sent.
import { parentPort, Worker } from 'node:worker_threads';
import { execSync } from 'node:child_process';

const cell = new Int32Array(new SharedArrayBuffer(4));

function loopForever() {
  for (;;);
}

function act(message) {
  switch (message) {
    case 'loop':
      return loopForever();
    case 'regex':
      return /^(a+)+$/.test(`${'a'.repeat(60)}!`);
    case 'atomics':
      return Atomics.wait(cell, 0, 0);
    case 'system-call':
      return String(execSync('sleep 1'));
    case 'nest': {
      const inner = new Worker(new URL(import.meta.url));
      inner.postMessage('loop');
      return inner.threadId;
    }
    default:
      return message;
  }
}

parentPort.on('message', (message) => {
  parentPort.postMessage('begin');
  parentPort.postMessage(act(message));
});
