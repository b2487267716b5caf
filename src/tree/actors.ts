/** Children of the tree that live in workers: one for each [actor] and [stage], and its shards. Main thread. */
import { actorModule, actorTypes } from '../actors/index.js';
import type { ActorSpec } from '../runtime/actor-entry.js';
import type { ActorValues } from '../runtime/actor-keys.js';
import type { ChildSpec } from '../runtime/child-spec.js';
import { sectionTitle, type Config, type ConfigSection } from '../runtime/config.js';
import { SwitchyardError } from '../runtime/errors.js';
import type { PoolValues } from '../runtime/process-keys.js';
import type { System } from '../runtime/system.js';

const DEFAULT_POOL: Pick<PoolValues, 'workers' | 'max_heap' | 'spin'> = {
  workers: 1,
  max_heap: 512 * 1024 * 1024,
  spin: 0,
};

/** The sections that are actors, in start order. */
export function actorSections(config: Config): readonly ConfigSection[] {
  return config.sections.filter(({ section }) => section === 'actor' || section === 'stage');
}

/** Makes the pools of the conf and those that actors name without a section. */
export function addPools(system: System, config: Config): void {
  for (const { section, name, values } of config.sections) {
    if (section === 'pool') addPool(system, name, values as unknown as PoolValues);
  }
  for (const { values } of actorSections(config))
    addPool(system, (values as unknown as ActorValues).pool, DEFAULT_POOL);
}

function addPool(
  system: System,
  name: string,
  values: Pick<PoolValues, 'workers' | 'max_heap' | 'spin'>,
): void {
  const { workers, max_heap, spin } = values;
  system.addPool({ name, workers, heapMb: Math.round(max_heap / 2 ** 20), spinUs: spin * 1000 });
}

/** @throws SwitchyardError when the name is taken */
export function actorChildren(system: System, section: ConfigSection): readonly ChildSpec[] {
  const values = section.values as unknown as ActorValues;
  const kind = section.section === 'stage' ? 'stage' : 'service';
  const type = actorTypes.find((known) => known.type === values.type && known.kind === kind);
  if (type === undefined)
    throw new SwitchyardError('ACT_START', { ref: sectionTitle(section), reason: `no type ${values.type}` });
  const spec: ActorSpec = {
    name: section.name,
    kind,
    pool: values.pool,
    shards: values.shards,
    module: actorModule(type),
    factory: type.factory,
    params: section.values,
    mailbox: {
      bytes: values.mailbox_bytes,
      messages: values.mailbox_messages,
      policy: values.mailbox_policy,
    },
    heartbeatMs: values.heartbeat,
    idempotent: values.idempotent,
    startMs: values.start_timeout,
  };
  const children = system.spawn(spec, values.shutdown, values.restart);
  return children.map((child) => ({ ...child, startupErrorBehavior: values.startup_error }));
}
