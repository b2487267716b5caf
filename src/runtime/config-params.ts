/**
 * `params = <connstr>..</connstr><selectsql>..</selectsql>` of a stage: the parameter string of the reference programs (spec
 * data-centre 1.2), taken as it is. Each tag stands for the key of its name, or for the key that has it as an alias. A key
 * written beside `params` wins over its tag. Any thread.
 */
import { readTags, tagBool } from '../protocol/tagxml.js';
import { confError, confNote, type ConfProblem } from './config-reader.js';
import { expandReferences, type Environment } from './config-values.js';
import type { Written } from './config.js';
import { nearest } from './nearest.js';
import type { Keys } from './schema.js';

export const PARAMS_KEY = 'params';

/** Tags that every reference program has, for stages that have no key of that name. '' has no meaning here. */
const COMMON_TAGS: Readonly<Record<string, string>> = { timeout: 'heartbeat', pname: '', charset: '' };

/**
 * Takes `params` out of the written keys and puts in the keys it stands for. What is wrong with it becomes a problem.
 * @param written keys of the section; changed
 * @param keys all keys that the section may have
 */
export function expandParams(
  written: Map<string, Written>,
  keys: Keys,
  section: string,
  env: Environment,
  problems: ConfProblem[],
): void {
  const own = written.get(PARAMS_KEY);
  if (own === undefined || Object.hasOwn(keys, PARAMS_KEY)) return;
  written.delete(PARAMS_KEY);
  const { place } = own;
  const expanded = expandReferences(own.text, own.quoting, env, place.file);
  if ('reason' in expanded) {
    problems.push(confError('CONF_REFERENCE', place, { key: PARAMS_KEY, reason: expanded.reason }));
    return;
  }
  const { text, referenced } = expanded.value;
  const { found, unknown } = paramsAsKeys(text, keys);
  if (found.length + unknown.length === 0) {
    const help = 'the parameter string of a reference program';
    const reason = 'holds no <tag>value</tag>';
    problems.push(confError('CONF_VALUE', place, { key: PARAMS_KEY, reason, help }));
    return;
  }
  for (const { tag, near } of unknown) {
    const nearby = near === undefined ? '' : `, did you mean <${near}>?`;
    const params = { key: `<${tag}> of params`, section, nearest: nearby };
    problems.push(confError('CONF_UNKNOWN_KEY', place, params));
  }
  for (const { tag, key, value } of found) {
    if (key === undefined) continue;
    const other = written.get(key);
    if (other !== undefined) {
      const what = other.place === place ? 'another tag of params' : 'the key beside it';
      problems.push(confNote(place, `<${tag}> of params has no effect: ${what} in [${section}] sets ${key}`));
      continue;
    }
    // Single quotes: what the tags hold was expanded as a whole, and is not expanded again.
    written.set(key, { text: value, quoting: 'single', place, hidden: referenced });
  }
}

export interface ParamTags {
  /** In order. Without `key`: the tag has no meaning here, or no value. */
  readonly found: readonly {
    readonly tag: string;
    readonly key: string | undefined;
    readonly value: string;
  }[];
  readonly unknown: readonly { readonly tag: string; readonly near: string | undefined }[];
}

/** The tags of a parameter string as keys, with values as the conf writes them. */
export function paramsAsKeys(text: string, keys: Keys): ParamTags {
  const names = namesOf(keys);
  const found: ParamTags['found'][number][] = [];
  const unknown: ParamTags['unknown'][number][] = [];
  for (const [tag, value] of readTags(text)) {
    const lower = tag.toLowerCase();
    const key = names.get(lower) ?? COMMON_TAGS[lower];
    if (key === undefined) {
      unknown.push({ tag, near: nearest(lower, [...names.keys(), ...Object.keys(COMMON_TAGS)]) });
      continue;
    }
    const spec = keys[key];
    // Their programs take an empty tag for one that is not there.
    if (spec === undefined || value === '') found.push({ tag, key: undefined, value });
    else if (spec.type === 'bool') found.push({ tag, key, value: tagBool(value) ? 'yes' : 'no' });
    else found.push({ tag, key, value: key === 'charset' ? seedCharset(value) : value });
  }
  return { found, unknown };
}

/** Lower-case key names and aliases -> key. A name goes before an alias of another key. */
function namesOf(keys: Keys): Map<string, string> {
  const names = new Map<string, string>();
  for (const [key, spec] of Object.entries(keys)) {
    for (const alias of spec.aliases ?? [])
      if (!names.has(alias.toLowerCase())) names.set(alias.toLowerCase(), key);
  }
  for (const key of Object.keys(keys)) names.set(key.toLowerCase(), key);
  return names;
}

/**
 * Their charset is that of the database session, which is also the files': the programs convert nothing. MySQL's names and
 * Oracle's NLS_LANG as names of encodings; others stay as they are.
 */
export function seedCharset(name: string): string {
  const last = name.slice(name.lastIndexOf('.') + 1).toLowerCase();
  if (/^(utf8|utf8mb3|utf8mb4|al32utf8|utf-8)$/.test(last)) return 'utf-8';
  if (/^(gbk|zhs16gbk|zhs16cgb231280|gb2312)$/.test(last)) return 'gbk';
  if (/^(gb18030|zhs32gb18030)$/.test(last)) return 'gb18030';
  return name;
}
