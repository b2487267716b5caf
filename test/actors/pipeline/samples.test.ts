import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { actorTypes } from '../../../src/actors/index.js';
import { shownKeys } from '../../../src/cli/sample.js';
import { confSchema } from '../../../src/conf-schema.js';
import { problemText, readConf } from '../../../src/runtime/config-reader.js';
import { buildConfig } from '../../../src/runtime/config.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const samples = readdirSync(join(root, 'conf/samples')).filter((name) => name.endsWith('.conf'));

describe('a stage', () => {
  it.each(actorTypes.filter((type) => type.kind === 'stage').map((type) => type.type))(
    '%s has a sample and a page',
    (type) => {
      expect(samples).toContain(`${type}.conf`);
      expect(existsSync(join(root, 'docs/stages', `${type}.md`))).toBe(true);
      expect(readFileSync(join(root, 'docs/stages/README.md'), 'utf8')).toContain(`(${type}.md)`);
    },
  );
});

describe('a sample', () => {
  it.each(samples)('conf/samples/%s parses and shows every key of its type', (name) => {
    const text = readFileSync(join(root, 'conf/samples', name), 'utf8');
    const { problems } = buildConfig([readConf(name, text)], confSchema(), {});
    expect(problems.map(problemText)).toEqual([]);
    const type = actorTypes.find((known) => `${known.type}.conf` === name);
    const shown = [...shownKeys(text).values()].flatMap((keys) => [...keys]);
    expect(Object.keys(type?.keys ?? { missing: 1 }).filter((key) => !shown.includes(key))).toEqual([]);
  });
});
