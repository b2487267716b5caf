/** Oracle's time formats: yyyy mm dd hh24 mi ss and anything between. Pure; any thread. */

/** Text the rewriter cannot make sense of, or a value that does not fit its format. */
export class SqlRewriteError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SqlRewriteError';
  }
}

export type TimePart = 'yyyy' | 'hh24' | 'mm' | 'dd' | 'mi' | 'ss';

const PARTS: readonly (readonly [text: TimePart, width: number])[] = [
  ['yyyy', 4],
  ['hh24', 2],
  ['mm', 2],
  ['dd', 2],
  ['mi', 2],
  ['ss', 2],
];

/** The format in another database's codes. */
export function translateFormat(format: string, codes: Readonly<Record<TimePart, string>>): string {
  return format.replace(/yyyy|hh24|mm|dd|mi|ss/gi, (part) => codes[part.toLowerCase() as TimePart]);
}

export interface TimePlace {
  readonly start: number;
  readonly width: number;
}

/** Where each part of a time stands in text of this format. */
export function positions(format: string): Map<string, TimePlace> {
  const found = new Map<string, TimePlace>();
  let start = 0;
  for (let rest = format.toLowerCase(); rest !== '';) {
    const part = PARTS.find(([text]) => rest.startsWith(text));
    if (part !== undefined) found.set(part[0], { start, width: part[1] });
    start += part?.[1] ?? 1;
    rest = rest.slice(part?.[0].length ?? 1);
  }
  return found;
}

/** `yyyy-mm-dd hh24:mi:ss` of a text in the given format, or undefined when it is no time that exists. */
export function timeByFormat(text: string, format: string): string | undefined {
  const at = positions(format);
  const length = [...at.values()].reduce((max, place) => Math.max(max, place.start + place.width), 0);
  if (text.length < length) return undefined;
  const part = (name: string, missing: string): string => {
    const place = at.get(name);
    return place === undefined ? missing : text.slice(place.start, place.start + place.width);
  };
  const parts = [
    part('yyyy', '2000'),
    part('mm', '01'),
    part('dd', '01'),
    part('hh24', '00'),
    part('mi', '00'),
    part('ss', '00'),
  ];
  if (!parts.every((digits) => /^\d+$/.test(digits))) return undefined;
  const [year, month, day, hour, minute, second] = parts;
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}`;
  const time = new Date(`${iso}Z`);
  if (Number.isNaN(time.getTime()) || time.toISOString().slice(0, 19) !== iso) return undefined;
  return iso.replace('T', ' ');
}
