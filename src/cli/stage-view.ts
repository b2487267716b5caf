/** What `stage` shows: the first rows, what can be reached, how far a run is. */
import { reasonOf } from '../runtime/errors.js';
import { isRetryable, type Stage, type StageEnv, type StageFactory } from '../actors/pipeline/stage/run.js';
import { progressText, type Progress } from '../actors/pipeline/stage/progress.js';
import type { RowSet, SqlValue } from '../store/driver.js';
import { EXIT, type CliIo, type Flags } from './verb.js';

const DEFAULT_LIMIT = 10;
/** Wider values are cut on a terminal; --json shows them whole. */
const MAX_WIDTH = 40;
const SHOW_INTERVAL = 200;

export async function previewStage(
  factory: StageFactory,
  env: StageEnv,
  flags: Flags,
  io: CliIo,
): Promise<number> {
  return withStage(factory, env, io, async (stage) => {
    if (stage.preview === undefined) {
      io.err(`switchyard: a stage of type ${String(env.params['type'])} has no preview`);
      return EXIT.usage;
    }
    const rows = await stage.preview(flags.limit === undefined ? DEFAULT_LIMIT : Number(flags.limit));
    if (flags.json) io.out(rowsAsJson(rows));
    else io.out(rows.rows.length === 0 ? 'no rows' : table(rows));
    return EXIT.ok;
  });
}

export async function checkStage(
  factory: StageFactory,
  env: StageEnv,
  json: boolean,
  io: CliIo,
): Promise<number> {
  return withStage(factory, env, io, async (stage) => {
    const lines = (await stage.check?.()) ?? [];
    if (json) io.out(JSON.stringify({ stage: env.name, ok: true, reached: lines }));
    else io.out([...lines, `${env.name}: ok`].join('\n'));
    return EXIT.ok;
  });
}

async function withStage(
  factory: StageFactory,
  env: StageEnv,
  io: CliIo,
  look: (stage: Stage) => Promise<number>,
): Promise<number> {
  const stage = await factory(env);
  try {
    return await look(stage);
  } catch (error) {
    io.err(`switchyard: ${env.name}: ${reasonOf(error)}`);
    return isRetryable(error) ? EXIT.temporary : EXIT.failed;
  } finally {
    await stage.close?.();
  }
}

/** Rewrites one line of the terminal while a run goes on. @returns undefined when nobody looks */
export function progressLine(
  name: string,
): { show: (state: () => Progress) => void; end: () => void } | undefined {
  if (!process.stderr.isTTY) return undefined;
  let shown = 0;
  return {
    show: (state) => {
      if (performance.now() - shown < SHOW_INTERVAL) return;
      shown = performance.now();
      const text = `${name}: ${progressText(state())}`;
      process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
    },
    end: () => void (shown > 0 && process.stderr.write('\r\x1b[K')),
  };
}

function rowsAsJson({ columns, rows }: RowSet): string {
  const plain = (value: SqlValue): unknown =>
    typeof value === 'bigint'
      ? value.toString()
      : value instanceof Uint8Array
        ? Buffer.from(value).toString('hex')
        : value;
  return JSON.stringify({ columns, rows: rows.map((row) => row.map(plain)) });
}

function table({ columns, rows }: RowSet): string {
  const cells = [columns, ...rows.map((row) => row.map(cellText))].map((row) => row.map(cut));
  const widths = columns.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  const [head = [], ...body] = cells;
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...body.map(line)].join('\n');
}

function cellText(value: SqlValue): string {
  if (value === null) return 'NULL';
  if (value instanceof Uint8Array) return `0x${Buffer.from(value).toString('hex')}`;
  // A terminal obeys control characters.
  // eslint-disable-next-line no-control-regex
  return String(value).replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}

function cut(text: string): string {
  return text.length > MAX_WIDTH ? `${text.slice(0, MAX_WIDTH - 1)}…` : text;
}
