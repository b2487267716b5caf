/** The command line: which verb, which flags, which exit code. Main thread. */
import { bench } from './cli/bench.js';
import { check } from './cli/check.js';
import { ctl } from './cli/ctl.js';
import { docs } from './cli/docs-verb.js';
import { flagEnvironment, parseLine } from './cli/flags.js';
import { helpText, verbHelp } from './cli/help.js';
import { importVerb } from './cli/import.js';
import { run } from './cli/run.js';
import { sample } from './cli/sample-verb.js';
import { stage } from './cli/stage.js';
import { user } from './cli/user.js';
import { version } from './cli/version.js';
import { EXIT, terminal, UsageFault, type CliIo, type Verb } from './cli/verb.js';
import { reasonOf, SwitchyardError } from './runtime/errors.js';
import { nearest } from './runtime/nearest.js';

/** In the order of `--help`. A new verb is one file in cli/ and one line here. */
export const VERBS: readonly Verb[] = [run, check, ctl, stage, sample, user, importVerb, docs, bench];

/**
 * Runs one command line to its end.
 * @param args without the program's name
 * @returns the process exit code; never rejects
 */
export async function cli(args: readonly string[], io: CliIo = terminal): Promise<number> {
  try {
    return await dispatch(args, io);
  } catch (thrown) {
    if (thrown instanceof UsageFault) {
      io.err(`switchyard: ${thrown.message}`);
      io.err('Try: switchyard --help');
      return EXIT.usage;
    }
    if (thrown instanceof SwitchyardError) {
      io.err(`switchyard: ${thrown.message} (${thrown.hint})`);
      return thrown.exitCode;
    }
    io.err(`switchyard: ${reasonOf(thrown)}`);
    return EXIT.internal;
  }
}

/** Runs the process's own command line and ends the process when its output is written: a pipe takes it piecemeal. */
export async function cliProcess(): Promise<never> {
  // `ctl dump | head`: a reader that has seen enough is no error.
  process.stdout.on('error', () => undefined);
  const code = await cli(process.argv.slice(2));
  const written = (stream: NodeJS.WriteStream): Promise<void> =>
    new Promise((resolve) => (stream.writableLength === 0 ? resolve() : stream.write('', () => resolve())));
  await Promise.all([written(process.stdout), written(process.stderr)]);
  process.exit(code);
}

async function dispatch(args: readonly string[], io: CliIo): Promise<number> {
  const raw = VERBS.find((verb) => verb.raw === true && verb.name === args[0]);
  if (raw !== undefined) {
    const { flags } = parseLine([]);
    return raw.run({ flags, words: args.slice(1), files: [], env: io.env }, io);
  }
  const { flags, help, version: wantsVersion, positionals } = parseLine(args);
  if (wantsVersion) {
    io.out(await version());
    return EXIT.ok;
  }
  const named = VERBS.find((verb) => verb.name === positionals[0]);
  if (help || positionals[0] === 'help') {
    io.out(named === undefined ? helpText(VERBS) : verbHelp(named));
    return EXIT.ok;
  }
  const rest = named === undefined ? positionals : positionals.slice(1);
  const verb = flags.check && named !== stage ? check : (named ?? run);
  if (named === undefined) refuseUnknownVerb(positionals);
  const takesFiles = verb === run || verb === check;
  const isConf = (word: string): boolean => takesFiles || word.endsWith('.conf');
  try {
    return await verb.run(
      {
        flags,
        words: rest.filter((word) => !isConf(word)),
        files: rest.filter(isConf),
        env: flagEnvironment(flags, io.env),
      },
      io,
    );
  } catch (thrown) {
    if (thrown instanceof UsageFault) {
      throw new UsageFault(`${thrown.message}\nUsage: switchyard ${verb.name} ${verb.usage}`);
    }
    throw thrown;
  }
}

/** Without a verb every argument is a conf file; a bare word is rather a mistyped verb. */
function refuseUnknownVerb(positionals: readonly string[]): void {
  const [first] = positionals;
  if (first === undefined) throw new UsageFault('no conf file; try conf/*.conf');
  if (/[./\\]/.test(first)) return;
  const near = nearest(
    first,
    VERBS.map((verb) => verb.name),
  );
  throw new UsageFault(`unknown verb "${first}"${near === undefined ? '' : `; did you mean "${near}"?`}`);
}
