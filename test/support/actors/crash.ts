import type { ActorFactory } from '../../../src/runtime/actor.js';
import type { Ref } from '../../../src/runtime/ref.js';
import { codeOf, FAULT_CODE, field, typeOf } from './messages.js';

function messageOf(body: unknown): string {
  const message = field(body, 'message');
  return typeof message === 'string' ? message : 'asked to crash';
}

/**
 * Counts what it handled and fails on demand. Messages: `{ type: 'crash' }` throws, `{ type: 'reject' }` rejects,
 * `{ type: 'throw-later' }` throws outside of any message (the thread dies), `{ type: 'exit-thread' }` ends the thread,
 * `{ type: 'count' }` answers how many this instance handled before. A frame with code 99 throws, others are echoed.
 * Params: `fail_init` (bool); `report_to` (ref) is told `{ type: 'handled', by, body }` for every other message.
 */
export const crashActor: ActorFactory = (ctx) => {
  let handled = 0;
  return {
    init: () => {
      if (ctx.params['fail_init'] === true) throw new Error('asked to fail in init');
    },
    receive: async (body) => {
      switch (typeOf(body)) {
        case 'crash':
          throw new Error(messageOf(body));
        case 'reject':
          await Promise.resolve();
          throw new Error('asked to reject');
        case 'throw-later':
          setImmediate(() => {
            throw new Error('asked to throw outside a message');
          });
          return undefined;
        case 'exit-thread':
          return process.exit(3);
        case 'count':
          return handled;
        default: {
          handled += 1;
          const reportTo = ctx.params['report_to'];
          if (typeof reportTo === 'string') {
            ctx.tell(reportTo satisfies Ref, { type: 'handled', by: ctx.self, body });
          }
          return body;
        }
      }
    },
    frame: (connection, bytes, start, end) => {
      const frame = bytes.subarray(start, end);
      if (codeOf(frame) === FAULT_CODE) throw new Error('asked to crash by a frame');
      handled += 1;
      ctx.send(connection, frame);
    },
  };
};
