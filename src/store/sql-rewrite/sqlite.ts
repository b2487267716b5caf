/** What the reference's SQL is called in SQLite. Pure; any thread. */
import type { Bind, Piece, Words } from '../sql-rewrite.js';
import { positions, translateFormat } from './time.js';

const CODES = { yyyy: '%Y', hh24: '%H', mm: '%m', dd: '%d', mi: '%M', ss: '%S' };

export const sqliteWords: Words = {
  sysdate: (seconds) =>
    seconds === undefined
      ? `datetime('now','localtime')`
      : `datetime('now','localtime','${seconds < 0 ? '' : '+'}${seconds} seconds')`,
  nvl: 'ifnull',
  text: (value) => `cast(${value} as text)`,
  timeText: (value, format) =>
    `strftime('${translateFormat(format.replaceAll('%', '%%'), CODES)}', ${value})`,
  // A time is text there.
  time: (value) => value,
  timeFrom,
  dual: false,
};

/** An expression that cuts the parts of a time out of text; SQLite has no function that reads a format. */
function timeFrom(value: Piece, format: string): Piece {
  const at = positions(format);
  let sql = '(';
  const binds: Bind[] = [];
  const part = (name: string, before: string, missing: string): void => {
    const place = at.get(name);
    if (before !== '') sql += `||'${before}`;
    if (place === undefined) {
      sql += before === '' ? `'${missing}'` : `${missing}'`;
      return;
    }
    sql += `${before === '' ? '' : `'||`}substr(${value.sql},${place.start + 1},${place.width})`;
    binds.push(...value.binds);
  };
  part('yyyy', '', '2000');
  part('mm', '-', '01');
  part('dd', '-', '01');
  part('hh24', ' ', '00');
  part('mi', ':', '00');
  part('ss', ':', '00');
  return { sql: `${sql})`, binds };
}
