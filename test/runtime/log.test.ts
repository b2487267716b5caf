import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLog, type Log, type LogDeps } from '../../src/runtime/log.js';
import type { LogValues } from '../../src/runtime/process-keys.js';

const base: LogValues = {
  file: undefined, level: 'info', format: 'text', max_size: 0, rotate_daily: false, keep: 3, buffer: 65_536, repeat_limit: 0,
}; // prettier-ignore
const logModule = fileURLToPath(new URL('../../dist/runtime/log.js', import.meta.url));

let folder: string;
let file: string;
let stderrFile: string;
let stderrFd: number;
const logs: Log[] = [];
const make = (values: Partial<LogValues> = {}, deps: LogDeps = {}): Log => {
  const log = createLog({ ...base, file, ...values }, { stderrFd, ...deps });
  logs.push(log);
  return log;
};
const text = (path = file): string => readFileSync(path, 'utf8');
const events = (path = file): string[] =>
  text(path)
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(/\s+/)[4] ?? '');
const settled = (log: Log): Promise<void> =>
  vi.waitFor(() => expect(log.stats().waitingBytes).toBe(0), 10_000);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'log-'));
  file = join(folder, 'app.log');
  stderrFile = join(folder, 'stderr');
  stderrFd = openSync(stderrFile, 'a');
});
afterEach(() => {
  for (const log of logs.splice(0)) log.close();
  closeSync(stderrFd);
  rmSync(folder, { recursive: true, force: true });
});

describe('the log', () => {
  it('writes text lines without being waited for', async () => {
    const log = make();
    log.info('one', { listener: 'packet' });
    log.child({ actor: 'packet', conn: '1.2' }).warn('two');
    expect(text()).toBe('');
    await settled(log);
    expect(text()).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} info {3}main {9}one listener=packet\n.{23} warn {3}packet {7}two conn=1\.2\n$/,
    );
  });

  it('writes JSON lines with the fields ts, level, actor and event', () => {
    const log = make({ format: 'json' });
    log.notice('stage.done', { rows: 3, token: 'hunter2', err: new Error('bad'), level: 'x' });
    log.flushSync();
    const line = JSON.parse(text()) as Record<string, unknown>;
    expect(line).toMatchObject({
      level: 'notice',
      actor: 'main',
      event: 'stage.done',
      rows: 3,
      token: '***',
      level_: 'x',
    });
    expect(line['ts']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$/);
    expect(line['err']).toMatchObject({ type: 'Error', message: 'bad' });
    expect(text()).not.toContain('hunter2');
  });

  it('goes to stderr without a file, as JSON when asked for auto and stderr is no terminal', () => {
    const log = make({ file: undefined, format: 'auto' });
    log.info('hello');
    log.flushSync();
    expect(JSON.parse(text(stderrFile))).toMatchObject({ event: 'hello' });
  });

  it('has a level per actor that can be changed at run time; a shard has that of its actor', () => {
    const log = make({ level: 'warn' });
    const say = (actor: string): void => log.writeEvent('debug', `from.${actor}`, { actor });
    say('packet');
    log.setLevel('debug', 'packet');
    expect(log.levels()).toEqual({ '*': 'warn', packet: 'debug' });
    expect(log.enabled('debug', 'packet#1')).toBe(true);
    say('packet');
    say('packet#1');
    say('im');
    log.setLevel('warn', 'packet');
    expect(log.levels()).toEqual({ '*': 'warn' });
    say('packet');
    log.setLevel('debug');
    say('im');
    log.flushSync();
    expect(events()).toEqual(['from.packet', 'from.packet#1', 'from.im']);
  });

  it('refuses a file it cannot open, with what to do', () => {
    writeFileSync(join(folder, 'plain'), '');
    expect(() => make({ file: join(folder, 'plain', 'x.log') })).toThrow(
      /cannot open the log file .*x\.log: (ENOTDIR|EEXIST)/,
    );
  });

  it('takes over a changed conf; a level set at run time stays until the conf changes it', async () => {
    const log = make();
    log.setLevel('debug');
    await log.configure({ ...base, file: join(folder, 'new', 'b.log'), format: 'json' });
    log.debug('here');
    log.flushSync();
    expect(JSON.parse(text(join(folder, 'new', 'b.log')))).toMatchObject({ event: 'here' });
    await log.configure({ ...base, file, level: 'error' });
    expect(log.levels()).toEqual({ '*': 'error' });
    await expect(log.configure({ ...base, file: join(file, 'x') })).rejects.toThrow(
      'cannot open the log file',
    );
    log.error('still');
    log.flushSync();
    expect(events()).toEqual(['still']);
  });
});

