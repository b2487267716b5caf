/** `stage replay-rejects NAME [FILE...]`: mended reject files of a stage `load` are loaded, each exactly once. */
import type { StageFactory } from '../actors/pipeline/stage/run.js';
import { UsageFault } from './verb.js';

export const REPLAY = 'replay-rejects';

/** @param files reject files; none: all of the stage. @throws UsageFault for a stage that has no reject files of this kind */
export async function replayFactory(type: unknown, files: readonly string[]): Promise<StageFactory> {
  if (type !== 'load') throw new UsageFault(`${REPLAY} is for stages of the type load, not ${String(type)}`);
  const { createReplay } = await import('../actors/pipeline/load/replay.js');
  return createReplay(files);
}
