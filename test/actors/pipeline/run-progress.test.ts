import { describe, expect, it } from 'vitest';
import { progressText, RunProgress } from '../../../src/actors/pipeline/stage/progress.js';

const counts = (rowsIn: number, bytes = 0): Parameters<RunProgress['note']>[0] => ({
  rowsIn,
  rowsOut: 0,
  rowsRejected: 0,
  files: 0,
  bytes,
  errors: 0,
});

describe('the progress of a run', () => {
  it('tells rate, share and the time that is left', () => {
    const far = new RunProgress(0);
    far.expect({ rows: 10_000 });
    far.note(counts(1_000), 1_000);
    far.note(counts(2_000), 2_000);
    expect(far.state(counts(2_500), 2_500)).toMatchObject({
      rows: 2_500,
      rowsPerSecond: 1_000,
      share: 0.25,
      leftMs: 7_500,
    });
  });

  it('goes by the last seconds: a run that has slowed down ends later', () => {
    const far = new RunProgress(0);
    far.expect({ bytes: 100_000 });
    for (let s = 1; s <= 5; s++) far.note(counts(0, s * 10_000), s * 1_000);
    for (let s = 6; s <= 20; s++) far.note(counts(0, 50_000 + (s - 5) * 100), s * 1_000);
    const { bytesPerSecond, leftMs = 0 } = far.state(counts(0, 51_500), 20_000);
    expect(bytesPerSecond).toBe(100);
    expect(leftMs).toBe(485_000);
  });

  it('knows no end without a total, and never goes beyond the whole', () => {
    const far = new RunProgress(0);
    expect(far.state(counts(5), 1_000)).toMatchObject({ share: undefined, leftMs: undefined });
    far.expect({ rows: 4 });
    expect(far.state(counts(5), 1_000)).toMatchObject({ share: 1, leftMs: 0 });
  });

  it('reads well', () => {
    const far = new RunProgress(0);
    far.expect({ rows: 4_000_000 });
    expect(progressText(far.state({ ...counts(1_000_000, 150e6), files: 1_000 }, 1_000))).toBe(
      '1,000,000 rows, 1,000,000 rows/s, 1,000 files, 150.0 MB, 150.0 MB/s, 25 %, 3 s left',
    );
  });
});
