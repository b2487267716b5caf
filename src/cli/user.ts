/** `user`: accounts of the packet server. Passwords come from standard input, never from the command line. */
import { packetKeys, type PacketValues } from '../actors/packet/keys.js';
import { openAccounts } from '../actors/packet/open-accounts.js';
import { parseValue } from '../runtime/config-values.js';
import { limitOf, UsageError } from '../runtime/admin-commands/command.js';
import { sectionsOf } from '../runtime/config.js';
import type { KeySpec } from '../runtime/schema.js';
import { showTime, textTable } from '../runtime/text-table.js';
import { listAccounts, LOCKED_FOR_GOOD, setLock, setPassword } from '../store/accounts-admin.js';
import type { Accounts } from '../store/accounts.js';
import { StoreError, type Store } from '../store/driver.js';
import { PasswordHasher } from '../store/passwords.js';
import { loadOrPrint } from './conf.js';
import { readPassword } from './password.js';
import { EXIT, UsageFault, type CliIo, type Verb, type VerbArgs } from './verb.js';

interface UserContext {
  readonly store: Store;
  readonly accounts: Accounts;
  readonly hasher: PasswordHasher;
  readonly values: PacketValues;
  readonly io: CliIo;
  readonly args: VerbArgs;
}

/** Subcommand -> what it does; the exit code is its result. */
const ACTIONS: Readonly<Record<string, (context: UserContext, name: string) => Promise<number>>> = {
  async add({ accounts, io, values }, name) {
    const outcome = await accounts.register(name, await readPassword(io));
    const texts = {
      created: `added ${name}`,
      taken: `${name} exists already; see \`user passwd\``,
      'bad-name': `"${name}" is no account name: letters, digits and . _ @ + - up to 55 bytes`,
      'bad-password': badPassword(values),
    };
    return say(io, outcome === 'created', texts[outcome]);
  },
  async passwd({ store, hasher, io, values }, name) {
    const password = await readPassword(io);
    const outcome = await setPassword(store, hasher, { name, password, minPassword: values.min_password });
    const texts = {
      changed: `changed the password of ${name}`,
      'no-account': noAccount(name),
      'bad-password': badPassword(values),
    };
    return say(io, outcome === 'changed', texts[outcome]);
  },
  async lock({ store, io }, name) {
    const done = await setLock(store, name, LOCKED_FOR_GOOD);
    return say(io, done, done ? `locked ${name}; it cannot log in until \`user unlock\`` : noAccount(name));
  },
  async unlock({ store, io }, name) {
    const done = await setLock(store, name, 0);
    return say(io, done, done ? `unlocked ${name}` : noAccount(name));
  },
  async list({ store, io, args }) {
    const accounts = await listAccounts(store, limitOf(args.words[1], 1000));
    if (args.flags.json) {
      io.out(JSON.stringify(accounts));
      return EXIT.ok;
    }
    const rows = accounts.map((a) => [
      a.id,
      a.name,
      showTime(a.createdAt),
      showTime(a.lastLoginAt),
      a.lockedUntil === LOCKED_FOR_GOOD
        ? 'for good'
        : a.lockedUntil === undefined
          ? 'no'
          : showTime(a.lockedUntil),
    ]);
    io.out(textTable([['ID', 'right'], ['NAME'], ['CREATED'], ['LAST LOGIN'], ['LOCKED']], rows));
    return EXIT.ok;
  },
};

export const user: Verb = {
  name: 'user',
  usage: 'add|passwd|lock|unlock NAME | list [LIMIT] [CONF-FILE...]',
  help: 'accounts of the packet server; passwords are read from standard input',
  async run(args, io) {
    const [action, name, extra] = args.words;
    const run = action !== undefined && Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined;
    if (run === undefined)
      throw new UsageFault(`"${action ?? ''}" is none of ${Object.keys(ACTIONS).join(' ')}`);
    if (action !== 'list' && name === undefined) throw new UsageFault(`${action} whom?`);
    if (extra !== undefined) {
      // Maybe a password: it is not repeated.
      throw new UsageFault('too many arguments; a password is read from standard input, never from here');
    }
    const values = await packetValues(args, io);
    if (values === undefined) return EXIT.conf;
    try {
      return await withAccounts(values, (context) => run({ ...context, values, io, args }, name ?? ''));
    } catch (thrown) {
      if (thrown instanceof UsageError) throw new UsageFault(thrown.message);
      if (!(thrown instanceof StoreError)) throw thrown;
      io.err(`switchyard: ${thrown.message}`);
      return EXIT.unavailable;
    }
  },
};

async function withAccounts(
  values: PacketValues,
  work: (context: Pick<UserContext, 'store' | 'accounts' | 'hasher'>) => Promise<number>,
): Promise<number> {
  const hasher = new PasswordHasher({ cost: values.hash_cost });
  const { store, accounts } = await openAccounts(values, hasher);
  try {
    return await work({ store, accounts, hasher });
  } finally {
    await store.close();
  }
}

/** Of the packet actor in the conf files; without files the defaults. @returns undefined when the conf has errors */
async function packetValues({ files, env }: VerbArgs, io: CliIo): Promise<PacketValues | undefined> {
  if (files.length === 0) return defaultValues();
  const config = await loadOrPrint(files, env, io);
  if (config === undefined) return undefined;
  const actors = sectionsOf(config, 'actor').filter((section) => section.values['type'] === 'packet');
  if (new Set(actors.map((actor) => actor.values['store'])).size > 1) {
    throw new UsageFault('these conf files have packet actors with different stores; name a file with one');
  }
  return (actors[0]?.values as PacketValues | undefined) ?? defaultValues();
}

function defaultValues(): PacketValues {
  const typed = Object.entries(packetKeys).map(([key, spec]: [string, KeySpec]) => {
    const parsed = parseValue(spec, spec.default ?? '');
    return [key, 'value' in parsed ? parsed.value : undefined];
  });
  return Object.fromEntries(typed) as PacketValues;
}

function say(io: CliIo, good: boolean, text: string): number {
  if (good) io.out(text);
  else io.err(`switchyard: ${text}`);
  return good ? EXIT.ok : EXIT.failed;
}

const noAccount = (name: string): string => `there is no account ${name}; see \`user list\``;
const badPassword = (values: PacketValues): string =>
  `a password has at least ${values.min_password} characters`;
