/**
 * Stage `extract`: rows of any database into files of row XML (spec data-centre 7), all of them each time or those beyond the last
 * key. Files and position move together, step by step (extract-outbox.ts): a crash at any moment neither loses a row nor
 * sends one twice. Worker thread.
 */
import { access, constants, stat } from 'node:fs/promises';
import { timeDigits } from '../../protocol/observations.js';
import type { RowSet, Store } from '../../store/driver.js';
import { optionsOf } from './extract/batches.js';
import { freshMemory, FileNames, keyFromText, keyToText } from './extract/memory.js';
import { Outbox } from './extract/outbox.js';
import { planOf, type Plan, type Query, type SqlKey } from './extract/plan.js';
import { inFile, inLedger, inStore, type PositionKeeper } from './extract/position.js';
import { Pass, type PassOptions } from './extract/read.js';
import { rowRenderer, type Renderer } from './extract/render.js';
import { sentAlready, signatureOf, unfinished } from './extract/resume.js';
import { Room } from './extract/room.js';
import { settingsOf, type ExtractParams, type Settings } from './extract/settings.js';
import { integerOf, SentKeys } from './extract/window.js';
import { beating, beatingEach } from './stage/beating.js';
import { LazyStore } from './stage/lazy-store.js';
import { stageActor } from './stage.js';
import { StageError, type Stage, type StageEnv, type StageRun, type StageState } from './stage/run.js';

export { keys } from './extract/keys.js';

export function createStage(env: StageEnv): Stage {
  return new Extract(env);
}

export const factory = stageActor(createStage);

const NO_STATE: StageState = { get: async () => undefined, set: async () => undefined };

class Extract implements Stage {
  readonly outputs: readonly string[];
  private readonly params: ExtractParams;
  private readonly settings: Settings;
  private readonly source: LazyStore;
  private readonly room: Room;
  private readonly render: Renderer;
  private readonly keeper: PositionKeeper | undefined;
  private state = NO_STATE;
  /** Run that came to its end in this process, whatever the ledger knows of it. */
  private whole: number | undefined;

  constructor(private readonly env: StageEnv) {
    const params = (this.params = env.params as unknown as ExtractParams);
    this.settings = settingsOf(params);
    this.outputs = [params.out];
    this.source = new LazyStore(params.source, async () => undefined);
    this.room = new Room({
      folder: params.out,
      limits: params,
      waitMs: params.room_wait,
    });
    this.render = rowRenderer({ ...this.settings, escape: params.escape });
    this.keeper = this.settings.incremental ? this.keeperOf(params) : undefined;
  }

  async run(run: StageRun): Promise<void> {
    this.state = run.state;
    try {
      if (run.dryRun) return await this.look(run);
      const { params, room, keeper } = this;
      const outbox = await Outbox.open({
        out: params.out,
        stage: this.env.name,
        room,
        leaseMs: params.lease,
        sync: params.sync,
        position: keeper,
      });
      try {
        if ((await outbox.recover(run)) === 'stopped') return;
        if ((await room.wait(run, () => outbox.beat())) === undefined) return;
        await this.extract(outbox, run);
      } finally {
        await outbox.close();
      }
    } catch (error) {
      await this.source.failed(error);
      throw error;
    }
  }

  async preview(limit: number): Promise<RowSet> {
    const store = await this.source.get();
    const plan = await planOf(store, this.settings);
    const last = await Outbox.recall(this.params.out, this.env.name);
    // There is no run, hence no ledger: the last step knows, too.
    const kept = this.keeper?.onlyInRuns === true ? last?.position : await this.keeper?.read();
    const from = this.keeper === undefined ? undefined : this.lowest(BigInt(kept ?? 0));
    const run = { progress: () => undefined, signal: this.env.signal };
    const { sql, binds } = plan.read(from);
    const options = { ...optionsOf(this.settings, run), batchRows: limit };
    for await (const { rows } of store.stream(sql, binds, options)) {
      return { columns: this.settings.fields, rows: rows.slice(0, limit) };
    }
    return { columns: this.settings.fields, rows: [] };
  }

