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

type Action = keyof SectionReloader;

/** Section title -> what has to be tried again because it failed. */
type Unsettled = Map<string, Action>;

/** Sections of which at least one must be there: without any of them a conf is being written, or was emptied by mistake. */
const WORK: readonly string[] = ['actor', 'stage', 'listener', 'http'];

/** @returns a function that reloads; one at a time, and what is written meanwhile is read by one more */
export function reloader(options: ReloadOptions): () => Promise<ReloadOutcome> {
  const unsettled: Unsettled = new Map();
  let last: Promise<unknown> = Promise.resolve();
  let waiting: Promise<ReloadOutcome> | undefined;
  return () => {
    if (waiting !== undefined) return waiting;
    waiting = last.then(() => {
      waiting = undefined;
      return reload(options, unsettled);
    });
    last = waiting.catch(() => undefined);
    return waiting;
  };
}

async function reload(
  { files, env, current, adopt, reloaders }: ReloadOptions,
  unsettled: Unsettled,
): Promise<ReloadOutcome> {
  const schema = confSchema();
  const { config, problems } = await loadConfig(files, schema, env);
  const errors = problems.filter((problem) => problem.severity === 'error').map(problemText);
  const before = current();
  if (works(before) && !works(config))
    errors.push(`${files.join(' ')}: no ${WORK.join(', ')} section is left`);
  if (errors.length > 0) return { ok: false, changes: [], problems: errors };
  const changes = diffConfig(before, config, schema);
  const lines: string[] = [];
  const failed: string[] = [];
  /** Sections that stay as they were until the process is started anew. */
  const deferred = new Set<string>();
  const attempt = async (section: ConfigSection, action: Action): Promise<void> => {
    const title = sectionTitle(section);
    unsettled.delete(title);
    try {
      await reloaders[section.section]?.[action](section);
    } catch (thrown) {
      unsettled.set(title, action);
      failed.push(`[${title}] could not be applied: ${reasonOf(thrown)}`);
    }
  };
  const groups = grouped(changes);
  for (const title of unsettled.keys()) if (!groups.has(title)) groups.set(title, []);
  for (const [title, group] of inOrder(groups, config)) {
    const now = find(config, title);
    const section = now ?? find(before, title);
    const action = after(
      unsettled.get(title),
      group.length === 0 ? 'live' : ruleOf(group),
      now !== undefined,
    );
    lines.push(
      ...(group.length === 0 ? [`* [${title}] is tried again`] : group.map((change) => change.line)),
    );
    if (section === undefined || action === undefined) {
      unsettled.delete(title);
    } else if (action === 'process' || reloaders[section.section] === undefined) {
      deferred.add(title);
      lines.push(`  [${title}] takes effect with the next start of the process`);
    } else {
      await attempt(section, action);
    }
  }
  // Files named by an unchanged key (certificates) may have changed all the same.
  for (const section of config.sections) {
    if (section.values['tls_cert'] !== undefined && !groups.has(sectionTitle(section)))
      await attempt(section, 'live');
  }
  adopt(withDeferred(before, config, deferred));
  return { ok: failed.length === 0, changes: lines, problems: failed };
}

/** As the tree is stopped and started: a listener goes before its actor and comes after it. */
function inOrder(groups: ReadonlyMap<string, ConfigChange[]>, after: Config): [string, ConfigChange[]][] {
  const rank = ([title]: readonly [string, ConfigChange[]]): number => {
    const front = /^(listener|http) /.test(title);
    const wanted = find(after, title) !== undefined;
    return front ? (wanted ? 2 : 0) : wanted ? 1 : 3;
  };
  return [...groups].sort((a, b) => rank(a) - rank(b));
}

function works({ sections }: Config): boolean {
  return sections.some(({ section }) => WORK.includes(section));
}

/** What to do now when an earlier attempt failed. @returns undefined: nothing is left to do */
function after(
  earlier: Action | undefined,
  needed: Action | 'process',
  wanted: boolean,
): Action | 'process' | undefined {
  if (earlier === undefined || needed === 'process') return needed;
  // A child that could not be added is not there; any other is, in one state or another.
  if (earlier === 'add') return wanted ? 'add' : undefined;
  if (!wanted) return 'remove';
  return earlier === 'live' ? needed : 'replace';
}

/** The new conf, but for the sections that are not in force: those are compared, and told, again next time. */
function withDeferred(before: Config, after: Config, deferred: ReadonlySet<string>): Config {
  const kept = before.sections.filter((section) => deferred.has(sectionTitle(section)));
  const known = new Set(after.sections.map(sectionTitle));
  return {
    sections: [
      ...after.sections.flatMap((section) => {
        const title = sectionTitle(section);
        return deferred.has(title) ? kept.filter((old) => sectionTitle(old) === title) : [section];
      }),
      ...kept.filter((section) => !known.has(sectionTitle(section))),
    ],
  };
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
