/**
 * Stage `run`: any program as a child, again and again (spec data-centre 2.1), with what procctl lacks: a failed start is an error,
 * back-off, time-out, heartbeat, its output in the log, an orderly end of the whole process group. Worker thread.
 */
import { parse } from 'shell-quote';
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';
import { reasonOf } from '../../runtime/errors.js';
import { isAlive, processIdentity } from '../../store/process-identity.js';
import { Child } from './run/child.js';
import { stageActor, stageKeys } from './stage.js';
import { StageError, type Stage, type StageEnv, type StageRun } from './stage/run.js';

export const keys = defineKeys({
  ...stageKeys,
  command: {
    type: 'string',
    required: true,
    help: 'Program and arguments, quoted as for a shell; none is involved unless shell is set',
    reload: 'child',
  },
  shell: { type: 'bool', default: 'no', help: 'Give the command to /bin/sh -c', reload: 'child' },
  dir: { type: 'path', help: 'Working folder; default: that of this process', reload: 'child' },
  env: { type: 'list', default: '', help: 'Further environment, pairs of NAME=value', reload: 'child' },
  run_timeout: {
    type: 'duration',
    default: '0s',
    help: 'Longest time of one run, then its process group is ended; 0: for ever, as services need',
    reload: 'child',
    aliases: ['timeout'],
  },
  beat_file: {
    type: 'path',
    help: 'The program shows life by touching this file (in its environment as BEAT_FILE) or by ctl beat NAME',
    reload: 'child',
  },
  beat_timeout: {
    type: 'duration',
    default: '0s',
    help: 'Longest silence in beat_file, then the process group is ended; 0: not watched',
    reload: 'child',
  },
  stop_wait: {
    type: 'duration',
    default: '4s',
    help: 'From the polite signal (TERM) to the other (KILL)',
    reload: 'child',
  },
  output: {
    type: 'enum',
    values: ['log', 'discard'],
    default: 'log',
    help: 'Where its output goes; the last lines are in the error when it fails either way',
    reload: 'child',
  },
  output_lines: {
    type: 'int',
    default: '1000',
    min: 1,
    max: 1_000_000,
    help: 'Lines of output logged in a minute at most; what is beyond is counted',
    reload: 'child',
  },
  ok_codes: { type: 'list', default: '0', help: 'Exit codes that mean success', reload: 'child' },
  retry_codes: {
    type: 'list',
    default: '75',
    help: 'Exit codes after which it is tried again soon, as after a death by signal',
    reload: 'child',
  },
});

/** Under this name the stage remembers its child, so that a later process finds what a killed one left running. */
const CHILD = 'child';
const TICK = 500;

export function createStage(env: StageEnv): Stage {
  return new RunProgram(env);
}

export const factory = stageActor(createStage);

class RunProgram implements Stage {
  private readonly params: ValuesOf<typeof keys>;
  private readonly argv: readonly [string, ...string[]];
  private readonly environment: Record<string, string>;
  private readonly okCodes: ReadonlySet<number>;
  private readonly retryCodes: ReadonlySet<number>;

  constructor(stage: StageEnv) {
    this.params = stage.params as ValuesOf<typeof keys>;
    const { command, shell, env, beat_file: beatFile, beat_timeout: beatTimeout } = this.params;
    this.argv = shell ? ['/bin/sh', '-c', command] : wordsOf(command);
    this.environment = { STAGE_NAME: stage.name, ...(beatFile && { BEAT_FILE: beatFile }) };
    for (const pair of env) {
      const at = pair.indexOf('=');
      if (at < 1) throw new RangeError(`env: "${pair.slice(0, 40)}" is not NAME=value`);
      this.environment[pair.slice(0, at)] = pair.slice(at + 1);
    }
    if (beatTimeout > 0 && beatFile === undefined) throw new RangeError('beat_timeout needs a beat_file');
    this.okCodes = codes('ok_codes', this.params.ok_codes);
    this.retryCodes = codes('retry_codes', this.params.retry_codes);
  }