  async check(): Promise<readonly string[]> {
    const { params, settings } = this;
    const store = await this.source.get();
    const lines = [`source: ${await store.version()}`];
    const plan = await planOf(store, settings);
    lines.push(
      `sql: ${settings.fields.length} columns, read ${plan.ordered ? 'in the order of a key' : 'as they come'}`,
    );
    if (plan.reason !== undefined) lines.push(`sql: it is read in one step: ${plan.reason}`);
    if (this.keeper !== undefined) lines.push(`position: ${await this.keeper.check()}`);
    const folder = await stat(params.out).catch(() => undefined);
    if (folder === undefined) lines.push(`out: ${params.out} will be made`);
    else {
      if (!folder.isDirectory()) throw new StageError(`out: ${params.out} is no folder`, false);
      await access(params.out, constants.W_OK);
      const { files } = await this.room.free();
      lines.push(
        `out: ${params.out} is writable${files > 0 ? '' : ', but full: nobody takes the files in it'}`,
      );
    }
    return lines;
  }

  async close(): Promise<void> {
    await this.source.close();
    await this.keeper?.close();
  }

  private async extract(outbox: Outbox, run: StageRun): Promise<void> {
    const { settings, params, render } = this;
    const store = await this.source.get();
    const plan = await planOf(store, settings);
    if (plan.reason !== undefined) run.log.notice('extract.one-step', { reason: plan.reason });
    const names = new FileNames(params.prefix, params.suffix, outbox.memory.name);
    const given = { store, settings, plan, outbox, names, render };
    if (this.keeper !== undefined) await this.increment(given, this.keeper, run);
    else await this.full(given, run);
  }

  private async increment(given: Given, keeper: PositionKeeper, run: StageRun): Promise<void> {
    const { outbox, names, plan } = given;
    let position = await keeper.read();
    const overlap = BigInt(this.params.overlap);
    let sent: SentKeys | undefined;
    if (overlap > 0n) {
      if (!plan.ordered)
        throw new StageError(
          `overlap: the select cannot be read in the order of inc_field: ${plan.reason}`,
          false,
        );
      const known = outbox.memory.sent;
      // The position was changed by hand: what was sent before then means nothing any more.
      sent = new SentKeys(known?.position === String(position) ? known.keys : '', overlap);
    }
    const started = position;
    await this.passes(run, plan, () => this.lowest(position), {
      ...given,
      sent,
      conclude: ({ key }, files) => {
        if (files === 0 || key === undefined) return undefined;
        const expected = position;
        if (BigInt(key) > position) position = BigInt(key);
        const keysSent = sent && {
          position: String(position),
          keys: sent.toText(position - overlap, BigInt(key)),
        };
        return { position, expected, memory: { ...freshMemory(), name: names.given, sent: keysSent } };
      },
    });
    if (sent?.incomplete) run.log.warn('extract.overlap-cut', { overlap: this.params.overlap });
    if (position !== started) run.log.info('extract.position', { from: started, to: position });
  }

  private async full(given: Given, run: StageRun): Promise<void> {
    const { outbox, names, plan, store } = given;
    const { params } = this;
    if (await sentAlready(outbox.memory, params, this.whole, run)) return;
    const signature = signatureOf(params);
    const kept = unfinished(outbox.memory, params, plan, run);
    const startedAt = kept?.startedAt ?? Date.now();
    const keyless = plan.keyless();
    if (keyless !== undefined && (await store.query(keyless)).rows.length > 0) {
      throw new StageError(
        `key: ${params.key} is NULL in some rows, by which nothing can be found again`,
        false,
      );
    }
    let pending = outbox.memory.full !== undefined;
    let after: SqlKey | undefined = kept && keyFromText(kept.after);
    await this.passes(run, plan, () => after, {
      ...given,
      sent: undefined,
      conclude: ({ key, last }, files) => {
        if (files === 0 && !pending) return undefined;
        pending = !last && key !== undefined;
        if (pending) after = key;
        const full = last || key === undefined ? undefined : { after: keyToText(key), startedAt, signature };
        const endedAt = Date.now();
        const ended = last && run.runId !== undefined ? { run: run.runId, endedAt, signature } : undefined;
        return {
          position: undefined,
          expected: undefined,
          memory: { name: names.given, sent: undefined, full, ended },
        };
      },
    });
    if (!run.signal.aborted) this.whole = run.runId;
  }

