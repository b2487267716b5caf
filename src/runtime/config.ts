/**
 * Conf files to one plain-data Config, checked against the declared sections. Every problem is collected, each with
 * its place. Start-up and reload; main thread. The steps before are config-reader.ts and config-values.ts, what a
 * reload does with two of them is config-diff.ts.
 */
import { readFile, stat } from 'node:fs/promises';
import { isNginxConf, readNginxConf } from './config-nginx.js';
import {
  confError,
  confLimits,
  confNote,
  placeText,
  readConf,
  type ConfEntry,
  type ConfProblem,
  type ConfText,
  type Place,
  type Quoting,
} from './config-reader.js';
import { Overrides } from './config-override.js';
import { expandParams } from './config-params.js';
import { expandReferences, parseValue, type Environment } from './config-values.js';
import { reasonOf } from './errors.js';
import { nearest } from './nearest.js';
import type { Keys, KeySpec, SectionSpec, ValuesOf } from './schema.js';

/** One section with its typed values. Plain data, structured-cloneable. */
export interface ConfigSection {
  readonly section: string;
  /** '' for an unnamed section. */
  readonly name: string;
  /** Keyed by conf key; a key without value and default is absent. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Per key: `file:line` or `environment NAME`. Keys at their default are absent. */
  readonly origins: Readonly<Record<string, string>>;
}

export interface Config {
  /** In the order of the files; unnamed sections nobody wrote follow with their defaults. */
  readonly sections: readonly ConfigSection[];
}

/** What the resolver sees of a section: the base keys' text as written, references resolved. */
export interface SectionView {
  readonly section: string;
  readonly name: string;
  readonly get: (key: string) => string | undefined;
}

/**
 * Further keys of a section that depend on its values (`type = load-obs`). Undefined: not known, because the
 * deciding key is wrong; the section's other keys are then not checked.
 */
export type ResolveKeys = (view: SectionView) => Keys | undefined;

export interface ConfSchema {
  readonly sections: readonly SectionSpec[];
  readonly resolve: ResolveKeys;
  /** What is wrong between sections that are each good. */
  readonly check?: (sections: readonly ConfigSection[]) => readonly ConfProblem[];
}

export interface LoadedConfig {
  readonly config: Config;
  /** Notes and errors; with any error the config must not be used. */
  readonly problems: readonly ConfProblem[];
}

/** A value before its type is known. */
export interface Written {
  readonly text: string;
  readonly quoting: Quoting;
  readonly place: Place;
  /** Set when it came from the environment instead of a file. */
  readonly variable?: string;
  /** A part of it came from elsewhere: it is not to be shown. */
  readonly hidden?: boolean;
}

/** A section while it is being put together. */
export interface Draft {
  readonly spec: SectionSpec;
  readonly name: string;
  readonly place: Place;
  readonly written: Map<string, Written>;
}

/** `[listener packet]` as a person writes it, without the brackets. */
export function sectionTitle(section: { readonly section: string; readonly name: string }): string {
  return section.name === '' ? section.section : `${section.section} ${section.name}`;
}

/** Reads files in order, later ones winning. Never throws for what is in them. */
export async function loadConfig(
  files: readonly string[],
  schema: ConfSchema,
  env: Environment = process.env,
): Promise<LoadedConfig> {
  const texts: ConfText[] = [];
  for (const file of files) texts.push(await readFileText(file, schema));
  return buildConfig(texts, schema, env);
}

async function readFileText(file: string, schema: ConfSchema): Promise<ConfText> {
  const place = { file, line: 0 };
  try {
    const { size } = await stat(file);
    if (size > confLimits.fileBytes) {
      const params = { what: `a size of ${size} bytes`, limit: `${confLimits.fileBytes} bytes` };
      return { entries: [], problems: [confError('CONF_TOO_LARGE', place, params)] };
    }
    const content = await readFile(file);
    return isNginxConf(file, content)
      ? readNginxConf(file, content, schema.sections)
      : readConf(file, content);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? reasonOf(error);
    return { entries: [], problems: [confError('CONF_UNREADABLE', place, { reason })] };
  }
}

