import type { ActorFactory } from '../../../src/runtime/actor.js';
import { field, numberOf, typeOf } from './messages.js';

/**
 * `{ type: 'flood', to, count, bytes? }`: tells `to` the messages `{ type: 'flood-item', n, fill }`, n from 0, in one go
 * and answers the count. Everything else is echoed.
 */
export const floodActor: ActorFactory = (ctx) => ({
  receive: (body) => {
    if (typeOf(body) !== 'flood') return body;
    const to = String(field(body, 'to'));
    const count = numberOf(body, 'count', 0);
    const fill = 'x'.repeat(numberOf(body, 'bytes', 0));
    for (let n = 0; n < count; n += 1) ctx.tell(to, { type: 'flood-item', n, fill });
    return count;
  },
});
