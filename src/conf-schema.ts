/**
 * Every conf section there is, in the order the documents list them. A new kind of section is one line in
 * `allSections`, a new actor or stage type one line in the table of actors. Pure data; any thread.
 */
import { actorTypes } from './actors/index.js';
import { actorKeys } from './runtime/actor-keys.js';
import { confError, type ConfProblem } from './runtime/config-reader.js';
import type { ConfigSection, ConfSchema, SectionView } from './runtime/config.js';
import { gatewaySection } from './runtime/gateway-keys.js';
import { httpSection } from './runtime/http-keys.js';
import { listenerSection, reactorSection } from './runtime/listener-keys.js';
import { processSections } from './runtime/process-keys.js';
import type { Keys, SectionSpec } from './runtime/schema.js';

/** Keys that a section has beyond its own when its `type` is this one. */
export interface TypedKeys {
  readonly section: string;
  readonly type: string;
  readonly help: string;
  readonly keys: Keys;
}

export function allSections(): readonly SectionSpec[] {
  return [
    ...processSections,
    reactorSection,
    listenerSection,
    httpSection,
    gatewaySection,
    { section: 'actor', named: true, help: 'An actor; further keys depend on its type', keys: actorKeys },
    {
      section: 'stage',
      named: true,
      help: 'A pipeline stage; further keys depend on its type',
      keys: actorKeys,
    },
  ];
}

/** The types of [actor NAME] and [stage NAME] with their keys. */
export function allTypes(): readonly TypedKeys[] {
  const sectionOf = { service: 'actor', stage: 'stage' } as const;
  return actorTypes.map(({ type, kind, help, keys }) => ({ section: sectionOf[kind], type, help, keys }));
}

/** What `loadConfig` and `diffConfig` take. */
export function confSchema(): ConfSchema {
  const sections = allSections().map(withTypeNames);
  const types = allTypes();
  const typed = new Set(sections.filter((s) => s.keys['type'] !== undefined).map((s) => s.section));
  const resolve = ({ section, get }: SectionView): Keys | undefined =>
    typed.has(section) ? types.find((t) => t.section === section && t.type === get('type'))?.keys : {};
  return { sections, resolve, check: listenersWithoutActor };
}

/** A listener whose frames nobody would get. */
function listenersWithoutActor(sections: readonly ConfigSection[]): ConfProblem[] {
  const actors = new Set(sections.filter(({ section }) => section === 'actor').map(({ name }) => name));
  return sections.flatMap(({ section, name, values, origins }) => {
    const actor = values['actor'] ?? values['protocol'];
    if (section !== 'listener' || typeof actor !== 'string' || actors.has(actor)) return [];
    const [, file = '', line = '0'] =
      /^(.*?)(?::(\d+))?$/.exec(origins['actor'] ?? origins['protocol'] ?? '') ?? [];
    return [confError('NET_ACTOR', { file, line: Number(line) }, { listener: name, actor })];
  });
}

/** Makes `type` an enumeration of the known types, so that a wrong one is reported with the nearest. */
function withTypeNames(spec: SectionSpec): SectionSpec {
  const { type } = spec.keys;
  if (type === undefined) return spec;
  const values = allTypes()
    .filter((t) => t.section === spec.section)
    .map((t) => t.type);
  return { ...spec, keys: { ...spec.keys, type: { ...type, type: 'enum', values } } };
}
