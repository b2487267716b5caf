/** What differs between two configs, and configs for people with secrets masked. Pure; any thread. */
import { sectionTitle, type Config, type ConfigSection, type ConfSchema } from './config.js';
import { showValue } from './config-values.js';
import type { KeySpec, ReloadRule } from './schema.js';
import { isDeepStrictEqual } from 'node:util';

export type ConfigChange =
  | {
      readonly kind: 'changed';
      readonly section: string;
      readonly name: string;
      readonly key: string;
      /** Typed values, secrets included: print `line`, not these. */
      readonly from: unknown;
      readonly to: unknown;
      readonly reload: ReloadRule;
      readonly line: string;
    }
  | {
      readonly kind: 'added' | 'removed';
      readonly section: string;
      readonly name: string;
      readonly line: string;
    };

/** Differences in the order of the new config, removed sections last. `line` is printable, secrets masked. */
export function diffConfig(before: Config, after: Config, schema: ConfSchema): ConfigChange[] {
  const old = byTitle(before);
  const now = byTitle(after);
  const changes: ConfigChange[] = [];
  for (const [title, section] of now) {
    const earlier = old.get(title);
    if (earlier !== undefined) changes.push(...changedKeys(earlier, section, schema));
    else changes.push({ ...idOf(section), kind: 'added', line: `+ [${title}]` });
  }
  for (const [title, section] of old) {
    if (!now.has(title)) changes.push({ ...idOf(section), kind: 'removed', line: `- [${title}]` });
  }
  return changes;
}

function idOf({ section, name }: ConfigSection): { section: string; name: string } {
  return { section, name };
}

function byTitle(config: Config): Map<string, ConfigSection> {
  return new Map(config.sections.map((section) => [sectionTitle(section), section]));
}

function changedKeys(old: ConfigSection, now: ConfigSection, schema: ConfSchema): ConfigChange[] {
  const specs = { ...keySpecs(old, schema), ...keySpecs(now, schema) };
  const keys = new Set([...Object.keys(now.values), ...Object.keys(old.values)]);
  const changes: ConfigChange[] = [];
  for (const key of keys) {
    const [from, to] = [old.values[key], now.values[key]];
    const spec = specs[key];
    if (spec === undefined || isDeepStrictEqual(from, to)) continue;
    const line = `~ [${sectionTitle(now)}] ${key} ${showValue(spec, from)} -> ${showValue(spec, to)} (${spec.reload})`;
    changes.push({ ...idOf(now), kind: 'changed', key, from, to, reload: spec.reload, line });
  }
  return changes;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** The declared keys of a section as it is now, those of its type included. */
export function keySpecs(section: ConfigSection, schema: ConfSchema): Readonly<Record<string, KeySpec>> {
  const spec = schema.sections.find((known) => known.section === section.section);
  const get = (key: string): string | undefined => {
    const value = section.values[key];
    return value === undefined ? undefined : textOf(value);
  };
  return { ...spec?.keys, ...schema.resolve({ section: section.section, name: section.name, get }) };
}

/** Section title -> key -> text, secrets as `***`: for `check`, `ctl dump` and error reports. */
export function maskConfig(
  config: Config,
  schema: ConfSchema,
): Readonly<Record<string, Readonly<Record<string, string>>>> {
  const shown: Record<string, Record<string, string>> = {};
  for (const section of config.sections) {
    const values: Record<string, string> = {};
    for (const [key, spec] of Object.entries(keySpecs(section, schema))) {
      if (key in section.values) values[key] = showValue(spec, section.values[key]);
    }
    shown[sectionTitle(section)] = values;
  }
  return shown;
}
