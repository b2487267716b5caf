/**
 * Tab text: rows as lines, values parted by tabs, `\\N` for NULL, and backslash, tab, LF and CR escaped by a backslash. It is what
 * both MySQL's LOAD DATA and PostgreSQL's COPY read as they are, so bulk loads need no other form. UTF-8. Pure; any thread.
 */
const SPECIAL = /[\\\t\n\r]/;
const EACH = /[\\\t\n\r]/g;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

export type TabValue = string | number | bigint | Uint8Array | null | undefined;

/** One value; null and undefined are NULL, bytes become hexadecimal digits. */
export function tabValue(value: TabValue): string {
  if (value === null || value === undefined) return '\\N';
  if (typeof value === 'string')
    return SPECIAL.test(value) ? value.replace(EACH, (c) => ESCAPES[c] ?? c) : value;
  if (typeof value === 'object')
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex');
  return String(value);
}

/** One line, LF included. */
export function tabLine(values: readonly TabValue[]): string {
  let line = '';
  for (let i = 0; i < values.length; i++) line += (i === 0 ? '' : '\t') + tabValue(values[i]);
  return line + '\n';
}

const UNESCAPES: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', '\\': '\\' };

/** The values of one line without its LF. @throws RangeError for a backslash before anything but t n r N and itself */
export function readTabLine(line: string): (string | null)[] {
  const values: (string | null)[] = line.split('\t');
  if (!line.includes('\\')) return values;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? '';
    if (value === '\\N') values[i] = null;
    else if (value.includes('\\'))
      values[i] = value.replace(/\\([^]?)/g, (whole, char: string) => {
        const plain = UNESCAPES[char];
        if (plain === undefined) throw new RangeError(`"${whole}" is no escape of tab text`);
        return plain;
      });
  }
  return values;
}
