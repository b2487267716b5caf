import { describe, expect, it } from 'vitest';
import { cli } from '../../src/cli.js';
import { actorTypes } from '../../src/actors/index.js';
import { confSchema } from '../../src/conf-schema.js';
import { problemText, readConf } from '../../src/runtime/config-reader.js';
import { buildConfig } from '../../src/runtime/config.js';

async function sample(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const input = (async function* () {
    yield '';
  })();
  const io = {
    out: (text: string) => void (out += text),
    err: (text: string) => void (err += text),
    env: {},
    input,
  };
  return { code: await cli(['sample', ...args], io), out, err };
}

describe('switchyard sample', () => {
  it.each(actorTypes.map(({ type }) => type))('%s is a section with every key explained', async (type) => {
    const { code, out } = await sample(type);
    expect(code).toBe(0);
    const keys = actorTypes.find((known) => known.type === type)?.keys ?? {};
    for (const key of Object.keys(keys)) expect(out).toMatch(new RegExp(`^#?${key} =`, 'm'));
  });

  it('fills in what it is told, so that the section can be used as it is', async () => {
    const { out } = await sample('delete-files', 'path=var/old', 'older_than=2d');
    const { config, problems } = buildConfig([readConf('a.conf', out)], confSchema(), {});
    expect(problems.map(problemText)).toEqual([]);
    const section = config?.sections.find(({ name }) => name === 'delete-files');
    expect(section?.values).toMatchObject({ path: ['var/old'], older_than: 172_800_000 });
  });

  it('names the nearest type and refuses keys the type does not have', async () => {
    expect((await sample('delete-file')).err).toContain('did you mean delete-files?');
    expect((await sample('run', 'comand=x')).err).toContain('"comand=x" is not KEY=VALUE');
    expect((await sample()).err).toContain('which type?');
  });
});
