import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diffConfig, maskConfig } from '../../src/runtime/config-diff.js';
import { overrideName } from '../../src/runtime/config-override.js';
import { problemText, readConf } from '../../src/runtime/config-reader.js';
import {
  buildConfig,
  loadConfig,
  sectionsOf,
  valuesOf,
  type ConfSchema,
  type LoadedConfig,
} from '../../src/runtime/config.js';
import { logKeys } from '../../src/runtime/process-keys.js';
import { defineKeys, type Keys } from '../../src/runtime/schema.js';

const logSection = defineKeys({
  level: { type: 'enum', values: ['info', 'debug'], default: 'info', help: 'How much', reload: 'live' },
  max_size: {
    type: 'size',
    default: '1m',
    min: 1024,
    help: 'Largest file',
    reload: 'live',
    aliases: ['MaxLog'],
  },
});
const stageSection = defineKeys({
  type: { type: 'enum', values: ['load', 'purge'], required: true, help: 'What it does', reload: 'child' },
  password: { type: 'secret', help: 'Of the store', reload: 'child' },
});
const types: Record<string, Keys> = {
  load: { folder: { type: 'path', required: true, help: 'Where files come from', reload: 'child' } },
  purge: { days: { type: 'int', default: '7', help: 'Age', reload: 'live' } },
};
const schema: ConfSchema = {
  sections: [
    { section: 'log', named: false, help: 'Log', keys: logSection },
    { section: 'stage', named: true, help: 'Stage', keys: stageSection },
  ],
  resolve: ({ section, get }) => (section === 'stage' ? types[get('type') ?? ''] : {}),
};
const load = (text: string, env: Record<string, string> = {}, second?: string): LoadedConfig =>
  buildConfig(
    [readConf('a.conf', text), ...(second === undefined ? [] : [readConf('b.conf', second)])],
    schema,
    env,
  );
const problems = (loaded: LoadedConfig): string[] => loaded.problems.map(problemText);

