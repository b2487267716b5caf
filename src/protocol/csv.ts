/** CSV fields by RFC 4180. Pure; any thread. */

/** One field as it is written: quoted only when it must be. Null and undefined become an empty field. */
export function csvField(value: string | number | bigint | null | undefined): string {
  if (value === null || value === undefined) return '';
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The fields of one line. A quote that is never closed makes the rest of the line one field. */
export function splitCsvLine(line: string): string[] {
  if (!line.includes('"')) return line.split(',');
  const fields: string[] = [];
  let pos = 0;
  for (;;) {
    if (line[pos] !== '"') {
      const comma = line.indexOf(',', pos);
      fields.push(comma < 0 ? line.slice(pos) : line.slice(pos, comma));
      if (comma < 0) return fields;
      pos = comma + 1;
      continue;
    }
    let text = '';
    let at = pos + 1;
    for (;;) {
      const quote = line.indexOf('"', at);
      if (quote < 0) return [...fields, text + line.slice(at)];
      text += line.slice(at, quote);
      at = quote + 1;
      if (line[at] !== '"') break;
      text += '"';
      at++;
    }
    const comma = line.indexOf(',', at);
    fields.push(text + (comma < 0 ? line.slice(at) : line.slice(at, comma)));
    if (comma < 0) return fields;
    pos = comma + 1;
  }
}