/** The part of `loadConfig` after reading: checks, overrides, types. */
export function buildConfig(texts: readonly ConfText[], schema: ConfSchema, env: Environment): LoadedConfig {
  const problems = texts.flatMap((text) => text.problems);
  const drafts = new Map<string, Draft>();
  for (const text of texts) collect(text.entries, schema, drafts, problems);
  for (const spec of schema.sections) {
    const place = { file: texts[0]?.entries[0]?.place.file ?? 'conf', line: 0 };
    if (!spec.named && !drafts.has(spec.section)) {
      drafts.set(spec.section, { spec, name: '', place, written: new Map() });
    }
  }
  const overrides = new Overrides(env);
  const sections = [...drafts.values()].map((draft) => finish(draft, schema, overrides, env, problems));
  overrides.report(problems);
  problems.push(...(schema.check?.(sections) ?? []));
  return { config: { sections }, problems: bounded(problems) };
}

/** At most so many as a person reads; errors stay before notes then. */
function bounded(problems: readonly ConfProblem[]): readonly ConfProblem[] {
  if (problems.length <= confLimits.problems) return problems;
  const errors = problems.filter((problem) => problem.severity === 'error');
  const shown = [...errors, ...problems.filter((problem) => problem.severity === 'note')];
  const rest = confNote(
    { file: 'conf', line: 0 },
    `${problems.length - confLimits.problems} more are not shown`,
  );
  return [...shown.slice(0, confLimits.problems), rest];
}

function collect(
  entries: readonly ConfEntry[],
  schema: ConfSchema,
  drafts: Map<string, Draft>,
  problems: ConfProblem[],
): void {
  // undefined: before the first section; null: in a section that was refused, whose keys say nothing new.
  let draft: Draft | null | undefined;
  for (const entry of entries) {
    if (entry.kind === 'section') {
      draft = openSection(entry, schema, drafts, problems) ?? null;
      continue;
    }
    const { key, text, quoting, place } = entry;
    if (draft === undefined) problems.push(confError('CONF_NO_SECTION', place, { key }));
    if (draft === undefined || draft === null) continue;
    const earlier = draft.written.get(key);
    const section = sectionTitle({ section: draft.spec.section, name: draft.name });
    if (earlier?.place.file === place.file) {
      const params = { key, section, first: placeText(earlier.place) };
      problems.push(confError('CONF_DUPLICATE_KEY', place, params));
      continue;
    }
    if (earlier !== undefined) {
      problems.push(
        confNote(place, `${key} of [${section}] replaces the one at ${placeText(earlier.place)}`),
      );
    }
    draft.written.set(key, { text, quoting, place });
  }
}

function openSection(
  entry: Extract<ConfEntry, { kind: 'section' }>,
  schema: ConfSchema,
  drafts: Map<string, Draft>,
  problems: ConfProblem[],
): Draft | undefined {
  const { section, name, place } = entry;
  const spec = schema.sections.find((known) => known.section === section);
  if (spec === undefined) {
    const known = schema.sections.map((s) => s.section);
    problems.push(confError('CONF_UNKNOWN_SECTION', place, { section, nearest: meant(section, known) }));
    return undefined;
  }
  if (spec.named !== (name !== '')) {
    const reason = spec.named ? `needs a name: [${section} NAME]` : `takes no name: [${section}]`;
    problems.push(confError('CONF_SECTION_NAME', place, { section: sectionTitle(entry), reason }));
    return undefined;
  }
  const id = sectionTitle(entry);
  const draft = drafts.get(id) ?? { spec, name, place, written: new Map<string, Written>() };
  drafts.set(id, draft);
  return draft;
}