describe('an event that repeats', () => {
  it('is written so many times a second and then summed up; others are not held back', () => {
    const log = make({ repeat_limit: 3 });
    for (let i = 0; i < 10; i++) log.writeEvent('warn', 'conn.flood', { actor: 'packet', i });
    log.warn('conn.flood');
    log.writeEvent('warn', 'other', { actor: 'packet' });
    expect(log.stats().repeated).toBe(7);
    log.flushSync();
    const got = events();
    expect(got).toEqual([...Array<string>(3).fill('conn.flood'), 'conn.flood', 'other', 'log.repeated']);
    expect(text()).toContain('log.repeated repeated=conn.flood times=7');
  });

  it('is summed up after a second even if nothing else is logged', async () => {
    const log = make({ repeat_limit: 1 });
    log.info('x');
    log.info('x');
    await vi.waitFor(() => expect(text()).toContain('repeated=x times=1'), 10_000);
  });

  it('that is fatal is never held back', () => {
    const log = make({ repeat_limit: 1 });
    for (let i = 0; i < 5; i++) log.fatal('end');
    log.flushSync();
    expect(events()).toHaveLength(5);
  });
});

describe('rotation', () => {
  it('by size keeps the last files, whole lines in order and nothing else', async () => {
    const log = make({ max_size: 2000, keep: 3 });
    for (let i = 0; i < 300; i++) {
      log.info(`n.${i}`);
      if (i % 10 === 9) await settled(log);
    }
    await settled(log);
    const names = readdirSync(folder)
      .filter((name) => name.startsWith('app.log'))
      .sort();
    expect(names).toEqual(['app.log', 'app.log.1', 'app.log.2', 'app.log.3']);
    const kept = [...names].reverse().flatMap((name) => events(join(folder, name)));
    expect(kept).toEqual(Array.from({ length: kept.length }, (_, i) => `n.${300 - kept.length + i}`));
    for (const name of names) expect(statSync(join(folder, name)).size).toBeLessThanOrEqual(2000);
    expect(log.stats().rotations).toBeGreaterThan(3);
  });

  it('removes what is beyond a lowered limit and touches no other file', async () => {
    for (const name of ['app.log.1', 'app.log.7', 'app.log.old', 'app.log.1.gz'])
      writeFileSync(join(folder, name), name);
    const log = make({ max_size: 10, keep: 2 });
    log.info('a');
    await settled(log);
    log.info('b');
    await settled(log);
    const left = readdirSync(folder)
      .filter((name) => name.startsWith('app'))
      .sort();
    expect(left).toEqual(['app.log', 'app.log.1', 'app.log.1.gz', 'app.log.2', 'app.log.old']);
    expect(text(`${file}.2`)).toBe('app.log.1');
  });

  it('by day uses the local date, also of a file left by the run before', async () => {
    writeFileSync(file, 'old line\n');
    const noon = new Date(2026, 4, 1, 12).getTime();
    utimesSync(file, noon / 1000, noon / 1000);
    let now = new Date(2026, 4, 2, 0, 0, 1).getTime();
    const log = make({ rotate_daily: true }, { now: () => now });
    log.info('second');
    await settled(log);
    log.info('second.too');
    await settled(log);
    now += 86_400_000;
    log.info('third');
    await settled(log);
    expect([text(`${file}.2`), events(`${file}.1`), events()]).toEqual([
      'old line\n',
      ['second', 'second.too'],
      ['third'],
    ]);
  });

  it('that fails goes on in the same file and says so', async () => {
    const log = make({ max_size: 10 });
    log.info('a');
    await settled(log);
    // A folder with content stands where the youngest kept file would go.
    execFileSync('mkdir', ['-p', `${file}.1/x`, `${file}.2/x`, `${file}.3/x`, `${file}.4/x`]);
    log.info('b');
    await vi.waitFor(() => expect(text()).toContain('log.rotate_failed'), 10_000);
    expect(events()).toEqual(['a', 'b', 'log.rotate_failed']);
    expect(log.stats()).toMatchObject({ rotateErrors: 1, rotations: 0 });
  });

  it('never renames what is not a regular file', async () => {
    symlinkSync('/dev/null', file);
    const log = make({ max_size: 10 });
    for (let i = 0; i < 5; i++) {
      log.info('x');
      await settled(log);
    }
    expect(log.stats()).toMatchObject({ rotations: 0, rotateErrors: 0, lines: 5 });
  });
});

describe('reopen', () => {
  it('goes on in a new file after the old one was renamed, without losing a line', async () => {
    const log = make();
    log.info('a');
    renameSync(file, `${file}.moved`);
    log.info('b');
    await settled(log);
    const reopened = log.reopen();
    log.info('c');
    await reopened;
    await settled(log);
    expect([events(`${file}.moved`), events()]).toEqual([['a', 'b'], ['c']]);
  });

  it('keeps the old file when the new one cannot be opened', async () => {
    const log = make();
    renameSync(folder, `${folder}-moved`);
    writeFileSync(folder, 'in the way');
    try {
      await expect(log.reopen()).rejects.toThrow('cannot open the log file');
      log.info('kept');
      await settled(log);
      expect(events(join(`${folder}-moved`, 'app.log'))).toEqual(['kept']);
    } finally {
      rmSync(folder);
      renameSync(`${folder}-moved`, folder);
    }
  });
});

