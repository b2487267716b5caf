import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { generatedDocs, writeDocs } from '../../src/cli/docs.js';
import { allSections, allTypes } from '../../src/conf-schema.js';
import { ERRORS } from '../../src/runtime/errors.js';
import { parseValue } from '../../src/runtime/config-values.js';

const docs = fileURLToPath(new URL('../../docs', import.meta.url));

describe('the generated documents', () => {
  it.each([...generatedDocs().keys()])('docs/%s is what `npm run docs` would write', async (name) => {
    const committed = await readFile(join(docs, name), 'utf8').catch(() => '(missing)');
    expect(committed === generatedDocs().get(name), `docs/${name} is stale: run \`npm run docs\``).toBe(true);
  });

  it('are written to the folder asked for', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'docs-'));
    await writeDocs(folder);
    expect(await readFile(join(folder, 'errors.md'), 'utf8')).toContain('| `CONF_UNKNOWN_KEY` |');
    await rm(folder, { recursive: true });
  });

  it('show every section, key and error', () => {
    const configuration = generatedDocs().get('configuration.md') ?? '';
    for (const { section, keys } of allSections()) {
      expect(configuration).toContain(`## [${section}`);
      for (const key of Object.keys(keys)) expect(configuration).toContain(`| \`${key}\` |`);
    }
    for (const code of Object.keys(ERRORS))
      expect(generatedDocs().get('errors.md')).toContain(`| \`${code}\` |`);
  });
});

describe('the catalogue of errors', () => {
  it.each(Object.entries(ERRORS))('%s has a sysexits code, a text and a hint', (_, { exit, text, hint }) => {
    expect([64, 65, 66, 69, 70, 71, 73, 74, 75, 77, 78]).toContain(exit);
    expect(text).not.toMatch(/\.$/);
    expect(hint.length).toBeGreaterThan(0);
  });
});

describe('every declared key', () => {
  const all = [
    ...allSections().map((s) => [s.section, s.keys] as const),
    ...allTypes().map((t) => [`${t.section} ${t.type}`, t.keys] as const),
  ].flatMap(([section, keys]) =>
    Object.entries(keys).map(([key, spec]) => ({ name: `[${section}] ${key}`, key, spec })),
  );

  it.each(all)('$name is snake_case, has one line of help and a default that parses', ({ key, spec }) => {
    expect(key).toMatch(/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/);
    expect(spec.help).toMatch(/^[^\n]{5,160}[^.\n]$/);
    if (spec.default !== undefined) expect(parseValue(spec, spec.default)).toHaveProperty('value');
    if (spec.type === 'enum') expect(spec.values?.length).toBeGreaterThan(0);
    expect(spec.required === true && spec.default !== undefined).toBe(false);
  });

  it('of a section has aliases that no other section has, so that nginx.conf finds the one meant', () => {
    const aliases = allSections().flatMap(({ keys }) =>
      Object.values(keys).flatMap((spec) => spec.aliases ?? []),
    );
    const lower = aliases.map((alias) => alias.toLowerCase());
    expect(lower).toEqual([...new Set(lower)]);
    expect(lower).toContain('sock_maxwaittime');
  });
});
