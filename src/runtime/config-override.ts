/** Environment variables that replace conf values: `SWITCHYARD_<SECTION>[_<NAME>]_<KEY>`. Any thread. */
import { confError, confNote, type ConfProblem } from './config-reader.js';
import type { Environment } from './config-values.js';
import type { Draft } from './config.js';
import type { Keys } from './schema.js';

const prefix = 'SWITCHYARD_';

/** Upper case, everything that is no letter or digit as `_`: `SWITCHYARD_LISTENER_PACKET_IDLE_TIMEOUT`. */
export function overrideName(section: string, name: string, key: string): string {
  const parts = name === '' ? [section, key] : [section, name, key];
  return (
    prefix +
    parts
      .join('_')
      .toUpperCase()
      .replace(/[^A-Z0-9]/g, '_')
  );
}

/** Puts variables over written values and remembers which ones found a key. They cannot make a named section. */
export class Overrides {
  private readonly taken = new Map<string, string[]>();

  constructor(private readonly env: Environment) {}

  /** `file:` works in a variable, `${...}` is plain text there. */
  apply(draft: Draft, keys: Keys, title: string): void {
    for (const key of Object.keys(keys)) {
      const variable = overrideName(draft.spec.section, draft.name, key);
      const text = this.env[variable];
      if (text === undefined) continue;
      this.taken.set(variable, [...(this.taken.get(variable) ?? []), `${key} of [${title}]`]);
      const quoting = text.startsWith('file:') ? 'bare' : 'single';
      const place = { file: 'environment', line: 0 };
      draft.written.set(key, { text, quoting, place, variable });
    }
  }

  /** After all sections: two keys behind one variable are an error, a variable without key is a note. */
  report(problems: ConfProblem[]): void {
    const place = { file: 'environment', line: 0 };
    for (const [variable, targets] of this.taken) {
      if (targets.length < 2) continue;
      const params = { variable, reason: `names both ${targets.join(' and ')}` };
      problems.push(confError('CONF_OVERRIDE', place, params));
    }
    for (const variable of Object.keys(this.env)) {
      // Only a note: orchestrators set variables named after services on their own.
      if (!variable.startsWith(prefix) || this.taken.has(variable)) continue;
      problems.push(confNote(place, `${variable} names no key of a section in the conf`));
    }
  }
}
