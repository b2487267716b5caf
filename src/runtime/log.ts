/**
 * The log of the process. Main thread: events of workers arrive over the bridge and enter through `writeEvent`.
 * Lines are made here, JSON ones by pino, and written by log-file.ts off the event loop.
 */
import { isatty } from 'node:tty';
import { pino } from 'pino';
import type { LogFields, Logger, LogLevel } from './log-contract.js';
import { LogFile, type LogFileOptions, type LogFileStats } from './log-file.js';
import { cleanFields, localTime, textLine } from './log-format.js';
import type { LogValues } from './process-keys.js';

const rank: Readonly<Record<LogLevel, number>> = {
  debug: 0,
  info: 1,
  notice: 2,
  warn: 3,
  error: 4,
  fatal: 5,
};
const MAX_LEVELS = 1000;
const MAX_TRACKED = 2000;
const WINDOW_MS = 1000;

export interface LogStats extends LogFileStats {
  /** Lines left out because the same event came too often. */
  readonly repeated: number;
}

export interface Log extends Logger {
  /** An event of any actor, `fields.actor` naming it (`main` without). */
  writeEvent(level: LogLevel, event: string, fields: LogFields): void;
  /** Whether such an event would be written. */
  enabled(level: LogLevel, actor: string): boolean;
  /** Key `*`: the default; the others are actors that differ. */
  levels(): Readonly<Record<string, LogLevel>>;
  /** @param actor its ref; `packet` also holds for `packet#0`. Undefined: the default of all others. */
  setLevel(level: LogLevel, actor?: string): void;
  /** Takes over changed conf. @throws SwitchyardError LOG_OPEN; the old file stays in use */
  configure(values: LogValues): Promise<void>;
  /** After the file was renamed. @throws SwitchyardError LOG_OPEN; the old file stays in use */
  reopen(): Promise<void>;
  /** Writes what waits before it returns; done at process exit by itself. */
  flushSync(): void;
  /** Flushes and closes; later events are ignored. */
  close(): void;
  stats(): LogStats;
}

export interface LogDeps {
  /** Wall clock in ms. */
  readonly now?: () => number;
  /** Descriptor used as stderr. */
  readonly stderrFd?: number;
}

/** @throws SwitchyardError LOG_OPEN */
export function createLog(values: LogValues, deps: LogDeps = {}): Log {
  return new MainLog(values, deps);
}

function fileOptions(values: LogValues): LogFileOptions {
  return {
    file: values.file === '' ? undefined : values.file,
    maxSize: values.max_size,
    daily: values.rotate_daily,
    keep: values.keep,
    buffer: values.buffer,
  };
}

class MainLog implements Log {
  private readonly file: LogFile;
  private readonly special = new Map<string, LogLevel>();
  private level: LogLevel;
  private json = false;
  private colour = false;
  private readonly now: () => number;
  private windowStart = 0;
  private readonly seen = new Map<string, { level: LogLevel; actor: string; event: string; times: number }>();
  private windowTimer: NodeJS.Timeout | undefined;
  private repeated = 0;
  private jsonDroppable = false;
  private jsonTime = 0;
  private readonly pino;
  private readonly atExit = (): void => this.flushSync();

  constructor(
    private values: LogValues,
    private readonly deps: LogDeps,
  ) {
    this.now = deps.now ?? Date.now;
    this.level = values.level;
    this.file = new LogFile(fileOptions(values), {
      caughtUp: (dropped, writeErrors) => this.warn('log.caught_up', { dropped, write_errors: writeErrors }),
      rotateFailed: (reason) => this.warn('log.rotate_failed', { file: this.values.file, reason }),
      ...(deps.now === undefined ? {} : { now: deps.now }),
      ...(deps.stderrFd === undefined ? {} : { stderrFd: deps.stderrFd }),
    });
    this.chooseFormat();
    this.pino = pino(
      {
        level: 'debug',
        customLevels: { notice: 35 },
        base: null,
        formatters: { level: (level) => ({ level }) },
        // Errors come taken apart already; pino's own serializer would rename their type.
        serializers: { err: (value: unknown) => value },
        timestamp: () => `,"ts":"${localTime(this.jsonTime)}"`,
      },
      { write: (line: string) => this.file.write(line, this.jsonDroppable) },
    );
    process.on('exit', this.atExit);
  }

  debug(event: string, fields: LogFields = {}): void {
    this.writeEvent('debug', event, fields);
  }
  info(event: string, fields: LogFields = {}): void {
    this.writeEvent('info', event, fields);
  }
  notice(event: string, fields: LogFields = {}): void {
    this.writeEvent('notice', event, fields);
  }
  warn(event: string, fields: LogFields = {}): void {
    this.writeEvent('warn', event, fields);
  }
  error(event: string, fields: LogFields = {}): void {
    this.writeEvent('error', event, fields);
  }
  fatal(event: string, fields: LogFields = {}): void {
    this.writeEvent('fatal', event, fields);
  }
  child(fields: LogFields): Logger {
    return new ChildLog(this, fields);
  }

