import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { readConf } from '../../src/runtime/config-reader.js';
import { seedCharset } from '../../src/runtime/config-params.js';
import { buildConfig, type ConfSchema, type LoadedConfig } from '../../src/runtime/config.js';
import { defineKeys } from '../../src/runtime/schema.js';

const base = defineKeys({
  type: { type: 'string', required: true, help: 'Type', reload: 'child' },
  heartbeat: { type: 'duration', default: '30s', help: 'Beat', reload: 'child' },
});
const extract = defineKeys({
  store: { type: 'secret', required: true, help: 'Database', reload: 'child', aliases: ['connstr'] },
  sql: { type: 'string', required: true, help: 'Select', reload: 'child', aliases: ['selectsql'] },
  rows: { type: 'int', default: '0', min: 0, help: 'Rows', reload: 'child', aliases: ['maxcount'] },
  every: { type: 'duration', default: '60s', help: 'Pause', reload: 'child', aliases: ['timetvl'] },
  hours: { type: 'list', default: '', help: 'Hours', reload: 'child', aliases: ['starttime'] },
  deep: { type: 'bool', default: 'no', help: 'Deep', reload: 'child', aliases: ['andchild'] },
  charset: { type: 'string', default: 'utf-8', help: 'Encoding', reload: 'child' },
});
const schema: ConfSchema = {
  sections: [{ section: 'stage', named: true, help: 'A stage', keys: base }],
  resolve: ({ get }) => (get('type') === 'extract' ? extract : undefined),
};

function load(lines: string, env: Record<string, string> = {}, file = 'a.conf'): LoadedConfig {
  return buildConfig([readConf(file, `[stage s]\ntype = extract\n${lines}\n`)], schema, env);
}
const valuesOf = (
  lines: string,
  env?: Record<string, string>,
): Readonly<Record<string, unknown>> | undefined => load(lines, env).config.sections[0]?.values;
const textsOf = (lines: string, env?: Record<string, string>): string[] =>
  load(lines, env).problems.map(({ severity, text }) => `${severity}: ${text}`);

const DB = '<connstr>127.0.0.1,root,pw,db,3306</connstr><selectsql>select a from t where a<5</selectsql>';

describe('params of a stage', () => {
  it('stand for the keys of their names and aliases', () => {
    const params = `params = ${DB}<maxcount>300</maxcount><timetvl>20</timetvl><STARTTIME>02,13</STARTTIME><andchild>TRUE</andchild>`;
    const { config, problems } = load(params);
    expect(problems).toEqual([]);
    expect(config.sections[0]?.values).toEqual({
      type: 'extract', heartbeat: 30_000, store: '127.0.0.1,root,pw,db,3306', sql: 'select a from t where a<5', rows: 300,
      every: 20_000, hours: ['02', '13'], deep: true, charset: 'utf-8',
    }); // prettier-ignore
    expect(config.sections[0]?.origins['sql']).toBe('a.conf:3');
  });

  it('know the tags that every reference program has', () => {
    const values = valuesOf(
      `params = ${DB}<timeout>80</timeout><pname>dmining_1</pname><charset>utf8</charset>`,
    );
    expect(values).toMatchObject({ heartbeat: 80_000, charset: 'utf-8' });
    expect(values).not.toHaveProperty('pname');
    expect(['utf8mb4', 'Simplified Chinese_China.AL32UTF8', 'x.ZHS16GBK', 'gb18030', 'latin1'].map(seedCharset)).toEqual([
      'utf-8', 'utf-8', 'gbk', 'gb18030', 'latin1',
    ]); // prettier-ignore
  });

  it('give way to a key beside them, with a note', () => {
    expect(valuesOf(`rows = 7\nparams = ${DB}<maxcount>300</maxcount>`)).toMatchObject({ rows: 7 });
    expect(textsOf(`rows = 7\nparams = ${DB}<maxcount>300</maxcount>`)).toEqual([
      'note: <maxcount> of params has no effect: the key beside it in [stage s] sets rows',
    ]);
    expect(valuesOf(`params = ${DB}<maxcount>3</maxcount>`, { SWITCHYARD_STAGE_S_ROWS: '9' })).toMatchObject({
      rows: 9,
    });
  });

  it('with an unknown tag are an error that names the nearest', () => {
    expect(textsOf(`params = ${DB}<maxcuont>300</maxcuont><zzzz>1</zzzz>`)).toEqual([
      'error: unknown key <maxcuont> of params in [stage s], did you mean <maxcount>?',
      'error: unknown key <zzzz> of params in [stage s]',
    ]);
  });

  it('are checked like the keys they stand for', () => {
    expect(textsOf(`params = ${DB}<maxcount>many</maxcount>`)).toEqual([
      'error: rows must be a whole number, got "many"',
    ]);
    expect(textsOf('params = <connstr>a,b,c,d</connstr>')).toEqual(['error: [stage s] needs the key sql']);
    expect(textsOf('params = nothing')[0]).toBe('error: params holds no <tag>value</tag>');
    expect(textsOf(`params = <connstr>${'x'.repeat(70_000)}</connstr>`)[0]).toMatch(
      /^error: a line of 7\d{4} characters exceeds/,
    );
  });

  it('may hold quotes, signs of comments and references', () => {
    const env = { DB_URL: 'sqlite:x${NOT}' };
    expect(
      valuesOf(
        `params = "<connstr>\${DB_URL}</connstr><selectsql>select 'a # b', \\"c\\" from t</selectsql>"`,
        env,
      ),
    ).toMatchObject({
      store: 'sqlite:x${NOT}',
      sql: `select 'a # b', "c" from t`,
    });
  });
});

describe('params out of a file', () => {
  let folder = '';
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('are read from there and never shown', async () => {
    folder = await mkdtemp(join(tmpdir(), 'params-'));
    await writeFile(join(folder, 'p'), `${DB}<maxcount>geheim</maxcount>\n`);
    const { problems } = load('params = file:p', {}, join(folder, 'a.conf'));
    expect(problems.map(({ text }) => text)).toEqual(['rows must be a whole number']);
    await writeFile(join(folder, 'p'), 'x'.repeat(70_000));
    expect(load('params = file:p', {}, join(folder, 'a.conf')).problems[0]?.text).toMatch(
      /is larger than 65536 bytes/,
    );
  });
});
