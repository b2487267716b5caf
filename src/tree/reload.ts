/**
 * Reload by difference: the new conf is checked whole, refused with all its problems, or applied child by child. What
 * cannot change in a running process is said and left as it is. Main thread.
 */
import { confSchema } from '../conf-schema.js';
import { problemText } from '../runtime/config-reader.js';
import { diffConfig, type ConfigChange } from '../runtime/config-diff.js';
import { loadConfig, sectionTitle, type Config, type ConfigSection } from '../runtime/config.js';
import type { ReloadOutcome } from '../runtime/control-plane.js';
import { reasonOf } from '../runtime/errors.js';

/** How changes of one kind of section are carried out. */
export interface SectionReloader {
  add(section: ConfigSection): Promise<void>;
  remove(section: ConfigSection): Promise<void>;
  /** A key with rule `child` changed. */
  replace(section: ConfigSection): Promise<void>;
  /** Only keys with rule `live` changed. */
  live(section: ConfigSection): Promise<void>;
}

export interface ReloadOptions {
  readonly files: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly current: () => Config;
  readonly adopt: (config: Config) => void;
  /** By section kind; a kind that is absent changes only with a new process. */
  readonly reloaders: Readonly<Record<string, SectionReloader>>;
}

/** @returns a function that reloads; concurrent calls share one run */
export function reloader(options: ReloadOptions): () => Promise<ReloadOutcome> {
  let running: Promise<ReloadOutcome> | undefined;
  return () => (running ??= reload(options).finally(() => (running = undefined)));
}

async function reload({ files, env, current, adopt, reloaders }: ReloadOptions): Promise<ReloadOutcome> {
  const schema = confSchema();
  const { config, problems } = await loadConfig(files, schema, env);
  const errors = problems.filter((problem) => problem.severity === 'error');
  if (errors.length > 0) return { ok: false, changes: [], problems: errors.map(problemText) };
  const before = current();
  const changes = diffConfig(before, config, schema);
  const lines: string[] = [];
  const failed: string[] = [];
  for (const [title, group] of grouped(changes)) {
    const section = find(config, title) ?? find(before, title)!;
    const needed = ruleOf(group);
    const target = reloaders[section.section];
    lines.push(...group.map((change) => change.line));
    if (needed === 'process' || target === undefined) {
      lines.push(`  [${title}] takes effect with the next start of the process`);
      continue;
    }
    try {
      await target[needed](section);
    } catch (thrown) {
      failed.push(`[${title}] could not be applied: ${reasonOf(thrown)}`);
    }
  }
  // Files named by an unchanged key (certificates) may have changed all the same.
  for (const section of config.sections) {
    if (
      section.values['tls_cert'] === undefined ||
      changes.some((c) => c.name === section.name && c.section === section.section)
    )
      continue;
    await reloaders[section.section]
      ?.live(section)
      .catch((thrown: unknown) => failed.push(`[${sectionTitle(section)}] ${reasonOf(thrown)}`));
  }
  adopt(config);
  return { ok: failed.length === 0, changes: lines, problems: failed };
}

function grouped(changes: readonly ConfigChange[]): Map<string, ConfigChange[]> {
  const groups = new Map<string, ConfigChange[]>();
  for (const change of changes) {
    const title = sectionTitle(change);
    groups.set(title, [...(groups.get(title) ?? []), change]);
  }
  return groups;
}

function find(config: Config, title: string): ConfigSection | undefined {
  return config.sections.find((section) => sectionTitle(section) === title);
}

/** The strongest measure that one of the changes needs. */
function ruleOf(changes: readonly ConfigChange[]): 'add' | 'remove' | 'process' | 'replace' | 'live' {
  let rule: 'process' | 'replace' | 'live' = 'live';
  for (const change of changes) {
    if (change.kind !== 'changed') return change.kind === 'added' ? 'add' : 'remove';
    if (change.reload === 'process') rule = 'process';
    else if (change.reload === 'child' && rule === 'live') rule = 'replace';
  }
  return rule;
}
