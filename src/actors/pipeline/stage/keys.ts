/** Conf keys of every stage. Pure data. */
import { defineKeys } from '../../../runtime/schema.js';
import type { MissedPolicy } from '../../../runtime/schedule.js';

/** A stage spreads them into its own and sets its own `every`. */
export const stageKeys = defineKeys({
  every: {
    type: 'duration',
    default: '60s',
    min: 100,
    help: 'Pause from the end of a run to the start of the next',
    reload: 'child',
  },
  cron: {
    type: 'string',
    help: 'Cron fields (minute hour day month weekday), local time; replaces every',
    reload: 'child',
  },
  after: {
    type: 'list',
    default: '',
    help: 'Stages of the same ledger: a run starts when one of them has brought something; replaces every and cron',
    reload: 'child',
  },
  watch: {
    type: 'bool',
    default: 'yes',
    help: 'Start a run as soon as a file appears in a folder the stage reads, beside the schedule',
    reload: 'child',
  },
  hours: {
    type: 'list',
    default: '',
    help: 'Local hours 0 to 23 in which a run may start; empty: any',
    reload: 'child',
    aliases: ['starttime'],
  },
  missed: {
    type: 'enum',
    values: ['once', 'skip'],
    default: 'once',
    help: 'A run whose time passed while the program was down: made up for once, or skipped',
    reload: 'child',
  },
  retries: {
    type: 'int',
    default: '5',
    min: 0,
    max: 100,
    help: 'Tries again after a failure that may pass, before the next regular run',
    reload: 'child',
  },
  retry_wait: {
    type: 'duration',
    default: '2s',
    min: 10,
    help: 'Wait before the first retry; doubles each time',
    reload: 'child',
  },
  retry_max_wait: {
    type: 'duration',
    default: '60s',
    min: 10,
    help: 'Longest wait before a retry',
    reload: 'child',
  },
  min_free: {
    type: 'size',
    default: '64m',
    help: 'A run that writes files waits while their disk has less free than this',
    reload: 'child',
  },
  ledger: {
    type: 'secret',
    default: 'sqlite:var/ledger.db',
    help: 'URL of the database with the run ledger',
    reload: 'child',
  },
});

export interface BaseParams {
  readonly every: number;
  readonly cron: string | undefined;
  readonly after: readonly string[];
  readonly watch: boolean;
  readonly hours: readonly string[];
  readonly missed: MissedPolicy;
  readonly retries: number;
  readonly retry_wait: number;
  readonly retry_max_wait: number;
  readonly min_free: number;
  readonly ledger: string;
}
