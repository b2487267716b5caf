/**
 * What each program of a reference deployment is here (spec data-centre 2 to 13). `PROGRAMS` is the table to read first: a
 * program's arguments become keys, its parameter string becomes the keys its tags stand for. Pure.
 */
import { quote } from 'shell-quote';
import { readTag } from '../protocol/tagxml.js';
import { paramsAsKeys, seedCharset } from '../runtime/config-params.js';
import type { Keys } from '../runtime/schema.js';

/** One procctl line. */
export interface Job {
  readonly line: number;
  /** Pause between two runs in seconds. */
  readonly period: number;
  /** Path as it is written. */
  readonly program: string;
  readonly args: readonly string[];
}

/** A section to be written. Values as the conf means them, before quoting. */
export interface Section {
  readonly kind: 'stage' | 'actor' | 'http';
  readonly name: string;
  readonly keys: readonly (readonly [key: string, value: string])[];
}

export interface Translation {
  readonly sections: readonly Section[];
  /** For the operator: what to look at. */
  readonly notes: readonly string[];
  /** Why it is written commented out, with its arguments in a secret file. */
  readonly later?: string;
}

/** Keys of a type, undefined when there is no such type. */
export type KeysOf = (section: 'stage' | 'actor', type: string) => Keys | undefined;

type Translate = (job: Job, keysOf: KeysOf) => Translation;

/** The first argument is the log file, the second the parameter string. */
function byParams(type: string): Translate {
  return (job, keysOf) => {
    const [, params = ''] = job.args;
    const keys = keysOf('stage', type);
    if (keys === undefined) return missing(type);
    const { found, unknown } = paramsAsKeys(params, keys);
    if (found.length === 0)
      return { sections: [], notes: [], later: `${baseName(job)} has no parameter string` };
    const taken = new Map<string, string>([['every', `${job.period}s`]]);
    for (const { key, value } of found) {
      if (key === 'heartbeat') taken.set(key, `${Math.max(10, Number.parseInt(value, 10) || 0)}s`);
      else if (key !== undefined) taken.set(key, value);
    }
    const notes = unknown.map(({ tag }) => `<${tag}> has no meaning here`);
    return stage(type, readTag(params, 'pname') ?? type, taken, notes);
  };
}

/** Arguments in their order; '' is passed over, `a|b` is the first of these keys or aliases that the type has. */
function byPosition(type: string, names: readonly string[], least: number): Translate {
  return (job, keysOf) => {
    const keys = keysOf('stage', type);
    if (keys === undefined) return missing(type);
    if (job.args.length < least) {
      return {
        sections: [],
        notes: [],
        later: `${baseName(job)} needs ${least} arguments, there are ${job.args.length}`,
      };
    }
    const taken = new Map<string, string>([['every', `${job.period}s`]]);
    for (const [i, wanted] of names.entries()) {
      const value = job.args[i];
      if (wanted === '' || value === undefined) continue;
      const name = wanted.split('|').find((one) => keyNamed(one, keys) !== undefined);
      const key = name === undefined ? undefined : keyNamed(name, keys);
      // A charset is of no use to a stage that has no such key.
      if (key === undefined && wanted !== 'charset') return missing(`${type} (${wanted})`);
      const text = key === 'older_than' ? `${value}d` : key === 'charset' ? seedCharset(value) : value;
      if (key !== undefined) taken.set(key, text);
    }
    return stage(type, type, taken);
  };
}

function stage(
  type: string,
  name: string,
  values: ReadonlyMap<string, string>,
  notes: readonly string[] = [],
): Translation {
  return { sections: [{ kind: 'stage', name, keys: [['type', type], ...values] }], notes };
}

function keyNamed(name: string, keys: Keys): string | undefined {
  if (Object.hasOwn(keys, name)) return name;
  return Object.keys(keys).find((key) => keys[key]?.aliases?.includes(name));
}

function missing(type: string): Translation {
  return { sections: [], notes: [], later: `the stage ${type} is not yet available` };
}

const later: Translate = (job) => ({
  sections: [],
  notes: [],
  later: `${baseName(job)} is not yet available here`,
});

const notNeeded: Translate = (job) => ({
  sections: [],
  notes: [`${baseName(job)} is not needed: the supervisor of this program does its work`],
});

