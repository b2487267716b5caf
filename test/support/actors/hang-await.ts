import type { ActorFactory } from '../../../src/runtime/actor.js';
import { codeOf, FAULT_CODE, typeOf } from './messages.js';

const never = (): Promise<never> => new Promise<never>(() => undefined);

/** `{ type: 'hang' }` or a frame with code 99: awaits what never settles; the thread stays free. Else echoes. */
export const hangAwaitActor: ActorFactory = (ctx) => ({
  receive: (body) => (typeOf(body) === 'hang' ? never() : body),
  frame: (connection, bytes, start, end) => {
    const frame = bytes.subarray(start, end);
    if (codeOf(frame) === FAULT_CODE) return never();
    ctx.send(connection, frame);
  },
  stop: () => (ctx.params['hang_in_stop'] === true ? never() : undefined),
});
