/**
 * How far a run is: what is done, how fast, how much is left. The rate is that of the last ten seconds or so, because a run that
 * has slowed down ends later than its average says. Pure; the present time is a parameter (ms of a clock that never goes back).
 */
import type { RunCounts } from '../../../store/ledger.js';

export interface Progress {
  readonly rows: number;
  readonly bytes: number;
  readonly files: number;
  /** Per second. */
  readonly rowsPerSecond: number;
  readonly bytesPerSecond: number;
  /** 0 to 1, once the total is known. */
  readonly share: number | undefined;
  /** ms until the end at this rate. */
  readonly leftMs: number | undefined;
}

const WINDOW = 10_000;
const SAMPLE = 500;

interface Sample {
  readonly at: number;
  readonly rows: number;
  readonly bytes: number;
}

export class RunProgress {
  private readonly samples: Sample[];
  private total: { readonly rows?: number; readonly bytes?: number } = {};

  /** @param start when the run began */
  constructor(start: number) {
    this.samples = [{ at: start, rows: 0, bytes: 0 }];
  }

  expect(total: { readonly rows?: number; readonly bytes?: number }): void {
    this.total = total;
  }

  /** Call it now and then, at least as often as the state is asked for. */
  note(counts: RunCounts, now: number): void {
    const newest = this.samples.at(-1);
    if (newest !== undefined && now - newest.at < SAMPLE) return;
    this.samples.push({ at: now, ...amounts(counts) });
    while (this.samples.length > 2 && now - (this.samples[1]?.at ?? now) > WINDOW) this.samples.shift();
  }

  state(counts: RunCounts, now: number): Progress {
    const { rows, bytes } = amounts(counts);
    const oldest = this.samples[0] ?? { at: now, rows: 0, bytes: 0 };
    const seconds = Math.max(1, now - oldest.at) / 1_000;
    const rowsPerSecond = Math.round((rows - oldest.rows) / seconds);
    const bytesPerSecond = Math.round((bytes - oldest.bytes) / seconds);
    const [done, all, rate] =
      this.total.rows !== undefined
        ? [rows, this.total.rows, rowsPerSecond]
        : [bytes, this.total.bytes, bytesPerSecond];
    return {
      rows,
      bytes,
      files: counts.files,
      rowsPerSecond,
      bytesPerSecond,
      share: all === undefined || all <= 0 ? undefined : Math.min(1, done / all),
      leftMs: all === undefined || rate <= 0 ? undefined : Math.max(0, ((all - done) / rate) * 1_000),
    };
  }
}

/** A stage counts what it reads, what it writes, or both. */
function amounts(counts: RunCounts): { rows: number; bytes: number } {
  return { rows: Math.max(counts.rowsIn, counts.rowsOut + counts.rowsRejected), bytes: counts.bytes };
}

/** `1,234,000 rows, 1,210,000 rows/s, 45 %, 1 min 12 s left` */
export function progressText(progress: Progress): string {
  const parts: string[] = [];
  if (progress.rows > 0) parts.push(`${count(progress.rows)} rows, ${count(progress.rowsPerSecond)} rows/s`);
  if (progress.files > 0) parts.push(`${count(progress.files)} files`);
  if (progress.bytes > 0) {
    parts.push(`${megabytes(progress.bytes)} MB, ${megabytes(progress.bytesPerSecond)} MB/s`);
  }
  if (progress.share !== undefined) parts.push(`${Math.floor(progress.share * 100)} %`);
  if (progress.leftMs !== undefined) parts.push(`${timeText(progress.leftMs)} left`);
  return parts.join(', ');
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

function timeText(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
