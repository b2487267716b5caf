/** What the reference's SQL is called in PostgreSQL. Pure; any thread. */
import type { Words } from '../sql-rewrite.js';

export const postgresWords: Words = {
  sysdate: (seconds) =>
    seconds === undefined ? 'localtimestamp(0)' : `(localtimestamp(0) + interval '${seconds} seconds')`,
  nvl: 'coalesce',
  text: (value) => `cast(${value} as text)`,
  // It has to_char and reads the same formats.
  timeText: (value, format) => `to_char(${value}, '${format}')`,
  time: (value) => `cast(${value} as timestamp)`,
  // Its to_date forgets the time of the day.
  timeFrom: ({ sql, binds }, format) => ({
    sql: `cast(to_timestamp(${sql}, '${format}') as timestamp)`,
    binds,
  }),
  dual: false,
};
