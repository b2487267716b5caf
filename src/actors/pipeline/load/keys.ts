/** Conf keys of the stage `load` (spec data-centre 8.1). Pure data. */
import { defineKeys, type ValuesOf } from '../../../runtime/schema.js';
import { commonKeys, incomingKeys } from '../stage/common-keys.js';
import { stageKeys } from '../stage/keys.js';

export const keys = defineKeys({
  ...stageKeys,
  every: { ...stageKeys.every, default: '10s', aliases: ['timetvl'] },
  path: {
    type: 'path',
    required: true,
    help: 'Folder the files arrive in',
    reload: 'child',
    aliases: ['xmlpath'],
  },
  match: {
    type: 'list',
    default: '*.xml,*.xml.gz',
    help: 'Patterns of file names; *.tmp and names with a leading dot are never taken',
    reload: 'child',
    aliases: ['matchname'],
  },
  store: commonKeys.store,
  rules: {
    type: 'path',
    help: 'Rule file: which file goes into which table; or the next four keys for a single table',
    reload: 'child',
    aliases: ['inifilename'],
  },
  table: {
    type: 'string',
    help: 'Table of all files, instead of a rule file',
    reload: 'child',
    aliases: ['tname'],
  },
  mode: {
    type: 'enum',
    values: ['insert', 'upsert'],
    default: 'insert',
    help: 'A row that is there already: left as it is and counted, or updated; with table only',
    reload: 'child',
  },
  before_sql: {
    type: 'string',
    help: 'Statement before the rows of each file, in their transaction; with table only',
    reload: 'child',
    aliases: ['execsql'],
  },
  key: {
    type: 'list',
    default: '',
    help: 'Columns by which an upsert finds its row; default: the primary key, or else a unique one',
    reload: 'child',
    aliases: ['keycol'],
  },
  skip_columns: {
    type: 'list',
    default: 'upttime,keyid',
    help: 'Columns that the database fills itself; upttime gets the present time when a row is updated',
    reload: 'child',
  },
  provenance: {
    type: 'list',
    default: '',
    help: 'Two columns of the table that get the number of the run and the name of the file; empty: none',
    reload: 'child',
  },
  charset: {
    type: 'string',
    default: 'utf-8',
    help: 'Encoding of the files, such as utf-8, gbk or gb18030',
    reload: 'child',
  },
  strict: {
    type: 'bool',
    default: 'no',
    help: 'Refuse numbers and times with foreign characters in them instead of dropping those; refuse cut-off files',
    reload: 'child',
  },
  cut: {
    type: 'bool',
    default: 'no',
    help: 'Cut texts to the length of their column and round decimals, instead of refusing the row',
    reload: 'child',
  },
  nulls: {
    type: 'list',
    default: '',
    help: 'Texts that mean NULL in columns of numbers and times, such as ///',
    reload: 'child',
  },
  done: {
    type: 'enum',
    values: ['move', 'delete'],
    default: 'move',
    help: 'What becomes of a loaded file',
    reload: 'child',
  },
  done_path: {
    type: 'path',
    help: 'Folder for loaded files; default: the path with -done behind it',
    reload: 'child',
    aliases: ['xmlpathbak'],
  },
  error_path: {
    type: 'path',
    help: 'Folder for files that cannot be loaded; default: the path with -errors behind it',
    reload: 'child',
    aliases: ['xmlpatherr'],
  },
  reject_path: {
    type: 'path',
    help: 'Folder for the rows that were refused; default: error_path',
    reload: 'child',
  },
  repeat: {
    type: 'enum',
    values: ['skip', 'load'],
    default: 'skip',
    help: 'A file that comes again with the same name and content: not loaded again, or loaded',
    reload: 'child',
  },
  remember: {
    type: 'duration',
    default: '30d',
    min: 60_000,
    help: 'How long the table switchyard_files remembers a file after it is gone',
    reload: 'child',
  },
  max_rejects: {
    type: 'int',
    default: '1000',
    min: 0,
    max: 100_000,
    help: 'More bad rows than this send the whole file to error_path, nothing of it is applied',
    reload: 'child',
  },
  max_rejects_percent: {
    type: 'number',
    default: '50',
    min: 0,
    max: 100,
    help: 'The same for bad rows in a hundred',
    reload: 'child',
  },
  files_per_scan: incomingKeys.files_per_scan,
  group_files: {
    type: 'int',
    min: 1,
    max: 10_000,
    help: 'Files of one table loaded in one transaction at most; default: 64',
    reload: 'child',
  },
  group_bytes: {
    type: 'size',
    default: '16m',
    min: 1,
    max: 268_435_456,
    help: 'Bytes of files loaded in one transaction at most; a larger file has one of its own',
    reload: 'child',
  },
  max_file_size: {
    type: 'size',
    default: '8g',
    min: 1,
    help: 'A larger file goes to error_path; also for what a .gz unfolds to',
    reload: 'child',
  },
  max_record_bytes: {
    type: 'size',
    default: '1m',
    min: 256,
    max: 67_108_864,
    help: 'A file with a longer record goes to error_path',
    reload: 'child',
  },
  max_ratio: {
    type: 'int',
    default: '200',
    min: 2,
    max: 100_000,
    help: 'A .gz that unfolds to more than 16 MB and this many times its size goes to error_path',
    reload: 'child',
  },
  file_timeout: {
    type: 'duration',
    default: '30m',
    min: 1_000,
    help: 'Longest time for one transaction; a file that needs longer three times goes to error_path',
    reload: 'child',
  },
  lease: incomingKeys.lease,
});

export type LoadParams = ValuesOf<typeof keys>;

/** The folders, with their defaults, and the encoding by its name of the WHATWG list. */
export interface LoadSettings extends LoadParams {
  readonly done_path: string;
  readonly error_path: string;
  readonly reject_path: string;
}

/** @throws RangeError for an encoding nobody knows */
export function loadSettings(params: LoadParams): LoadSettings {
  const base = params.path.replace(/\/+$/, '');
  const error_path = params.error_path ?? `${base}-errors`;
  return {
    ...params,
    charset: new TextDecoder(charsetName(params.charset)).encoding,
    done_path: params.done_path ?? `${base}-done`,
    error_path,
    reject_path: params.reject_path ?? error_path,
  };
}

/** The seeds name the session's character set of the database, such as `Simplified Chinese_China.AL32UTF8`. */
function charsetName(written: string): string {
  const name = written.slice(written.lastIndexOf('.') + 1).toLowerCase();
  return /utf-?8/.test(name) ? 'utf-8' : name === 'zhs16gbk' ? 'gbk' : name;
}