  /** @param from the key behind which to read, asked again whenever the cursor had to be let go */
  private async passes(
    run: StageRun,
    plan: Plan,
    from: () => SqlKey | undefined,
    options: PassOptions,
  ): Promise<void> {
    const { store, outbox } = options;
    const count = this.params.count ? plan.count(from()) : undefined;
    if (count !== undefined) run.expect({ rows: await this.countRows(store, count, run) });
    const pass = new Pass(options, run);
    try {
      while ((await pass.read(from())) === 'again' && !run.signal.aborted) {
        if ((await this.room.wait(run, () => outbox.beat())) === undefined) return;
      }
    } finally {
      const time = pass.oldestRow === undefined ? undefined : timeOf(pass.oldestRow);
      if (time !== undefined) run.counts.lagMs = Math.max(0, Date.now() - time);
    }
  }

  /** Counts instead of reading, and says what a run would do. */
  private async look(run: StageRun): Promise<void> {
    const { settings, params } = this;
    const store = await this.source.get();
    const plan = await planOf(store, settings);
    const last = await Outbox.recall(params.out, this.env.name);
    const memory = last?.memory ?? freshMemory();
    if (this.keeper === undefined && (await sentAlready(memory, params, this.whole, run))) return;
    const kept = unfinished(memory, params, plan, run);
    const position = await this.keeper?.read();
    const from = position === undefined ? kept && keyFromText(kept.after) : this.lowest(position);
    const count = plan.count(from);
    if (count !== undefined) run.counts.rowsIn = await this.countRows(store, count, run);
    else {
      const { sql, binds } = plan.read(from);
      for await (const { rows } of beatingEach(run, store.stream(sql, binds, optionsOf(settings, run)))) {
        run.counts.rowsIn += rows.length;
        run.progress();
      }
    }
    const rows = run.counts.rowsIn;
    run.counts.files = rows === 0 ? 0 : params.file_rows === 0 ? 1 : Math.ceil(rows / params.file_rows);
    run.log.info('extract.would-write', { rows, files: run.counts.files, position });
  }

  private async countRows(store: Store, { sql, binds }: Query, run: StageRun): Promise<number> {
    const options = { timeoutMs: this.params.query_timeout, signal: run.signal };
    const { rows } = await beating(run, store.query(sql, binds, options));
    return Number(rows[0]?.[0]);
  }

  private lowest(position: bigint): SqlKey {
    return integerOf(position - BigInt(this.params.overlap)) ?? 0;
  }

  private keeperOf({ inc_store: store, inc_file: file, inc_name: name }: ExtractParams): PositionKeeper {
    if (store !== undefined && store !== '') return inStore(store, name ?? this.env.name);
    if (file !== undefined && file !== '') return inFile(file);
    return inLedger(() => this.state);
  }
}

type Given = Pick<PassOptions, 'store' | 'settings' | 'plan' | 'outbox' | 'names' | 'render'>;

/** ms since 1970 of a local time however it is printed; undefined when it is none. */
function timeOf(text: string): number | undefined {
  const digits = timeDigits(text.slice(0, 19));
  if (digits === undefined) return undefined;
  const part = (from: number, to: number): number => Number(digits.slice(from, to));
  return new Date(part(0, 4), part(4, 6) - 1, part(6, 8), part(8, 10), part(10, 12), part(12, 14)).getTime();
}
