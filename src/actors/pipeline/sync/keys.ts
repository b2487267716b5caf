/** Conf keys that the stages between two databases share. Pure data. */
import { defineKeys } from '../../../runtime/schema.js';
import { stageKeys } from '../stage/keys.js';

const text = (help: string, aliases: readonly string[] = []) =>
  ({ type: 'string', default: '', help, reload: 'child', aliases }) as const;

/** Which tables and columns belong together. */
export const pairKeys = defineKeys({
  ...stageKeys,
  source: {
    type: 'secret',
    default: '',
    help: 'URL of the database the rows come from; may be empty when link_table is set',
    reload: 'child',
    aliases: ['remoteconnstr'],
  },
  target: {
    type: 'secret',
    required: true,
    help: 'URL of the database the rows go to',
    reload: 'child',
    aliases: ['localconnstr'],
  },
  source_table: text('Table in the source, or schema.table; empty: named as target_table', ['remotetname']),
  target_table: {
    type: 'string',
    required: true,
    help: 'Table in the target, or schema.table',
    reload: 'child',
    aliases: ['localtname'],
  },
  source_columns: text(
    'Columns or expressions of the source, such as height/10, in the order of target_columns; empty: the same names',
    ['remotecols'],
  ),
  target_columns: text('Columns of the target; empty: all that the database does not make itself', [
    'localcols',
  ]),
  where: text('Condition on both sides, with or without the word where'),
  source_where: text('Condition on the source alone, added to where', ['rwhere']),
  target_where: text('Condition on the target alone, added to where', ['lwhere']),
  source_key: {
    type: 'list',
    default: '',
    help: 'Key columns of the source; empty: what source_columns brings for target_key',
    reload: 'child',
    aliases: ['remotekeycol'],
  },
  target_key: {
    type: 'list',
    default: '',
    help: 'Key columns of the target; empty: its primary key, else its first unique key',
    reload: 'child',
    aliases: ['localkeycol'],
  },
  statement_timeout: {
    type: 'duration',
    default: '10m',
    min: 1_000,
    help: 'Longest time for one statement or transaction',
    reload: 'child',
  },
});

/** For the stages that write batches. */
export const batchKeys = defineKeys({
  batch_rows: {
    type: 'int',
    default: '20000',
    min: 1,
    max: 100_000,
    help: 'Rows written in one transaction',
    reload: 'child',
    aliases: ['maxcount'],
  },
});

export const linkKeys = defineKeys({
  link_table: text(
    'The source table as the target sees it (MySQL FEDERATED or CONNECT table, Oracle T_X@LINK): the target copies by itself',
    ['fedtname', 'lnktname', 'linktname'],
  ),
  keylen: {
    type: 'int',
    default: '0',
    min: 0,
    help: 'Taken from older deployments; keys of any length work',
    reload: 'child',
  },
});
