/** What the rest of the program sees of logging. Works on every thread; never blocks, never throws. */
export type LogLevel = 'debug' | 'info' | 'notice' | 'warn' | 'error' | 'fatal';

/** Flat data of an event. Never a secret, never a message body. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  notice(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  fatal(event: string, fields?: LogFields): void;
  /** A logger that adds the fields to every event. */
  child(fields: LogFields): Logger;
}