describe('a full disk', () => {
  it('neither throws nor blocks; lines wait, are counted when dropped, and are written when there is space', async () => {
    symlinkSync('/dev/full', file);
    const log = make({ level: 'debug' });
    log.warn('first');
    await vi.waitFor(() => expect(log.stats().failing).toBe(true), 10_000);
    for (let i = 0; i < 2000; i++) log.debug('chatter');
    for (let i = 0; i < 200; i++) log.error('important');
    const full = log.stats();
    expect(full.waitingBytes).toBeLessThanOrEqual(65_536);
    expect(full.dropped).toBeGreaterThan(1000);
    await vi.waitFor(() => expect(log.stats().writeErrors).toBeGreaterThan(1), 10_000);
    expect(text(stderrFile)).toBe(`cannot write the log file ${file}: ENOSPC; trying again every second\n`);
    rmSync(file);
    await log.reopen();
    await settled(log);
    await vi.waitFor(() => expect(events().at(-1)).toBe('log.caught_up'), 10_000);
    const got = events();
    expect(got[0]).toBe('first');
    expect(got.filter((event) => event === 'important')).toHaveLength(200);
    expect(text()).toContain(`dropped=${full.dropped}`);
    expect(log.stats()).toMatchObject({ failing: false, waitingBytes: 0 });
  });

  it('does not hold up the exit', () => {
    symlinkSync('/dev/full', file);
    const log = make();
    for (let i = 0; i < 100; i++) log.info('x');
    log.flushSync();
    expect(log.stats()).toMatchObject({ dropped: 100, waitingBytes: 0, writeErrors: 1 });
  });

  const mounted = canMount();
  it.skipIf(!mounted)(
    `of a real file system is survived without a torn line${mounted ? '' : ' (SKIPPED: cannot mount a tmpfs)'}`,
    async () => {
      const disk = join(folder, 'disk');
      execFileSync('mkdir', [disk]);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]);
      try {
        writeFileSync(join(disk, 'ballast'), Buffer.alloc(40_000));
        const log = make({ file: join(disk, 'app.log') });
        for (let i = 0; i < 600; i++) log.warn(`n.${i}`);
        await vi.waitFor(() => expect(log.stats().failing).toBe(true), 10_000);
        rmSync(join(disk, 'ballast'));
        await settled(log);
        await vi.waitFor(() => expect(text(join(disk, 'app.log'))).toContain('log.caught_up'), 10_000);
        const got = events(join(disk, 'app.log'));
        expect(got).toEqual([...Array.from({ length: 600 }, (_, i) => `n.${i}`), 'log.caught_up']);
        log.close();
      } finally {
        execFileSync('umount', ['-l', disk]);
      }
    },
  );
});

describe('the end of the process', () => {
  const program = (body: string): string =>
    `import { createLog } from ${JSON.stringify(logModule)};
     const log = createLog({ ...${JSON.stringify(base)}, ...JSON.parse(process.argv[1]) });
     ${body}`;
  const args = (body: string, values: object): string[] => [
    '--input-type=module',
    '-e',
    program(body),
    JSON.stringify(values),
  ];

  it('loses no line, whatever was being written at that moment', () => {
    for (const wait of [
      '',
      'await new Promise(setImmediate);',
      'await new Promise((r) => setTimeout(r, 3));',
    ]) {
      rmSync(file, { force: true });
      const body = `for (let i = 0; i < 3000; i++) { log.info('n.' + i); if (i % 1000 === 999) { ${wait} } } process.exit(0);`;
      execFileSync(process.execPath, args(body, { file, buffer: 4_194_304 }));
      expect(events()).toEqual(Array.from({ length: 3000 }, (_, i) => `n.${i}`));
    }
  });

  it('is not held up by a reader of stderr that stopped reading', async () => {
    const body = `for (let i = 0; i < 5000; i++) { log.info('n.' + i); if (i % 100 === 0) await new Promise(setImmediate); } process.exit(7);`;
    const child = spawn(process.execPath, args(body, { buffer: 4_194_304 }), {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.pause();
    const code = await new Promise((resolve) => child.once('exit', resolve));
    child.stderr.destroy();
    expect(code).toBe(7);
  });
});

function canMount(): boolean {
  if (process.getuid?.() !== 0) return false;
  const probe = mkdtempSync(join(tmpdir(), 'mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', probe], { stdio: 'ignore' });
    execFileSync('umount', [probe], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
}
