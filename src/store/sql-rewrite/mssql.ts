/** What the reference's SQL is called in SQL Server. Pure; any thread. */
import type { Bind, Piece, Words } from '../sql-rewrite.js';
import { positions, translateFormat } from './time.js';

const CODES = { yyyy: 'yyyy', hh24: 'HH', mm: 'MM', dd: 'dd', mi: 'mm', ss: 'ss' };
const NOW = 'cast(getdate() as datetime2(0))';

export const mssqlWords: Words = {
  sysdate: (seconds) => (seconds === undefined ? NOW : `dateadd(second, ${seconds}, ${NOW})`),
  nvl: 'coalesce',
  text: (value) => `cast(${value} as nvarchar(max))`,
  timeText: (value, format) => `format(${value}, '${translateFormat(format, CODES)}')`,
  time: (value) => `cast(${value} as datetime2(0))`,
  timeFrom,
  dual: false,
};

/** No function reads a format: the parts are cut out and put together in the form that every language setting reads alike. */
function timeFrom(value: Piece, format: string): Piece {
  const at = positions(format);
  const binds: Bind[] = [];
  const part = (name: string, missing: string): string => {
    const place = at.get(name);
    if (place === undefined) return `'${missing}'`;
    binds.push(...value.binds);
    return `substring(${value.sql}, ${place.start + 1}, ${place.width})`;
  };
  const pieces = [
    part('yyyy', '2000'), `'-'`, part('mm', '01'), `'-'`, part('dd', '01'),
    `'T'`, part('hh24', '00'), `':'`, part('mi', '00'), `':'`, part('ss', '00'),
  ]; // prettier-ignore
  return { sql: `cast(concat(${pieces.join(', ')}) as datetime2(0))`, binds };
}
