/**
 * SIGKILL of the whole process while it loads files that keep arriving. FULL=1: 50 kills, else 12.
 */
import { readdirSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { inventObservation } from '../../src/actors/pipeline/generate.js';
import { formatObservations, type ObservationFormat } from '../../src/protocol/observations.js';
import { openStore, type SqlRow } from '../../src/store/driver.js';
import { useWorkspace, type Program, type Workspace } from '../support/program.js';

const KILLS = process.env['FULL'] === '1' ? 50 : 12;
const FILES_PER_ROUND = 8;
const ROWS_PER_FILE = 4_000;
/** From the first byte of work to after the last: a round of files takes about a second. */
const LONGEST_LIFE_MS = 1_500;

const workspace = useWorkspace();

/** Appears whole under its name, as everything that writes here does. */
async function produce(within: Workspace, round: number, serial: number): Promise<void> {
  const two = (n: number): string => String(n).padStart(2, '0');
  const time = `20260${1 + Math.floor(round / 24)}01${two(round % 24)}${two(serial)}00`;
  const records = Array.from({ length: ROWS_PER_FILE }, (_, n) =>
    inventObservation(String(10_000 + n), time),
  );
  const format: ObservationFormat = serial % 2 === 0 ? 'csv' : 'xml';
  const name = within.file(`in/S_${time}.${format}`);
  await writeFile(`${name}.tmp`, formatObservations(format, records));
  await rename(`${name}.tmp`, name);
}

async function query(within: Workspace, database: string, sql: string): Promise<readonly SqlRow[]> {
  const store = await openStore(`sqlite:${within.file(`var/${database}.db`)}`);
  try {
    return (await store.query(sql)).rows;
  } finally {
    await store.close();
  }
}

const filesLeft = (within: Workspace): string[] =>
  readdirSync(within.file('in'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.(csv|xml)$/.test(name),
  );

it(`brings each row once through ${KILLS} kills, and loses none`, { timeout: KILLS * 20_000 }, async () => {
  const within = workspace();
  await mkdir(within.file('in'));
  within.conf({
    'stage load-obs': { type: 'load-obs', path: 'in', every: '100ms', batch_rows: 500 },
    'pool main': {},
  });
  let killedAtWork = 0;
  for (let round = 0; round < KILLS; round++) {
    const program: Program = within.launch();
    const producing = (async () => {
      for (let serial = 0; serial < FILES_PER_ROUND; serial++) await produce(within, round, serial);
    })();
    await program.seen('actor.started', { actor: 'load-obs' });
    await sleep(Math.random() * LONGEST_LIFE_MS);
    await program.kill();
    const open = await query(within, 'ledger', `SELECT count(*) FROM runs WHERE state = 'running'`);
    if (Number(open[0]?.[0]) > 0) killedAtWork++;
    await producing;
  }
  const last = await within.start();
  await expect.poll(() => filesLeft(within), { timeout: 120_000 }).toEqual([]);
  // An empty folder and a run that began after: the last file's row is in.
  const from = last.events.length;
  await last.admin('run load-obs');
  await expect
    .poll(async () => (await last.ask<{ result: string }[]>('runs load-obs 1'))[0]?.result)
    .toBe('ok');
  expect(last.events.slice(from).filter(({ level }) => level === 'error')).toEqual([]);
  expect(await last.stop()).toBe(0);

  const rows = await query(
    within,
    'data',
    'SELECT count(*), count(DISTINCT obtid || ddatetime), sum(t IS NULL) FROM T_ZHOBTMIND',
  );
  const all = KILLS * FILES_PER_ROUND * ROWS_PER_FILE;
  expect(rows[0]).toEqual([all, all, 0]);
  // Whole: what a file says is what the table says, for a sample of each file.
  const sample = await query(
    within,
    'data',
    `SELECT obtid, strftime('%Y%m%d%H%M%S', ddatetime), p FROM T_ZHOBTMIND WHERE obtid IN ('10000', '13999')`,
  );
  expect(sample).toHaveLength(2 * KILLS * FILES_PER_ROUND);
  for (const [obtid, time, p] of sample)
    expect(p).toBe(Math.round(Number(inventObservation(String(obtid), String(time)).p) * 10));
  expect(readdirSync(within.path).filter((name) => name.endsWith('-errors'))).toEqual([]);
  expect(readdirSync(within.file('in'))).toEqual([]);

  const runs = await query(within, 'ledger', 'SELECT state, ended_at FROM runs ORDER BY id');
  expect(runs.filter(([, endedAt]) => endedAt === null)).toEqual([]);
  expect(runs.filter(([state]) => state !== 'ok' && state !== 'interrupted')).toEqual([]);
  expect(runs.filter(([state]) => state === 'interrupted')).toHaveLength(killedAtWork);
  // Otherwise the kills came too early or too late to prove anything.
  expect(killedAtWork).toBeGreaterThan(KILLS / 4);
});
