/** A stage `load` with folders and a database of its own, for tests. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createReplay } from '../../src/actors/pipeline/load/replay.js';
import { createStage, keys } from '../../src/actors/pipeline/load.js';
import {
  runOnce,
  type RunResult,
  type StageEnv,
  type StageFactory,
} from '../../src/actors/pipeline/stage/run.js';
import { openStore, type SqlRow } from '../../src/store/driver.js';
import { FakeLog } from './fake-context.js';
import { paramsOf } from './stage-params.js';

type Written = Readonly<Record<string, string>>;

export class LoadFixture {
  readonly log = new FakeLog();
  readonly inbox: string;

  private constructor(
    readonly root: string,
    readonly url: string,
  ) {
    this.inbox = join(root, 'in');
  }

  /** @param url of the database; a new SQLite file when absent */
  static async make(url?: string): Promise<LoadFixture> {
    const root = await mkdtemp(join(tmpdir(), 'load-'));
    const made = new LoadFixture(root, url ?? `sqlite:${join(root, 'data.db')}`);
    await mkdir(made.inbox);
    return made;
  }

  /** The same folders with another database. */
  at(url: string): LoadFixture {
    return new LoadFixture(this.root, url);
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }

  /** T_OBS with upsert, unless written otherwise. */
  env(written: Written = {}, signal = new AbortController().signal): StageEnv {
    const table: Written = written['rules'] === undefined ? { table: 'T_OBS', mode: 'upsert' } : {};
    const params = paramsOf(keys, { path: this.inbox, store: this.url, ...table, ...written });
    return { name: 'load', params, log: this.log, signal };
  }

  async load(written: Written = {}, dryRun = false): Promise<RunResult> {
    return runOnce(createStage, this.env(written), { dryRun, ledgerUrl: undefined });
  }

  async replay(files: readonly string[] = [], written: Written = {}): Promise<RunResult> {
    const factory: StageFactory = createReplay(files);
    return runOnce(factory, this.env(written), { dryRun: false, ledgerUrl: undefined });
  }

  /** @returns the rows of the last select */
  async sql(...statements: readonly string[]): Promise<readonly SqlRow[]> {
    const store = await openStore(this.url);
    try {
      let rows: readonly SqlRow[] = [];
      for (const statement of statements) {
        if (/^select/i.test(statement)) ({ rows } = await store.query(statement));
        else await store.execute(statement);
      }
      return rows;
    } finally {
      await store.close();
    }
  }

  put(name: string, content: string | Uint8Array): Promise<void> {
    return writeFile(join(this.inbox, name), content);
  }

  events(event: string): Record<string, unknown>[] {
    return this.log.named(event).map(({ fields }) => ({ ...fields }));
  }
}

export const names = async (folder: string): Promise<string[]> =>
  (await readdir(folder).catch(() => [])).filter((name) => name !== '.claimed').sort();

/** Any database takes it; `t` has to be below 900. */
export const OBS_TABLE = `CREATE TABLE T_OBS (obtid VARCHAR(5) NOT NULL, ddatetime TIMESTAMP NOT NULL, t DECIMAL(5,1), name VARCHAR(4),
  upttime TIMESTAMP DEFAULT '2000-01-01 00:00:00', keyid INTEGER, CHECK (t < 900), PRIMARY KEY (obtid, ddatetime))`;

/** One record; with ddatetime unless given. */
export function record(fields: Readonly<Record<string, string | number>>): string {
  const all = { ddatetime: '20230706154300', ...fields };
  return `${Object.entries(all)
    .map(([tag, value]) => `<${tag}>${value}</${tag}>`)
    .join('')}<endl/>\n`;
}

export const file = (...records: readonly string[]): string => `<data>\n${records.join('')}</data>\n`;
