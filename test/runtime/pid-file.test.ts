import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PidFileHeld, takePidFile } from '../../src/runtime/pid-file.js';

let folder: string;
let file: string;
let children: ChildProcess[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pid-'));
  file = join(folder, 'switchyard.pid');
  children = [];
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

async function sleeper(command: string, args: string[]): Promise<number> {
  const child = spawn(command, args, { stdio: 'ignore' });
  children.push(child);
  await once(child, 'spawn');
  return child.pid ?? 0;
}

describe('the pid file', () => {
  it('holds the pid, is removed at exit, and leaves nothing else', () => {
    const remove = takePidFile(file);
    expect(readFileSync(file, 'utf8')).toBe(`${process.pid}\n`);
    expect(readdirSync(folder)).toEqual(['switchyard.pid']);
    remove();
    expect(readdirSync(folder)).toEqual([]);
    remove();
  });

  it('refuses while the holder lives', async () => {
    const pid = await sleeper(process.execPath, ['-e', 'setInterval(() => 0, 1000)']);
    writeFileSync(file, `${pid}\n`);
    expect(() => takePidFile(file)).toThrow(PidFileHeld);
    expect(readFileSync(file, 'utf8')).toBe(`${pid}\n`);
    expect(readdirSync(folder)).toEqual(['switchyard.pid']);
  });

  it('replaces the file of a process that is gone', async () => {
    const pid = await sleeper(process.execPath, ['-e', 'setInterval(() => 0, 1000)']);
    writeFileSync(file, `${pid}\n`);
    const [child] = children;
    child?.kill('SIGKILL');
    if (child !== undefined) await once(child, 'exit');
    takePidFile(file)();
    expect(existsSync(file)).toBe(false);
  });

  it.runIf(process.platform === 'linux')('replaces a file whose pid now is another program', async () => {
    writeFileSync(file, `${await sleeper('sleep', ['60'])}\n`);
    takePidFile(file)();
    expect(existsSync(file)).toBe(false);
  });

  it.each(['', 'garbage', '-1', '0', '1e9', String(process.pid)])(
    'replaces a file that says "%s"',
    (text) => {
      writeFileSync(file, text);
      const remove = takePidFile(file);
      expect(readFileSync(file, 'utf8')).toBe(`${process.pid}\n`);
      remove();
    },
  );

  it('does not remove the file of its successor', () => {
    const remove = takePidFile(file);
    writeFileSync(file, '1\n');
    remove();
    expect(readFileSync(file, 'utf8')).toBe('1\n');
  });

  it('says when the folder is missing', () => {
    expect(() => takePidFile(join(folder, 'none/x.pid'))).toThrow('ENOENT');
  });

  it('lets exactly one of many starters have a stale file', async () => {
    writeFileSync(file, '999999999\n');
    const script = fileURLToPath(new URL('../support/harness/pid-file.mjs', import.meta.url));
    const starters = Array.from({ length: 8 }, () => {
      const child = spawn(process.execPath, [script, file], { stdio: ['pipe', 'pipe', 'ignore'] });
      children.push(child);
      return child;
    });
    const answers = await Promise.all(
      starters.map(async (child) => ((await once(child.stdout, 'data')) as [Buffer])[0].toString()),
    );
    expect(answers.filter((answer) => answer === 'taken')).toHaveLength(1);
    expect(answers.filter((answer) => answer === 'held')).toHaveLength(7);
  });
});
