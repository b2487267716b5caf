import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { CpuPool, type CpuPoolOptions } from '../../src/runtime/cpu-pool.js';

const LONG = { timeoutMs: 15_000 };
const pools: CpuPool[] = [];

function pool(options?: CpuPoolOptions): CpuPool {
  const made = new CpuPool(options);
  pools.push(made);
  return made;
}

/** A file without end: hashing it never finishes. */
const ENDLESS = { file: '/dev/zero' };

afterEach(async () => {
  await Promise.all(pools.splice(0).map((each) => each.close(0)));
});

describe('the CPU pool', () => {
  it('starts no thread before the first job', async () => {
    const cpu = pool();
    expect(cpu.threads).toBe(0);
    await cpu.run('sha256', { bytes: Buffer.from('x') }, LONG);
    expect(cpu.threads).toBe(1);
  });

  it.each([0, 1, 100, 100_000])('packs and unpacks %i bytes', async (size) => {
    const cpu = pool();
    const bytes = Buffer.alloc(size, 'observation ');
    const packed = await cpu.run('gzip', { bytes, level: 9 }, LONG);
    expect(gunzipSync(packed)).toEqual(bytes);
    const unpacked = await cpu.run('gunzip', { bytes: packed }, LONG);
    expect(Buffer.from(unpacked)).toEqual(bytes);
  });

  it('hashes bytes and files alike', async () => {
    const cpu = pool();
    const folder = await mkdtemp(join(tmpdir(), 'cpu-'));
    try {
      const bytes = Buffer.alloc(300_000, 'abc');
      const file = join(folder, 'data');
      await writeFile(file, bytes);
      const expected = createHash('sha256').update(bytes).digest('hex');
      await expect(cpu.run('sha256', { bytes }, LONG)).resolves.toBe(expected);
      await expect(cpu.run('sha256', { file }, LONG)).resolves.toBe(expected);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('hands buffers over when asked to, and copies otherwise', async () => {
    const cpu = pool();
    const bytes = new Uint8Array(100_000);
    await cpu.run('gzip', { bytes }, LONG);
    expect(bytes.byteLength).toBe(100_000);
    await cpu.run('gzip', { bytes }, { ...LONG, transfer: [bytes.buffer] });
    expect(bytes.byteLength).toBe(0);
  });

  it('refuses an unknown job and names the known ones', async () => {
    await expect(pool().runMessage(['gzipp', {}], 1_000)).rejects.toMatchObject({
      code: 'CPU_UNKNOWN_JOB',
      message: 'no CPU job gzipp; known: gzip, gunzip, sha256, gzip-files',
    });
  });

  it.each([[['gzip']], [['sha256', { file: '/no/such/file' }]], [['gunzip', { bytes: Buffer.from('no') }]]])(
    'reports a job that throws: %j',
    async (message) => {
      await expect(pool().runMessage(message, 15_000)).rejects.toMatchObject({ code: 'CPU_FAILED' });
    },
  );

  it('does not unpack more than allowed', async () => {
    const bytes = gzipSync(Buffer.alloc(1_000_000));
    await expect(pool().run('gunzip', { bytes, maxBytes: 1_000 }, LONG)).rejects.toMatchObject({
      code: 'CPU_FAILED',
    });
  });

  it('ends a job at its deadline and goes on with the next', async () => {
    const cpu = pool({ maxThreads: 1 });
    await expect(cpu.run('sha256', ENDLESS, { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'CPU_TIMEOUT',
    });
    await expect(cpu.run('gzip', { bytes: Buffer.from('next') }, LONG)).resolves.toBeDefined();
    expect(cpu.jobs).toBe(0);
  });

  it('counts waiting as part of the deadline', async () => {
    const cpu = pool({ maxThreads: 1 });
    const first = cpu.run('sha256', ENDLESS, { timeoutMs: 1_500 });
    const second = cpu.run('gzip', { bytes: Buffer.from('waits') }, { timeoutMs: 300 });
    await expect(second).rejects.toMatchObject({ code: 'CPU_TIMEOUT' });
    await expect(first).rejects.toMatchObject({ code: 'CPU_TIMEOUT' });
  });

  it('refuses what its queue has no room for', async () => {
    const cpu = pool({ maxThreads: 1, maxQueue: 2 });
    const taken = [1, 2, 3].map(() => cpu.run('sha256', ENDLESS, { timeoutMs: 1_000 }));
    await expect(cpu.run('gzip', { bytes: Buffer.from('one too many') }, LONG)).rejects.toMatchObject({
      code: 'CPU_BUSY',
    });
    const codes = (await Promise.allSettled(taken)).map((each) => each.status);
    expect(codes).toEqual(['rejected', 'rejected', 'rejected']);
    await expect(cpu.run('gzip', { bytes: Buffer.from('room again') }, LONG)).resolves.toBeDefined();
  });

  it('lets idle threads leave', async () => {
    const cpu = pool({ idleMs: 100 });
    await cpu.run('gzip', { bytes: Buffer.from('x') }, LONG);
    await expect.poll(() => cpu.threads, { timeout: 10_000 }).toBe(0);
    await expect(cpu.run('gzip', { bytes: Buffer.from('y') }, LONG)).resolves.toBeDefined();
  });

  it('finishes its jobs when it is closed, and takes no more', async () => {
    const cpu = pool();
    const running = cpu.run('gzip', { bytes: Buffer.alloc(2_000_000, 'z') }, LONG);
    const closed = cpu.close();
    await expect(cpu.run('gzip', { bytes: Buffer.from('late') }, LONG)).rejects.toMatchObject({
      code: 'ACT_STOPPED',
    });
    await expect(running).resolves.toBeDefined();
    await closed;
  });

  it('ends what does not finish within the deadline of its close', async () => {
    const cpu = pool();
    const running = expect(cpu.run('sha256', ENDLESS, LONG)).rejects.toMatchObject({ code: 'ACT_STOPPED' });
    await cpu.close(300);
    await running;
    expect(cpu.threads).toBe(0);
  });

  it('can be closed unused and twice', async () => {
    const cpu = pool();
    await cpu.close();
    await cpu.close();
    expect(cpu.threads).toBe(0);
  });
});
