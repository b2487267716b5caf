/** `import`: a start script of a reference deployment (spec data-centre 2.5) as conf sections. */
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { allTypes } from '../conf-schema.js';
import { actorKeys } from '../runtime/actor-keys.js';
import type { Keys } from '../runtime/schema.js';
import { createAtomic, writeFileAtomic } from '../runtime/atomic-file.js';
import { problemText } from '../runtime/config-reader.js';
import { reasonOf } from '../runtime/errors.js';
import { loadConf } from './conf.js';
import { importScript, type Imported } from './import-conf.js';
import { EXIT, UsageFault, type CliIo, type Verb } from './verb.js';

const DEFAULT_OUT = 'conf/imported';
const MAX_BYTES = 1 << 20;

export const importVerb: Verb = {
  name: 'import',
  usage: 'START-SCRIPT [--out DIR]',
  help: `turns the procctl lines of a start script into conf sections; default folder: ${DEFAULT_OUT}`,
  // `--out` is no flag of the other verbs.
  raw: true,
  async run({ words, env }, io) {
    const { script, out, help } = argumentsOf(words);
    if (help) {
      io.out(`Usage: switchyard import ${importVerb.usage}\n\n${importVerb.help}`);
      return EXIT.ok;
    }
    if (script === undefined) throw new UsageFault('which script?');
    const conf = join(out, 'imported.conf');
    if (await exists(conf)) {
      io.err(`switchyard: ${conf} exists already; remove it or choose another folder with --out`);
      return EXIT.cannotCreate;
    }
    let imported: Imported;
    try {
      const { size } = await stat(script);
      if (size > MAX_BYTES) throw new RangeError(`it is larger than ${MAX_BYTES} bytes`);
      // Comments in these scripts are often Chinese in GBK; commands are ASCII.
      const bytes = await readFile(script);
      imported = importScript(decode(bytes), keysOf);
    } catch (error) {
      io.err(`switchyard: ${script}: ${reasonOf(error)}`);
      return EXIT.failed;
    }
    await write(out, conf, imported);
    return report(conf, out, imported, env, io);
  },
};

function argumentsOf(words: readonly string[]): { script: string | undefined; out: string; help: boolean } {
  try {
    const { values, positionals } = parseArgs({
      args: [...words],
      options: { out: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    });
    const [script, extra] = positionals;
    if (extra !== undefined) throw new UsageFault(`unexpected argument "${extra}"`);
    return { script, out: values.out ?? DEFAULT_OUT, help: values.help === true };
  } catch (error) {
    throw new UsageFault(reasonOf(error));
  }
}

function keysOf(section: 'stage' | 'actor', type: string): Keys | undefined {
  const found = allTypes().find((known) => known.section === section && known.type === type);
  return found && { ...actorKeys, ...found.keys };
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('gb18030').decode(bytes);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** The conf last: with it there, all it refers to is there. */
async function write(out: string, conf: string, imported: Imported): Promise<void> {
  await mkdir(out, { recursive: true });
  const secrets = join(out, 'secrets');
  if (imported.secrets.size > 0) await mkdir(secrets, { recursive: true, mode: 0o700 });
  for (const [file, content] of imported.secrets) await writeSecret(join(secrets, file), content);
  const lines = imported.report.map(({ line, text }) => `line ${line}: ${text}\n`);
  await writeFileAtomic(join(out, 'report.txt'), lines.join(''));
  await writeFileAtomic(conf, imported.conf);
}

/** Readable for its owner alone before there is anything in it. */
async function writeSecret(path: string, content: string): Promise<void> {
  const file = await createAtomic(path);
  try {
    await file.handle.chmod(0o600);
    await file.handle.writeFile(`${content}\n`);
  } catch (error) {
    await file.discard();
    throw error;
  }
  await file.commit();
}

async function report(
  conf: string,
  out: string,
  { report: lines, done, left, secrets }: Imported,
  env: Readonly<Record<string, string | undefined>>,
  io: CliIo,
): Promise<number> {
  for (const { line, text } of lines) io.out(`line ${line}: ${text}`);
  const { problems } = await loadConf([conf], env);
  const errors = problems.filter(({ severity }) => severity === 'error');
  for (const problem of problems) io.err(problemText(problem));
  const passwords = secrets.size === 0 ? '' : `, ${secrets.size} secret file(s) in ${join(out, 'secrets')}`;
  io.out(
    `${conf}: ${done} line(s) translated, ${left} not yet${passwords}; the same report is in ${join(out, 'report.txt')}`,
  );
  if (errors.length === 0) return EXIT.ok;
  io.err(`${errors.length} error(s) to mend in ${conf}`);
  return EXIT.failed;
}
