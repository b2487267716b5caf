import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { readStack, stackProbeEnd } from '../../src/runtime/stack-probe.js';

const script = new URL('../support/threads/stuck.mjs', import.meta.url);
const probeUrl = new URL('../../dist/runtime/stack-probe.js', import.meta.url).href;
const TIMEOUT_MS = 5_000;
const workers: Worker[] = [];

async function threadIn(state: string, name = state): Promise<Worker> {
  const worker = new Worker(script, { name });
  workers.push(worker);
  worker.postMessage(state);
  await once(worker, 'message');
  // `begin` is sent just before the thread gets stuck.
  await sleep(50);
  return worker;
}

async function echoes(worker: Worker, text: string): Promise<void> {
  const received: unknown[] = [];
  worker.on('message', (message) => received.push(message));
  worker.postMessage(text);
  await expect.poll(() => received, { timeout: TIMEOUT_MS }).toContain(text);
}

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
});

describe('readStack', () => {
  it('names function and line of an endless loop', async () => {
    const worker = await threadIn('loop');
    const sample = await readStack(worker.threadId, TIMEOUT_MS);
    expect(sample?.frames[0]).toBe('loopForever (test/support/threads/stuck.mjs:8)');
    expect(sample?.frames[1]).toMatch(/^act \(/);
    expect(sample?.frames.join()).not.toContain('node:');
  });

  it('reads a runaway regular expression', async () => {
    const worker = await threadIn('regex');
    const sample = await readStack(worker.threadId, TIMEOUT_MS);
    expect(sample?.frames[0]).toMatch(/^act \(.*stuck\.mjs:16\)$/);
  });

  it('reads a thread parked in Atomics.wait, or says nothing in time', async () => {
    const worker = await threadIn('atomics');
    const sample = await readStack(worker.threadId, TIMEOUT_MS);
    if (sample !== undefined) expect(sample.frames[0]).toMatch(/^act \(/);
    await worker.terminate();
  });

  it('lets a stuck thread be terminated afterwards', async () => {
    const worker = await threadIn('loop');
    await readStack(worker.threadId, TIMEOUT_MS);
    await expect(worker.terminate()).resolves.toBe(1);
  });

  it('tells when a thread that is being read may be terminated', async () => {
    for (let n = 0; n < 10; n += 1) {
      const worker = await threadIn('loop');
      const reading = readStack(worker.threadId, TIMEOUT_MS);
      if (n > 0) await sleep(n * 5);
      await stackProbeEnd(worker.threadId);
      await worker.terminate();
      expect((await reading)?.frames[0]).toContain('loopForever');
    }
  });

  it('answers undefined in time for an idle thread, which goes on working', async () => {
    const worker = await threadIn('hello');
    await expect(readStack(worker.threadId, 200)).resolves.toBeUndefined();
    await echoes(worker, 'still here');
    await expect(readStack(worker.threadId, 200)).resolves.toBeUndefined();
    await echoes(worker, 'still here too');
  });

  it('answers undefined in time for a blocking system call, and does not pause the thread later', async () => {
    const worker = await threadIn('system-call');
    await expect(readStack(worker.threadId, 200)).resolves.toBeUndefined();
    await echoes(worker, 'back again');
  });

  it('answers undefined for a thread that does not exist', async () => {
    await expect(readStack(999_999, TIMEOUT_MS)).resolves.toBeUndefined();
  });

  it('leaves the other threads alone and tells them apart by id, not by name', async () => {
    const [healthy, stuck] = [await threadIn('one', 'same'), await threadIn('loop', 'same')];
    const reading = readStack(stuck.threadId, TIMEOUT_MS);
    await echoes(healthy, 'working');
    expect((await reading)?.frames[0]).toContain('loopForever');
    await echoes(healthy, 'still working');
  });

  it('reads two stuck threads at once', async () => {
    const [one, two] = [await threadIn('loop'), await threadIn('regex')];
    const samples = await Promise.all([
      readStack(one.threadId, TIMEOUT_MS),
      readStack(two.threadId, TIMEOUT_MS),
    ]);
    expect(samples[0]?.frames[0]).toContain('loopForever');
    expect(samples[1]?.frames[0]).toContain('act');
  });

  it('reads a thread that another thread started', async () => {
    const outer = new Worker(script);
    workers.push(outer);
    const inner = new Promise<number>((resolve) =>
      outer.on('message', (message: unknown) => typeof message === 'number' && resolve(message)),
    );
    outer.postMessage('nest');
    const threadId = await inner;
    await sleep(200);
    expect((await readStack(threadId, TIMEOUT_MS))?.frames[0]).toContain('loopForever');
  });

  it('does not keep the process from exiting while a thread is being read', async () => {
    const program = `
      import { Worker } from 'node:worker_threads';
      import { readStack } from ${JSON.stringify(probeUrl)};
      const worker = new Worker(new URL(${JSON.stringify(script.href)}), { execArgv: [] });
      worker.postMessage('loop');
      setTimeout(() => {
        void readStack(worker.threadId, 5000);
        const until = performance.now() + 200;
        while (performance.now() < until);
        process.exit(7);
      }, 300);`;
    const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
      timeout: 15_000,
    });
    await expect(run).rejects.toMatchObject({ code: 7 });
  });
});
