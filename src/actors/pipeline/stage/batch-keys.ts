/** Conf keys of the stages that work through a table in batches (spec data-centre 9). Pure data. */
import { defineKeys } from '../../../runtime/schema.js';
import { commonKeys } from './common-keys.js';
import { stageKeys } from './keys.js';

export const batchKeys = defineKeys({
  ...stageKeys,
  every: { ...stageKeys.every, default: '1h' },
  store: commonKeys.store,
  table: {
    type: 'string',
    required: true,
    help: 'The table, or schema.table',
    reload: 'child',
    aliases: ['tname', 'srctname'],
  },
  key: {
    type: 'list',
    default: '',
    help: 'Columns by which the table is gone through, never NULL and with an index; empty: its primary key, else a unique one',
    reload: 'child',
    aliases: ['keycol'],
  },
  where: {
    type: 'string',
    required: true,
    help: 'Which rows, with or without the word where; "where 1=1": all of them',
    reload: 'child',
  },
  batch_time: {
    type: 'duration',
    default: '100ms',
    min: 5,
    max: 60_000,
    help: 'How long a batch may hold its locks; batches become larger or smaller by the time they take',
    reload: 'child',
  },
  batch_rows: {
    type: 'int',
    default: '50000',
    min: 1,
    max: 1_000_000,
    help: 'Most rows in one batch, however fast it is',
    reload: 'child',
    aliases: ['maxcount'],
  },
  writers: {
    type: 'int',
    default: '2',
    min: 1,
    max: 3,
    help: 'Batches worked on at the same time; on SQLite and SQL Server it is always one',
    reload: 'child',
  },
  statement_timeout: {
    type: 'duration',
    default: '10m',
    min: 1_000,
    help: 'Longest time for one statement or transaction',
    reload: 'child',
  },
});
