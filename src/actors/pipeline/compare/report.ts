/** The list of differing keys as a CSV file, bounded, there under its name only when whole. Worker thread. */
import { join } from 'node:path';
import { csvField } from '../../../protocol/csv.js';
import { digitsOfTime } from '../../../protocol/observations.js';
import { createAtomic, type AtomicFile } from '../../../runtime/atomic-file.js';
import type { SqlRow } from '../../../store/driver.js';
import type { SyncPlan } from '../sync/plan.js';

export interface Difference {
  readonly kind: 'missing' | 'extra' | 'different';
  /** The key's values in front. */
  readonly row: SqlRow;
  /** Columns that differ. */
  readonly columns: readonly string[];
}

export class CompareReport {
  private file: AtomicFile | undefined;
  private readonly path: string;
  listed = 0;

  constructor(
    private readonly folder: string | undefined,
    stage: string,
    private readonly plan: SyncPlan,
    private readonly limit: number,
  ) {
    const name = `compare-${stage.replace(/[^\w.-]/g, '_')}-${digitsOfTime(new Date())}.csv`;
    this.path = join(folder ?? '', name);
  }

  /** Differences beyond the limit are left out. */
  async add(differences: readonly Difference[]): Promise<void> {
    const room = Math.max(0, this.limit - this.listed);
    const shown = differences.slice(0, room);
    this.listed += shown.length;
    if (this.folder === undefined || shown.length === 0) return;
    if (this.file === undefined) {
      this.file = await createAtomic(this.path);
      await this.file.handle.appendFile(line(['difference', ...this.plan.key, 'columns']));
    }
    const lines = shown.map(({ kind, row, columns }) => {
      const key = this.plan.key.map((_, i) => {
        const value = row[i] ?? null;
        return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
      });
      return line([kind, ...key, columns.join(' ')]);
    });
    await this.file.handle.appendFile(lines.join(''));
  }

  /** @returns path of the file, if there was something to write */
  async publish(): Promise<string | undefined> {
    if (this.file === undefined) return undefined;
    await this.file.commit();
    this.file = undefined;
    return this.path;
  }

  async discard(): Promise<void> {
    await this.file?.discard();
    this.file = undefined;
  }
}

function line(fields: readonly (string | number | bigint | null)[]): string {
  return `${fields.map(csvField).join(',')}\n`;
}
