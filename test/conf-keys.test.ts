import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { renderSample, shownKeys } from '../src/cli/sample.js';
import { allSections, allTypes, confSchema } from '../src/conf-schema.js';
import { keySpecs } from '../src/runtime/config-diff.js';
import { problemText, readConf } from '../src/runtime/config-reader.js';
import { buildConfig, loadConfig, sectionTitle, type Config } from '../src/runtime/config.js';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Sources without comments; the declaring files also without strings, whose help texts name keys. */
function readingSources(): string[] {
  return readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => {
      const code = readFileSync(join(root, 'src', name), 'utf8').replace(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, '');
      return /keys\.ts$/.test(name) ? code.replace(/'(?:[^'\\\n]|\\.)*'/g, "''") : code;
    });
}

/** `.key`, `['key']` or `{ key }` taken apart out of something. */
function reads(source: string, key: string): boolean {
  const access = new RegExp(`\\.${key}\\b|\\[['"]${key}['"]\\]`);
  const destructured = new RegExp(`\\{[^{}]*\\b${key}\\b[^{}]*\\}\\s*(:[^=;{}]+)?(=[^=>]|\\))`);
  return access.test(source) || (source.includes(key) && destructured.test(source));
}

/** What a conf text does not show of the sections it has. */
function notShown(text: string, config: Config): string[] {
  const shown = shownKeys(text);
  return config.sections.flatMap((section) => {
    const title = sectionTitle(section);
    const keys = shown.get(title);
    if (keys === undefined) return [];
    const declared = Object.keys(keySpecs(section, confSchema()));
    return declared.filter((key) => !keys.has(key)).map((key) => `[${title}] ${key}`);
  });
}

describe('a declared conf key', () => {
  const sources = readingSources();
  const declared = [...allSections(), ...allTypes()].flatMap(({ section, keys }) =>
    Object.keys(keys).map((key) => ({ section, key })),
  );

  it('is read by something', () => {
    const dead = declared.filter(({ key }) => !sources.some((source) => reads(source, key)));
    expect(dead.map(({ section, key }) => `[${section}] ${key}`)).toEqual([]);
  });

  it('that nothing reads would be found', () => {
    expect(reads('const a = values.some_key_more; // some_key', 'some_key')).toBe(false);
    expect(reads('log({ some_key: 1 })', 'other_key')).toBe(false);
    expect(reads('const { a, some_key } = values;', 'some_key')).toBe(true);
    expect(reads('function f({ some_key }: Values) {}', 'some_key')).toBe(true);
    expect(reads("values['some_key']", 'some_key')).toBe(true);
  });
});

describe('a conf sample', () => {
  it('made from the declared keys parses and shows them all', () => {
    const values: Record<string, string> = { address: '1000', protocol: 'packet' };
    for (const spec of allSections().filter((s) => s.keys['type'] === undefined)) {
      const required = Object.entries(spec.keys).filter(([, key]) => key.required);
      const set = Object.fromEntries(required.map(([key]) => [key, values[key] ?? 'x']));
      const text = renderSample(spec, { name: 'sample', set });
      // One section alone: what it needs of others is not there.
      const { sections, resolve } = confSchema();
      const { config, problems } = buildConfig([readConf('sample.conf', text)], { sections, resolve }, {});
      expect(problems.map(problemText)).toEqual([]);
      expect(notShown(text, config)).toEqual([]);
      expect(notShown(text.replace(/^#?[a-z]\w* =.*$/m, ''), config)).toHaveLength(1);
    }
  });

  it('has its commented defaults in a form that can be switched on', () => {
    for (const spec of allSections().filter((s) => s.keys['type'] === undefined)) {
      const text = renderSample(spec, { name: 'sample' }).replace(/^#(\w+ = .+)$/gm, '$1');
      const { problems } = buildConfig([readConf('sample.conf', text)], confSchema(), {});
      expect(problems.filter((p) => p.code !== 'CONF_MISSING_KEY').map(problemText)).toEqual([]);
    }
  });
});

describe('the shipped conf', () => {
  const folder = join(root, 'conf');
  const files = readdirSync(folder).filter((name) => name.endsWith('.conf'));

  it('is there', () => {
    expect(files).not.toEqual([]);
  });

  it.each(files)('conf/%s parses without a problem and shows every key of its sections', async (name) => {
    const path = join(folder, name);
    const { config, problems } = await loadConfig([path], confSchema(), {});
    expect(problems.map(problemText)).toEqual([]);
    expect(notShown(readFileSync(path, 'utf8'), config)).toEqual([]);
  });

  it('parses as a whole', async () => {
    const { problems } = await loadConfig(
      files.map((name) => join(folder, name)),
      confSchema(),
      {},
    );
    expect(problems.map(problemText)).toEqual([]);
  });
});
