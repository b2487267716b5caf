/** The command line's flags: one table, parsed by util.parseArgs, checked here so that mistakes name the nearest flag. */
import { parseArgs } from 'node:util';
import { nearest } from '../runtime/nearest.js';
import { overrideName } from '../runtime/config-override.js';
import { UsageFault, type Flags } from './verb.js';

interface FlagSpec {
  readonly type: 'boolean' | 'string';
  readonly short?: string;
  readonly value?: string;
  readonly values?: RegExp;
  readonly help: string;
}

export const FLAGS = {
  help: { type: 'boolean', short: 'h', help: 'this text, or that of the verb' },
  version: { type: 'boolean', short: 'V', help: 'the version' },
  check: { type: 'boolean', help: 'validate the conf files and leave, as the verb check' },
  json: { type: 'boolean', help: 'answers of reading commands in JSON' },
  once: { type: 'boolean', help: 'stage: one run in this process, without a server' },
  'dry-run': { type: 'boolean', help: 'stage: read and check, change nothing' },
  preview: { type: 'boolean', help: 'stage: the first rows a run would bring; --limit, default 10' },
  limit: { type: 'string', value: 'N', values: /^[1-9]\d{0,3}$/, help: 'stage --preview: rows, 1 to 9999' },
  daemon: { type: 'boolean', help: 'run in the background; --no-daemon overrides the conf' },
  'log-level': {
    type: 'string',
    value: 'LEVEL',
    values: /^(debug|info|notice|warn|error|fatal)$/,
    help: 'debug, info, notice, warn, error or fatal; overrides the conf',
  },
  'log-format': { type: 'string', value: 'FORMAT', values: /^(auto|text|json)$/, help: 'auto, text or json' },
  'pid-file': { type: 'string', value: 'FILE', values: /./, help: 'file with the process id' },
  'admin-port': {
    type: 'string',
    value: 'PORT',
    values: /^([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$/,
    help: 'port of the admin line protocol on 127.0.0.1',
  },
} as const satisfies Record<string, FlagSpec>;

export type FlagName = keyof typeof FLAGS;

export interface ParsedLine {
  readonly flags: Flags;
  readonly help: boolean;
  readonly version: boolean;
  readonly positionals: readonly string[];
}

/** @throws UsageFault: unknown flag, missing or wrong value */
export function parseLine(args: readonly string[]): ParsedLine {
  const options = Object.fromEntries(
    Object.entries(FLAGS).map(([name, spec]: [string, FlagSpec]) => [
      name,
      { type: spec.type, ...(spec.short === undefined ? {} : { short: spec.short }) },
    ]),
  );
  const { tokens } = parseArgs({
    args: [...args],
    options,
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  const set = new Map<FlagName, string | boolean>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const negated = token.name === 'no-daemon';
    const name = flagName(negated ? 'daemon' : token.name, token.rawName);
    const spec: FlagSpec = FLAGS[name];
    if (spec.type === 'boolean') {
      if (token.value !== undefined) throw new UsageFault(`${token.rawName} takes no value`);
      set.set(name, !negated);
    } else {
      set.set(name, flagValue(spec, token.rawName, token.value));
    }
  }
  const text = (name: FlagName): string | undefined => {
    const value = set.get(name);
    return typeof value === 'string' ? value : undefined;
  };
  return {
    help: set.get('help') === true,
    version: set.get('version') === true,
    positionals,
    flags: {
      check: set.get('check') === true,
      json: set.get('json') === true,
      once: set.get('once') === true,
      dryRun: set.get('dry-run') === true,
      preview: set.get('preview') === true,
      limit: text('limit'),
      daemon: set.has('daemon') ? set.get('daemon') === true : undefined,
      logLevel: text('log-level'),
      logFormat: text('log-format'),
      pidFile: text('pid-file'),
      adminPort: text('admin-port'),
    },
  };
}

function flagName(name: string, written: string): FlagName {
  if (Object.hasOwn(FLAGS, name)) return name as FlagName;
  const near = nearest(name, Object.keys(FLAGS));
  throw new UsageFault(`unknown flag ${written}${near === undefined ? '' : `; did you mean --${near}?`}`);
}

function flagValue(spec: FlagSpec, written: string, value: string | undefined): string {
  if (value === undefined || value === '') throw new UsageFault(`${written} needs a value: ${spec.help}`);
  if (spec.values?.test(value) === false) throw new UsageFault(`${written} ${value}: ${spec.help}`);
  return value;
}

/** Flags that replace conf values, as the environment variables that do the same. */
export function flagEnvironment(
  flags: Flags,
  env: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string | undefined>> {
  const replaced: Record<string, string | undefined> = {
    [overrideName('log', '', 'level')]: flags.logLevel,
    [overrideName('log', '', 'format')]: flags.logFormat,
    [overrideName('process', '', 'pid_file')]: flags.pidFile,
    [overrideName('process', '', 'daemon')]:
      flags.daemon === undefined ? undefined : flags.daemon ? 'yes' : 'no',
    [overrideName('admin', '', 'address')]:
      flags.adminPort === undefined ? undefined : `127.0.0.1:${flags.adminPort}`,
  };
  const given = Object.entries(replaced).filter(([, value]) => value !== undefined);
  return { ...env, ...Object.fromEntries(given) };
}