/** Old: LOGFILE XMLBUFFER with connstr and port; new: LOGFILE PORT, with the database compiled in. */
const webserver: Translate = (job) => {
  const [, second = ''] = job.args;
  const port = readTag(second, 'port') ?? second;
  const connstr = readTag(second, 'connstr');
  if (!/^\d{1,5}$/.test(port))
    return { sections: [], notes: [], later: 'webserver: the port cannot be found in its arguments' };
  const notes = ['passwords of T_USERINFO: see docs/stages/README.md and the actor data-api'];
  if (connstr === undefined)
    notes.push('its database is not in the arguments: set store in [actor data-api]');
  return {
    sections: [
      { kind: 'http', name: 'data-api', keys: [['address', port], ['engine', 'node']] },
      { kind: 'actor', name: 'data-api', keys: [['type', 'data-api'], ...(connstr === undefined ? [] : [['store', connstr] as const])] },
    ],
    notes,
  }; // prettier-ignore
};

/** Any other program: it is run as procctl runs it. */
const run: Translate = (job, keysOf) => {
  if (keysOf('stage', 'run') === undefined) return missing('run');
  const name = baseName(job) === 'sh' ? `run-line-${job.line}` : `run-${baseName(job)}`;
  const keys = new Map([['every', `${job.period}s`], ['command', quote([job.program, ...job.args])]]); // prettier-ignore
  const inside = hasPassword(job) ? ['a password is in its arguments, where ps shows it'] : [];
  return stage('run', name, keys, inside);
};

const STATIONS = ['stations', 'store', 'charset'];
const OLD_FILES = ['path', 'match', 'older_than'];

/** Names without what tells the database apart. */
const PROGRAMS: Readonly<Record<string, Translate>> = {
  crtsurfdata: byPosition('generate', ['stations', 'out', '', 'formats', 'time'], 4),
  obtcodetodb: byPosition('load-stations', STATIONS, 3),
  obtmindtodb: byPosition('load-obs', ['path', 'store', 'charset'], 3),
  dminingmysql: byParams('extract'),
  dminingoracle: byParams('extract'),
  dmining: byParams('extract'),
  xmltodb: byParams('load'),
  deletetable: byParams('purge'),
  migratetable: byParams('archive'),
  syncupdate: byParams('sync-refresh'),
  syncref: byParams('sync-refresh'),
  syncincrement: byParams('sync-increment'),
  syncinc: byParams('sync-increment'),
  syncincrementex: byParams('sync-increment'),
  execsql: byPosition('exec-sql', ['file|sqlfile|script|path', 'store|connstr', 'charset'], 3),
  deletefiles: byPosition('delete-files', OLD_FILES, 3),
  gzipfiles: byPosition('gzip-files', OLD_FILES, 3),
  webserver,
  checkproc: notNeeded,
  procctl: notNeeded,
  fileserver: later,
  ftpgetfiles: later,
  ftpputfiles: later,
  tcpputfiles: later,
  tcpgetfiles: later,
  inetd: later,
  rinetd: later,
  rinetdin: later,
};

export function baseName(job: Pick<Job, 'program'>): string {
  return job.program.slice(job.program.lastIndexOf('/') + 1);
}

/** A connection string, a password tag, or the password option of a database client. */
export function hasPassword(job: Job): boolean {
  return job.args.some(
    (arg) =>
      /^[\w$#]+\/[^\s/@]+@\S+$/.test(arg) ||
      /^[^\s,]+,[^\s,]+,[^\s,]*,[^\s,]+(,\d+)?$/.test(arg) ||
      /<(connstr|\w*connstr\d?|password|passwd)>/i.test(arg) ||
      /^-p.+|^--password=|:\/\/[^\s/]*:[^\s/]*@/.test(arg) ||
      /\b[\w$#]+\/[^\s/@]+@[\w.]+|\s-p\S+|--password=/.test(arg),
  );
}

export function translate(job: Job, keysOf: KeysOf): Translation {
  const base = baseName(job);
  const known = PROGRAMS[base] ?? PROGRAMS[base.replace(/_(oracle|mysql)$/, '')];
  return (known ?? run)(job, keysOf);
}
