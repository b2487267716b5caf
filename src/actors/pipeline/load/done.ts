/**
 * The table `switchyard_files` in the target database: which files were loaded. A file's row is written in the transaction of
 * its rows, so whatever happens between the commit and the moving of the file, it is not loaded twice. Worker thread.
 */
import { createHash } from 'node:crypto';
import { StoreError, type SqlRunner, type Store } from '../../../store/driver.js';

export const DONE_TABLE = 'switchyard_files';

const COLUMNS = [
  'file_key', 'content_hash', 'file_name', 'bytes', 'mtime_ms', 'stage', 'run_id', 'rows_in', 'rows_rejected', 'loaded_at', 'moved',
] as const; // prettier-ignore
/** Marks that are kept for later when they cannot be made now. */
const MAX_UNMARKED = 10_000;
const KEYS = ['file_key', 'content_hash'];
/** Types that every database knows. The key is of digests, because names may have any characters and collations. */
const CREATE = `(
  file_key VARCHAR(64) NOT NULL,
  content_hash VARCHAR(64) NOT NULL,
  file_name VARCHAR(255) NOT NULL,
  bytes NUMERIC(19) NOT NULL,
  mtime_ms NUMERIC(19) NOT NULL,
  stage VARCHAR(100) NOT NULL,
  run_id NUMERIC(19),
  rows_in NUMERIC(19) NOT NULL,
  rows_rejected NUMERIC(19) NOT NULL,
  loaded_at VARCHAR(24) NOT NULL,
  moved NUMERIC(1) NOT NULL,
  PRIMARY KEY (file_key, content_hash))`;

export interface FileIdentity {
  readonly name: string;
  readonly size: number;
  readonly mtimeMs: number;
  /** SHA-256 of the bytes, as hexadecimal digits. */
  readonly hash: string;
}

export interface DoneFile extends FileIdentity {
  readonly rowsIn: number;
  readonly rowsRejected: number;
}

export interface DoneOptions {
  readonly stage: string;
  /** What an equal file that came again after the first one was moved away is: done, or to be loaded once more. */
  readonly repeat: 'skip' | 'load';
  readonly rememberMs: number;
}

/** Makes the table. Two processes may do so at once. @throws StoreError */
export async function makeDoneTable(store: Store): Promise<void> {
  const exists = async (): Promise<boolean> => {
    try {
      await store.columns(DONE_TABLE);
      return true;
    } catch (error) {
      if (error instanceof StoreError && error.code === 'NO_TABLE') return false;
      throw error;
    }
  };
  if (await exists()) return;
  try {
    await store.execute(`CREATE TABLE ${store.dialect.quoteIdentifier(DONE_TABLE)} ${CREATE}`);
  } catch (error) {
    if (!(await exists())) throw error;
  }
}

export class DoneFiles {
  /** Files that were moved away and are not yet marked so. */
  private readonly gone: FileIdentity[] = [];

  constructor(private readonly options: DoneOptions) {}

  /** @returns which of these files were loaded before. Inside their transaction. @throws StoreError */
  async known<F extends FileIdentity>(tx: SqlRunner, files: readonly F[]): Promise<Set<F>> {
    const done = new Set<F>();
    if (files.length === 0) return done;
    const marks = files.map(() => '?').join(', ');
    const { rows } = await tx.query(
      `SELECT file_key, content_hash, bytes, mtime_ms, moved FROM ${DONE_TABLE} WHERE file_key IN (${marks})`,
      files.map((file) => this.key(file)),
    );
    for (const file of files) {
      const row = rows.find(([key, hash]) => key === this.key(file) && hash === file.hash);
      if (row === undefined) continue;
      const [bytes, mtime, moved] = row.slice(2).map(Number);
      // Not moved and the same in everything: the process died between the commit and the move.
      const left = moved === 0 && bytes === file.size && mtime === Math.trunc(file.mtimeMs);
      if (left || this.options.repeat === 'skip') done.add(file);
    }
    return done;
  }

  /** @returns whether a file of this name and size was loaded before: only then it may be a known one. @throws StoreError */
  async maybeKnown(tx: SqlRunner, file: Omit<FileIdentity, 'hash'>): Promise<boolean> {
    const { rows } = await tx.query(`SELECT bytes FROM ${DONE_TABLE} WHERE file_key = ?`, [this.key(file)]);
    return rows.some(([bytes]) => Number(bytes) === file.size);
  }

  /** Writes down what is loaded, inside its transaction. @throws StoreError */
  async add(
    store: Store,
    tx: SqlRunner,
    files: readonly DoneFile[],
    runId: number | undefined,
  ): Promise<void> {
    const at = new Date().toISOString();
    const rows = files.map((file) => [
      this.key(file),
      file.hash,
      // Any character set can hold it.
      JSON.stringify(file.name)
        .slice(1, -1)
        .replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
        .slice(0, 255),
      file.size,
      Math.trunc(file.mtimeMs),
      this.options.stage.slice(0, 100),
      runId ?? null,
      file.rowsIn,
      file.rowsRejected,
      at,
      0,
    ]);
    const { errors } = await tx.batch(store.dialect.upsert(DONE_TABLE, COLUMNS, KEYS), rows);
    const [bad] = errors;
    if (bad !== undefined) throw new StoreError(bad.code, `${DONE_TABLE}: ${bad.message}`);
  }

  /** The file is no longer in the folder. */
  moved({ name, size, mtimeMs, hash }: FileIdentity): void {
    // Nothing else of it: it waits here for hundreds of others.
    this.gone.push({ name, size, mtimeMs, hash });
  }

  /**
   * Writes down which files were moved, if there are that many. Outside of any transaction: one that fails would take it
   * back. A kill before it leaves a mark unmade, and the same file again would then count as one already loaded, once.
   * @throws StoreError
   */
  async markGone(store: Store, atLeast: number): Promise<void> {
    if (this.gone.length < atLeast) return;
    const files = this.gone.splice(0);
    const rows = files.map((file) => [this.key(file), file.hash]);
    try {
      await store.batch(`UPDATE ${DONE_TABLE} SET moved = 1 WHERE file_key = ? AND content_hash = ?`, rows);
    } catch (error) {
      if (this.gone.length < MAX_UNMARKED) this.gone.unshift(...files);
      throw error;
    }
  }

  /** Forgets files that are gone for long. @param all nothing waits in the folder, so whatever is old is gone. @throws StoreError */
  async purge(store: Store, all: boolean): Promise<number> {
    const before = new Date(Date.now() - this.options.rememberMs).toISOString();
    return store.execute(
      `DELETE FROM ${DONE_TABLE} WHERE stage = ? AND loaded_at < ?${all ? '' : ' AND moved = 1'}`,
      [this.options.stage.slice(0, 100), before],
    );
  }

  private key({ name }: { readonly name: string }): string {
    return createHash('sha256').update(this.options.stage).update('\0').update(name).digest('hex');
  }
}
