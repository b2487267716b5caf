import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStage, keys } from '../../../src/actors/pipeline/run.js';
import type { Stage, StageRun } from '../../../src/actors/pipeline/stage/run.js';
import { touchFile } from '../../../src/runtime/touch-file.js';
import { isAlive } from '../../../src/store/process-identity.js';
import { FakeLog } from '../../support/fake-context.js';
import { fakeRun } from '../../support/fake-run.js';
import { paramsOf } from '../../support/stage-params.js';

let root = '';
let log: FakeLog;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'run-'));
  log = new FakeLog();
});
afterEach(() => rm(root, { recursive: true, force: true }));

const make = (written: Record<string, string>): Stage =>
  createStage({
    name: 'job',
    params: paramsOf(keys, { stop_wait: '500ms', ...written }),
    log,
    signal: new AbortController().signal,
  });

const start = (written: Record<string, string>, run: StageRun = fakeRun({ log })): Promise<void> =>
  make(written).run(run);

const sh = (script: string, more: Record<string, string> = {}): Record<string, string> => ({
  command: script,
  shell: 'yes',
  ...more,
});

const gone = (pid: number): Promise<unknown> =>
  expect.poll(() => isAlive('', pid, '').then(() => alive(pid)), { timeout: 5_000 }).toBe(false);

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('run', () => {
  it('starts a program with words, folder and environment, and logs its output by line', async () => {
    const run = fakeRun({ log });
    const script = `process.stdout.write([process.cwd(), process.env.A, process.env.STAGE_NAME, ...process.argv.slice(1)].join('\\n'))`;
    await start(
      { command: `${process.execPath} -e "${script}" -- 'two words' '*' $HOME`, dir: root, env: 'A=1' },
      run,
    );
    const lines = log.named('run.output').map((event) => event.fields['text']);
    expect(lines).toEqual([root, '1', 'job', 'two words', '*', '${HOME}']);
    expect(run.counts.rowsOut).toBe(1);
  });

  it('fails with the last words and knows which codes are worth another try', async () => {
    const failing = start(sh('echo one; echo two >&2; exit 3', { output: 'discard' }));
    await expect(failing).rejects.toMatchObject({ retryable: false });
    await expect(failing).rejects.toThrow('code 3');
    await expect(failing).rejects.toThrow(/one \| two|two \| one/);
    expect(log.named('run.output')).toEqual([]);
    await expect(start(sh('exit 75'))).rejects.toMatchObject({ retryable: true });
    await expect(start(sh('kill -9 $$'))).rejects.toMatchObject({ retryable: true });
    await start(sh('exit 3', { ok_codes: '0,3' }));
  });

  it('says when a program cannot be started, and what needs a shell', async () => {
    await expect(start({ command: '/no/such/program x' })).rejects.toThrow('cannot be started');
    expect(() => make({ command: 'ls | wc' })).toThrow('shell = yes');
    await expect(make({ command: '/no/such/program' }).check?.()).rejects.toThrow('no program');
    expect(await make({ command: 'sh' }).check?.()).toEqual([expect.stringMatching(/command: \/.*\/sh/)]);
  });

  it('ends the whole process group after the time-out, also one that ignores the polite signal', async () => {
    const pids = join(root, 'pids');
    const script = `trap '' TERM; sleep 100 & echo $! $$ > ${pids}; wait; sleep 100`;
    const running = start(sh(script, { run_timeout: '1s' }));
    await expect(running).rejects.toMatchObject({ retryable: true });
    await expect(running).rejects.toThrow('longer than 1000 ms');
    for (const pid of (await readFile(pids, 'utf8')).trim().split(' ')) await gone(Number(pid));
  });

  it('ends a program without heartbeat and leaves one that beats alone', async () => {
    const beat = join(root, 'beat', 'job');
    const more = { beat_file: beat, beat_timeout: '1s' };
    await expect(start(sh('sleep 100', more))).rejects.toThrow('no heartbeat');
    const timer = setInterval(() => void touchFile(beat), 200);
    try {
      await start(sh('sleep 2; test -n "$BEAT_FILE"', more));
    } finally {
      clearInterval(timer);
    }
  });

  it('stops with the stage, without an error', async () => {
    const abort = new AbortController();
    const running = start(sh('sleep 100'), fakeRun({ log, signal: abort.signal }));
    await sleep(300);
    abort.abort();
    await running;
    expect(log.named('run.ended')[0]?.fields['signal']).toBe('SIGTERM');
  });

  it('ends what a killed process left running before it starts another', async () => {
    const first = fakeRun({ log });
    const kept = new Map<string, string>();
    const state = {
      get: async (key: string) => kept.get(key),
      set: async (key: string, value: string) => void kept.set(key, value),
    };
    const running = start(sh('sleep 100'), { ...first, state }).catch(() => undefined);
    await expect.poll(() => kept.get('child')).toBeTruthy();
    const { pid } = JSON.parse(kept.get('child') ?? '{}') as { pid: number };
    await start(sh('true'), fakeRun({ log, state }));
    await gone(pid);
    expect(log.named('run.leftover')).toHaveLength(1);
    await running;
  });

  it('logs only so many lines and counts the others', async () => {
    await start(sh('for i in 1 2 3 4 5; do echo $i; done', { output_lines: '2' }));
    expect(log.named('run.output')).toHaveLength(2);
    expect(log.named('run.output-dropped')[0]?.fields['lines']).toBe(3);
  });
});