  writeEvent(level: LogLevel, event: string, fields: LogFields): void {
    const actor = typeof fields['actor'] === 'string' ? fields['actor'].slice(0, 200) : 'main';
    if (!this.enabled(level, actor) || this.tooOften(level, actor, event)) return;
    this.line(level, actor, event.slice(0, 200), cleanFields(fields));
  }

  enabled(level: LogLevel, actor: string): boolean {
    if (this.special.size === 0) return rank[level] >= rank[this.level];
    const shard = actor.indexOf('#');
    const own = this.special.get(actor) ?? (shard < 0 ? undefined : this.special.get(actor.slice(0, shard)));
    return rank[level] >= rank[own ?? this.level];
  }

  levels(): Readonly<Record<string, LogLevel>> {
    return { '*': this.level, ...Object.fromEntries(this.special) };
  }

  setLevel(level: LogLevel, actor?: string): void {
    if (actor === undefined) this.level = level;
    else if (level === this.level) this.special.delete(actor);
    else if (this.special.size < MAX_LEVELS || this.special.has(actor)) this.special.set(actor, level);
  }

  async configure(values: LogValues): Promise<void> {
    // A level set at run time stays until the conf says something new.
    if (values.level !== this.values.level) this.level = values.level;
    try {
      await this.file.configure(fileOptions(values));
      this.values = values;
    } catch (error) {
      this.values = { ...values, file: this.values.file };
      throw error;
    } finally {
      this.chooseFormat();
    }
  }

  reopen(): Promise<void> {
    return this.file.reopen();
  }

  flushSync(): void {
    this.endWindow();
    this.file.flushSync();
  }

  close(): void {
    process.off('exit', this.atExit);
    this.endWindow();
    this.file.close();
  }

  stats(): LogStats {
    return { ...this.file.stats(), repeated: this.repeated };
  }

  private chooseFormat(): void {
    const { file, format } = this.values;
    const terminal = (file ?? '') === '' && isatty(this.deps.stderrFd ?? 2);
    this.json = format === 'json' || (format === 'auto' && !terminal);
    this.colour = terminal && (process.env['NO_COLOR'] ?? '') === '';
  }

  private line(level: LogLevel, actor: string, event: string, fields: Record<string, unknown>): void {
    const droppable = rank[level] <= rank.info;
    const now = this.now();
    if (!this.json) {
      this.file.write(textLine(now, level, actor, event, fields, this.colour), droppable);
      return;
    }
    this.jsonDroppable = droppable;
    this.jsonTime = now;
    this.pino[level]({ actor, event, ...fields });
  }

  /** Counts the event in the current second; true when it has had its share. */
  private tooOften(level: LogLevel, actor: string, event: string): boolean {
    const limit = this.values.repeat_limit;
    if (limit === 0 || level === 'fatal') return false;
    const now = performance.now();
    if (now - this.windowStart >= WINDOW_MS) {
      this.endWindow();
      this.windowStart = now;
    }
    const key = `${level} ${actor} ${event}`;
    const entry = this.seen.get(key);
    if (entry === undefined) {
      if (this.seen.size < MAX_TRACKED) this.seen.set(key, { level, actor, event, times: 1 });
      return false;
    }
    if (++entry.times <= limit) return false;
    this.repeated++;
    this.windowTimer ??= setTimeout(() => this.endWindow(), WINDOW_MS).unref();
    return true;
  }

  /** Says how often what was left out came. */
  private endWindow(): void {
    clearTimeout(this.windowTimer);
    this.windowTimer = undefined;
    const limit = this.values.repeat_limit;
    const ended = [...this.seen.values()];
    this.seen.clear();
    for (const { level, actor, event, times } of ended) {
      if (limit > 0 && times > limit)
        this.line(level, actor, 'log.repeated', { repeated: event, times: times - limit });
    }
  }
}

class ChildLog implements Logger {
  constructor(
    private readonly log: Log,
    private readonly fields: LogFields,
  ) {}

  debug(event: string, fields?: LogFields): void {
    this.log.writeEvent('debug', event, { ...this.fields, ...fields });
  }
  info(event: string, fields?: LogFields): void {
    this.log.writeEvent('info', event, { ...this.fields, ...fields });
  }
  notice(event: string, fields?: LogFields): void {
    this.log.writeEvent('notice', event, { ...this.fields, ...fields });
  }
  warn(event: string, fields?: LogFields): void {
    this.log.writeEvent('warn', event, { ...this.fields, ...fields });
  }
  error(event: string, fields?: LogFields): void {
    this.log.writeEvent('error', event, { ...this.fields, ...fields });
  }
  fatal(event: string, fields?: LogFields): void {
    this.log.writeEvent('fatal', event, { ...this.fields, ...fields });
  }
  child(fields: LogFields): Logger {
    return new ChildLog(this.log, { ...this.fields, ...fields });
  }
}
