/** The conf of an extraction, checked and in the form the work needs. Pure; any thread. */
import type { ValuesOf } from '../../runtime/schema.js';
import type { keys } from './extract-keys.js';
import { encoderOf } from './extract-render.js';

export type ExtractParams = ValuesOf<typeof keys>;

export interface Settings {
  readonly params: ExtractParams;
  readonly fields: readonly string[];
  readonly lengths: readonly (number | undefined)[];
  readonly timeFields: ReadonlySet<string>;
  readonly incremental: boolean;
  /** Index of the column in whose order rows are read; undefined: as the database gives them. */
  readonly keyAt: number | undefined;
  readonly lagAt: number | undefined;
  readonly encode: (text: string) => Buffer;
}

/** @throws RangeError that names the key and what is wrong with it */
export function settingsOf(params: ExtractParams): Settings {
  const fields = params.fields.map((name) => name.trim());
  if (fields.length === 0) throw new RangeError('fields: at least one name');
  for (const name of fields) {
    if (!/^[\p{L}_][\p{L}\p{N}_.-]*$/u.test(name))
      throw new RangeError(`fields: "${name.slice(0, 60)}" cannot be the name of an element`);
    if (/^endl$/i.test(name)) throw new RangeError('fields: endl is the end of a record');
  }
  const twice = fields.find((name, i) => fields.indexOf(name) !== i);
  if (twice !== undefined) throw new RangeError(`fields: ${twice} stands there twice`);
  for (const [what, part] of [
    ['prefix', params.prefix],
    ['suffix', params.suffix],
  ] as const) {
    // eslint-disable-next-line no-control-regex
    if (part === '' || /[/\\\0-\x1f]|^\./.test(part) || Buffer.byteLength(part) > 100)
      throw new RangeError(`${what}: 1 to 100 bytes of a file name, without / and not beginning with a dot`);
  }
  const indexOf = (key: string, name: string): number => {
    const found = fields.findIndex((field) => field.toLowerCase() === name.trim().toLowerCase());
    if (found < 0) throw new RangeError(`${key}: ${name} is none of the fields`);
    return found;
  };
  const given = (name: string | undefined): name is string => name !== undefined && name.trim() !== '';
  const incremental = given(params.inc_field);
  if (incremental && given(params.key)) {
    throw new RangeError('key: an incremental extraction is read in the order of inc_field; leave key out');
  }
  const ordered = incremental ? params.inc_field : params.key;
  if (!incremental && params.overlap > 0) throw new RangeError('overlap: needs inc_field');
  const timeFields = new Set(params.time_fields.map((name) => fields[indexOf('time_fields', name)] ?? ''));
  return {
    params,
    fields,
    lengths: lengthsOf(params.lengths, fields.length),
    timeFields,
    incremental,
    keyAt: given(ordered) ? indexOf(incremental ? 'inc_field' : 'key', ordered) : undefined,
    lagAt: given(params.lag_field) ? indexOf('lag_field', params.lag_field) : undefined,
    encode: encoderOf(params.charset, params.escape),
  };
}

function lengthsOf(list: readonly string[], fields: number): (number | undefined)[] {
  if (list.length === 0) return new Array<undefined>(fields).fill(undefined);
  if (list.length !== fields)
    throw new RangeError(`lengths: ${list.length} of them for ${fields} fields; one for each, or none`);
  return list.map((text) => {
    const length = Number(text);
    if (!/^\s*\d+\s*$/.test(text) || length < 1 || length > 2 ** 31)
      throw new RangeError(`lengths: "${text.slice(0, 20)}" is no number of characters`);
    return length;
  });
}
