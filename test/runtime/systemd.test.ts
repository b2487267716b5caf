import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemdNotifier } from '../../src/runtime/systemd.js';
import { memoryLogger } from '../support/fake-control-plane.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'notify-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** A `systemd-notify` that writes down its arguments. */
function environment(extra: Record<string, string>): Record<string, string> {
  const program = join(folder, 'systemd-notify');
  writeFileSync(program, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> ${folder}/said\n`);
  chmodSync(program, 0o755);
  return { PATH: `${folder}:${process.env['PATH'] ?? ''}`, ...extra };
}
const said = (): string =>
  existsSync(join(folder, 'said')) ? readFileSync(join(folder, 'said'), 'utf8') : '';

describe('the systemd notifier', () => {
  it('tells readiness, the watchdog while alive, and stopping', async () => {
    let alive = true;
    const env = environment({
      NOTIFY_SOCKET: '/run/n',
      WATCHDOG_USEC: '100000',
      WATCHDOG_PID: String(process.pid),
    });
    const notifier = systemdNotifier(memoryLogger(), () => alive, env);
    notifier.ready('running');
    await expect.poll(said, { timeout: 10_000 }).toContain(`--pid=${process.pid} READY=1 STATUS=running`);
    await expect.poll(said, { timeout: 10_000 }).toContain('/run/n --pid');
    await expect.poll(said, { timeout: 10_000 }).toContain('WATCHDOG=1');
    alive = false;
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = said();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(said()).toBe(before);
    notifier.stopping();
    await expect.poll(said, { timeout: 10_000 }).toContain('STOPPING=1');
    notifier.close();
  });

  it('does nothing outside systemd, and sends no beat meant for another process', async () => {
    const outside = systemdNotifier(memoryLogger(), () => true, environment({ WATCHDOG_USEC: '1000' }));
    const other = environment({ NOTIFY_SOCKET: '/run/n', WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' });
    const inside = systemdNotifier(memoryLogger(), () => true, other);
    outside.ready('running');
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(said()).toBe('');
    outside.close();
    inside.close();
  });

  it('warns once when the program is missing', async () => {
    const log = memoryLogger();
    const notifier = systemdNotifier(log, () => true, { NOTIFY_SOCKET: '/run/n', PATH: folder });
    notifier.ready('running');
    notifier.stopping();
    await expect.poll(() => log.events.length, { timeout: 5000 }).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(log.events).toMatchObject([{ level: 'warn', event: 'systemd.notify' }]);
    notifier.close();
  });
});
