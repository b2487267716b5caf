/**
 * Every actor type there is: the table to read first. A new one is a file and a line here. The modules are named by path, because
 * they are loaded by the worker that hosts the actor; only their keys are needed on the main thread.
 */
import { entryUrl } from '../runtime/entry.js';
import type { Keys } from '../runtime/schema.js';
import { packetKeys } from './packet/keys.js';
import { keys as compareKeys } from './pipeline/compare.js';
import { keys as archiveKeys } from './pipeline/archive.js';
import { dataApiKeys } from './pipeline/data-api/keys.js';
import { keys as deleteFilesKeys } from './pipeline/delete-files.js';
import { keys as execSqlKeys } from './pipeline/exec-sql.js';
import { keys as extractKeys } from './pipeline/extract/keys.js';
import { keys as generateKeys } from './pipeline/generate.js';
import { keys as gzipFilesKeys } from './pipeline/gzip-files.js';
import { keys as loadKeys } from './pipeline/load/keys.js';
import { keys as loadObsKeys } from './pipeline/load-obs.js';
import { keys as loadStationsKeys } from './pipeline/load-stations.js';
import { keys as syncIncrementKeys } from './pipeline/sync-increment.js';
import { keys as syncRefreshKeys } from './pipeline/sync-refresh.js';
import { keys as syncTriggerKeys } from './pipeline/sync-trigger.js';
import { keys as purgeKeys } from './pipeline/purge.js';
import { keys as statisticsKeys } from './pipeline/statistics/keys.js';
import { keys as transformKeys } from './pipeline/transform/keys.js';
import { keys as runKeys } from './pipeline/run.js';

export interface ActorType {
  /** As written in the conf: `type = packet`. */
  readonly type: string;
  /** `stage`: a [stage NAME] with a schedule and a run ledger; `service`: an [actor NAME] that answers. */
  readonly kind: 'service' | 'stage';
  readonly help: string;
  /** Keys beyond those that every actor has. */
  readonly keys: Keys;
  /** Compiled module, relative to this file, and its export, an ActorFactory. */
  readonly module: string;
  readonly factory: string;
}

export const actorTypes: readonly ActorType[] = [
  {
    type: 'packet',
    kind: 'service',
    help: 'The packet server: ping, register, login',
    keys: packetKeys,
    module: './packet/server.js',
    factory: 'createPacketServer',
  },
  {
    type: 'data-api',
    kind: 'service',
    help: 'Rows of the database over HTTP, by interfaces that are rows themselves',
    keys: dataApiKeys,
    module: './pipeline/data-api.js',
    factory: 'createDataApi',
  },
  {
    type: 'generate',
    kind: 'stage',
    help: 'Invented observations of a station list, as csv, xml and json files',
    keys: generateKeys,
    module: './pipeline/generate.js',
    factory: 'factory',
  },
  {
    type: 'load-stations',
    kind: 'stage',
    help: 'The station list into T_ZHOBTCODE',
    keys: loadStationsKeys,
    module: './pipeline/load-stations.js',
    factory: 'factory',
  },
  {
    type: 'load',
    kind: 'stage',
    help: 'Files of row XML into tables, by rules: insert or update',
    keys: loadKeys,
    module: './pipeline/load.js',
    factory: 'factory',
  },
  {
    type: 'load-obs',
    kind: 'stage',
    help: 'Observation files into T_ZHOBTMIND',
    keys: loadObsKeys,
    module: './pipeline/load-obs.js',
    factory: 'factory',
  },
  {
    type: 'extract',
    kind: 'stage',
    help: 'Rows of any database as files of row XML, all of them or those that are new',
    keys: extractKeys,
    module: './pipeline/extract.js',
    factory: 'factory',
  },
  {
    type: 'purge',
    kind: 'stage',
    help: 'Rows that match go, in small batches by key',
    keys: purgeKeys,
    module: './pipeline/purge.js',
    factory: 'factory',
  },
  {
    type: 'archive',
    kind: 'stage',
    help: 'Rows that match move into history tables, in small batches by key',
    keys: archiveKeys,
    module: './pipeline/archive.js',
    factory: 'factory',
  },
  {
    type: 'exec-sql',
    kind: 'stage',
    help: 'The statements of an SQL file, one after the other',
    keys: execSqlKeys,
    module: './pipeline/exec-sql.js',
    factory: 'factory',
  },
  {
    type: 'delete-files',
    kind: 'stage',
    help: 'Old files go, by age and to make room',
    keys: deleteFilesKeys,
    module: './pipeline/delete-files.js',
    factory: 'factory',
  },
  {
    type: 'gzip-files',
    kind: 'stage',
    help: 'Old files become FILE.gz',
    keys: gzipFilesKeys,
    module: './pipeline/gzip-files.js',
    factory: 'factory',
  },
  {
    type: 'run',
    kind: 'stage',
    help: 'Any program as a child, with period, time-out and heartbeat',
    keys: runKeys,
    module: './pipeline/run.js',
    factory: 'factory',
  },
  {
    type: 'statistics',
    kind: 'stage',
    help: 'Aggregates by period and group, rankings, what is missing: into tables, CSV files and pages',
    keys: statisticsKeys,
    module: './pipeline/statistics.js',
    factory: 'factory',
  },
  {
    type: 'transform',
    kind: 'stage',
    help: 'Files of foreign formats into row XML: csv, fixed width, json, xml, xlsx; mapped and checked',
    keys: transformKeys,
    module: './pipeline/transform.js',
    factory: 'factory',
  },
  {
    type: 'sync-refresh',
    kind: 'stage',
    help: 'A table made equal to that of another database, whole or in batches',
    keys: syncRefreshKeys,
    module: './pipeline/sync-refresh.js',
    factory: 'factory',
  },
  {
    type: 'sync-increment',
    kind: 'stage',
    help: 'New rows of a table appended to that of another database',
    keys: syncIncrementKeys,
    module: './pipeline/sync-increment.js',
    factory: 'factory',
  },
  {
    type: 'sync-trigger',
    kind: 'stage',
    help: 'Every change of a table brought to another database, by triggers and a change log',
    keys: syncTriggerKeys,
    module: './pipeline/sync-trigger.js',
    factory: 'factory',
  },
  {
    type: 'compare',
    kind: 'stage',
    help: 'Two tables compared by counts, checksums and keys; repaired if asked to',
    keys: compareKeys,
    module: './pipeline/compare.js',
    factory: 'factory',
  },
];

/** @returns URL of the compiled module, wherever this file runs from */
export function actorModule(type: ActorType): string {
  return entryUrl(type.module, import.meta.url).href;
}
