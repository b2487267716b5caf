/** A log that tells only what went wrong: a bench must not measure the terminal. */
import type { Logger } from '../../src/runtime/log-contract.js';

export const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  notice: () => undefined,
  warn: (event, fields) => console.error(event, fields),
  error: (event, fields) => console.error(event, fields),
  fatal: (event, fields) => console.error(event, fields),
  child: () => silent,
};
