/** A StageRun without a ledger, for tests that call `stage.run` themselves. */
import type { StageRun } from '../../src/actors/pipeline/stage/run.js';
import { FakeLog } from './fake-context.js';

export function fakeRun(given: Partial<StageRun> = {}): StageRun {
  const kept = new Map<string, string>();
  return {
    log: new FakeLog(),
    signal: new AbortController().signal,
    dryRun: false,
    counts: { rowsIn: 0, rowsOut: 0, rowsRejected: 0, files: 0, bytes: 0, errors: 0 },
    progress: () => undefined,
    expect: () => undefined,
    runId: undefined,
    cutOff: async () => false,
    state: {
      get: async (key) => kept.get(key),
      set: async (key, value) => void kept.set(key, value),
    },
    ...given,
  };
}
