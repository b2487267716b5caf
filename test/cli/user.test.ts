import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readPassword } from '../../src/cli/password.js';
import { user } from '../../src/cli/user.js';
import type { CliIo, SecretInput } from '../../src/cli/verb.js';
import { parseLine } from '../../src/cli/flags.js';
import { Accounts } from '../../src/store/accounts.js';
import { openStore } from '../../src/store/driver.js';
import { PasswordHasher } from '../../src/store/passwords.js';

let folder: string;
let env: Record<string, string>;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'user-'));
  env = {};
});
afterEach(() => rmSync(folder, { recursive: true }));

function io(
  typed: readonly string[],
  tty = false,
): CliIo & { readonly said: string[]; readonly raw: boolean[] } {
  const said: string[] = [];
  const raw: boolean[] = [];
  async function* chunks(): AsyncGenerator<Buffer> {
    for (const text of typed) yield Buffer.from(text);
  }
  const generator = chunks();
  const input: SecretInput = {
    [Symbol.asyncIterator]: () => generator,
    ...(tty ? { isTTY: true, setRawMode: (on: boolean) => void raw.push(on) } : {}),
  };
  return { out: (text) => said.push(text), err: (text) => said.push(text), env, input, said, raw };
}

/** Without conf files the defaults hold, in the current folder; so the store is named by a conf. */
async function run(
  line: string,
  typed: readonly string[] = [],
  json = false,
): Promise<{ code: number; said: string }> {
  const file = join(folder, 'a.conf');
  const keys = ['type = packet', `store = sqlite:${folder}/accounts.db`, 'hash_cost = 10'];
  if (!existsSync(file)) writeFileSync(file, `[actor packet]\n${keys.join('\n')}\n`);
  const terminal = io(typed);
  const { flags } = parseLine(json ? ['--json'] : []);
  const code = await user.run({ flags, words: line.split(' '), files: [file], env }, terminal);
  return { code, said: terminal.said.join('\n') };
}

async function verify(name: string, password: string): Promise<string> {
  const store = await openStore(`sqlite:${folder}/accounts.db`);
  const hasher = new PasswordHasher({ cost: 10 });
  const accounts = await Accounts.open({ store, hasher, lockAfter: 3, lockMs: 60_000, minPassword: 6 });
  const { outcome } = await accounts.verify(name, password);
  await store.close();
  return outcome;
}

describe('switchyard user', () => {
  it('adds an account that can log in, changes its password, locks and unlocks it', async () => {
    expect(await run('add alice', ['first-pass\n'])).toEqual({ code: 0, said: 'added alice' });
    expect(await verify('alice', 'first-pass')).toBe('ok');
    expect((await run('passwd alice', ['second', '-pass\r\nignored'])).code).toBe(0);
    expect(await verify('alice', 'first-pass')).toBe('refused');
    expect(await verify('alice', 'second-pass')).toBe('ok');
    expect((await run('lock alice')).code).toBe(0);
    expect(await verify('alice', 'second-pass')).toBe('locked');
    expect((await run('list')).said).toMatch(/1 {2}alice .* for good$/);
    expect((await run('unlock alice')).code).toBe(0);
    expect(await verify('alice', 'second-pass')).toBe('ok');
  });

  it('says no with 1: taken, unknown, bad name, bad password', async () => {
    await run('add bob', ['secret-1\n']);
    expect(await run('add bob', ['secret-2\n'])).toMatchObject({ code: 1 });
    expect((await run('passwd nobody', ['secret-2\n'])).said).toContain('there is no account nobody');
    expect((await run('lock nobody')).code).toBe(1);
    expect((await run("add x'y", ['secret-2\n'])).said).toContain('is no account name');
    expect((await run('add carol', ['short\n'])).said).toContain('at least 6 characters');
    expect((await run('passwd bob', ['x\n'])).code).toBe(1);
    expect(await verify('bob', 'secret-1')).toBe('ok');
  });

  it('lists as JSON, without hashes, up to a limit', async () => {
    for (const name of ['a1', 'b2', 'c3']) await run(`add ${name}`, ['secret-1\n']);
    const { said } = await run('list 2', [], true);
    const rows = JSON.parse(said) as { name: string }[];
    expect(rows.map((row) => row.name)).toEqual(['a1', 'b2']);
    expect(said).not.toContain('scrypt');
    await expect(run('list many')).rejects.toThrow('not a number');
  });

  it('says 69 when the database cannot be opened', async () => {
    const file = join(folder, 'a.conf');
    writeFileSync(file, `[actor packet]\ntype = packet\nstore = sqlite:${folder}/a.conf/x.db\n`);
    const result = await run('list');
    expect(result.code).toBe(69);
  });
});

describe('the password', () => {
  it('is typed twice on a terminal, without echo, with backspace', async () => {
    const terminal = io(['pas', 'x\u007fs\r', 'pass\r'], true);
    expect(await readPassword(terminal)).toBe('pass');
    expect(terminal.raw).toEqual([true, false]);
    expect(terminal.said.join('')).not.toContain('pass\r');
  });

  it.each([
    [['one\r', 'two\r'], 'differ'],
    [['on\u0003'], 'given up'],
    [['\r\r'], 'empty'],
    [['half'], 'given up'],
  ])('typed as %j is refused and the terminal is restored', async (typed, why) => {
    const terminal = io(typed, true);
    await expect(readPassword(terminal)).rejects.toThrow(why);
    expect(terminal.raw).toEqual([true, false]);
  });

  it('comes from a pipe as its first line, of bounded length', async () => {
    expect(await readPassword(io(['pass word\nrest']))).toBe('pass word');
    expect(await readPassword(io(['no line end']))).toBe('no line end');
    await expect(readPassword(io(['']))).rejects.toThrow('no password');
    await expect(readPassword(io(['x'.repeat(3000), 'x'.repeat(3000)]))).rejects.toThrow('too long');
  });
});