describe('a conf', () => {
  it('becomes typed plain data with defaults and the place of each written key', () => {
    const { config, problems } = load('[stage old]\ntype = purge\n[log]\nmax_size = 2m\n');
    expect(problems).toEqual([]);
    expect(structuredClone(config)).toEqual({
      sections: [
        { section: 'stage', name: 'old', values: { type: 'purge', days: 7 }, origins: { type: 'a.conf:2' } },
        {
          section: 'log',
          name: '',
          values: { level: 'info', max_size: 2_097_152 },
          origins: { max_size: 'a.conf:4' },
        },
      ],
    });
    expect(valuesOf(config, 'log', logSection).max_size).toBe(2_097_152);
    expect(sectionsOf(config, 'stage').map((s) => s.name)).toEqual(['old']);
    expect(() => valuesOf(config, 'stage', stageSection, 'new')).toThrow('no section [stage new]');
  });

  it('that nobody wrote has every unnamed section at its defaults', () => {
    const { config, problems } = load('');
    expect(problems).toEqual([]);
    expect(config.sections).toEqual([
      { section: 'log', name: '', values: { level: 'info', max_size: 1_048_576 }, origins: {} },
    ]);
  });

  it.each([
    ['level = debug', 'a.conf:1: key level stands before any [section] (put it under the section it belongs to)'],
    ['[lgo]\nlevel = debug', 'a.conf:1: unknown section [lgo], did you mean log? (see docs/configuration.md for the sections)'],
    ['[weather]', 'a.conf:1: unknown section [weather] (see docs/configuration.md for the sections)'],
    ['[stage]', 'a.conf:1: section [stage] needs a name: [stage NAME] (see docs/configuration.md for the section)'],
    ['[log x]', 'a.conf:1: section [log x] takes no name: [log] (see docs/configuration.md for the section)'],
    ['[log]\nlevle = debug', 'a.conf:2: unknown key levle in [log], did you mean level? (see docs/configuration.md for its keys)'],
    ['[log]\nmaxlog = 1m', 'a.conf:2: unknown key maxlog in [log], here it is called max_size (see docs/configuration.md for its keys)'],
    ['[log]\n__proto__ = 1', 'a.conf:2: unknown key __proto__ in [log] (see docs/configuration.md for its keys)'],
    ['[log]\nlevel = info\n\nlevel = info', 'a.conf:4: key level of [log] is already set at a.conf:2 (keep one of the two)'],
    ['[log]\nlevel = info\n[log]\nlevel = info', 'a.conf:4: key level of [log] is already set at a.conf:2 (keep one of the two)'],
    ['[log]\nmax_size = 5', 'a.conf:2: max_size must be at least 1k, got "5" (Largest file)'],
    ['[log]\nlevel = ${NOPE}', 'a.conf:2: level: environment variable NOPE is not set (set it, or give a default as ${NAME:-default})'],
    ['[stage s]', 'a.conf:1: [stage s] needs the key type (What it does)'],
    ['[stage s]\ntype = load', 'a.conf:1: [stage s] needs the key folder (Where files come from)'],
    ['[stage s]\ntype = purge\ndayz = 3', 'a.conf:3: unknown key dayz in [stage s], did you mean days? (see docs/configuration.md for its keys)'],
    ['[stage s]\ntype = lod\nwhatever = 3', 'a.conf:2: type must be one of load, purge, got "lod", did you mean load? (What it does)'],
  ])('with %j is refused with its place', (text, problem) => {
    const loaded = load(text);
    expect(problems(loaded)).toEqual([problem]);
    expect(loaded.problems[0]?.severity).toBe('error');
  }); // prettier-ignore

  it('reports every problem, not just the first', () => {
    expect(
      problems(load('[log]\nlevel = loud\nx\n[stge a]\n[stage b]\ntype = purge\ndays = soon')),
    ).toHaveLength(4);
  });

  it('shows no more problems than a person reads, errors first', () => {
    const keys = Array.from({ length: 300 }, (_, i) => `x${i} = 1`).join('\n');
    const shown = problems(load('[log]\nlevel = info', {}, `[log]\nlevel = debug\n${keys}`));
    expect(shown).toHaveLength(201);
    expect(shown[0]).toContain('unknown key x0');
    expect(shown.at(-1)).toBe('conf: note: 101 more are not shown');
  });

  it('lets a later file win and notes it', () => {
    const loaded = load('[log]\nlevel = info\nmax_size = 3m', {}, '[log]\nlevel = debug');
    expect(valuesOf(loaded.config, 'log', logSection)).toEqual({ level: 'debug', max_size: 3_145_728 });
    expect(problems(loaded)).toEqual(['b.conf:2: note: level of [log] replaces the one at a.conf:2']);
  });

  it('never shows a secret nor what a reference gave, in problems, differences and dumps', () => {
    const text = '[log]\nlevel = ${PW}\n[stage s]\ntype = purge\ndays = ${PW}\npassword = hunter2';
    const loaded = load(text, { PW: 'hunter2', SWITCHYARD_LOG_MAX_SIZE: 'hunter2' });
    expect(problems(loaded)).toEqual(
      [
        'environment: max_size must be a size such as 512, 64k, 4m or 1g (from the environment variable SWITCHYARD_LOG_MAX_SIZE) (Largest file)',
        'a.conf:2: level must be one of info, debug (How much)',
        'a.conf:5: days must be a whole number (Age)',
      ].sort((a, b) => problems(loaded).indexOf(a) - problems(loaded).indexOf(b)),
    );
    const other = load('[stage s]\ntype = purge\npassword = swordfish');
    const before = load('[stage s]\ntype = purge\npassword = hunter2');
    const shown = [
      JSON.stringify(maskConfig(before.config, schema)),
      ...diffConfig(before.config, other.config, schema).map((c) => c.line),
    ].join('\n');
    expect(shown).toContain('password');
    expect(shown).not.toMatch(/hunter2|swordfish/);
  });
});

