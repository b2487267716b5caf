/** What the tests of the stage `extract` share: a folder with a database, runs of the stage, and the rows of its files. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createStage, keys } from '../../src/actors/pipeline/extract.js';
import { runOnce, type RunResult, type Stage } from '../../src/actors/pipeline/stage/run.js';
import { RowXmlReader } from '../../src/protocol/rowxml.js';
import { openStore, type SqlRow, type Store } from '../../src/store/driver.js';
import { FakeLog } from './fake-context.js';
import { paramsOf } from './stage-params.js';

export class Extracting {
  readonly log = new FakeLog();
  readonly out: string;

  private constructor(
    readonly root: string,
    readonly url: string,
    readonly store: Store,
  ) {
    this.out = join(root, 'out');
  }

  /** @param url default: SQLite in the folder */
  static async open(url?: string): Promise<Extracting> {
    const root = await mkdtemp(join(tmpdir(), 'extract-'));
    const source = url ?? `sqlite:${join(root, 'data.db')}?sync=normal`;
    return new Extracting(root, source, await openStore(source));
  }

  async close(): Promise<void> {
    await this.store.close();
    await rm(this.root, { recursive: true, force: true });
  }

  params(written: Readonly<Record<string, string>>): Record<string, unknown> {
    return paramsOf(keys, {
      source: this.url,
      out: this.out,
      prefix: 'P',
      suffix: 's',
      ledger: `sqlite:${join(this.root, 'ledger.db')}?sync=normal`,
      ...written,
    });
  }

  stage(written: Readonly<Record<string, string>>): Stage {
    const env = {
      name: 'ex',
      params: this.params(written),
      log: this.log,
      signal: new AbortController().signal,
    };
    return createStage(env);
  }

  async run(
    written: Readonly<Record<string, string>>,
    options: { readonly dryRun?: boolean; readonly signal?: AbortSignal; readonly name?: string } = {},
  ): Promise<RunResult> {
    const params = this.params(written);
    const signal = options.signal ?? new AbortController().signal;
    return runOnce(
      createStage,
      { name: options.name ?? 'ex', params, log: this.log, signal },
      {
        dryRun: options.dryRun ?? false,
        ledgerUrl: params['ledger'] as string,
      },
    );
  }

  /** The same, and it has to end well. */
  async well(written: Readonly<Record<string, string>>): Promise<RunResult> {
    const result = await this.run(written);
    if (result.state === 'failed') throw result.error as Error;
    return result;
  }

  /** Table `r` with an integer key and a text, rows `first` to `last`. */
  async fill(first: number, last: number): Promise<void> {
    await this.store.execute('CREATE TABLE IF NOT EXISTS r (keyid BIGINT PRIMARY KEY, v VARCHAR(100))');
    const rows: SqlRow[] = [];
    for (let i = first; i <= last; i++) rows.push([i, `row ${i}`]);
    for (let i = 0; i < rows.length; i += 2_000) {
      const { done } = await this.store.batch(
        'INSERT INTO r (keyid, v) VALUES (?, ?)',
        rows.slice(i, i + 2_000),
      );
      if (done !== Math.min(2_000, rows.length - i)) throw new Error('rows are missing');
    }
  }

  /** Names of the files that appeared, in the order of their numbers. */
  async files(): Promise<string[]> {
    const number = (name: string): number => Number(/_(\d+)(?:-\d+)?\.xml$/.exec(name)?.[1]);
    const names = (await readdir(this.out).catch(() => [])).filter((name) => !name.startsWith('.'));
    return names.sort((a, b) => number(a) - number(b));
  }

  /** Values of one field in all files together. */
  async values(field: string): Promise<string[]> {
    const found: string[] = [];
    for (const name of await this.files())
      found.push(...valuesOf(await readFile(join(this.out, name), 'utf8'), field));
    return found;
  }

  async numbers(field = 'keyid'): Promise<number[]> {
    return (await this.values(field)).map(Number).sort((a, b) => a - b);
  }

  /** What is left in the hidden folder beside the record of the last step. */
  async traces(): Promise<string[]> {
    const names = await readdir(join(this.out, '.extract-ex')).catch(() => []);
    return names.filter((name) => name !== 'last.json');
  }

  readFile(name: string): Promise<Buffer> {
    return readFile(join(this.out, name));
  }
}

/** @throws Error for a record that is none */
export function valuesOf(text: string, field: string): string[] {
  const found: string[] = [];
  if (!text.startsWith('<data>\n') || !text.endsWith('</data>\n')) throw new Error('the file is not whole');
  const reader = new RowXmlReader([field], {
    row: ([value]) => void found.push(value ?? ''),
    bad: ({ line, reason }) => {
      throw new Error(`line ${line}: ${reason}`);
    },
  });
  reader.push(text);
  reader.end();
  return found;
}

export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
