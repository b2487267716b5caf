import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keys } from '../../../src/actors/pipeline/transform.js';
import { paramsOf } from '../../support/stage-params.js';

const HARNESS = fileURLToPath(new URL('../../support/run-stage.mjs', import.meta.url));
const KILLS = 25;
const FILES = 20;
const ROWS = 300;

let root = '';
const children: ChildProcess[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'transform-kill-'));
  for (const folder of ['in', 'out', 'taken']) await mkdir(join(root, folder));
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await rm(root, { recursive: true, force: true });
});

function start(mode: 'once' | 'loop'): ChildProcess {
  const params = paramsOf(keys, {
    path: join(root, 'in'),
    out: join(root, 'out'),
    ledger: `sqlite:${join(root, 'ledger.db')}`,
    file_rows: '100',
    prefix: 'P',
    header: 'none',
    fields: 'id,v',
  });
  const child = spawn(process.execPath, [HARNESS, 'transform', JSON.stringify(params), mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return child;
}

/** What the next stage does: takes whatever appears at once. */
async function take(): Promise<void> {
  for (const name of await readdir(join(root, 'out'))) {
    if (name.startsWith('.')) continue;
    await rename(join(root, 'out', name), join(root, 'taken', `${++taken}`));
  }
}
let taken = 0;

describe('transform under SIGKILL', () => {
  it(
    'brings every row once, with two processes on one folder and files taken as they appear',
    { timeout: 240_000 },
    async () => {
      let next = 0;
      for (let round = 0; round < KILLS; round++) {
        for (let i = 0; i < FILES; i++) {
          const rows = Array.from({ length: ROWS }, () => `${next++},x`);
          await writeFile(join(root, 'in', `f${round}-${i}.csv.tmp`), `${rows.join('\n')}\nbad\n`);
          await rename(join(root, 'in', `f${round}-${i}.csv.tmp`), join(root, 'in', `f${round}-${i}.csv`));
        }
        const pair = [start('loop'), start('loop')];
        const exits = pair.map((child) => once(child, 'exit'));
        await Promise.all(pair.map((child) => once(child.stdout!, 'data')));
        const until = Date.now() + Math.random() * 300;
        do await take();
        while (Date.now() < until);
        for (const child of pair) child.kill('SIGKILL');
        await Promise.all(exits);
      }
      const last = start('once');
      const [code] = (await once(last, 'exit')) as [number];
      expect(code).toBe(0);
      await take();
      const seen = new Map<string, number>();
      for (const name of await readdir(join(root, 'taken'))) {
        const text = await readFile(join(root, 'taken', name), 'utf8');
        expect(text).toMatch(/^<data>\n[^]*<\/data>\n$/);
        for (const [, id = ''] of text.matchAll(/<id>(\d+)<\/id>/g)) seen.set(id, (seen.get(id) ?? 0) + 1);
      }
      expect([...seen].filter(([, times]) => times !== 1)).toEqual([]);
      expect(seen.size).toBe(KILLS * FILES * ROWS);
      expect(await readdir(join(root, 'in'))).toEqual([]);
      expect(await readdir(join(root, 'out'), { recursive: true })).toEqual([]);
      const rejects = await readdir(join(root, 'in-errors'));
      expect(rejects.filter((name) => name.endsWith('.reject'))).toHaveLength(KILLS * FILES);
    },
  );
});
