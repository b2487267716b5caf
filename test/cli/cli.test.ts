import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cli, VERBS } from '../../src/cli.js';
import { flagEnvironment, FLAGS, parseLine } from '../../src/cli/flags.js';
import type { CliIo } from '../../src/cli/verb.js';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'cli-'))));
afterEach(() => rmSync(folder, { recursive: true }));

async function runCli(args: readonly string[], env: CliIo['env'] = {}): Promise<Ran> {
  let out = '';
  let err = '';
  const input = (async function* () {
    yield Buffer.from('');
  })();
  const code = await cli(args, {
    out: (text) => void (out += `${text}\n`),
    err: (text) => void (err += `${text}\n`),
    env,
    input,
  });
  return { code, out, err };
}

function conf(text: string): string {
  const file = join(folder, 'a.conf');
  writeFileSync(file, text);
  return file;
}

describe('the command line', () => {
  it('prints help made of its tables, and the version', async () => {
    for (const args of [['--help'], ['-h'], ['help']]) {
      const { code, out } = await runCli(args);
      expect(code).toBe(0);
      for (const verb of VERBS) expect(out).toContain(`  ${verb.name}`);
      for (const flag of Object.keys(FLAGS)) expect(out).toContain(`--${flag}`);
    }
    expect((await runCli(['ctl', '--help'])).out).toContain('Usage: switchyard ctl COMMAND');
    expect((await runCli(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each([
    [[], 'no conf file'],
    [['chek', 'a.conf'], 'did you mean "check"?'],
    [['frobnicate'], 'unknown verb "frobnicate"'],
    [['--chekc', 'a.conf'], 'unknown flag --chekc; did you mean --check?'],
    [['--log-level', 'loud', 'a.conf'], '--log-level loud: debug, info'],
    [['--log-level'], '--log-level needs a value'],
    [['--admin-port', '65536', 'a.conf'], '--admin-port 65536'],
    [['--check=yes', 'a.conf'], '--check takes no value'],
    [['-x'], 'unknown flag -x'],
    [['check'], 'no conf file to check'],
    [['ctl'], 'which command?'],
    [['stage', 'load'], '--once, --preview or --check'],
    [['stage', '--once'], 'which stage?'],
    [['user', 'remove', 'bob'], '"remove" is none of add passwd'],
    [['user', 'add'], 'add whom?'],
  ])('%j ends with 64 and says why', async (args, why) => {
    const { code, out, err } = await runCli(args);
    expect(code).toBe(64);
    expect(out).toBe('');
    expect(err).toContain(why);
    expect(err).toContain('Try: switchyard --help');
  });

  it('never repeats what may be a password', async () => {
    const { code, err } = await runCli(['user', 'add', 'bob', 'sekrit-1']);
    expect(code).toBe(64);
    expect(err).toContain('read from standard input');
    expect(err).not.toContain('sekrit');
  });

  it('checks conf files: 0 when good, 78 with every place when not', async () => {
    const good = conf('[log]\nlevel = debug\n');
    expect(await runCli(['check', good])).toMatchObject({ code: 0, err: '' });
    expect(await runCli(['--check', good])).toMatchObject({ code: 0 });
    const bad = conf('[log]\nlevle = debug\nformat = xml\n[proces]\n');
    const { code, err } = await runCli(['--check', bad]);
    expect(code).toBe(78);
    expect(err).toMatch(/a\.conf:2: .*levle.*level/);
    expect(err).toMatch(/a\.conf:3: .*format/);
    expect(err).toMatch(/a\.conf:4: .*proces/);
    expect(err).toContain('3 error(s)');
    const json = await runCli(['check', '--json', bad]);
    expect(json.code).toBe(78);
    expect((JSON.parse(json.out) as { problems: unknown[] }).problems).toHaveLength(3);
    expect((await runCli(['check', join(folder, 'none.conf')])).code).toBe(78);
  });

  it('starts nothing on a bad conf', async () => {
    const { code, err } = await runCli([conf('[nonsense]\n')]);
    expect(code).toBe(78);
    expect(err).toContain('nothing was started');
  });

  it('puts flags over the conf, as the environment does', () => {
    const { flags, positionals } = parseLine([
      'run', '--log-level=debug', '--log-format', 'json', '--pid-file', '/run/x.pid', '--admin-port', '7', '--no-daemon', 'a.conf',
    ]); // prettier-ignore
    expect(positionals).toEqual(['run', 'a.conf']);
    expect(flagEnvironment(flags, { HOME: '/root', SWITCHYARD_LOG_LEVEL: 'warn' })).toEqual({
      HOME: '/root',
      SWITCHYARD_LOG_LEVEL: 'debug',
      SWITCHYARD_LOG_FORMAT: 'json',
      SWITCHYARD_PROCESS_PID_FILE: '/run/x.pid',
      SWITCHYARD_PROCESS_DAEMON: 'no',
      SWITCHYARD_ADMIN_ADDRESS: '127.0.0.1:7',
    });
    expect(flagEnvironment(parseLine(['a.conf']).flags, { A: '1' })).toEqual({ A: '1' });
  });

  it('says 69 when no server has left its files, 78 when the named conf is bad', async () => {
    const here = conf(`[process]\ndata_dir = ${folder}/var\n[admin]\naddress = 127.0.0.1:1\n`);
    const { code, err } = await runCli(['ctl', 'ps', here]);
    expect(code).toBe(69);
    expect(err).toContain('admin.token');
    expect((await runCli(['ctl', 'ps', conf('[x]\n')])).code).toBe(78);
  });

  it('is the same as a program', async () => {
    const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
    const child = spawn(process.execPath, [main, 'nosuchverb']);
    let err = '';
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(64);
    expect(err).toContain('unknown verb "nosuchverb"');
  });
});
