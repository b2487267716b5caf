/** What a reload does to the children of each kind of section. Main thread. */
import type { ConfigSection } from '../runtime/config.js';
import type { HttpConf } from '../runtime/http-keys.js';
import { readTls } from '../runtime/http-keys.js';
import type { ListenerValues, ReactorValues } from '../runtime/listener-keys.js';
import type { Log } from '../runtime/log.js';
import type { LogValues, ProcessValues } from '../runtime/process-keys.js';
import type { Supervisor } from '../runtime/supervisor.js';
import { actorChildren, addPools } from './actors.js';
import { frontChild, frontId, type FrontParts } from './front.js';
import type { SectionReloader } from './reload.js';
import { until } from './until.js';

export interface ReloaderParts extends FrontParts {
  readonly actors: Supervisor;
  readonly front: Supervisor;
  readonly options: Log;
  onProcessConf(values: ProcessValues): void;
}

/** How long an actor that is removed may work on what waits for it. */
const LAST_MESSAGES_MS = 5000;

const nothing = (): Promise<void> => Promise.resolve();

export function sectionReloaders(parts: ReloaderParts): Readonly<Record<string, SectionReloader>> {
  const actor = actorReloader(parts);
  return {
    actor,
    stage: actor,
    listener: frontReloader(parts, async (section) => {
      for (const listener of parts.reactor.listeners) {
        if (listener.name !== section.name) continue;
        listener.apply(section.values as unknown as ListenerValues);
        await listener.reloadTls();
      }
    }),
    http: frontReloader(parts, async (section) => {
      const tls = await readTls(section.name, section.values as unknown as HttpConf);
      if (tls !== undefined) parts.https.get(section.name)?.setTls(tls);
    }),
    reactor: onlyLive((section) => parts.reactor.apply(section.values as unknown as ReactorValues)),
    log: onlyLive((section) => parts.options.configure(section.values as unknown as LogValues)),
    process: onlyLive((section) => parts.onProcessConf(section.values as unknown as ProcessValues)),
  };
}

function actorReloader({ system, actors, router }: ReloaderParts): SectionReloader {
  return {
    add: async (section) => {
      addPools(system, { sections: [section] });
      for (const child of actorChildren(system, section)) await actors.add(child);
    },
    remove: async (section) => {
      const instances = [...system.registry.instances(section.name)];
      // What was sent before is handled; what an actor that is stuck leaves goes to the dead letters.
      const idle = (): boolean =>
        instances.every(({ mailbox, state }) => mailbox.depth === 0 || state !== 'running');
      await until(idle, LAST_MESSAGES_MS);
      for (const { ref } of instances) await actors.remove(ref, 'reload');
      router.removeTarget(section.name);
      system.remove(section.name);
    },
    // The mailbox stays: what waits in it is handled by the new instance.
    replace: async (section) => {
      router.removeTarget(section.name);
      for (const child of actorChildren(system, section)) await actors.replace(child, 'reload');
    },
    live: nothing,
  };
}

function frontReloader(
  parts: ReloaderParts,
  live: (section: ConfigSection) => Promise<void>,
): SectionReloader {
  return {
    add: (section) => parts.front.add(frontChild(parts, section)),
    remove: (section) => parts.front.remove(frontId(section), 'reload'),
    replace: (section) => parts.front.replace(frontChild(parts, section), 'reload'),
    live,
  };
}

function onlyLive(live: (section: ConfigSection) => void | Promise<void>): SectionReloader {
  return {
    add: nothing,
    remove: nothing,
    replace: async (section) => live(section),
    live: async (section) => live(section),
  };
}
