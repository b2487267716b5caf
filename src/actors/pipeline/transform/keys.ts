/** Conf keys of the stage `transform`. Pure data: the main thread reads it, without the libraries of the formats. */
import { defineKeys, type ValuesOf } from '../../../runtime/schema.js';
import { outFolderKeys } from '../stage/out-folder.js';
import { incomingKeys } from '../stage/common-keys.js';
import { stageKeys } from '../stage/keys.js';

/** Files of formats/, one each; tsv is csv with tabs. */
export const FORMAT_NAMES = ['csv', 'tsv', 'fixed-width', 'json', 'ndjson', 'xml', 'xlsx'] as const;
export type FormatName = (typeof FORMAT_NAMES)[number];

export const keys = defineKeys({
  ...stageKeys,
  every: { ...stageKeys.every, default: '10s' },
  path: { type: 'path', required: true, help: 'Folder the files arrive in', reload: 'child' },
  match: {
    type: 'list',
    default: '*',
    help: 'Patterns of file names; *.tmp and names with a leading dot are never taken',
    reload: 'child',
    aliases: ['matchname'],
  },
  out: {
    type: 'path',
    required: true,
    help: 'Folder the row XML files appear in',
    reload: 'child',
    aliases: ['outpath'],
  },
  prefix: {
    type: 'string',
    default: '',
    help: 'File names PREFIX_yyyymmddhh24miss_SUFFIX_SEQ.xml; empty: the name of the source with .xml behind it',
    reload: 'child',
    aliases: ['bfilename'],
  },
  suffix: {
    type: 'string',
    default: 'transform',
    help: 'Part of such names behind the time, mostly who the files are for',
    reload: 'child',
    aliases: ['efilename'],
  },
  file_rows: {
    type: 'int',
    default: '0',
    min: 0,
    max: 100_000_000,
    help: 'Rows in a file; 0: all rows of a source in one',
    reload: 'child',
    aliases: ['maxcount'],
  },
  format: {
    type: 'enum',
    values: ['auto', ...FORMAT_NAMES],
    default: 'auto',
    help: 'Format of the files; auto: by the ending of their names, before a .gz',
    reload: 'child',
  },
  charset: {
    type: 'string',
    default: 'auto',
    help: 'Encoding: utf-8, gbk, gb18030, big5, utf-16 ...; auto: byte order mark, XML declaration, else utf-8',
    reload: 'child',
  },
  separator: {
    type: 'string',
    default: '',
    help: 'Between the values of csv: one character, or \\t; empty: a comma, for tsv a tab',
    reload: 'child',
  },
  quote: {
    type: 'string',
    default: '"',
    help: 'Around values of csv: one character; none: quotes are text like any other',
    reload: 'child',
  },
  header: {
    type: 'enum',
    values: ['names', 'skip', 'none'],
    default: 'names',
    help: 'First line of csv and xlsx: names of the fields, a line to drop (fixed-width too), or a record',
    reload: 'child',
  },
  skip_lines: {
    type: 'int',
    default: '0',
    min: 0,
    max: 1_000_000,
    help: 'Lines (rows) before the header that are dropped',
    reload: 'child',
  },
  fields: {
    type: 'list',
    default: '',
    help: 'Names by position without a header; names the header must have; for fixed-width name:start:length',
    reload: 'child',
  },
  width_unit: {
    type: 'enum',
    values: ['chars', 'bytes'],
    default: 'chars',
    help: 'What the start and length of fixed-width fields count',
    reload: 'child',
  },
  records: {
    type: 'string',
    default: '',
    help: 'json: path of the array, data.items, empty: the file is the array; xml: path of the element, /data/row or //row',
    reload: 'child',
  },
  sheet: {
    type: 'string',
    default: '',
    help: 'xlsx: name or number of the sheet; empty: the first',
    reload: 'child',
  },
  mapping: {
    type: 'path',
    help: 'File with columns, expressions, checks and filters, read again when it changes; instead of columns and filter',
    reload: 'child',
  },
  columns: {
    type: 'string',
    default: '',
    help: 'What goes out, in order: name, or name:source, source being a field, $3 or an expression; empty: all fields',
    reload: 'child',
  },
  filter: {
    type: 'string',
    default: '',
    help: 'Expression; only records for which it is true go out',
    reload: 'child',
  },
  done_path: {
    type: 'path',
    help: 'Folder for transformed files; default: they are removed',
    reload: 'child',
  },
  error_path: {
    type: 'path',
    help: 'Folder for files that cannot be transformed; default: the path with -errors behind it',
    reload: 'child',
  },
  reject_path: {
    type: 'path',
    help: 'Folder for the records that were refused; default: error_path',
    reload: 'child',
  },
  max_rejects: {
    type: 'int',
    default: '1000',
    min: 0,
    max: 100_000_000,
    help: 'More bad records than this send the whole file to error_path',
    reload: 'child',
  },
  max_rejects_percent: {
    type: 'number',
    default: '50',
    min: 0,
    max: 100,
    help: 'The same in percent of the records of the file',
    reload: 'child',
  },
  max_file_size: {
    type: 'size',
    default: '16g',
    min: 1,
    help: 'A larger file goes to error_path unread',
    reload: 'child',
  },
  max_unpacked: {
    type: 'size',
    default: '64g',
    min: 1,
    help: 'A .gz or .xlsx file that unpacks to more goes to error_path',
    reload: 'child',
  },
  max_ratio: {
    type: 'int',
    default: '200',
    min: 1,
    max: 100_000,
    help: 'The same for one that unpacks to more than this times its size, from 16 MB on',
    reload: 'child',
  },
  max_record_bytes: {
    type: 'size',
    default: '1m',
    min: 8_192,
    max: 268_435_456,
    help: 'A longer line is a bad record; so much of json, xml and xlsx without a record sends the file to error_path',
    reload: 'child',
  },
  files_per_scan: incomingKeys.files_per_scan,
  lease: incomingKeys.lease,
  ...outFolderKeys,
});

export type TransformValues = ValuesOf<typeof keys>;
