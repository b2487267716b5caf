/** Children of the tree that own client sockets: one for each [listener] and [http]. Main thread. */
import type { ChildHandle, ChildSpec, ExitReason } from '../runtime/child-spec.js';
import { codecFactories, codecNumber } from '../runtime/codecs.js';
import type { Config, ConfigSection } from '../runtime/config.js';
import { parseAddress } from '../runtime/config-values.js';
import { SwitchyardError } from '../runtime/errors.js';
import { httpDispatch } from '../runtime/http-dispatch.js';
import type { HttpGateway } from '../runtime/http-gateway.js';
import { httpLimits, readTls, type HttpConf } from '../runtime/http-keys.js';
import type { HttpRouter } from '../runtime/http-router.js';
import { StaticFiles } from '../runtime/http-static.js';
import { startHttp, type HttpServerHandle } from '../runtime/http.js';
import type { ListenerValues } from '../runtime/listener-keys.js';
import type { Logger } from '../runtime/log-contract.js';
import type { Reactor } from '../runtime/reactor.js';
import type { Ref } from '../runtime/ref.js';
import type { System } from '../runtime/system.js';
import { until } from './until.js';

export interface FrontParts {
  readonly system: System;
  readonly reactor: Reactor;
  readonly router: HttpRouter<Ref>;
  readonly gateway: HttpGateway;
  /** Running HTTP listeners by section name. */
  readonly https: Map<string, HttpServerHandle>;
  readonly log: Logger;
  /** How long running requests and replies due may take at a stop, in ms. */
  graceMs(): number;
}

const SHUTDOWN_SLACK_MS = 1000;
/** How long a stopping listener waits for its clients to be gone. */
const LISTENER_GRACE_MS = 4000;

export function frontSections(config: Config): readonly ConfigSection[] {
  return config.sections.filter(({ section }) => section === 'listener' || section === 'http');
}

export function frontId({ section, name }: ConfigSection): string {
  return `${section} ${name}`;
}

export function frontChild(parts: FrontParts, section: ConfigSection): ChildSpec {
  const start = section.section === 'listener' ? startListener : startHttpListener;
  return {
    id: frontId(section),
    restart: 'permanent',
    shutdownMs: parts.graceMs() + SHUTDOWN_SLACK_MS,
    start: () => start(parts, section),
  };
}

/** A child that only ends when it is told to. */
function untilStopped(stop: () => void | Promise<void>): ChildHandle {
  let settle: (reason: ExitReason) => void = () => undefined;
  const exited = new Promise<ExitReason>((resolve) => (settle = resolve));
  const end = async (reason: string): Promise<void> => {
    await stop();
    settle({ kind: 'normal', message: reason });
  };
  return { exited, stop: end, kill: () => end('killed') };
}

async function startListener(parts: FrontParts, section: ConfigSection): Promise<ChildHandle> {
  const values = section.values as unknown as ListenerValues;
  const { name } = section;
  const codec = codecFactories[values.protocol];
  if (codec === undefined || codecNumber(values.protocol) < 0) {
    throw new SwitchyardError('NET_PROTOCOL', {
      listener: name,
      protocol: values.protocol,
      known: Object.keys(codecFactories).join(', '),
    });
  }
  const actor = values.actor ?? values.protocol;
  if (parts.system.registry.instances(actor).length === 0) {
    throw new SwitchyardError('NET_ACTOR', { listener: name, actor });
  }
  const listener = await parts.reactor.listen({
    name,
    values,
    codec: codec(),
    sink: parts.system.frameSink(actor, values.protocol),
  });
  return untilStopped(async () => {
    parts.reactor.closeListener(name);
    // Replies due go out before the actors are stopped; a client that takes nothing is cut later.
    await until(() => listener.online === 0, Math.min(parts.graceMs(), LISTENER_GRACE_MS));
  });
}

async function startHttpListener(parts: FrontParts, section: ConfigSection): Promise<ChildHandle> {
  const conf = section.values as unknown as HttpConf;
  const { name } = section;
  const { log, gateway, router } = parts;
  const address = parseAddress(conf.address);
  const files =
    conf.root === undefined
      ? undefined
      : await StaticFiles.open({ root: conf.root, cacheSize: conf.cache_size, log });
  const handler = httpDispatch({ router, files, toTarget: (ref, exchange) => gateway.offer(ref, exchange) });
  const server = await startHttp(
    {
      name,
      engine: conf.engine,
      host: address?.host ?? '',
      port: address?.port ?? 0,
      accessLog: conf.access_log,
      tls: await readTls(name, conf),
      log: log.child({ actor: `http ${name}` }),
      ...httpLimits(conf),
    },
    handler,
  );
  log.info('http.listening', {
    listener: name,
    address: conf.address,
    port: server.port,
    engine: server.engine,
  });
  parts.https.set(name, server);
  return untilStopped(async () => {
    parts.https.delete(name);
    await server.close(parts.graceMs());
    files?.close();
  });
}
