/** How the verbs read conf files: one schema, problems on standard error. */
import { join } from 'node:path';
import { confSchema } from '../conf-schema.js';
import { problemText } from '../runtime/config-reader.js';
import { parseAddress, type Address, type Environment } from '../runtime/config-values.js';
import { loadConfig, valuesOf, type Config, type LoadedConfig } from '../runtime/config.js';
import { adminKeys, processKeys } from '../runtime/process-keys.js';
import type { CliIo } from './verb.js';

export function loadConf(files: readonly string[], env: Environment): Promise<LoadedConfig> {
  return loadConfig(files, confSchema(), env);
}

/** @returns undefined when there are errors, which are then printed; notes are printed too */
export async function loadOrPrint(
  files: readonly string[],
  env: Environment,
  io: CliIo,
): Promise<Config | undefined> {
  const { config, problems } = await loadConf(files, env);
  for (const problem of problems) io.err(problemText(problem));
  return problems.some((problem) => problem.severity === 'error') ? undefined : config;
}

export interface ProcessConf {
  readonly config: Config;
  readonly dataDir: string;
  readonly admin: Address;
  readonly adminToken: string | undefined;
}

/** The values that `ctl` and `run` need before anything else. */
export function processConf(config: Config): ProcessConf {
  const { data_dir } = valuesOf(config, 'process', processKeys);
  const { address, token } = valuesOf(config, 'admin', adminKeys);
  return { config, dataDir: data_dir, admin: addressOf(address), adminToken: token };
}

export async function confOfProcess(
  files: readonly string[],
  env: Environment,
  io: CliIo,
): Promise<ProcessConf | undefined> {
  const config = await loadOrPrint(files, env, io);
  return config === undefined ? undefined : processConf(config);
}

/** A checked address value. Without a host: loopback, for everything an operator alone may reach. */
export function addressOf(text: string): { readonly host: string; readonly port: number } {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`address ${text}`);
  return { host: parsed.host ?? '127.0.0.1', port: parsed.port };
}

/** What a running server leaves in its data_dir for `ctl`. */
export function adminFiles(dataDir: string): { readonly token: string; readonly address: string } {
  return { token: join(dataDir, 'admin.token'), address: join(dataDir, 'admin.address') };
}
