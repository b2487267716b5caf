/** Commented conf blocks out of the declared keys, from which the shipped conf files are made. Pure. */
import { writeValue } from '../runtime/config-reader.js';
import { showNumber } from '../runtime/config-values.js';
import type { Keys, KeySpec, SectionSpec } from '../runtime/schema.js';

export interface SampleOptions {
  /** Of a named section. */
  readonly name?: string;
  /** Keys to be written out, with their values; the others stand commented at their default. */
  readonly set?: Readonly<Record<string, string>>;
  /** Keys that come with the section's type. */
  readonly extra?: Keys;
}

/** `1 to 65535`, `at least 64k`, `text, json`; empty when anything goes. */
export function boundsText(spec: KeySpec): string {
  if (spec.type === 'enum') return (spec.values ?? []).join(', ');
  const min = spec.min === undefined ? undefined : showNumber(spec, spec.min);
  const max = spec.max === undefined ? undefined : showNumber(spec, spec.max);
  if (min !== undefined && max !== undefined) return `${min} to ${max}`;
  if (min !== undefined) return `at least ${min}`;
  return max === undefined ? '' : `at most ${max}`;
}

/** A whole section as conf text, every key with its help; ends with a line end. */
export function renderSample(spec: SectionSpec, options: SampleOptions = {}): string {
  const title = spec.named ? `${spec.section} ${options.name ?? 'NAME'}` : spec.section;
  const lines = [`# ${spec.help}`, `[${title}]`];
  for (const [key, keySpec] of Object.entries({ ...spec.keys, ...options.extra })) {
    const bounds = boundsText(keySpec);
    const about = [bounds === '' ? keySpec.type : `${keySpec.type}, ${bounds}`];
    if (keySpec.required) about.push('required');
    const given = options.set?.[key];
    const value = given ?? (keySpec.default === undefined ? '' : writeValue(keySpec.default));
    lines.push(
      `# ${keySpec.help} (${about.join('; ')})`,
      `${given === undefined ? '#' : ''}${key} = ${value}`.trimEnd(),
    );
  }
  return `${lines.join('\n')}\n`;
}

/** The keys a conf text shows, commented or not, per section title. */
export function shownKeys(text: string): ReadonlyMap<string, ReadonlySet<string>> {
  const shown = new Map<string, Set<string>>();
  let keys: Set<string> | undefined;
  for (const line of text.split('\n')) {
    const title = /^\[\s*(.+?)\s*\]/.exec(line)?.[1]?.replace(/\s+/, ' ');
    if (title !== undefined) {
      keys = shown.get(title) ?? new Set();
      shown.set(title, keys);
    }
    const key = /^[#;]?\s?([a-z_][\w.-]*)\s*=/.exec(line)?.[1];
    if (key !== undefined) keys?.add(key);
  }
  return shown;
}