  async run(run: StageRun): Promise<void> {
    const [program] = this.argv;
    if (run.dryRun) {
      run.log.info('run.would-start', { program, arguments: this.argv.length - 1 });
      return;
    }
    await this.endLeftover(run);
    const { dir, stop_wait: stopWaitMs, beat_file: beatFile, output, output_lines: lines } = this.params;
    const child = await Child.start({
      argv: this.argv,
      dir,
      environment: this.environment,
      beatFile,
      stopWaitMs,
      outputLines: output === 'log' ? lines : 0,
      log: run.log,
    }).catch((error: unknown) => {
      throw new StageError(`${program} cannot be started: ${reasonOf(error)}`, false, { cause: error });
    });
    await run.state.set(CHILD, JSON.stringify(await processIdentity(child.pid)));
    const reason = await this.attend(child, run);
    const end = await child.ended;
    await run.state.set(CHILD, '');
    run.log.info('run.ended', { pid: child.pid, code: end.code, signal: end.signal });
    if (run.signal.aborted) return;
    if (reason !== undefined) throw this.failure(`was ended: ${reason}`, child, true);
    if (end.code === null) throw this.failure(`died by ${end.signal}`, child, true);
    if (!this.okCodes.has(end.code)) {
      throw this.failure(`ended with code ${end.code}`, child, this.retryCodes.has(end.code));
    }
    run.counts.rowsOut++;
  }

  async check(): Promise<readonly string[]> {
    return [`command: ${await Child.find(this.argv[0], this.params.dir)}`];
  }

  /** Until the child has ended. @returns why it had to be ended */
  private async attend(child: Child, run: StageRun): Promise<string | undefined> {
    const { run_timeout: runTimeout, beat_timeout: beatTimeout } = this.params;
    let reason: string | undefined;
    for (;;) {
      if (await child.endsWithin(TICK)) return reason;
      run.progress();
      if (reason !== undefined) continue;
      if (run.signal.aborted) reason = 'the stage stops';
      else if (runTimeout > 0 && child.ageMs > runTimeout) reason = `it ran longer than ${runTimeout} ms`;
      else if (beatTimeout > 0 && (await child.silenceMs()) > beatTimeout) {
        reason = `no heartbeat for ${beatTimeout} ms`;
      }
      if (reason !== undefined) {
        if (!run.signal.aborted) run.log.warn('run.timeout', { pid: child.pid, reason });
        child.stop();
      }
    }
  }

  /** A process that was killed could not end its child; two of them must not run side by side. */
  private async endLeftover(run: StageRun): Promise<void> {
    const saved = await run.state.get(CHILD);
    if (saved === undefined || saved === '') return;
    const { host, pid, started } = JSON.parse(saved) as { host: string; pid: number; started: string };
    if (started !== '' && (await isAlive(host, pid, started)) === true) {
      run.log.warn('run.leftover', { pid });
      await Child.endGroup(pid, this.params.stop_wait, () => isAlive(host, pid, started));
    }
    await run.state.set(CHILD, '');
  }

  private failure(what: string, child: Child, retryable: boolean): StageError {
    const words = child.lastLines;
    const tail = words.length === 0 ? 'it said nothing' : `its last words: ${words.join(' | ')}`;
    return new StageError(`${this.argv[0]} ${what}; ${tail}`, retryable);
  }
}

function wordsOf(command: string): readonly [string, ...string[]] {
  const words: string[] = [];
  // Variables stay as they are written: nobody else would see which value was taken.
  for (const word of parse(command, (name) => `\${${name}}`)) {
    if (typeof word === 'string') words.push(word);
    else if ('op' in word && word.op === 'glob') words.push(word.pattern);
    else throw new RangeError(`command: "${command.slice(0, 60)}" needs a shell; set shell = yes`);
  }
  const [program, ...rest] = words;
  if (program === undefined || program === '') throw new RangeError('command is empty');
  return [program, ...rest];
}

function codes(key: string, list: readonly string[]): ReadonlySet<number> {
  const numbers = list.filter((text) => text !== '').map(Number);
  if (numbers.some((code) => !Number.isInteger(code) || code < 0 || code > 255)) {
    throw new RangeError(`${key}: "${list.join(',')}" are not exit codes from 0 to 255`);
  }
  return new Set(numbers);
}
