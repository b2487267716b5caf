import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileThread } from '../../src/runtime/file-thread.js';

let root = '';
let thread: FileThread;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'file-thread-'));
  thread = new FileThread();
});
afterEach(async () => {
  await thread.close();
  await rm(root, { recursive: true, force: true });
});

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

describe('the thread that writes files', () => {
  it('carries calls out in their order and takes the memory over', async () => {
    const path = join(root, 'a');
    const piece = bytes('one ');
    const calls = [
      thread.append(path, [piece, 'two '], { end: false, sync: false }),
      thread.append(path, [bytes('three')], { end: true, sync: true }),
    ];
    expect(piece.byteLength).toBe(0);
    await Promise.all(calls);
    expect(await readFile(path, 'utf8')).toBe('one two three');
  });

  it('gives the memory of what is written back', async () => {
    const piece = bytes('one ');
    const pieces = [piece, 'two ', bytes('three')];
    const memory = await thread.append(join(root, 'a'), pieces, { end: true, sync: false });
    expect(memory.map((block) => Buffer.from(block).toString())).toEqual(['one ', 'three']);
    const again = new Uint8Array(memory[0] ?? new ArrayBuffer());
    await thread.append(join(root, 'b'), [again], { end: true, sync: false });
    expect(await readFile(join(root, 'b'), 'utf8')).toBe('one ');
  });

  it('overwrites nothing and tells the error of the system', async () => {
    const path = join(root, 'a');
    await writeFile(path, 'old');
    await expect(thread.append(path, ['new'], { end: true, sync: false })).rejects.toMatchObject({
      code: 'EEXIST',
    });
    await expect(thread.append(join(root, 'no/such'), ['x'], { end: true, sync: false })).rejects.toThrow(
      'ENOENT',
    );
    expect(await readFile(path, 'utf8')).toBe('old');
  });

  it('removes a file that was not ended, and nothing else', async () => {
    await thread.append(join(root, 'half'), ['x'], { end: false, sync: false });
    await thread.append(join(root, 'whole'), ['x'], { end: true, sync: false });
    for (const name of ['half', 'whole', 'none']) await thread.drop(join(root, name));
    expect(await readdir(root)).toEqual(['whole']);
  });

  it('moves files beside others of their name', async () => {
    await mkdir(join(root, 'from'));
    await mkdir(join(root, 'to'));
    await writeFile(join(root, 'to/b.xml'), 'old');
    await writeFile(join(root, 'to/b-2.xml'), 'old');
    for (const name of ['a.xml', 'b.xml']) await writeFile(join(root, 'from', name), name);
    expect(await thread.move(join(root, 'from'), join(root, 'to'), ['a.xml', 'b.xml'])).toEqual([5, 5]);
    expect((await readdir(join(root, 'to'))).sort()).toEqual(['a.xml', 'b-2.xml', 'b-3.xml', 'b.xml']);
    expect(await readFile(join(root, 'to/b-3.xml'), 'utf8')).toBe('b.xml');
    expect(await readdir(join(root, 'from'))).toEqual([]);
    await writeFile(join(root, 'from/b.xml'), '');
    await expect(thread.move(join(root, 'from'), join(root, 'to'), ['b.xml'], 3)).rejects.toThrow(
      'similar names are taken',
    );
  });

  it('ends after what is under way, and starts again when it is needed', async () => {
    const writing = thread.append(join(root, 'a'), ['x'.repeat(1 << 20)], { end: true, sync: true });
    await thread.close();
    await writing;
    await thread.append(join(root, 'b'), ['y'], { end: true, sync: false });
    expect((await readdir(root)).sort()).toEqual(['a', 'b']);
  });
});
