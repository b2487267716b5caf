/** Aligned text for people: tables, durations, sizes. Pure; any thread. */

/** A column: its heading, and whether its cells are numbers (aligned to the right). */
export type Column = readonly [heading: string, align?: 'right'];

const MAX_CELL = 200;

/**
 * A cell's text on one line: control characters (a client chose some of these texts) can neither break the table
 * nor drive the operator's terminal.
 */
export function oneLine(text: string): string {
  // eslint-disable-next-line no-control-regex
  const flat = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, ' ');
  return flat.length > MAX_CELL ? `${flat.slice(0, MAX_CELL - 3)}...` : flat;
}

/** One heading line and one line per row, two spaces between columns, no spaces at line ends. */
export function textTable(
  columns: readonly Column[],
  rows: readonly (readonly (string | number | undefined)[])[],
): string {
  const cells = rows.map((row) => columns.map((_, i) => oneLine(String(row[i] ?? '-'))));
  const heading = columns.map(([text]) => text);
  const widths = columns.map((_, i) =>
    [heading, ...cells].reduce((width, row) => Math.max(width, row[i]?.length ?? 0), 0),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) =>
        columns[i]?.[1] === 'right' ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0),
      )
      .join('  ')
      .trimEnd();
  return [line(heading), ...cells.map(line)].join('\n');
}

/** `350ms 4.2s 3m05s 7h12m 2d03h`; `-` when undefined. */
export function showMs(ms: number | undefined): string {
  if (ms === undefined) return '-';
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)}s`;
  const two = (n: number): string => String(n).padStart(2, '0');
  const s = Math.round(ms / 1000);
  if (s < 3600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
  if (s < 86_400) return `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86_400)}d${two(Math.floor((s % 86_400) / 3600))}h`;
}

/** `512 1.5k 20.0m 1.2g`, as sizes are written in the conf. */
export function showBytes(bytes: number): string {
  const units = ['k', 'm', 'g', 't'];
  if (bytes < 1024) return String(bytes);
  let value = bytes;
  let unit = '';
  while (value >= 1024 && units.length > 0) {
    value /= 1024;
    unit = units.shift() ?? unit;
  }
  return `${value.toFixed(1)}${unit}`;
}

/** Local date and time to the second; `-` when undefined. */
export function showTime(epochMs: number | undefined): string {
  if (epochMs === undefined) return '-';
  const d = new Date(epochMs);
  const two = (n: number): string => String(n).padStart(2, '0');
  return (
    `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ` +
    `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`
  );
}