describe('the environment', () => {
  it('overrides a value, also the one that decides which keys there are', () => {
    expect(overrideName('stage', 'load-obs', 'folder')).toBe('SWITCHYARD_STAGE_LOAD_OBS_FOLDER');
    const env = {
      SWITCHYARD_STAGE_S_TYPE: 'load',
      SWITCHYARD_STAGE_S_FOLDER: '/in${x}',
      SWITCHYARD_LOG_LEVEL: 'debug',
    };
    const loaded = load('[stage s]\ntype = purge', env);
    expect(problems(loaded)).toEqual([]);
    expect(loaded.config.sections[0]).toEqual({
      section: 'stage',
      name: 's',
      values: { type: 'load', folder: '/in${x}' },
      origins: {
        type: 'environment SWITCHYARD_STAGE_S_TYPE',
        folder: 'environment SWITCHYARD_STAGE_S_FOLDER',
      },
    });
  });

  it('is told when a variable names nothing, or two keys at once', () => {
    expect(problems(load('', { SWITCHYARD_LOG_LEVLE: 'x' }))).toEqual([
      'environment: note: SWITCHYARD_LOG_LEVLE names no key of a section in the conf',
    ]);
    const loaded = load('[stage a-b]\ntype = purge\n[stage a.b]\ntype = purge', {
      SWITCHYARD_STAGE_A_B_DAYS: '1',
    });
    expect(problems(loaded)).toEqual([
      'environment: environment variable SWITCHYARD_STAGE_A_B_DAYS: names both days of [stage a-b] and days of [stage a.b] (see docs/configuration.md for the names)',
    ]);
  });
});

describe('the difference of two confs', () => {
  const before = load('[log]\nlevel = info\n[stage a]\ntype = purge\n[stage b]\ntype = purge\n').config;
  it('is empty for equal ones', () => {
    expect(diffConfig(before, structuredClone(before), schema)).toEqual([]);
  });

  it('lists changed, added and removed with the reload rule', () => {
    const after = load(
      '[log]\nlevel = debug\nmax_size = 2m\n[stage a]\ntype = purge\ndays = 9\n[stage c]\ntype = purge',
    ).config;
    const changes = diffConfig(before, after, schema);
    expect(changes.map((c) => c.line)).toEqual([
      '~ [log] level info -> debug (live)',
      '~ [log] max_size 1m -> 2m (live)',
      '~ [stage a] days 7 -> 9 (live)',
      '+ [stage c]',
      '- [stage b]',
    ]);
    expect(changes[2]).toMatchObject({
      kind: 'changed',
      section: 'stage',
      name: 'a',
      key: 'days',
      from: 7,
      to: 9,
      reload: 'live',
    });
  });
});

describe('conf files', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'conf-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('are read in order; one that cannot be read is a problem', async () => {
    const [one, two] = [join(folder, '1.conf'), join(folder, '2.conf')];
    writeFileSync(one, '[log]\nlevel = debug\n');
    writeFileSync(two, '[stage s]\ntype = purge\n');
    const loaded = await loadConfig([one, join(folder, 'none.conf'), two, folder], schema, {});
    expect(loaded.config.sections.map((s) => s.section)).toEqual(['log', 'stage']);
    expect(problems(loaded)).toEqual([
      `${join(folder, 'none.conf')}: cannot read it: ENOENT (check the path and the permissions)`,
      `${folder}: cannot read it: EISDIR (check the path and the permissions)`,
    ]);
  });

  it('read defaults of the real [log] section without a problem', async () => {
    const real = {
      sections: [{ section: 'log', named: false, help: '', keys: logKeys }],
      resolve: () => ({}),
    };
    const { config, problems } = await loadConfig([], real, {});
    expect(problems).toEqual([]);
    expect(valuesOf(config, 'log', logKeys)).toMatchObject({
      level: 'info',
      max_size: 104_857_600,
      keep: 10,
    });
  });
});
