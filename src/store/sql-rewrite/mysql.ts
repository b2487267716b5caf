/** What the reference's SQL is called in MySQL and MariaDB (spec data-centre 1.8). Pure; any thread. */
import type { Words } from '../sql-rewrite.js';
import { translateFormat } from './time.js';

const CODES = { yyyy: '%Y', hh24: '%H', mm: '%m', dd: '%d', mi: '%i', ss: '%s' };

const codes = (format: string): string => translateFormat(format.replaceAll('%', '%%'), CODES);

export const mysqlWords: Words = {
  sysdate: (seconds) => (seconds === undefined ? 'now()' : `(now() + interval ${seconds} second)`),
  nvl: 'ifnull',
  text: (value) => `cast(${value} as char)`,
  timeText: (value, format) => `date_format(${value}, '${codes(format)}')`,
  time: (value) => `cast(${value} as datetime)`,
  // Parts that the format leaves out are zero: a day without a time is midnight.
  timeFrom: ({ sql, binds }, format) => ({ sql: `str_to_date(${sql}, '${codes(format)}')`, binds }),
  dual: true,
  backslash: true,
};
