/**
 * The parameter string of the reference programs (spec data-centre 1.2): `<tag>value</tag>` pairs, flat, any order,
 * values with bare `<` and `>`. It is not XML and must not be read as XML. Pure; any thread.
 */

/**
 * The value of the first `<name>`, blanks trimmed; undefined when the pair is not there. The closing tag is searched
 * after the opening one, so that a stray `</name>` before it does no harm.
 */
export function readTag(text: string, name: string): string | undefined {
  const open = `<${name}>`;
  const start = text.indexOf(open);
  if (start < 0) return undefined;
  const end = text.indexOf(`</${name}>`, start + open.length);
  return end < 0 ? undefined : text.slice(start + open.length, end).trim();
}

/** All pairs from left to right; the first of a name wins; stray tags are passed over. */
export function readTags(text: string): Map<string, string> {
  const found = new Map<string, string>();
  const opening = /<([A-Za-z_][\w-]*)>/g;
  for (let match = opening.exec(text); match; match = opening.exec(text)) {
    const name = match[1] ?? '';
    const end = text.indexOf(`</${name}>`, opening.lastIndex);
    if (end < 0) continue;
    if (!found.has(name)) found.set(name, text.slice(opening.lastIndex, end).trim());
    opening.lastIndex = end + name.length + 3;
  }
  return found;
}

/** `true` in any letter case, nothing else. */
export function tagBool(value: string | undefined): boolean {
  return value?.toLowerCase() === 'true';
}

/** Leading integer as C's atoi reads it; 0 when there is none. */
export function tagInt(value: string | undefined): number {
  const match = /^\s*([+-]?\d{1,15})/.exec(value ?? '');
  return match ? Number(match[1]) : 0;
}

/** Pairs in order. @throws RangeError when a value contains its own closing tag: it could not be read back. */
export function writeTags(values: Readonly<Record<string, string | number>>): string {
  let text = '';
  for (const [name, value] of Object.entries(values)) {
    const close = `</${name}>`;
    if (String(value).includes(close)) throw new RangeError(`the value of <${name}> contains ${close}`);
    text += `<${name}>${value}${close}`;
  }
  return text;
}
