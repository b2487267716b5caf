/** The conf of an extraction, checked and in the form the work needs. Pure; any thread. */
import type { ValuesOf } from '../../../runtime/schema.js';
import type { keys } from './keys.js';
import { encoderOf } from './render.js';

export type ExtractParams = ValuesOf<typeof keys>;

export interface Settings {
  readonly params: ExtractParams;
  readonly fields: readonly string[];
  readonly lengths: readonly (number | undefined)[];
  readonly timeFields: ReadonlySet<string>;
  readonly incremental: boolean;
  /** Rows are read in the order of the key. */
  readonly ordered: boolean;
  /** Index of the column with the key; undefined: there is none. */
  readonly keyAt: number | undefined;
  readonly lagAt: number | undefined;
  readonly encode: (text: string) => Buffer;
  /** `encode` makes UTF-8. */
  readonly utf8: boolean;
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
  if (params.overlap > 0 && !params.ordered) throw new RangeError('overlap: needs ordered = yes');
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
    ...encoderOf(params.charset, params.escape),
    ordered: given(ordered) && (!incremental || params.ordered),
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
