/** Values of a conf section with the defaults of its keys, as the conf reader would make them. */
import { parseValue } from '../../src/runtime/config-values.js';
import type { Keys } from '../../src/runtime/schema.js';

export function paramsOf(keys: Keys, written: Readonly<Record<string, string>>): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const name of Object.keys(written)) if (keys[name] === undefined) throw new Error(`no key ${name}`);
  for (const [name, spec] of Object.entries(keys)) {
    const text = written[name] ?? spec.default;
    if (text === undefined) {
      if (spec.required) throw new Error(`${name} is required`);
      continue;
    }
    const parsed = parseValue(spec, text);
    if ('reason' in parsed) throw new Error(`${name} ${parsed.reason}`);
    values[name] = parsed.value;
  }
  return values;
}
