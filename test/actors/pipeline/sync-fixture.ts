/** Two databases of any kind with a table each, for the tests of the stages between them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import type { Keys } from '../../../src/runtime/schema.js';
import { openStore, type SqlRow, type Store } from '../../../src/store/driver.js';
import { runOnce, type RunResult, type StageFactory } from '../../../src/actors/pipeline/stage/run.js';
import { FakeLog } from '../../support/fake-context.js';
import { have, mariadb, postgres } from '../../support/servers.js';
import { paramsOf } from '../../support/stage-params.js';

export type Kind = 'sqlite' | 'mysql' | 'postgres';

/** Which pairs a suite runs on; the servers that are not installed are left out, loudly. */
export const PAIRS: readonly (readonly [Kind, Kind])[] = (
  [
    ['sqlite', 'sqlite'],
    ['mysql', 'mysql'],
    ['postgres', 'postgres'],
    ['mysql', 'postgres'],
    ['postgres', 'mysql'],
    ['mysql', 'sqlite'],
    ['sqlite', 'postgres'],
  ] as const
).filter((pair) =>
  pair.every((kind) => kind === 'sqlite' || (kind === 'mysql' ? have.mariadb : have.postgres)),
);

const TIMES: Readonly<Record<Kind, string>> = {
  sqlite: 'DATETIME',
  mysql: 'DATETIME',
  postgres: 'TIMESTAMP',
};

/** Observations as every kind of database declares them. */
export function observationTable(kind: Kind, name: string, key = 'obtid, ddatetime'): string {
  return `CREATE TABLE ${name} (obtid VARCHAR(20) NOT NULL, ddatetime ${TIMES[kind]} NOT NULL, t INTEGER,
    p DECIMAL(10,2), note VARCHAR(200), keyid BIGINT NOT NULL, PRIMARY KEY (${key}))`;
}

export const OBSERVATION = ['obtid', 'ddatetime', 't', 'p', 'note', 'keyid'];

/** Row number `n`; every seventh has NULLs and every fifth awkward text. */
export function observation(n: number, change = ''): SqlRow {
  const two = (value: number): string => String(value).padStart(2, '0');
  const time = `2026-01-${two(1 + (Math.trunc(n / 1440) % 28))} ${two(Math.trunc(n / 60) % 24)}:${two(n % 60)}:00`;
  const note = n % 5 === 0 ? `a\tb\\c\nd\r "'é${n}${change}` : `note ${n}${change}`;
  return [
    String(58_000 + (n % 7)),
    time,
    n % 7 === 0 ? null : n - 50,
    n % 7 === 1 ? null : `${n}.25`,
    n % 7 === 2 ? null : note,
    n,
  ];
}

export class Pair {
  log = new FakeLog();
  root = '';
  stores: Store[] = [];
  source!: Store;
  target!: Store;
  urls = { source: '', target: '' };

  constructor(readonly kinds: readonly [Kind, Kind]) {}

  async open(): Promise<void> {
    this.root = await mkdtemp(join(tmpdir(), 'sync-'));
    this.log = new FakeLog();
    const [from, to] = this.kinds;
    this.urls = { source: await this.fresh(from, 'source'), target: await this.fresh(to, 'target') };
    this.source = await openStore(this.urls.source);
    this.target = await openStore(this.urls.target);
  }

  async close(): Promise<void> {
    await this.source.close();
    await this.target.close();
    await rm(this.root, { recursive: true, force: true });
  }

  private async fresh(kind: Kind, name: string): Promise<string> {
    if (kind === 'sqlite') return `sqlite:${join(this.root, `${name}.db`)}`;
    return kind === 'mysql' ? mariadb() : postgres();
  }

  /** A table of observations on both sides, filled with the rows of these numbers. */
  async tables(source: Iterable<number>, target: Iterable<number> = [], key?: string): Promise<void> {
    const [from, to] = this.kinds;
    await this.source.execute(observationTable(from, 'src', key));
    await this.target.execute(observationTable(to, 'dst', key));
    await this.put(this.source, 'src', source);
    await this.put(this.target, 'dst', target);
  }

  async put(store: Store, table: string, numbers: Iterable<number>, change = ''): Promise<void> {
    const rows = [...numbers].map((n) => observation(n, change));
    for (let at = 0; at < rows.length; at += 5_000) {
      const result = await store.batch(store.dialect.insert(table, OBSERVATION), rows.slice(at, at + 5_000));
      expect(result.errors).toEqual([]);
    }
  }

  async run(
    stage: { readonly createStage: StageFactory; readonly keys: Keys },
    written: Record<string, string> = {},
    options: { dryRun?: boolean; signal?: AbortSignal; name?: string; source?: string } = {},
  ): Promise<RunResult> {
    const { source, target } = this.urls;
    const given = { source, target, source_table: 'src', target_table: 'dst', ...written };
    const params = paramsOf(stage.keys, given);
    const signal = options.signal ?? new AbortController().signal;
    const env = { name: options.name ?? 'sync', params, log: this.log, signal };
    return runOnce(stage.createStage, env, {
      dryRun: options.dryRun ?? false,
      ledgerUrl: `sqlite:${join(this.root, 'ledger.db')}`,
    });
  }

  /** A run that has to end well. */
  async ok(...args: Parameters<Pair['run']>): Promise<RunResult> {
    const result = await this.run(...args);
    if (result.state !== 'ok') throw result.error;
    return result;
  }

  async sourceRows(): Promise<readonly (readonly string[])[]> {
    return texts(await this.source.query(`SELECT ${OBSERVATION.join(', ')} FROM src`));
  }

  async targetRows(): Promise<readonly (readonly string[])[]> {
    return texts(await this.target.query(`SELECT ${OBSERVATION.join(', ')} FROM dst`));
  }

  async expectEqual(): Promise<void> {
    expect(await this.targetRows()).toEqual(await this.sourceRows());
  }
}

/** Rows as text that does not depend on the database, sorted. */
function texts({ rows }: { readonly rows: readonly SqlRow[] }): string[][] {
  return rows
    .map((row) =>
      row.map((value, i) => {
        if (value === null) return 'NULL';
        if (i === 3) return Number(value).toFixed(2);
        return String(value)
          .replace('T', i === 1 ? ' ' : 'T')
          .replace(/^(\d{4}-.{14})(\.0+)?Z?$/, '$1');
      }),
    )
    .sort((a, b) => Number(a[5]) - Number(b[5]) || (a.join() < b.join() ? -1 : 1));
}

export function usePair(kinds: readonly [Kind, Kind]): Pair {
  const pair = new Pair(kinds);
  beforeEach(() => pair.open());
  afterEach(() => pair.close());
  return pair;
}

export function* numbers(from: number, to: number): Generator<number> {
  for (let n = from; n < to; n++) yield n;
}
