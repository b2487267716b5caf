/** `ctl`: one command to the admin port of the running server. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AdminClient, WrongToken } from '../runtime/admin-client.js';
import { parseAddress } from '../runtime/config-values.js';
import { reasonOf } from '../runtime/errors.js';
import { adminFiles, confOfProcess } from './conf.js';
import { EXIT, UsageFault, type CliIo, type Verb, type VerbArgs } from './verb.js';

const DEFAULT_DATA_DIR = 'var';
const TIMEOUT_MS = 60_000;

interface Target {
  readonly host: string;
  readonly port: number;
  readonly token: string;
}

/** What stopped ctl before it could ask; carries the exit code. */
class NoTarget extends Error {
  constructor(
    readonly exitCode: number,
    message: string,
  ) {
    super(message);
  }
}

export const ctl: Verb = {
  name: 'ctl',
  usage: 'COMMAND [ARGUMENT...] [--json] [--admin-port PORT] [CONF-FILE...]',
  help: 'asks the running server; `ctl help` lists the commands',
  async run(args, io) {
    if (args.words.length === 0) throw new UsageFault('which command? `switchyard ctl help` lists them');
    try {
      return await ask(await targetOf(args, io), args, io);
    } catch (thrown) {
      if (!(thrown instanceof NoTarget)) throw thrown;
      io.err(`switchyard: ${thrown.message}`);
      return thrown.exitCode;
    }
  },
};

async function ask(target: Target, { words, flags }: VerbArgs, io: CliIo): Promise<number> {
  let client: AdminClient;
  try {
    client = await AdminClient.connect({ ...target, timeoutMs: TIMEOUT_MS });
  } catch (thrown) {
    if (thrown instanceof WrongToken) {
      throw new NoTarget(EXIT.permission, `${target.host}:${target.port} refused the token of this data_dir`);
    }
    throw new NoTarget(
      EXIT.unavailable,
      `no server answers at ${target.host}:${target.port} (${reasonOf(thrown)})`,
    );
  }
  try {
    const answer = await client.request([...(flags.json ? ['json'] : []), ...words].join(' '));
    if (answer.ok || flags.json) io.out(answer.body);
    else io.err(answer.body);
    return answer.ok ? EXIT.ok : EXIT.failed;
  } catch (thrown) {
    throw new NoTarget(EXIT.unavailable, reasonOf(thrown));
  } finally {
    client.close();
  }
}

/**
 * With conf files: their [admin] section and data_dir. Without: what the server running in `./var` wrote there.
 * A server whose conf says port 0 is found by its file in both cases.
 */
async function targetOf(args: VerbArgs, io: CliIo): Promise<Target> {
  const conf = args.files.length === 0 ? undefined : await confOfProcess(args.files, args.env, io);
  if (args.files.length > 0 && conf === undefined) throw new NoTarget(EXIT.conf, 'the conf has errors');
  const files = adminFiles(conf?.dataDir ?? DEFAULT_DATA_DIR);
  const written = conf === undefined || conf.admin.port === 0 ? await readOptional(files.address) : undefined;
  const address =
    args.flags.adminPort !== undefined
      ? { host: conf?.admin.host ?? '127.0.0.1', port: Number(args.flags.adminPort) }
      : written !== undefined
        ? parseAddress(written)
        : conf?.admin;
  const token = conf?.adminToken ?? (await readOptional(files.token));
  if (address === undefined || token === undefined) {
    throw new NoTarget(
      EXIT.unavailable,
      `no server has left ${address === undefined ? files.address : files.token}; is it running? Else name its conf files`,
    );
  }
  return { host: address.host ?? '127.0.0.1', port: address.port, token };
}

async function readOptional(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code === 'EACCES') throw new NoTarget(EXIT.permission, `${join(file)} is not readable for this user`);
    throw new NoTarget(EXIT.unavailable, reasonOf(thrown));
  }
}