function meant(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  return near === undefined ? '' : `, did you mean ${near}?`;
}

/** Types a section's values and reports what is wrong with them. */
function finish(
  draft: Draft,
  schema: ConfSchema,
  overrides: Overrides,
  env: Environment,
  problems: ConfProblem[],
): ConfigSection {
  const { spec, name, written } = draft;
  const title = sectionTitle({ section: spec.section, name });
  overrides.apply(draft, spec.keys, title);
  const view: SectionView = {
    section: spec.section,
    name,
    get(key) {
      const own = written.get(key);
      if (own === undefined) return spec.keys[key]?.default;
      const expanded = expandReferences(own.text, own.quoting, env, own.place.file);
      return 'value' in expanded ? expanded.value.text : undefined;
    },
  };
  const extra = schema.resolve(view);
  overrides.apply(draft, extra ?? {}, title);
  const keys: Keys = { ...spec.keys, ...extra };
  if (extra !== undefined && spec.section === 'stage') expandParams(written, keys, title, env, problems);
  const values: Record<string, unknown> = {};
  const origins: Record<string, string> = {};
  for (const [key, own] of written) {
    const keySpec = Object.hasOwn(keys, key) ? keys[key] : undefined;
    if (keySpec === undefined) {
      if (extra === undefined) continue;
      const near = aliased(key, keys) ?? meant(key, Object.keys(keys));
      problems.push(confError('CONF_UNKNOWN_KEY', own.place, { key, section: title, nearest: near }));
      continue;
    }
    origins[key] = own.variable === undefined ? placeText(own.place) : `environment ${own.variable}`;
    const outcome = typed(key, keySpec, own, env);
    if ('code' in outcome) problems.push(outcome);
    else values[key] = outcome.value;
  }
  for (const [key, keySpec] of Object.entries(keys)) {
    if (written.has(key)) continue;
    if (keySpec.default !== undefined) {
      const parsed = parseValue(keySpec, keySpec.default);
      if ('value' in parsed) values[key] = parsed.value;
    } else if (keySpec.required === true) {
      problems.push(confError('CONF_MISSING_KEY', draft.place, { key, section: title, help: keySpec.help }));
    }
  }
  return { section: spec.section, name, values, origins };
}

/** A reference system's name of a key: say ours. */
function aliased(key: string, keys: Keys): string | undefined {
  const lower = key.toLowerCase();
  const own = Object.entries(keys).find(([, spec]) => spec.aliases?.some((a) => a.toLowerCase() === lower));
  return own === undefined ? undefined : `, here it is called ${own[0]}`;
}

function typed(key: string, spec: KeySpec, own: Written, env: Environment): { value: unknown } | ConfProblem {
  const expanded = expandReferences(own.text, own.quoting, env, own.place.file);
  if ('reason' in expanded) return confError('CONF_REFERENCE', own.place, { key, reason: expanded.reason });
  const { text, referenced } = expanded.value;
  const parsed = parseValue(spec, text, !referenced && own.variable === undefined && own.hidden !== true);
  if ('value' in parsed) return parsed;
  const from = own.variable === undefined ? '' : ` (from the environment variable ${own.variable})`;
  return confError('CONF_VALUE', own.place, { key, reason: parsed.reason + from, help: spec.help });
}

/** Typed values of a section of the config. @throws Error when it has no such section (a named one nobody wrote) */
export function valuesOf<const K extends Keys>(
  config: Config,
  section: string,
  _keys: K,
  name = '',
): ValuesOf<K> {
  const found = config.sections.find((s) => s.section === section && s.name === name);
  if (found === undefined) throw new Error(`no section [${sectionTitle({ section, name })}]`);
  return found.values as ValuesOf<K>;
}

/** The named sections of a kind, in conf order. */
export function sectionsOf(config: Config, section: string): readonly ConfigSection[] {
  return config.sections.filter((s) => s.section === section);
}
