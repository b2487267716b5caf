/** Conf keys of the process itself: [process] [log] [admin] [pool NAME] [supervisor]. Pure data. */
import { defineKeys, type SectionSpec, type ValuesOf } from './schema.js';

export const processKeys = defineKeys({
  name: {
    type: 'string', default: 'switchyard', reload: 'process',
    help: 'Name of this instance in process titles, statistics and shared state; different for each process on a machine',
  },
  title: {
    type: 'string', reload: 'live',
    help: 'Process title shown by ps; without it the name, `: main` and the conf files',
  },
  data_dir: {
    type: 'path', default: 'var', reload: 'process',
    help: 'Folder for databases, ledgers, tokens and received files; made when absent',
  },
  pid_file: {
    type: 'path', reload: 'process',
    help: 'File that holds the process id while it runs; a second process with the same file refuses to start',
  },
  daemon: {
    type: 'bool', default: 'no', reload: 'process', aliases: ['Daemon'],
    help: 'Leave the terminal and go on in the background; then set [log] file',
  },
  stop_deadline: {
    type: 'duration', default: '30s', min: 0, max: 3_600_000, reload: 'live',
    help: 'How long an orderly stop may take before what still runs is terminated',
  },
  statistics_every: {
    type: 'duration', default: '10s', min: 0, max: 86_400_000, reload: 'live',
    help: 'Interval of the statistics line in the log, also when idle; 0 switches it off',
  },
}); // prettier-ignore

export const logKeys = defineKeys({
  file: {
    type: 'path', reload: 'live', aliases: ['Log'],
    help: 'Log file, its folder is made when absent; without it the log goes to stderr',
  },
  level: {
    type: 'enum', values: ['debug', 'info', 'notice', 'warn', 'error', 'fatal'], default: 'info', reload: 'live',
    aliases: ['LogLevel'],
    help: 'Least important level that is written; `ctl log level` changes it at run time, also for one actor',
  },
  format: {
    type: 'enum', values: ['auto', 'text', 'json'], default: 'text', reload: 'live',
    help: 'text: aligned for reading; json: one object per line; auto: text on a terminal, json otherwise',
  },
  max_size: {
    type: 'size', default: '100m', min: 0, reload: 'live',
    help: 'The file is rotated to FILE.1, FILE.2, ... before it grows beyond this; 0: not by size',
  },
  rotate_daily: {
    type: 'bool', default: 'yes', reload: 'live',
    help: 'Also rotate when the local date changes',
  },
  keep: {
    type: 'int', default: '10', min: 0, max: 1000, reload: 'live',
    help: 'How many rotated files are kept',
  },
  buffer: {
    type: 'size', default: '4m', min: 65_536, max: 1_073_741_824, reload: 'live',
    help: 'Lines waiting for a slow or full disk; half full it drops debug and info, full it drops all, and counts them',
  },
  repeat_limit: {
    type: 'int', default: '50', min: 0, max: 1_000_000, reload: 'live',
    help: 'How often the same event of one actor is written per second, further ones are summarised; 0: no limit',
  },
}); // prettier-ignore

export const adminKeys = defineKeys({
  address: {
    type: 'address', default: '127.0.0.1:7070', reload: 'process',
    help: 'Admin port that `switchyard ctl` talks to; loopback only',
  },
  token: {
    type: 'secret', reload: 'process',
    help: 'What a client of the admin port must show; without it one is made in data_dir/admin.token, mode 0600',
  },
  http_address: {
    type: 'address', default: '127.0.0.1:7071', reload: 'process',
    help: 'HTTP address of /livez, /readyz and /metrics',
  },
}); // prettier-ignore

export const poolKeys = defineKeys({
  workers: {
    type: 'int', default: '1', min: 1, max: 256, reload: 'process',
    help: 'Worker threads of the pool; actors are spread over them',
  },
  max_heap: {
    type: 'size', default: '512m', min: 16_777_216, reload: 'process',
    help: 'JavaScript heap of each worker; one that needs more is ended and restarted',
  },
  spin: {
    type: 'duration', default: '0', min: 0, max: 1000, reload: 'process',
    help: 'How long a thread looks for the next message before it sleeps, e.g. 0.05ms: faster where cores are idle, slower where not',
  },
}); // prettier-ignore

export const supervisorKeys = defineKeys({
  intensity: {
    type: 'int', default: '5', min: 1, max: 10_000, reload: 'process',
    help: 'Restarts within the period after which a supervisor gives up and escalates',
  },
  period: {
    type: 'duration', default: '60s', min: 1000, reload: 'process',
    help: 'Time in which the restarts are counted',
  },
  backoff_min: {
    type: 'duration', default: '50ms', min: 0, max: 3_600_000, reload: 'process',
    help: 'Wait before the first restart; doubles with each further one, with jitter',
  },
  backoff_max: {
    type: 'duration', default: '30s', min: 0, max: 86_400_000, reload: 'process',
    help: 'Longest wait before a restart; after a healthy time it starts at the shortest again',
  },
}); // prettier-ignore

export const processSections: readonly SectionSpec[] = [
  { section: 'process', named: false, help: 'The process as a whole', keys: processKeys },
  { section: 'log', named: false, help: 'The log', keys: logKeys },
  { section: 'admin', named: false, help: 'Admin port and admin HTTP listener', keys: adminKeys },
  { section: 'pool', named: true, help: 'A named group of worker threads that hosts actors', keys: poolKeys },
  {
    section: 'supervisor',
    named: false,
    help: 'When and how often failed actors are restarted',
    keys: supervisorKeys,
  },
];

export type ProcessValues = ValuesOf<typeof processKeys>;
export type LogValues = ValuesOf<typeof logKeys>;
export type AdminValues = ValuesOf<typeof adminKeys>;
export type PoolValues = ValuesOf<typeof poolKeys>;
export type SupervisorValues = ValuesOf<typeof supervisorKeys>;
