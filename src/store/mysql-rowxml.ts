/** Rows rendered by the database itself. Pure; any thread. */
import type { RowXmlColumn } from './driver.js';

const ENTITIES = [
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
  ["''", '&apos;'],
] as const;

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/**
 * One record of row XML, byte for byte what protocol/rowxml.ts makes of the same row read as text. Only for rows of text, numbers
 * and times: a column of bytes or of a kind unknown here makes the result undefined.
 */
export function mysqlRowXml(columns: readonly RowXmlColumn[]): string {
  const parts: string[] = [];
  let pending = '';
  for (const { name, kind, tag, length } of columns) {
    pending += `<${tag}>`;
    parts.push(literal(pending));
    pending = `</${tag}>`;
    let value = `q.\`${name.replaceAll('`', '``')}\``;
    if (length !== undefined) value = `LEFT(${value}, ${Math.trunc(length)})`;
    if (kind !== 'integer' && kind !== 'decimal' && kind !== 'float' && kind !== 'date') {
      value = `REGEXP_REPLACE(${value}, '[\\\\x00-\\\\x08\\\\x0B\\\\x0C\\\\x0E-\\\\x1F]', '')`;
      for (const [char, entity] of ENTITIES) value = `REPLACE(${value}, '${char}', '${entity}')`;
      value = `REPLACE(${value}, CHAR(13), '&#13;')`;
    }
    parts.push(`IFNULL(${value}, '')`);
  }
  parts.push(literal(`${pending}<endl/>\n`));
  return `CONCAT(${parts.join(', ')})`;
}
