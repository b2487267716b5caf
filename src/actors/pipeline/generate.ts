/**
 * Stage `generate`: invented observations of every station of a list, as files (spec data-centre 4.2). The values depend on
 * station and time alone, so a run repeated for the same minute writes the same. Worker thread.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  digitsOfTime,
  formatObservations,
  observationFileName,
  parseStations,
  timeDigits,
} from '../../protocol/observations.js';
import type { Observation, ObservationFormat, Station } from '../../protocol/observations.js';
import { sweepTemps, writeFileAtomic } from '../../runtime/atomic-file.js';
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';
import { commonKeys } from './stage/common-keys.js';
import { stageActor, stageKeys } from './stage.js';
import { StageError, type Stage, type StageEnv } from './stage/run.js';

export const keys = defineKeys({
  ...stageKeys,
  stations: commonKeys.stations,
  out: {
    type: 'path',
    required: true,
    help: 'Folder the files appear in',
    reload: 'child',
    aliases: ['outpath'],
  },
  formats: {
    type: 'list',
    default: 'csv,xml,json',
    help: 'Which files to write: csv, xml, json',
    reload: 'child',
    aliases: ['datafmt'],
  },
  time: {
    type: 'string',
    help: 'Fixed data time yyyymmddhh24miss instead of the present minute',
    reload: 'child',
    aliases: ['datatime'],
  },
});

const FORMATS: readonly ObservationFormat[] = ['csv', 'xml', 'json'];
const MAX_LIST_BYTES = 16 << 20;
/** Temporary files of ours older than this (ms) belong to a process that was killed. */
const STALE_TEMP = 3_600_000;

export function createStage(env: StageEnv): Stage {
  const params = env.params as ValuesOf<typeof keys>;
  const formats = params.formats.map((text) => {
    const format = FORMATS.find((known) => known === text.toLowerCase());
    if (format === undefined) throw new RangeError(`formats: "${text}" is none of ${FORMATS.join(', ')}`);
    return format;
  });
  const fixed = params.time === undefined || params.time === '' ? undefined : timeDigits(params.time);
  if (params.time !== undefined && params.time !== '' && fixed === undefined) {
    throw new RangeError(`time: "${params.time}" is no time of 14 digits`);
  }
  let swept = false;
  return {
    outputs: [params.out],
    async run(run) {
      const stations = await readStations(params.stations, (fields) =>
        run.log.warn('generate.bad-station', fields),
      );
      run.counts.rowsIn += stations.length;
      const time = fixed ?? digitsOfTime(new Date()).slice(0, 12) + '00';
      const records = stations.map((station) => inventObservation(station.id, time));
      if (!swept && !run.dryRun) {
        swept = true;
        await sweepTemps(params.out, 'SURF_ZH_', STALE_TEMP);
      }
      for (const format of formats) {
        if (run.signal.aborted) return;
        const path = join(params.out, observationFileName(time, process.pid, format));
        const content = formatObservations(format, records);
        if (!run.dryRun) await writeFileAtomic(path, content);
        run.counts.files++;
        run.counts.bytes += Buffer.byteLength(content);
        run.counts.rowsOut += records.length;
        run.log.debug('generate.file', { path, time, records: records.length, dryRun: run.dryRun });
        run.progress();
      }
    },
  };
}

export const factory = stageActor(createStage);

/**
 * The stations of a list file. @param bad called for each line that is none, with file, line and reason
 * @throws StageError when the file cannot be read or holds no station
 */
export async function readStations(
  path: string,
  bad: (fields: { file: string; line: number; reason: string }) => void,
): Promise<Station[]> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw new StageError(`the station list cannot be read: ${String(error)}`, false, { cause: error });
  });
  if (bytes.length > MAX_LIST_BYTES)
    throw new StageError(`${path} is larger than ${MAX_LIST_BYTES} bytes`, false);
  const list = parseStations(bytes.toString('utf8'));
  for (const { line, reason } of list.bad.slice(0, 100)) bad({ file: path, line, reason });
  if (list.stations.length === 0) throw new StageError(`${path} holds no station`, false);
  return list.stations;
}

/** Uniform values in the ranges of spec data-centre 4.2. @param time 14 digits */
export function inventObservation(obtid: string, time: string): Observation {
  const next = randomSequence(`${obtid}/${time}`);
  const tenths = (low: number, high: number): string => {
    const value = low + Math.floor(next() * (high - low + 1));
    return `${Math.trunc(value / 10)}.${value % 10}`;
  };
  const whole = (high: number): string => String(Math.floor(next() * (high + 1)));
  return {
    obtid,
    ddatetime: time,
    t: tenths(0, 349),
    p: tenths(10_000, 10_264),
    u: whole(100),
    wd: whole(359),
    wf: tenths(0, 149),
    r: tenths(0, 15),
    vis: tenths(100_000, 105_000),
  };
}

/** FNV-1a of the seed, then mulberry32: small, even enough for invented weather, the same everywhere. */
function randomSequence(seed: string): () => number {
  let state = 0x811c9dc5;
  for (let i = 0; i < seed.length; i++) state = Math.imul(state ^ seed.charCodeAt(i), 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
