import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cli } from '../../src/cli.js';
import { openStore } from '../../src/store/driver.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'replay-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function stage(...args: string[]): Promise<{ code: number; out: string; err: string }> {
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
  const code = await cli(['stage', ...args, join(folder, 'a.conf')], io);
  return { code, out, err };
}

describe('switchyard stage replay-rejects', () => {
  it('loads mended rejects once', async () => {
    const store = await openStore(`sqlite:${folder}/data.db`);
    await store.execute('CREATE TABLE T (id VARCHAR(5), n INTEGER)');
    mkdirSync(join(folder, 'in'));
    const stages = ['load', 'generate'].map(
      (type) => `[stage ${type}-it]\ntype = ${type}\nledger = sqlite:${folder}/ledger.db\n`,
    );
    const load = `path = ${folder}/in\nstore = sqlite:${folder}/data.db\ntable = T\n`;
    const generate = `stations = x.csv\nout = ${folder}/out\n`;
    writeFileSync(join(folder, 'a.conf'), `[log]\nlevel = fatal\n${stages[0]}${load}${stages[1]}${generate}`);
    writeFileSync(join(folder, 'in', 'a.xml'), '<id>1</id><n>1</n><endl/>\n<id>2</id><n>two</n><endl/>\n');
    try {
      expect(await stage('load-it', '--once')).toMatchObject({ code: 0 });
      const errors = join(folder, 'in-errors');
      const [name = ''] = readdirSync(errors);
      const reject = join(errors, name);
      expect((await stage('replay-rejects', 'load-it', '--dry-run', '--json')).out).toContain(
        '"rowsRejected":1',
      );
      writeFileSync(reject, readFileSync(reject, 'utf8').replace('two</n>', '2</n>'));
      const { code, out } = await stage('replay-rejects', 'load-it', name, '--json');
      expect(code).toBe(0);
      expect(JSON.parse(out)).toMatchObject({
        stage: 'load-it',
        state: 'ok',
        rowsIn: 1,
        rowsOut: 1,
        files: 1,
      });
      expect((await store.query('SELECT id, n FROM T ORDER BY id')).rows).toEqual([
        ['1', 1],
        ['2', 2],
      ]);
      expect(readdirSync(errors)).toEqual([]);
      expect(await stage('replay-rejects', 'load-it', name)).toMatchObject({ code: 1 });
      expect(await stage('replay-rejects', 'generate-it')).toMatchObject({ code: 64 });
      expect((await stage('replay-rejects')).err).toContain('which stage?');
    } finally {
      await store.close();
    }
  });
});
