import type { ActorFactory, ConnectionInfo } from '../../../src/runtime/actor.js';
import type { ConnectionRef, Ref } from '../../../src/runtime/ref.js';
import { field, typeOf } from './messages.js';

/** One thing that happened to a collector. */
export interface Collected {
  readonly kind: 'init' | 'message' | 'connected' | 'disconnected' | 'stop';
  readonly body?: unknown;
  readonly from?: Ref | undefined;
  readonly connection?: ConnectionRef;
  readonly info?: ConnectionInfo;
  readonly attachment?: unknown;
  readonly reason?: string;
}

/**
 * Keeps everything that happens to it (death notices too). `{ type: 'take' }` answers the list of Collected and empties
 * it, `{ type: 'watch', ref }` watches an actor, `{ type: 'after', ms, body }` starts a timer, `{ type: 'attach',
 * connection, data }` attaches. With param `report_to` each entry is also told to that actor.
 */
export const collectorActor: ActorFactory = (ctx) => {
  let kept: Collected[] = [];
  const keep = (entry: Collected): void => {
    kept.push(entry);
    const reportTo = ctx.params['report_to'];
    if (typeof reportTo === 'string') ctx.tell(reportTo, { by: ctx.self, ...entry });
  };
  return {
    init: () => keep({ kind: 'init' }),
    receive: (body, from) => {
      switch (typeOf(body)) {
        case 'take': {
          const taken = kept;
          kept = [];
          return taken;
        }
        case 'watch':
          ctx.watch(String(field(body, 'ref')));
          return true;
        case 'after':
          ctx.after(Number(field(body, 'ms')), field(body, 'body'));
          return true;
        case 'attach':
          ctx.attach(field(body, 'connection') as ConnectionRef, field(body, 'data'));
          return true;
        default:
          keep({ kind: 'message', body, from });
          return kept.length;
      }
    },
    connected: (connection, info, attachment) => keep({ kind: 'connected', connection, info, attachment }),
    disconnected: (connection, reason) => keep({ kind: 'disconnected', connection, reason }),
    stop: (reason) => keep({ kind: 'stop', reason }),
  };
};
