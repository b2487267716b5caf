import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';

const harness = fileURLToPath(new URL('../support/harness/signals.mjs', import.meta.url));

interface Harness {
  readonly child: ChildProcessWithoutNullStreams;
  readonly text: () => string;
  readonly until: (part: string) => Promise<void>;
  readonly exit: Promise<[number | null, string | null]>;
}

let running: ChildProcessWithoutNullStreams[] = [];
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
  running = [];
});

async function start(behaviour: 'quick' | 'hang' | 'fail', deadlineMs = 60_000): Promise<Harness> {
  const child = spawn(process.execPath, [harness, behaviour, String(deadlineMs)]);
  running.push(child);
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const until = async (part: string): Promise<void> => {
    while (!text.includes(part)) await once(child.stdout, 'data');
  };
  const exit = once(child, 'close') as Promise<[number | null, string | null]>;
  await until('ready');
  return { child, text: () => text, until, exit };
}

describe('signals', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('%s stops in order and leaves with 0', async (signal) => {
    const { child, text, exit } = await start('quick');
    child.kill(signal);
    expect(await exit).toEqual([0, null]);
    expect(text()).toContain(`stop ${signal}`);
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('a second %s ends at once with %i, after the flush', async (signal, code) => {
    const { child, text, until, exit } = await start('hang');
    child.kill(signal);
    await until('stop');
    child.kill(signal);
    expect(await exit).toEqual([code, null]);
    expect(text()).toMatch(/signal\.second[^]*flushed\n$/);
  });

  it('a stop that outlasts its deadline ends with 70', async () => {
    const { child, text, exit } = await start('hang', 50);
    child.kill('SIGTERM');
    expect(await exit).toEqual([70, null]);
    expect(text()).toMatch(/fatal stop\.deadline[^]*flushed\n$/);
  });

  it('a stop that fails ends with 70', async () => {
    const { child, text, exit } = await start('fail');
    child.kill('SIGTERM');
    expect(await exit).toEqual([70, null]);
    expect(text()).toContain('fatal stop.failed {"reason":"a child bit"}');
  });

  it('HUP reloads, USR2 drains, a failing USR1 is logged, PIPE is nothing', async () => {
    const { child, text, until } = await start('quick');
    child.kill('SIGHUP');
    await until('reload');
    child.kill('SIGUSR1');
    await until('signal.failed');
    child.kill('SIGPIPE');
    child.kill('SIGUSR2');
    await until('drain');
    expect(text()).toContain('error signal.failed {"signal":"SIGUSR1","reason":"no such folder"}');
    expect(child.exitCode).toBeNull();
  });

  it.each([
    ['throw', 'uncaughtException', 'thrown on purpose'],
    ['reject', 'unhandledRejection', 'rejected on purpose'],
  ])('after an uncaught %s it logs, flushes and leaves with 70', async (what, origin, reason) => {
    const { child, text, exit } = await start('quick');
    child.stdin.write(`${what}\n`);
    expect(await exit).toEqual([70, null]);
    expect(text()).toContain(`fatal process.uncaught {"origin":"${origin}","reason":"${reason}"`);
    expect(text()).toMatch(/flushed\n$/);
  });

  it('goes on when the terminal behind standard error has gone', async () => {
    const { child, until } = await start('quick');
    child.stderr.destroy();
    child.stdin.write('epipe\n');
    await until('still here');
    child.kill('SIGHUP');
    await until('reload');
  });
});
