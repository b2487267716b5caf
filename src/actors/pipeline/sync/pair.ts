/** The two databases of a stage, and what such a stage remembers between runs. Worker thread. */
import { createHash } from 'node:crypto';
import type { RowSet, SqlRow, SqlValue, Store } from '../../../store/driver.js';
import { LazyStore } from '../stage/lazy-store.js';
import { makePlan, type PairSettings, type SyncPlan } from './plan.js';
import { UnsortedError } from './read.js';
import { whereText } from './sql.js';
import { StageError, type StageRun } from '../stage/run.js';

export interface PairParams extends PairSettings {
  readonly source: string;
  readonly target: string;
  readonly link_table?: string;
  readonly statement_timeout: number;
}

export class StorePair {
  private readonly stores: { readonly source: LazyStore; readonly target: LazyStore };

  constructor(private readonly params: PairParams) {
    const nothing = async (): Promise<void> => undefined;
    if (params.source === '' && (params.link_table ?? '') === '') {
      throw new StageError(
        params.link_table === undefined
          ? 'source is empty'
          : 'source or link_table is needed: both are empty',
        false,
      );
    }
    const target = new LazyStore(params.target, nothing);
    this.stores = { target, source: params.source === '' ? target : new LazyStore(params.source, nothing) };
  }

  /** Both opened. Without a `source` of its own the source is the target's database: what is linked is read through it. */
  async open(): Promise<{ source: Store; target: Store }> {
    const [source, target] = await Promise.all([this.stores.source.get(), this.stores.target.get()]);
    return { source, target };
  }

  /** Read anew for each run: tables change. @throws StageError, StoreError */
  async plan(options: { readonly needKey: boolean }): Promise<SyncPlan> {
    const { source, target } = await this.open();
    const { link_table: link = '' } = this.params;
    const linked = this.params.source === '' ? { link } : {};
    return makePlan(source, target, this.params, { ...options, ...linked });
  }

  /** Work on both; a lost connection is made anew by the next run. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await Promise.all([this.stores.source.failed(error), this.stores.target.failed(error)]);
      throw error;
    }
  }

  async check(options: { readonly needKey: boolean }): Promise<readonly string[]> {
    const { source, target } = await this.open();
    const lines = [`source: ${await source.version()}`, `target: ${await target.version()}`];
    const plan = await this.plan(options);
    return [...lines, `columns: ${plan.columns.join(', ')}`, `key: ${plan.key.join(', ')}`];
  }

  /** The first rows of the source as they would arrive. */
  async preview(limit: number, options: { readonly needKey: boolean }): Promise<RowSet> {
    const plan = await this.plan(options);
    const { store, columns, table, where } = plan.source;
    const select = `SELECT ${columns.join(', ')} FROM ${table}${whereText({ sql: where, binds: [] })}`;
    const { rows } = await store.query(store.dialect.limit(select, limit));
    return { columns: plan.columns, rows: rows.map((row) => plan.convert(row)) };
  }

  async close(): Promise<void> {
    await Promise.all([this.stores.source.close(), this.stores.target.close()]);
  }
}

/** Changes when what is remembered no longer fits the conf. */
export function fingerprint(params: PairParams): string {
  const { source_table, target_table, source_columns, target_columns } = params;
  const { where, source_where, target_where, source_key, target_key, link_table } = params;
  const all = [source_table, target_table, source_columns, target_columns, where, source_where, target_where];
  return createHash('sha256')
    .update(JSON.stringify([...all, source_key, target_key, link_table]))
    .digest('base64url')
    .slice(0, 16);
}

/** What `StageState` can hold. */
const MAX_STATE = 4_000;

/** The last key of a walk, kept so that the next run goes on behind it. */
export class Position {
  private saved = 0;

  constructor(
    private readonly run: StageRun,
    private readonly print: string,
  ) {}

  async load(): Promise<SqlRow | undefined> {
    const text = (await this.run.state.get('position')) ?? '';
    const [print, ...values] = text === '' ? [''] : (JSON.parse(text) as string[]);
    return print === this.print ? values.map(readValue) : undefined;
  }

  /** At most once a second: what lies behind it is looked at again, which harms nothing. */
  async save(key: SqlRow): Promise<void> {
    const now = performance.now();
    if (this.saved !== 0 && now - this.saved < 1_000) return;
    const text = JSON.stringify([this.print, ...key.map(writeValue)]);
    if (text.length > MAX_STATE) return;
    await this.run.state.set('position', text);
    this.saved = now === 0 ? 1 : now;
  }

  async clear(): Promise<void> {
    if (this.saved !== 0 || ((await this.run.state.get('position')) ?? '') !== '')
      await this.run.state.set('position', '');
  }
}

export function writeValue(value: SqlValue): string {
  if (typeof value === 'string') return `s${value}`;
  if (value instanceof Uint8Array) return `x${Buffer.from(value).toString('hex')}`;
  return value === null ? '-' : `${typeof value === 'bigint' ? 'b' : 'n'}${value}`;
}

export function readValue(text: string): SqlValue {
  const rest = text.slice(1);
  switch (text[0]) {
    case 's':
      return rest;
    case 'x':
      return new Uint8Array(Buffer.from(rest, 'hex'));
    case 'b':
      return BigInt(rest);
    case 'n':
      return Number(rest);
    default:
      return null;
  }
}

/**
 * Runs a walk along the keys in the order of the databases' indexes, and once more by the bytes of the text when that is not
 * the order of both. Which it is, is remembered.
 */
export async function inOrder(
  run: StageRun,
  print: string,
  work: (byBytes: boolean, anew: boolean) => Promise<void>,
): Promise<void> {
  const known = (await run.state.get('order')) === `bytes ${print}`;
  try {
    await work(known, false);
  } catch (error) {
    if (!(error instanceof UnsortedError)) throw error;
    if (known) {
      throw new StageError(`${error.message}, not even when asked for; choose another key`, false, {
        cause: error,
      });
    }
    run.log.notice('sync.sorted-by-bytes', { side: error.side.label, keys: error.side.keys.join(', ') });
    await run.state.set('order', `bytes ${print}`);
    await work(true, true);
  }
}
