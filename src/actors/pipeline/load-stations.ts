/**
 * Stage `load-stations`: the station list into T_ZHOBTCODE (spec data-centre 4.4): insert, or update what is there, in
 * one transaction. Worker thread.
 */
import { scaleDecimal } from '../../protocol/observations.js';
import type { Station } from '../../protocol/observations.js';
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';
import type { SqlRow } from '../../store/driver.js';
import { migrateWeather } from '../../store/schema-weather.js';
import { readStations } from './generate.js';
import { commonKeys } from './stage/common-keys.js';
import { stageActor, stageKeys } from './stage.js';
import type { Stage, StageEnv } from './stage/run.js';
import { LazyStore } from './stage/lazy-store.js';

export const keys = defineKeys({
  ...stageKeys,
  every: { ...stageKeys.every, default: '120s' },
  stations: commonKeys.stations,
  store: commonKeys.store,
});

const TABLE = 'T_ZHOBTCODE';
const COLUMNS = ['obtid', 'cityname', 'provname', 'lat', 'lon', 'height'];

export function createStage(env: StageEnv): Stage {
  const params = env.params as ValuesOf<typeof keys>;
  const lazy = new LazyStore(params.store, migrateWeather);
  return {
    async run(run) {
      const stations = await readStations(params.stations, (fields) => {
        run.counts.rowsRejected++;
        run.log.warn('load-stations.bad-line', fields);
      });
      run.counts.files++;
      run.counts.rowsIn += stations.length;
      if (run.dryRun) return;
      const store = await lazy.get();
      const { dialect } = store;
      const rows = stations.map(stationRow);
      const name = (column: string): string => dialect.quoteIdentifier(column);
      const update =
        `UPDATE ${name(TABLE)} SET ${COLUMNS.slice(1)
          .map((column) => `${name(column)} = ?`)
          .join(', ')}, ` + `${name('upttime')} = ${dialect.now} WHERE ${name('obtid')} = ?`;
      const { inserted, updated } = await store.transaction(
        async (tx) => {
          const added = await tx.batch(dialect.insert(TABLE, COLUMNS), rows, { onDuplicate: 'skip' });
          const present = added.duplicates.flatMap((index) =>
            rows[index] === undefined ? [] : [rows[index]],
          );
          const changed = await tx.batch(
            update,
            present.map(([obtid = null, ...rest]) => [...rest, obtid]),
          );
          const [bad] = [...added.errors, ...changed.errors];
          // As in the reference: any other error leaves the table as it was.
          if (bad !== undefined) throw new Error(`a station was refused: ${bad.message}`);
          return { inserted: added.done, updated: changed.done };
        },
        { signal: run.signal },
      );
      run.counts.rowsOut += inserted + updated;
      run.log.info('load-stations.done', { file: params.stations, total: rows.length, inserted, updated });
      run.progress();
    },
    close: () => lazy.close(),
  };
}

export const factory = stageActor(createStage);

/** Degrees in hundredths, metres in tenths, rounded as the database would. */
function stationRow(station: Station): SqlRow {
  return [
    station.id,
    station.name,
    station.province,
    scaleDecimal(station.lat, 2, 'round') ?? null,
    scaleDecimal(station.lon, 2, 'round') ?? null,
    scaleDecimal(station.height, 1, 'round') ?? null,
  ];
}
