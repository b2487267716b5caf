/** One JSON value as the values of a record. Pure; any thread. */
import { MAX_DEPTH, type NamedFields } from './format.js';

/** In front of the text of a number, so that it can be told from a string; no value has it otherwise. */
export const NUMBER_MARK = '\u0000';

/**
 * Objects inside become names with a point, `a.b`; lists become their JSON text. null is an empty value, a name that is not there
 * has none. @param value with numbers as `NUMBER_MARK` and their digits. @throws RangeError for what is no object, or is nested too deep
 */
export function flatten(value: unknown, named: NamedFields): (string | undefined)[] {
  if (!isObject(value)) throw new RangeError('it is no object');
  const values = new Array<string | undefined>(named.fields.length).fill(undefined);
  put(value, '', 1, named, values);
  return values;
}

function put(
  value: Readonly<Record<string, unknown>>,
  prefix: string,
  depth: number,
  named: NamedFields,
  values: (string | undefined)[],
): void {
  for (const [key, member] of Object.entries(value)) {
    const name = prefix + key;
    if (isObject(member)) {
      if (depth >= MAX_DEPTH) throw new RangeError(`it is nested deeper than ${MAX_DEPTH} levels`);
      put(member, `${name}.`, depth + 1, named, values);
      continue;
    }
    const at = named.position(name);
    if (at === undefined) continue;
    values[at] = textOf(member);
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value.startsWith(NUMBER_MARK) ? value.slice(1) : value;
  if (value === null) return '';
  if (typeof value === 'boolean') return String(value);
  return JSON.stringify(value).replace(/"\\u0000([^"]*)"/g, '$1');
}
